"""Watchlists, monitoring wishes and signals."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, case, delete, func, select, update

from hullwatch.domain.failures import AlreadyExists
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.watches import MonitoringWish, Watch
from hullwatch.domain.signals.signals import Signal, SignalCounts
from hullwatch.storage.models import MonitoringWishRow, SignalRow, UserRow, WatchRow
from hullwatch.storage.rows import row_of, table_of, value_of, values_of
from hullwatch.storage.transaction import Transaction

_CORRECTED = (
    "direction",
    "close",
    "hma",
    "revision",
    "withdrawn_at",
    "withdrawn_reason",
    "history_changed_at",
)
"""What a correction can change in a stored signal."""
_WATCHES_PER_QUERY = 500
_TAKEN = "This symbol is watched already with the same resolution, period and rule."


class Watches:
    """Satisfies `WatchRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, watch: Watch) -> None:
        """Store a watch; raises `AlreadyExists` for the same symbol, resolution, period and rule."""
        insert = self._transaction.insert_row(row_of(WatchRow, watch))
        done = await self._transaction.execute(insert.on_conflict_do_nothing().returning(WatchRow.id))
        if done.first() is None:
            raise AlreadyExists(_TAKEN)

    async def get(self, user_id: str, watch_id: str) -> Watch | None:
        """Return one of the user's watches, or None."""
        row = await self._transaction.row(
            select(WatchRow).where(WatchRow.id == watch_id, WatchRow.user_id == user_id)
        )
        return None if row is None else value_of(Watch, row)

    async def of_user(self, user_id: str) -> list[Watch]:
        """Return a user's watches, oldest first."""
        query = select(WatchRow).where(WatchRow.user_id == user_id)
        rows = await self._transaction.rows(query.order_by(WatchRow.created_at, WatchRow.id))
        return [value_of(Watch, row) for row in rows]

    async def list_all(self) -> list[Watch]:
        """Return all watches by user, oldest first."""
        query = select(WatchRow).order_by(WatchRow.user_id, WatchRow.created_at, WatchRow.id)
        return [value_of(Watch, row) for row in await self._transaction.rows(query)]

    async def update(self, watch: Watch) -> None:
        """Store the changes of a watch; nothing happens when the watch has been removed.

        Raises:
            AlreadyExists: Another watch of the user is the same now. The unit of work must be rolled back.
        """
        values = values_of(row_of(WatchRow, watch))
        del values["id"], values["user_id"]
        try:
            await self._transaction.execute(
                update(WatchRow)
                .where(WatchRow.id == watch.id, WatchRow.user_id == watch.user_id)
                .values(values)
            )
        except AlreadyExists as refusal:
            raise AlreadyExists(_TAKEN) from refusal.__cause__

    async def remove(self, user_id: str, watch_id: str) -> bool:
        """Remove it; False when the user has no such watch. Its signals stay."""
        done = await self._transaction.execute(
            delete(WatchRow)
            .where(WatchRow.id == watch_id, WatchRow.user_id == user_id)
            .returning(WatchRow.id)
        )
        return done.first() is not None

    async def advance(self, evaluated_through: Mapping[str, datetime]) -> None:
        """Move watches' `evaluated_through` forward, watch id → moment, in one call; never backwards.

        Rows are locked in the order of ids, so that two callers cannot deadlock.
        """
        table = table_of(WatchRow)
        forward = (
            update(table)
            .where(table.c.id == bindparam("watch_id"), table.c.evaluated_through < bindparam("moment"))
            .values(evaluated_through=bindparam("moment"))
        )
        values = [
            {"watch_id": watch_id, "moment": moment} for watch_id, moment in sorted(evaluated_through.items())
        ]
        await self._transaction.execute_many(forward, values)

    async def evaluate_from(self, user_id: str, moment: datetime) -> None:
        """Let a user's watches give signals only for candles that close after `moment`."""
        own = select(WatchRow).where(WatchRow.user_id == user_id).order_by(WatchRow.id)
        # Locked in the order of ids, as `advance` does it, so that the two cannot deadlock.
        watches = await self._transaction.rows(own.with_for_update(key_share=True))
        await self.advance(dict.fromkeys((watch.id for watch in watches), moment))
        await self._transaction.execute(
            update(WatchRow).where(WatchRow.user_id == user_id).values(signals_from=moment)
        )

    async def wishes(self) -> list[MonitoringWish]:
        """Return all wishes."""
        query = select(MonitoringWishRow).order_by(MonitoringWishRow.user_id)
        return [value_of(MonitoringWish, row) for row in await self._transaction.rows(query)]

    async def wish(self, user_id: str) -> MonitoringWish | None:
        """Return a user's wish, or None before the first."""
        query = select(MonitoringWishRow).where(MonitoringWishRow.user_id == user_id)
        row = await self._transaction.row(query)
        return None if row is None else value_of(MonitoringWish, row)

    async def put_wish(self, wish: MonitoringWish) -> None:
        """Store a wish in place of an earlier one."""
        insert = self._transaction.insert_row(row_of(MonitoringWishRow, wish))
        changes = {"is_wanted": wish.is_wanted, "changed_at": wish.changed_at}
        await self._transaction.execute(
            insert.on_conflict_do_update(index_elements=[MonitoringWishRow.user_id], set_=changes)
        )

    async def add_signals(self, signals: Sequence[Signal]) -> list[Signal]:
        """Store signals and return the new ones in the given order: one per watch, candle, rule and resolution.

        Signals of users who have been removed meanwhile are skipped.
        """
        if not signals:
            return []
        owners = select(UserRow.id).where(UserRow.id.in_({signal.user_id for signal in signals}))
        present = set(await self._transaction.rows(owners.with_for_update(read=True, key_share=True)))
        wanted: dict[tuple[str, datetime, str, str], Signal] = {}
        for signal in signals:
            if signal.user_id in present:
                wanted.setdefault(_key(signal), signal)
        if not wanted:
            return []
        table = table_of(SignalRow).c
        insert = self._transaction.insert(SignalRow).on_conflict_do_nothing()
        done = await self._transaction.execute(
            insert.returning(table.watch_id, table.candle_opened_at, table.rule, table.resolution),
            [values_of(row_of(SignalRow, wanted[key])) for key in sorted(wanted)],
        )
        stored = {
            (watch_id, opened_at, rule.value, resolution.code)
            for watch_id, opened_at, rule, resolution in done
        }
        return [signal for key, signal in wanted.items() if key in stored]

    async def signals_to_correct(self, since: Mapping[str, datetime]) -> list[Signal]:
        """Return each watch's signals of candles that closed after its moment, locked until the commit."""
        watch_ids, found = sorted(since), list[Signal]()
        for start in range(0, len(watch_ids), _WATCHES_PER_QUERY):
            some = watch_ids[start : start + _WATCHES_PER_QUERY]
            query = select(SignalRow).where(
                SignalRow.watch_id.in_(some),
                SignalRow.candle_closed_at > min(since[watch_id] for watch_id in some),
            )
            query = query.order_by(SignalRow.watch_id, SignalRow.candle_opened_at, SignalRow.rule)
            rows = await self._transaction.rows(query.with_for_update(key_share=True))
            found += [value_of(Signal, row) for row in rows if row.candle_closed_at > since[row.watch_id]]
        return found

    async def correct_signals(self, signals: Sequence[Signal]) -> None:
        """Store the corrected values of stored signals; removed ones are skipped."""
        table = table_of(SignalRow)
        key = [column.key for column in table.primary_key]
        change = (
            update(table)
            .where(*(table.c[name] == bindparam(f"of_{name}") for name in key))
            .values({name: bindparam(f"new_{name}") for name in _CORRECTED})
        )
        values = [
            {f"of_{name}": getattr(one, name) for name in key}
            | {f"new_{name}": getattr(one, name) for name in _CORRECTED}
            for one in signals
        ]
        await self._transaction.execute_many(change, values)

    async def signals(
        self,
        user_id: str,
        *,
        symbol: Symbol | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 100,
    ) -> list[Signal]:
        """Return a user's signals whose candle opened in [since, before), newest candle first."""
        query = select(SignalRow).where(SignalRow.user_id == user_id)
        if symbol is not None:
            query = query.where(SignalRow.symbol == symbol)
        if since is not None:
            query = query.where(SignalRow.candle_opened_at >= since)
        if before is not None:
            query = query.where(SignalRow.candle_opened_at < before)
        query = query.order_by(SignalRow.candle_opened_at.desc(), SignalRow.watch_id, SignalRow.rule)
        return [value_of(Signal, row) for row in await self._transaction.rows(query.limit(limit))]

    async def count_signals(
        self, user_ids: Sequence[str], *, since: datetime, before: datetime
    ) -> dict[str, SignalCounts]:
        """Return user id → the number of signals whose candle opened in [since, before)."""
        holds = SignalRow.withdrawn_at.is_(None)
        numbers = (
            func.sum(case((condition, 1), else_=0))
            for condition in (and_(holds, ~SignalRow.is_late), and_(holds, SignalRow.is_late), ~holds)
        )
        query = (
            select(SignalRow.user_id, *numbers)
            .where(
                # Both columns of the index: of years of everybody's signals only these users' day is read.
                SignalRow.user_id.in_(user_ids),
                SignalRow.candle_opened_at >= since,
                SignalRow.candle_opened_at < before,
            )
            .group_by(SignalRow.user_id)
        )
        done = await self._transaction.execute(query)
        return {user_id: SignalCounts(*map(int, found)) for user_id, *found in done}

    async def last_signals(self, user_id: str) -> dict[str, Signal]:
        """Return watch id → its newest signal that is not withdrawn."""
        newest = (
            select(SignalRow.watch_id, func.max(SignalRow.candle_opened_at).label("opened_at"))
            .where(SignalRow.user_id == user_id, SignalRow.withdrawn_at.is_(None))
            .group_by(SignalRow.watch_id)
            .subquery()
        )
        query = (
            select(SignalRow)
            .join(
                newest,
                and_(
                    SignalRow.watch_id == newest.c.watch_id, SignalRow.candle_opened_at == newest.c.opened_at
                ),
            )
            .where(SignalRow.withdrawn_at.is_(None))
        )
        return {row.watch_id: value_of(Signal, row) for row in await self._transaction.rows(query)}


def _key(signal: Signal) -> tuple[str, datetime, str, str]:
    return signal.watch_id, signal.candle_opened_at, signal.rule.value, signal.resolution.code
