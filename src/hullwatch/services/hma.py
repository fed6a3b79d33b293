"""HMAService: the present Hull Moving Average of an instrument for one account, on closed candles, or the reason why there is none.

The average itself is ``domain/hma.py``; what monitoring does with it, ``monitoring/``.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog

from hullwatch.domain.candles import closes_at, closes_between, last_close_at_or_before, next_close_after
from hullwatch.domain.failures import Outcome
from hullwatch.domain.hma import HullMovingAverage, warm_up
from hullwatch.domain.instruments import Resolution, Symbol
from hullwatch.domain.market_calendar import MarketCalendar
from hullwatch.runtime.clock import Clock
from hullwatch.runtime.ttl_cache import TtlCache
from hullwatch.services.connections import ConnectionService
from hullwatch.services.market import CandlesAnswer, MarketService

SPARE = 1.5
"""How many times the candles that are needed are asked for: illiquid instruments skip some."""
MOST_READINGS = 20_000
_LONGEST_LOOKBACK = 3000
"""Trading sessions; ends the search for a start on a calendar that knows no earlier ones."""


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


def history_start(count: int, resolution: Resolution, before: datetime, calendar: MarketCalendar) -> datetime:
    """Return the opening of the trading session from which at least `count` candles close up to `before`."""
    found, moment = 0, before
    for _ in range(_LONGEST_LOOKBACK):
        session = calendar.session_at(moment) or calendar.previous_session(moment)
        if session.opens_at >= moment:
            session = calendar.previous_session(session.opens_at)
        found += closes_between(session.opens_at, min(session.closes_at, before), resolution, calendar)
        moment = session.opens_at
        if found >= count:
            break
    if resolution.is_intraday:
        return moment
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)  # daily candles open at 00:00 UTC


class HMAService:
    """Readings for whoever asks; a reading is kept until the next candle closes, a failure not at all."""

    def __init__(
        self, *, connections: ConnectionService, market: MarketService, calendar: MarketCalendar, clock: Clock
    ) -> None:
        self._connections = connections
        self._market = market
        self._calendar = calendar
        self._clock = clock
        self._readings: TtlCache[tuple[str, int, Symbol, Resolution, int], tuple[datetime, HmaReading]] = (
            TtlCache(clock, ttl_s=24 * 3600.0, max_entries=MOST_READINGS)
        )
        self._log = structlog.get_logger(component="HMAService")

    async def hma(self, user_id: str, symbol: Symbol, *, period: int, resolution: Resolution) -> HmaReading:
        """Return the account's present reading.

        Raises:
            InvalidInput: The period is not one an HMA can have.
        """
        needed = warm_up(period)
        connection = self._connections.connection(user_id)
        if not connection.has_session:
            return _nothing(
                symbol, period, resolution, HmaStatus.DISCONNECTED, "No Fyers session: log in to Fyers again."
            )
        key = (user_id, connection.generation, symbol, resolution, period)
        now = self._clock.now()
        kept = self._readings.get(key)
        if kept is not None and now < kept[0]:
            return kept[1]
        start = history_start(round(needed * SPARE) + 1, resolution, now, self._calendar)
        answer = await self._market.candles(user_id, symbol, resolution, start=start, end=now)
        if answer.outcome not in (Outcome.OK, Outcome.NO_DATA):
            return _unanswered(symbol, period, resolution, answer.outcome)
        reading = self._read(symbol, period, resolution, answer)
        newest_expected = last_close_at_or_before(now, resolution, self._calendar)
        if reading.last_update is not None and reading.last_update >= newest_expected:
            self._readings.put(key, (next_close_after(now, resolution, self._calendar), reading))
        return reading

    def _read(self, symbol: Symbol, period: int, resolution: Resolution, answer: CandlesAnswer) -> HmaReading:
        average = HullMovingAverage(period)
        for candle in answer.candles:
            average.update(candle.close)
        count = len(answer.candles)
        last = closes_at(answer.candles[-1].opened_at, resolution, self._calendar) if count else None
        if average.value is None:
            reason = f"{average.missing} more closed candles are needed for HMA({period})."
            status = HmaStatus.INSUFFICIENT_DATA
            return HmaReading(symbol, status, None, period, resolution, count, average.missing, last, reason)
        return HmaReading(symbol, HmaStatus.ACTIVE, average.value, period, resolution, count, 0, last, None)


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
