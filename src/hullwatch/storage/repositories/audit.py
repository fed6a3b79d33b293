"""The audit trail: appended, never changed."""

import asyncio
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select, true
from sqlalchemy.orm import aliased

from hullwatch.domain.audit import AuditEntry
from hullwatch.storage.models import AuditEventRow, HeartbeatRow, UserRow
from hullwatch.storage.rows import row_of, table_of, value_of, values_of
from hullwatch.storage.transaction import Transaction

_AT_ONCE = 1000
"""Lines that are read before other tasks run."""
_SERVER = "server"
_SERVER_KINDS = "server."


class Audit:
    """Satisfies `AuditRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, entries: Iterable[AuditEntry]) -> None:
        """Append entries, in their order."""
        rows = [values_of(row_of(AuditEventRow, entry)) for entry in entries]
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
        """Return entries in [since, before), newest first; at the same moment the last appended is first."""
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
        return [value_of(AuditEntry, row) for row in await self._transaction.rows(query)]

    async def lines(
        self, kind: str, *, since: datetime, before: datetime, user_id: str | None = None
    ) -> list[AuditEntry]:
        """Return all entries of exactly this kind in [since, before), in the order they were appended."""
        table = table_of(AuditEventRow).c
        # Columns, not row objects: the row objects of two thousand accounts block the event loop for a second.
        query = select(
            table.at,
            table.user_id,
            table.kind,
            table.actor,
            table.from_state,
            table.to_state,
            table.reason,
            table.generation,
            table.incident_id,
            table.evidence,
        ).where(table.kind == kind, table.at >= since, table.at < before)
        if user_id is not None:
            query = query.where(table.user_id == user_id)
        done = await self._transaction.execute(query.order_by(table.at, table.id))
        entries: list[AuditEntry] = []
        for rows in done.partitions(_AT_ONCE):
            entries += [AuditEntry(*row) for row in rows]
            await asyncio.sleep(
                0
            )  # reading a day of everybody's takes a while, and others have something to do
        return entries

    async def server_lines(self, *, since: datetime) -> list[AuditEntry]:
        """Return the entries about the server from `since` on and the last one before, oldest first."""
        query = select(AuditEventRow).where(
            AuditEventRow.user_id.is_(None),
            func.substr(AuditEventRow.kind, 1, len(_SERVER_KINDS)) == _SERVER_KINDS,
        )
        oldest_first = query.where(AuditEventRow.at >= since).order_by(AuditEventRow.at, AuditEventRow.id)
        newest_first = query.where(AuditEventRow.at < since).order_by(
            AuditEventRow.at.desc(), AuditEventRow.id.desc()
        )
        rows = await self._transaction.rows(newest_first.limit(1))
        rows += await self._transaction.rows(oldest_first)
        return [value_of(AuditEntry, row) for row in rows]

    async def record_heartbeat(self, at: datetime) -> None:
        """Store that the server ran at this moment, in place of the last heartbeat."""
        insert = self._transaction.insert_row(HeartbeatRow(name=_SERVER, at=at))
        await self._transaction.execute(
            insert.on_conflict_do_update(index_elements=[HeartbeatRow.name], set_={"at": at})
        )

    async def last_heartbeat(self) -> datetime | None:
        """Return the last heartbeat, or None before the first."""
        row = await self._transaction.row(select(HeartbeatRow).where(HeartbeatRow.name == _SERVER))
        return None if row is None else row.at

    async def latest_by_user(
        self, *, kind_prefix: str, before: datetime | None = None
    ) -> dict[str, AuditEntry]:
        """Return user id → newest entry of the kind; one walk back through the index for each user."""
        own = aliased(AuditEventRow)
        newest = (
            select(own.id)
            .where(own.user_id == UserRow.id, func.substr(own.kind, 1, len(kind_prefix)) == kind_prefix)
            .where(own.at < before if before is not None else true())
            .order_by(own.at.desc(), own.id.desc())
            .limit(1)
            .correlate(UserRow)
            .scalar_subquery()
        )
        query = select(AuditEventRow).select_from(UserRow).join(AuditEventRow, AuditEventRow.id == newest)
        rows = await self._transaction.rows(query)
        return {row.user_id: value_of(AuditEntry, row) for row in rows if row.user_id is not None}
