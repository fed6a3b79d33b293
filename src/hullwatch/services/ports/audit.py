"""Stored: the audit trail, and what is wrong at present."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from hullwatch.domain.events import AuditEntry
from hullwatch.domain.notifications.incidents import Incident


class AuditRepository(Protocol):
    """The audit trail: appended, never changed."""

    async def add(self, entries: Iterable[AuditEntry]) -> None: ...
    async def entries(
        self,
        *,
        user_id: str | None = None,
        kind_prefix: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 200,
    ) -> list[AuditEntry]:
        """Return newest first."""
        ...

    async def latest_by_user(
        self, *, kind_prefix: str, before: datetime | None = None
    ) -> dict[str, AuditEntry]:
        """Return user id → that user's newest entry whose kind begins so, from before a moment if one is given, in one statement."""
        ...

    async def lines(
        self, kind: str, *, since: datetime, before: datetime, user_id: str | None = None
    ) -> list[AuditEntry]:
        """Return all entries of exactly this kind from [since, before), one user's or everybody's, oldest first."""
        ...

    async def server_lines(self, *, since: datetime) -> list[AuditEntry]:
        """Return the entries about the server's own life from `since` on and the last one before, oldest first."""
        ...

    async def record_heartbeat(self, at: datetime) -> None:
        """Remember that the server ran at this moment, in place of the last one."""
        ...

    async def last_heartbeat(self) -> datetime | None:
        """Return when the server was last known to run, or `None` before the first time."""
        ...


class IncidentRepository(Protocol):
    """What is wrong with the server at present; one open incident a subject."""

    async def all_open(self) -> list[Incident]:
        """Return all, by subject."""
        ...

    async def get(self, subject: str) -> Incident | None: ...
    async def begin(self, incident: Incident) -> Incident:
        """Store it, unless one about its subject is open; return the one that is."""
        ...

    async def note_bad(self, subject: str, *, at: datetime) -> None:
        """Note that it still was wrong at this moment; never backwards."""
        ...

    async def mark_notified(self, subject: str, *, at: datetime) -> bool:
        """Note that operators are told; False when they have been, even by another process at the same moment."""
        ...

    async def end(self, incident_id: str) -> bool:
        """Remove it; False when it has ended already, even by another process at the same moment."""
        ...
