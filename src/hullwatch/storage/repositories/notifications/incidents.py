"""Open incidents of the server, one per subject."""

from datetime import datetime

from sqlalchemy import delete, select, update

from hullwatch.domain.notifications.incidents import Incident
from hullwatch.storage.models import IncidentRow
from hullwatch.storage.rows import row_of, value_of
from hullwatch.storage.transaction import Transaction


class Incidents:
    """Satisfies `IncidentRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def all_open(self) -> list[Incident]:
        """Return all open incidents, by subject."""
        rows = await self._transaction.rows(select(IncidentRow).order_by(IncidentRow.subject))
        return [value_of(Incident, row) for row in rows]

    async def get(self, subject: str) -> Incident | None:
        """Return the open incident of this subject, or None."""
        row = await self._transaction.row(select(IncidentRow).where(IncidentRow.subject == subject))
        return None if row is None else value_of(Incident, row)

    async def begin(self, incident: Incident) -> Incident:
        """Store an incident, unless one of its subject is open; return the open one."""
        insert = self._transaction.insert_row(row_of(IncidentRow, incident))
        await self._transaction.execute(insert.on_conflict_do_nothing())
        return await self.get(incident.subject) or incident

    async def note_bad(self, subject: str, *, at: datetime) -> None:
        """Store that the failure was seen at this moment; an earlier moment changes nothing."""
        await self._transaction.execute(
            update(IncidentRow)
            .where(IncidentRow.subject == subject, IncidentRow.bad_at < at)
            .values(bad_at=at)
        )

    async def mark_notified(self, subject: str, *, at: datetime) -> bool:
        """Store that operators are notified; False when this or another process has done so already."""
        done = await self._transaction.execute(
            update(IncidentRow)
            .where(IncidentRow.subject == subject, IncidentRow.notified_at.is_(None))
            .values(notified_at=at)
            .returning(IncidentRow.id)
        )
        return done.first() is not None

    async def end(self, incident_id: str) -> bool:
        """Remove the incident; False when this or another process has done so already."""
        done = await self._transaction.execute(
            delete(IncidentRow).where(IncidentRow.id == incident_id).returning(IncidentRow.id)
        )
        return done.first() is not None
