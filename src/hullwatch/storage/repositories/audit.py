"""The audit trail: appended, never changed."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from hullwatch.domain.events import AuditEntry
from hullwatch.storage.models import AuditEventRow, UserRow
from hullwatch.storage.transaction import Transaction, values_of


class Audit:
    """Satisfies `AuditRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, entries: Iterable[AuditEntry]) -> None:
        """Append entries, in their order."""
        rows = [values_of(_row(entry)) for entry in entries]
        await self._transaction.execute_many(self._transaction.insert(AuditEventRow), rows)

    async def entries(
        self,
        *,
        user_id: str | None = None,
        kind_prefix: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 200,
    ) -> list[AuditEntry]:
        """Return entries from [since, before), newest first, the one appended last before others of the same moment."""
        query = select(AuditEventRow)
        if user_id is not None:
            query = query.where(AuditEventRow.user_id == user_id)
        if kind_prefix is not None:
            # Not LIKE: that ignores case on SQLite, and gives % and _ a meaning.
            query = query.where(func.substr(AuditEventRow.kind, 1, len(kind_prefix)) == kind_prefix)
        if since is not None:
            query = query.where(AuditEventRow.at >= since)
        if before is not None:
            query = query.where(AuditEventRow.at < before)
        query = query.order_by(AuditEventRow.at.desc(), AuditEventRow.id.desc()).limit(limit)
        return [_entry(row) for row in await self._transaction.rows(query)]

    async def latest_by_user(self, *, kind_prefix: str) -> dict[str, AuditEntry]:
        """Return user id → newest entry of the kind; one walk back through the index for each user."""
        own = aliased(AuditEventRow)
        newest = (
            select(own.id)
            .where(own.user_id == UserRow.id, func.substr(own.kind, 1, len(kind_prefix)) == kind_prefix)
            .order_by(own.at.desc(), own.id.desc())
            .limit(1)
            .correlate(UserRow)
            .scalar_subquery()
        )
        query = select(AuditEventRow).select_from(UserRow).join(AuditEventRow, AuditEventRow.id == newest)
        rows = await self._transaction.rows(query)
        return {row.user_id: _entry(row) for row in rows if row.user_id is not None}


def _row(entry: AuditEntry) -> AuditEventRow:
    return AuditEventRow(
        at=entry.at,
        user_id=entry.user_id,
        kind=entry.kind,
        actor=entry.actor,
        from_state=entry.from_state,
        to_state=entry.to_state,
        reason=entry.reason,
        generation=entry.generation,
        incident_id=entry.incident_id,
        evidence=entry.evidence,
    )


def _entry(row: AuditEventRow) -> AuditEntry:
    return AuditEntry(
        at=row.at,
        user_id=row.user_id,
        kind=row.kind,
        actor=row.actor,
        from_state=row.from_state,
        to_state=row.to_state,
        reason=row.reason,
        generation=row.generation,
        incident_id=row.incident_id,
        evidence=row.evidence,
    )
