"""Storage of watchlists, monitoring wishes and signals."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.outages import SymbolOutage
from hullwatch.domain.monitoring.watches import MonitoringWish, Watch
from hullwatch.domain.signals.signals import Signal, SignalCounts


class WatchRepository(Protocol):
    """Watchlists, monitoring wishes and signals."""

    async def add(self, watch: Watch) -> None:
        """Store a watch; raises `AlreadyExists` for the same symbol, resolution, period and rule."""
        ...

    async def get(self, user_id: str, watch_id: str) -> Watch | None: ...
    async def of_user(self, user_id: str) -> list[Watch]: ...
    async def list_all(self) -> list[Watch]: ...
    async def update(self, watch: Watch) -> None: ...
    async def remove(self, user_id: str, watch_id: str) -> bool: ...
    async def advance(self, evaluated_through: Mapping[str, datetime]) -> None:
        """Move watches' `evaluated_through` forward, watch id → moment, in one statement; never backwards."""
        ...

    async def evaluate_from(self, user_id: str, moment: datetime) -> None:
        """Let a user's watches give signals only for candles that close after `moment`."""
        ...

    async def wishes(self) -> list[MonitoringWish]: ...
    async def wish(self, user_id: str) -> MonitoringWish | None: ...
    async def put_wish(self, wish: MonitoringWish) -> None: ...
    async def add_signals(self, signals: Sequence[Signal]) -> list[Signal]:
        """Store signals and return the new ones: one per watch, candle, rule and resolution."""
        ...

    async def signals_to_correct(self, since: Mapping[str, datetime]) -> list[Signal]:
        """Return watch id → moment: each watch's signals of candles that closed later, locked until the commit."""
        ...

    async def correct_signals(self, signals: Sequence[Signal]) -> None:
        """Store the corrected values of stored signals; removed ones are skipped."""
        ...

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
        ...

    async def count_signals(
        self, user_ids: Sequence[str], *, since: datetime, before: datetime
    ) -> dict[str, SignalCounts]:
        """Return user id → the number of signals whose candle opened in [since, before); users without any are left out."""
        ...

    async def last_signals(self, user_id: str) -> dict[str, Signal]:
        """Return watch id → its newest signal that is not withdrawn, in one statement."""
        ...


class SymbolOutageRepository(Protocol):
    """Times in which single symbols were not monitored."""

    async def add(self, outage: SymbolOutage) -> None: ...
    async def update(self, outage: SymbolOutage) -> None:
        """Store its end and when its user was notified."""
        ...

    async def all_open(self) -> list[SymbolOutage]:
        """Return all that last, oldest first."""
        ...

    async def of_user(self, user_id: str, *, since: datetime, before: datetime) -> list[SymbolOutage]:
        """Return those that lasted at some time in [since, before), oldest first."""
        ...

    async def purge(self, *, ended_before: datetime) -> None:
        """Remove those that ended before this moment."""
        ...
