"""The audit trail, the heartbeat and open incidents."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

from fakes.store.tables import Repository, drop, is_between, kept, storable
from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.notifications.incidents import Incident


class Audit(Repository):
    """The audit trail."""

    async def add(self, entries: Iterable[AuditEntry]) -> None:
        """Append entries."""
        self.tables.audit.extend(kept(entry) for entry in entries)

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
        newest_first = self.tables.audit[::-1]
        newest_first.sort(key=lambda entry: entry.at, reverse=True)
        found = (
            entry
            for entry in newest_first
            if (user_id is None or entry.user_id == user_id)
            and (kind_prefix is None or entry.kind.startswith(kind_prefix))
            and is_between(entry.at, since, before)
        )
        return list(islice(found, limit))

    async def lines(
        self, kind: str, *, since: datetime, before: datetime, user_id: str | None = None
    ) -> list[AuditEntry]:
        """Return all entries of a kind, oldest first."""
        found = await self.entries(user_id=user_id, since=since, before=before, limit=len(self.tables.audit))
        return [entry for entry in reversed(found) if entry.kind == kind]

    async def server_lines(self, *, since: datetime) -> list[AuditEntry]:
        """Return the entries about the server from `since` on and the last one before, oldest first."""
        found = await self.entries(kind_prefix="server.", limit=len(self.tables.audit))
        own = [entry for entry in reversed(found) if entry.user_id is None]
        before = [entry for entry in own if entry.at < since.astimezone(UTC)]
        return before[-1:] + own[len(before) :]

    async def record_heartbeat(self, at: datetime) -> None:
        """Store that the server ran."""
        self.tables.beats["server"] = at.astimezone(UTC)

    async def last_heartbeat(self) -> datetime | None:
        """Return the last heartbeat."""
        return self.tables.beats.get("server")

    async def latest_by_user(
        self, *, kind_prefix: str, before: datetime | None = None
    ) -> dict[str, AuditEntry]:
        """Return each present user's newest entry of the kind."""
        latest: dict[str, AuditEntry] = {}
        for entry in await self.entries(kind_prefix=kind_prefix, before=before, limit=len(self.tables.audit)):
            if entry.user_id in self.tables.users:
                latest.setdefault(entry.user_id, entry)
        return latest


class Incidents(Repository):
    """Open incidents."""

    async def all_open(self) -> list[Incident]:
        """Return all, by subject."""
        return [self.tables.incidents[subject] for subject in sorted(self.tables.incidents)]

    async def get(self, subject: str) -> Incident | None:
        """Return the open incident of the subject."""
        storable(subject)
        return self.tables.incidents.get(subject)

    async def begin(self, incident: Incident) -> Incident:
        """Store it, unless one is open; return the one that is."""
        return self.tables.incidents.setdefault(incident.subject, kept(incident))

    async def note_bad(self, subject: str, *, at: datetime) -> None:
        """Store that the failure was seen."""
        known = self.tables.incidents.get(subject)
        if known is not None and known.bad_at < at:
            self.tables.incidents[subject] = kept(replace(known, bad_at=at))

    async def mark_notified(self, subject: str, *, at: datetime) -> bool:
        """Store that operators are notified."""
        known = self.tables.incidents.get(subject)
        if known is None or known.notified_at is not None:
            return False
        self.tables.incidents[subject] = kept(replace(known, notified_at=at))
        return True

    async def end(self, incident_id: str) -> bool:
        """Remove it."""
        found = [one.subject for one in self.tables.incidents.values() if one.id == incident_id]
        drop(self.tables.incidents, lambda one: one.id == incident_id)
        return bool(found)
