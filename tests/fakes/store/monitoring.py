"""Watchlists, wishes and signals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from fakes.store.tables import Repository, is_between, kept, storable
from hullwatch.domain.failures import AlreadyExists
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.outages import SymbolOutage
from hullwatch.domain.monitoring.watches import MonitoringWish, Watch
from hullwatch.domain.signals.signals import Signal, SignalCounts


class Watches(Repository):
    """Watchlists, wishes and signals."""

    async def add(self, watch: Watch) -> None:
        """Store a watch."""
        watch = kept(watch)
        if watch.id in self.tables.watches or self._is_taken(watch):
            raise AlreadyExists("This symbol is watched already.")
        self.needs_user(watch.user_id)
        self.tables.watches[watch.id] = watch

    async def get(self, user_id: str, watch_id: str) -> Watch | None:
        """Return one of the user's watches."""
        storable(user_id, watch_id)
        found = self.tables.watches.get(watch_id)
        return found if found is not None and found.user_id == user_id else None

    async def of_user(self, user_id: str) -> list[Watch]:
        """Return a user's watches, oldest first."""
        return [watch for watch in await self.list_all() if watch.user_id == user_id]

    async def list_all(self) -> list[Watch]:
        """Return everybody's watches."""
        return sorted(self.tables.watches.values(), key=lambda of: (of.user_id, of.created_at, of.id))

    async def update(self, watch: Watch) -> None:
        """Store what changed."""
        watch = kept(watch)
        if await self.get(watch.user_id, watch.id) is None:
            return
        if self._is_taken(watch):
            raise AlreadyExists("This symbol is watched already.")
        self.tables.watches[watch.id] = watch

    async def remove(self, user_id: str, watch_id: str) -> bool:
        """Remove the user's watch."""
        if await self.get(user_id, watch_id) is None:
            return False
        del self.tables.watches[watch_id]
        return True

    async def advance(self, evaluated_through: Mapping[str, datetime]) -> None:
        """Move watches forward."""
        for watch_id, moment in evaluated_through.items():
            watch = self.tables.watches.get(watch_id)
            if watch is not None and watch.evaluated_through < moment:
                self.tables.watches[watch_id] = replace(watch, evaluated_through=moment)

    async def evaluate_from(self, user_id: str, moment: datetime) -> None:
        """Let only later candles give signals."""
        for watch in await self.of_user(user_id):
            self.tables.watches[watch.id] = kept(
                replace(watch, evaluated_through=max(watch.evaluated_through, moment), signals_from=moment)
            )

    async def wishes(self) -> list[MonitoringWish]:
        """Return all wishes."""
        return [self.tables.wishes[user_id] for user_id in sorted(self.tables.wishes)]

    async def wish(self, user_id: str) -> MonitoringWish | None:
        """Return a user's wish."""
        return self.tables.wishes.get(user_id)

    async def put_wish(self, wish: MonitoringWish) -> None:
        """Store it."""
        wish = kept(wish)
        self.needs_user(wish.user_id)
        self.tables.wishes[wish.user_id] = wish

    async def add_signals(self, signals: Sequence[Signal]) -> list[Signal]:
        """Store those that are new and return them."""
        new = []
        for signal in map(kept, signals):
            key = _key(signal)
            if signal.user_id in self.tables.users and key not in self.tables.signals:
                self.tables.signals[key] = signal
                new.append(signal)
        return new

    async def signals_to_correct(self, since: Mapping[str, datetime]) -> list[Signal]:
        """Return each watch's signals of candles that closed after its moment."""
        found = [
            signal
            for signal in self.tables.signals.values()
            if signal.watch_id in since and signal.candle_closed_at > since[signal.watch_id]
        ]
        return sorted(found, key=lambda signal: (signal.watch_id, signal.candle_opened_at, signal.rule))

    async def correct_signals(self, signals: Sequence[Signal]) -> None:
        """Store the corrected values of stored signals."""
        for signal in map(kept, signals):
            key = _key(signal)
            if key in self.tables.signals:
                stored = self.tables.signals[key]
                self.tables.signals[key] = replace(
                    signal, detected_at=stored.detected_at, is_late=stored.is_late
                )

    async def signals(
        self,
        user_id: str,
        *,
        symbol: Symbol | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 100,
    ) -> list[Signal]:
        """Return a user's signals, newest candle first."""
        found = [
            signal
            for signal in self.tables.signals.values()
            if signal.user_id == user_id
            and (symbol is None or signal.symbol == symbol)
            and is_between(signal.candle_opened_at, since, before)
        ]
        found.sort(key=lambda signal: (signal.watch_id, signal.rule))
        return sorted(found, key=lambda signal: signal.candle_opened_at, reverse=True)[:limit]

    async def count_signals(
        self, user_ids: Sequence[str], *, since: datetime, before: datetime
    ) -> dict[str, SignalCounts]:
        """Count these users' signals."""
        counts: dict[str, SignalCounts] = {}
        for signal in self.tables.signals.values():
            if signal.user_id in user_ids and is_between(signal.candle_opened_at, since, before):
                name = "withdrawn" if signal.withdrawn_at else "late" if signal.is_late else "on_time"
                before_it = counts.get(signal.user_id, SignalCounts())
                counts[signal.user_id] = replace(before_it, **{name: getattr(before_it, name) + 1})
        return counts

    async def last_signals(self, user_id: str) -> dict[str, Signal]:
        """Return watch id → its newest signal that is not withdrawn."""
        newest = await self.signals(user_id, limit=len(self.tables.signals) or 1)
        return {signal.watch_id: signal for signal in reversed(newest) if signal.withdrawn_at is None}

    def _is_taken(self, watch: Watch) -> bool:
        what = (watch.user_id, watch.symbol, watch.resolution, watch.period, watch.rule)
        return any(
            (other.user_id, other.symbol, other.resolution, other.period, other.rule) == what
            for other in self.tables.watches.values()
            if other.id != watch.id
        )


def _key(signal: Signal) -> tuple[str, datetime, str, str]:
    return signal.watch_id, signal.candle_opened_at, signal.rule.value, signal.resolution.code


class SymbolOutages(Repository):
    """Times in which single symbols were not monitored."""

    async def add(self, outage: SymbolOutage) -> None:
        """Store an outage."""
        self.needs_user(outage.user_id)
        self.tables.symbol_outages.setdefault(outage.id, kept(outage))

    async def update(self, outage: SymbolOutage) -> None:
        """Store its end and its notice."""
        known = self.tables.symbol_outages.get(outage.id)
        if known is not None:
            changed = replace(known, ended_at=outage.ended_at, notified_at=outage.notified_at)
            self.tables.symbol_outages[outage.id] = kept(changed)

    async def all_open(self) -> list[SymbolOutage]:
        """Return those that last."""
        return [one for one in self._sorted() if one.ended_at is None]

    async def of_user(self, user_id: str, *, since: datetime, before: datetime) -> list[SymbolOutage]:
        """Return those that lasted in [since, before)."""
        return [
            one
            for one in self._sorted()
            if one.user_id == user_id
            and one.began_at < before
            and (one.ended_at is None or one.ended_at > since)
        ]

    async def purge(self, *, ended_before: datetime) -> None:
        """Remove those that ended before this moment."""
        for one in self._sorted():
            if one.ended_at is not None and one.ended_at < ended_before:
                del self.tables.symbol_outages[one.id]

    def _sorted(self) -> list[SymbolOutage]:
        return sorted(self.tables.symbol_outages.values(), key=lambda one: (one.began_at, one.id))
