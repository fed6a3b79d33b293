"""Stored: the audit trail."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from hullwatch.domain.events import AuditEntry


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

    async def beat(self, at: datetime) -> None:
        """Remember that the server ran at this moment, in place of the last one."""
        ...

    async def last_beat(self) -> datetime | None:
        """Return when the server was last known to run, or `None` before the first time."""
        ...
