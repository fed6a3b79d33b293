"""Storage of the audit trail, the heartbeat and open incidents."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from hullwatch.domain.audit import AuditEntry
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
        """Return user id → the newest entry of a kind with this prefix, in one statement."""
        ...

    async def lines(
        self, kind: str, *, since: datetime, before: datetime, user_id: str | None = None
    ) -> list[AuditEntry]:
        """Return all entries of exactly this kind in [since, before), oldest first."""
        ...

    async def server_lines(self, *, since: datetime) -> list[AuditEntry]:
        """Return the entries about the server from `since` on and the last one before, oldest first."""
        ...

    async def record_heartbeat(self, at: datetime) -> None:
        """Store that the server ran at this moment, in place of the last heartbeat."""
        ...

    async def last_heartbeat(self) -> datetime | None:
        """Return the last heartbeat, or `None` before the first."""
        ...


class IncidentRepository(Protocol):
    """Open incidents of the server, one per subject."""

    async def all_open(self) -> list[Incident]:
        """Return all open incidents, by subject."""
        ...

    async def get(self, subject: str) -> Incident | None: ...
    async def begin(self, incident: Incident) -> Incident:
        """Store an incident, unless one of its subject is open; return the open one."""
        ...

    async def note_bad(self, subject: str, *, at: datetime) -> None:
        """Store that the failure was seen at this moment; an earlier moment changes nothing."""
        ...

    async def mark_notified(self, subject: str, *, at: datetime) -> bool:
        """Store that operators are notified; False when this or another process has done so already."""
        ...

    async def end(self, incident_id: str) -> bool:
        """Remove the incident; False when this or another process has done so already."""
        ...
