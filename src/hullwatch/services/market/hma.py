"""The current Hull Moving Average of an instrument for one account, over closed candles."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.candles import (
    MAX_PRICE,
    closes_at,
    history_start,
    last_close_at_or_before,
    next_close_after,
)
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.obstacles import Obstacle, outcome_obstacle
from hullwatch.domain.signals.hma import warm_up
from hullwatch.domain.signals.settling import READINGS_APART, SETTLE_TIME
from hullwatch.domain.signals.signals import Rule, WatchSeries
from hullwatch.runtime.ttl_cache import TtlCache
from hullwatch.services.context import Context
from hullwatch.services.market.failure_log import FailureLog
from hullwatch.services.market.service import CandlesAnswer, HistoryComparison, MarketService
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.texts.obstacles import candles_needed, describe_obstacle

SPARE = 1.5
"""Factor on the candles that are fetched: illiquid instruments skip some."""
SPARE_OF_RARELY_TRADED = 16
"""Factor for a second call when the first one brings too few candles: most options trade in few of their slots."""
MAX_READINGS = 10_000
"""About 4 kB each at period 55."""


class HmaStatus(StrEnum):
    """Whether there is a value, and if not, why."""

    ACTIVE = "ACTIVE"
    DISCONNECTED = "DISCONNECTED"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    UNAVAILABLE = "UNAVAILABLE"


STATUS_OF: Final[Mapping[Obstacle, HmaStatus]] = {
    Obstacle.NO_SESSION: HmaStatus.DISCONNECTED,
    Obstacle.TOO_YOUNG: HmaStatus.INSUFFICIENT_DATA,
    Obstacle.RATE_LIMITED: HmaStatus.UNAVAILABLE,
    Obstacle.FYERS_UNAVAILABLE: HmaStatus.UNAVAILABLE,
    Obstacle.SYMBOL_REFUSED: HmaStatus.UNAVAILABLE,
    Obstacle.NOT_PERMITTED: HmaStatus.UNAVAILABLE,
    Obstacle.SYMBOL_NOT_PERMITTED: HmaStatus.UNAVAILABLE,
    Obstacle.SYMBOL_UNAVAILABLE: HmaStatus.UNAVAILABLE,
}
"""Obstacles that can keep a reading from having a value → its status."""


@dataclass(frozen=True, slots=True)
class HmaReading:
    """The average after the last closed candle, INR; `current_hma` is `None` unless `status` is active."""

    symbol: Symbol
    status: HmaStatus
    current_hma: float | None
    period: int
    resolution: Resolution
    candles: int
    """Closed candles that were used."""
    missing: int
    """Closed candles missing before the first value."""
    last_update: datetime | None
    """When the last candle closed."""
    reason: str | None


_Key = tuple[str, int, Symbol, Resolution, int]


@dataclass(frozen=True, slots=True)
class _Cached:
    until: datetime
    """When the reading has to be fetched again."""
    reading: HmaReading
    average: WatchSeries | None = None


class HMAService:
    """Reads averages. A reading is cached until the next candle closes; a failure is not cached."""

    def __init__(
        self,
        context: Context,
        *,
        connections: ConnectionService,
        market: MarketService,
        compare_history: HistoryComparison,
        settle_time: timedelta = SETTLE_TIME,
    ) -> None:
        self._connections = connections
        self._market = market
        self._compare_history = compare_history
        self._settle_time = settle_time
        self._calendar = context.calendar
        self._clock = context.clock
        self._cache: TtlCache[_Key, _Cached] = TtlCache(
            context.clock, ttl_s=24 * 3600.0, max_entries=MAX_READINGS
        )
        self._failures = FailureLog("HMAService", failed="average.unavailable", recovered="average.available")

    async def hma(self, user_id: str, symbol: Symbol, *, period: int, resolution: Resolution) -> HmaReading:
        """Return the account's current reading.

        Raises:
            InvalidInput: An HMA cannot have this period.
        """
        return (await self._current(user_id, symbol, period, resolution)).reading

    async def preview(
        self, user_id: str, symbol: Symbol, *, period: int, resolution: Resolution
    ) -> float | None:
        """Return the average, INR, that the forming candle would give if it closed at the last traded price.

        Returns:
            `None` without a reading or a price, and outside trading hours, when no candle is forming.

        Raises:
            InvalidInput: An HMA cannot have this period.
        """
        current = await self._current(user_id, symbol, period, resolution)
        is_forming = self._calendar.for_symbol(symbol).session_at(self._clock.now()) is not None
        if current.average is None or not is_forming:
            return None
        answer = await self._market.quotes(user_id, [symbol])
        price = answer.quotes[0].price if answer.quotes else None
        return current.average.preview(price) if price is not None and 0 < price <= MAX_PRICE else None

    async def _current(self, user_id: str, symbol: Symbol, period: int, resolution: Resolution) -> _Cached:
        current = await self._cached_or_fetched(user_id, symbol, period, resolution)
        self._log_changes(user_id, current.reading)
        return current

    def _log_changes(self, user_id: str, reading: HmaReading) -> None:
        key = (user_id, reading.symbol, reading.resolution, reading.period)
        fields = {
            "user_id": user_id,
            "symbol": reading.symbol.text,
            "resolution": reading.resolution.code,
            "period": reading.period,
            "incident_id": self._connections.connection(user_id).incident_id,
        }
        if reading.status is HmaStatus.ACTIVE:
            self._failures.record_success(key, **fields)
        else:
            self._failures.record_failure(key, reading.status.value.lower(), **fields)

    async def _cached_or_fetched(
        self, user_id: str, symbol: Symbol, period: int, resolution: Resolution
    ) -> _Cached:
        needed = warm_up(period)
        now, connection = self._clock.now(), self._connections.connection(user_id)
        if not connection.has_session:
            return _Cached(now, _without_value(symbol, period, resolution, Obstacle.NO_SESSION))
        key = (user_id, connection.generation, symbol, resolution, period)
        cached = self._cache.get(key)
        if cached is not None and now < cached.until:
            return cached
        answer = await self._fetch(user_id, symbol, resolution, round(needed * SPARE) + 1)
        if answer.outcome is Outcome.OK and len(answer.candles) < needed:
            answer = await self._fetch(user_id, symbol, resolution, needed * SPARE_OF_RARELY_TRADED)
        obstacle = outcome_obstacle(answer.outcome, answer.scope)
        if obstacle is not None:
            return _Cached(now, _without_value(symbol, period, resolution, obstacle))
        self._compare_history(user_id, symbol, resolution, answer.candles)
        reading, average = self._read(symbol, period, resolution, answer)
        current = _Cached(self._valid_until(reading, now), reading, average)
        self._cache.put(key, current)
        return current

    async def _fetch(self, user_id: str, symbol: Symbol, resolution: Resolution, slots: int) -> CandlesAnswer:
        """Fetch the candles of the last `slots` steps of the resolution."""
        now = self._clock.now()
        start = history_start(slots, resolution, now, self._calendar.for_symbol(symbol))
        return await self._market.candles(user_id, symbol, resolution, start=start, end=now)

    def _valid_until(self, reading: HmaReading, now: datetime) -> datetime:
        """Return the next close, or an earlier time if a candle is missing or has only just closed."""
        calendar = self._calendar.for_symbol(reading.symbol)
        newest = last_close_at_or_before(now, reading.resolution, calendar)
        is_complete = reading.last_update is not None and reading.last_update >= newest
        if is_complete and now - newest >= self._settle_time:
            return next_close_after(now, reading.resolution, calendar)
        return now + READINGS_APART

    def _read(
        self, symbol: Symbol, period: int, resolution: Resolution, answer: CandlesAnswer
    ) -> tuple[HmaReading, WatchSeries | None]:
        # The same series as monitoring's, so that both give one number; its rule does not matter here.
        average = WatchSeries(period, Rule.CROSS, symbol)
        for candle in answer.candles:
            average.feed(candle)
        count, calendar = len(answer.candles), self._calendar.for_symbol(symbol)
        last = closes_at(answer.candles[-1].opened_at, resolution, calendar) if count else None
        if average.hma is None:
            missing = average.missing
            reason, status = candles_needed(missing, period), STATUS_OF[Obstacle.TOO_YOUNG]
            return HmaReading(symbol, status, None, period, resolution, count, missing, last, reason), None
        status = HmaStatus.ACTIVE
        return HmaReading(symbol, status, average.hma, period, resolution, count, 0, last, None), average


def _without_value(symbol: Symbol, period: int, resolution: Resolution, obstacle: Obstacle) -> HmaReading:
    status, reason = STATUS_OF[obstacle], describe_obstacle(obstacle, symbols=symbol.text)
    return HmaReading(symbol, status, None, period, resolution, 0, warm_up(period), None, reason)
