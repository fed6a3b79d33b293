"""How much of Fyers' rate limits the accounts have used."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import case, delete, select

from hullwatch.domain.market.call_pace import CallPace
from hullwatch.storage.models import CallPaceRow
from hullwatch.storage.rows import row_of, value_of, values_of
from hullwatch.storage.transaction import Transaction


class CallPaces:
    """Satisfies `CallPaceRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def list_all(self) -> list[CallPace]:
        """Return all, by app and account."""
        query = select(CallPaceRow).order_by(CallPaceRow.app_id, CallPaceRow.fyers_id)
        return [value_of(CallPace, row) for row in await self._transaction.rows(query)]

    async def add(self, paces: Sequence[CallPace]) -> None:
        """Add the calls to those of the same day, and replace the rest."""
        insert = self._transaction.insert(CallPaceRow)
        new = insert.excluded
        statement = insert.on_conflict_do_update(
            index_elements=[CallPaceRow.app_id, CallPaceRow.fyers_id],
            set_={
                "calls": case(
                    (CallPaceRow.day == new.day, CallPaceRow.calls + new.calls),
                    else_=new.calls,
                ),
                **{
                    name: new[name] for name in ("day", "limits", "paused_until", "recent_calls", "stored_at")
                },
            },
        )
        rows = [values_of(row_of(CallPaceRow, pace)) for pace in paces]
        await self._transaction.execute_many(statement, rows)

    async def purge(self, *, before: date) -> None:
        """Remove those of earlier days."""
        await self._transaction.execute(delete(CallPaceRow).where(CallPaceRow.day < before))
