"""HMAService: the present Hull Moving Average of an instrument for one account, on closed candles, or the reason why there is none.

The value that the forming candle would give is a preview: it is asked for by itself and never becomes a reading or a signal.

The average itself is ``domain/hma.py``; what monitoring does with it, ``monitoring/``.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.candles import (
    MAX_PRICE,
    closes_at,
    history_start,
    last_close_at_or_before,
    next_close_after,
)
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import HullMovingAverage, warm_up
from hullwatch.runtime.ttl_cache import TtlCache
from hullwatch.services.context import Context
from hullwatch.services.market.service import CandlesAnswer, MarketService
from hullwatch.services.sessions.service import ConnectionService

SPARE = 1.5
"""How many times the candles that are needed are asked for: illiquid instruments skip some."""
MOST_READINGS = 10_000
"""About 4 kB each at period 55."""
PROVISIONAL_FOR = timedelta(seconds=2)
"""How long a reading is cached that may still change: a candle closed less than this ago or is missing.

Longer than `CANDLE_READ_DELAY`: a reading is given for minutes afterwards, so a late trade matters more here than speed.
"""


class HmaStatus(StrEnum):
    """What a reading is."""

    ACTIVE = "ACTIVE"
    DISCONNECTED = "DISCONNECTED"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class HmaReading:
    """The average after the last closed candle, INR; `current_hma` is `None` unless `status` is active."""

    symbol: Symbol
    status: HmaStatus
    current_hma: float | None
    period: int
    resolution: Resolution
    candles: int
    """Closed candles that went into it."""
    missing: int
    """Closed candles still missing for a first value."""
    last_update: datetime | None
    """When the last of these candles closed."""
    reason: str | None


_Key = tuple[str, int, Symbol, Resolution, int]


@dataclass(frozen=True, slots=True)
class _Kept:
    until: datetime
    """The reading is good before this moment."""
    reading: HmaReading
    average: HullMovingAverage | None = None


class HMAService:
    """Readings for whoever asks; a reading is kept until the next candle closes, a failure not at all."""

    def __init__(self, context: Context, *, connections: ConnectionService, market: MarketService) -> None:
        self._connections = connections
        self._market = market
        self._calendar = context.calendar
        self._clock = context.clock
        self._kept: TtlCache[_Key, _Kept] = TtlCache(
            context.clock, ttl_s=24 * 3600.0, max_entries=MOST_READINGS
        )

    async def hma(self, user_id: str, symbol: Symbol, *, period: int, resolution: Resolution) -> HmaReading:
        """Return the account's present reading.

        Raises:
            InvalidInput: The period is not one an HMA can have.
        """
        return (await self._current(user_id, symbol, period, resolution)).reading

    async def preview(
        self, user_id: str, symbol: Symbol, *, period: int, resolution: Resolution
    ) -> float | None:
        """Return the average, INR, that the forming candle would give if it closed at the last traded price.

        Returns:
            `None` where there is no reading, no price, or no session is under way and so nothing is forming.

        Raises:
            InvalidInput: The period is not one an HMA can have.
        """
        current = await self._current(user_id, symbol, period, resolution)
        is_forming = self._calendar.for_symbol(symbol).session_at(self._clock.now()) is not None
        if current.average is None or not is_forming:
            return None
        answer = await self._market.quotes(user_id, [symbol])
        price = answer.quotes[0].ltp if answer.quotes else None
        return current.average.preview(price) if price is not None and 0 < price <= MAX_PRICE else None

    async def _current(self, user_id: str, symbol: Symbol, period: int, resolution: Resolution) -> _Kept:
        needed = warm_up(period)
        now, connection = self._clock.now(), self._connections.connection(user_id)
        if not connection.has_session:
            reason = "No Fyers session: log in to Fyers again."
            return _Kept(now, _nothing(symbol, period, resolution, HmaStatus.DISCONNECTED, reason))
        key = (user_id, connection.generation, symbol, resolution, period)
        kept = self._kept.get(key)
        if kept is not None and now < kept.until:
            return kept
        start = history_start(round(needed * SPARE) + 1, resolution, now, self._calendar.for_symbol(symbol))
        answer = await self._market.candles(user_id, symbol, resolution, start=start, end=now)
        if answer.outcome not in (Outcome.OK, Outcome.NO_DATA):
            return _Kept(now, _unanswered(symbol, period, resolution, answer.outcome))
        reading, average = self._read(symbol, period, resolution, answer)
        current = _Kept(self._good_until(reading, now), reading, average)
        self._kept.put(key, current)
        return current

    def _good_until(self, reading: HmaReading, now: datetime) -> datetime:
        """Return until when a reading is kept: the next close, or a moment if a candle is missing or has only just closed."""
        calendar = self._calendar.for_symbol(reading.symbol)
        newest = last_close_at_or_before(now, reading.resolution, calendar)
        is_complete = reading.last_update is not None and reading.last_update >= newest
        if is_complete and now - newest >= PROVISIONAL_FOR:
            return next_close_after(now, reading.resolution, calendar)
        return now + PROVISIONAL_FOR

    def _read(
        self, symbol: Symbol, period: int, resolution: Resolution, answer: CandlesAnswer
    ) -> tuple[HmaReading, HullMovingAverage | None]:
        average = HullMovingAverage(period)
        for candle in answer.candles:
            average.update(candle.close)
        count, calendar = len(answer.candles), self._calendar.for_symbol(symbol)
        last = closes_at(answer.candles[-1].opened_at, resolution, calendar) if count else None
        if average.value is None:
            reason = f"{average.missing} more closed candles are needed for HMA({period})."
            status = HmaStatus.INSUFFICIENT_DATA
            missing = average.missing
            return HmaReading(symbol, status, None, period, resolution, count, missing, last, reason), None
        status = HmaStatus.ACTIVE
        return HmaReading(symbol, status, average.value, period, resolution, count, 0, last, None), average


_UNANSWERED = {
    Outcome.DISCONNECTED: (HmaStatus.DISCONNECTED, "The Fyers session ended: log in to Fyers again."),
    Outcome.RATE_LIMITED: (HmaStatus.UNAVAILABLE, "Fyers asked us to wait; the value comes by itself."),
    Outcome.UNAVAILABLE: (
        HmaStatus.UNAVAILABLE,
        "Fyers cannot be asked at the moment; the value comes by itself.",
    ),
    Outcome.BAD_REQUEST: (
        HmaStatus.UNAVAILABLE,
        "Fyers does not know this symbol or does not keep this resolution.",
    ),
    Outcome.NOT_PERMITTED: (
        HmaStatus.UNAVAILABLE,
        "Your Fyers app lacks the permission to read market data.",
    ),
}


def _unanswered(symbol: Symbol, period: int, resolution: Resolution, outcome: Outcome) -> HmaReading:
    status, reason = _UNANSWERED[outcome]
    return _nothing(symbol, period, resolution, status, reason)


def _nothing(
    symbol: Symbol, period: int, resolution: Resolution, status: HmaStatus, reason: str
) -> HmaReading:
    return HmaReading(symbol, status, None, period, resolution, 0, warm_up(period), None, reason)
