"""Times in which single symbols were not monitored."""

from datetime import datetime

from sqlalchemy import delete, or_, select, update

from hullwatch.domain.monitoring.outages import SymbolOutage
from hullwatch.storage.models import SymbolOutageRow
from hullwatch.storage.rows import row_of, value_of
from hullwatch.storage.transaction import Transaction


class SymbolOutages:
    """Satisfies `SymbolOutageRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, outage: SymbolOutage) -> None:
        """Store a new outage."""
        await self._transaction.execute(
            self._transaction.insert_row(row_of(SymbolOutageRow, outage)).on_conflict_do_nothing()
        )

    async def update(self, outage: SymbolOutage) -> None:
        """Store its end and when its user was notified."""
        await self._transaction.execute(
            update(SymbolOutageRow)
            .where(SymbolOutageRow.id == outage.id)
            .values(ended_at=outage.ended_at, notified_at=outage.notified_at)
        )

    async def all_open(self) -> list[SymbolOutage]:
        """Return all that last, oldest first."""
        rows = await self._transaction.rows(
            select(SymbolOutageRow)
            .where(SymbolOutageRow.ended_at.is_(None))
            .order_by(SymbolOutageRow.began_at, SymbolOutageRow.id)
        )
        return [value_of(SymbolOutage, row) for row in rows]

    async def of_user(self, user_id: str, *, since: datetime, before: datetime) -> list[SymbolOutage]:
        """Return those that lasted at some time in [since, before), oldest first."""
        rows = await self._transaction.rows(
            select(SymbolOutageRow)
            .where(
                SymbolOutageRow.user_id == user_id,
                SymbolOutageRow.began_at < before,
                or_(SymbolOutageRow.ended_at.is_(None), SymbolOutageRow.ended_at > since),
            )
            .order_by(SymbolOutageRow.began_at, SymbolOutageRow.id)
        )
        return [value_of(SymbolOutage, row) for row in rows]

    async def purge(self, *, ended_before: datetime) -> None:
        """Remove those that ended before this moment."""
        await self._transaction.execute(
            delete(SymbolOutageRow).where(SymbolOutageRow.ended_at < ended_before)
        )
