"""ChartService: what a chart of one instrument shows: candles, their average, and the candles that were signals; through one account's own session."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.candles import Candle, history_start, next_close_after
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.signals.hma import warm_up
from hullwatch.domain.signals.signals import Direction, Rule, WatchSeries
from hullwatch.runtime.single_flight import SingleFlight
from hullwatch.runtime.ttl_cache import TtlCache
from hullwatch.services.context import Context
from hullwatch.services.market.service import CandlesAnswer, MarketService
from hullwatch.services.sessions.service import ConnectionService

SHOWN: Final = 300
"""Closed candles on a chart; those that only warm the average up come on top and are not shown."""
FRESH_S: Final = 3.0
"""Within this time several tabs of one account share an answer."""
MOST_KEPT: Final = 500
_LOW, _HIGH = 100.0, 200.0


@dataclass(frozen=True, slots=True)
class ChartCandle:
    """A closed candle with the average after it, INR, and what it signalled."""

    candle: Candle
    hma: float | None
    """`None` while warming up."""
    direction: Direction | None


@dataclass(frozen=True, slots=True)
class HmaLine:
    """The average of the forming candle as a function of its price, which it is affine in: ``base + slope * price``."""

    base: float
    slope: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything a chart shows; empty unless `outcome` is ok."""

    outcome: Outcome
    candles: tuple[ChartCandle, ...]
    """Closed ones, oldest first."""
    forming: Candle | None
    line: HmaLine | None
    """`None` while even the forming candle would not complete the warm-up."""
    next_close_at: datetime
    """When the forming candle, or the next one there will be, is final."""
    connection: Connection


class ChartService:
    """Charts for whoever asks, the same rules behind them as behind live watching."""

    def __init__(self, context: Context, *, connections: ConnectionService, market: MarketService) -> None:
        self._connections = connections
        self._market = market
        self._calendar = context.calendar
        self._clock = context.clock
        self._kept: TtlCache[tuple[object, ...], Chart] = TtlCache(
            context.clock, ttl_s=FRESH_S, max_entries=MOST_KEPT
        )
        self._flights: SingleFlight[tuple[object, ...], Chart] = SingleFlight()

    async def chart(
        self, user_id: str, symbol: Symbol, *, resolution: Resolution, period: int, rule: Rule
    ) -> Chart:
        """Return the account's chart.

        Raises:
            InvalidInput: The period is not one an HMA can have.
        """
        warm_up(period)
        generation = self._connections.connection(user_id).generation
        key = (user_id, generation, symbol, resolution, period, rule)
        kept = self._kept.get(key)
        if kept is not None and self._connections.connection(user_id).has_session:
            return kept
        chart = await self._flights.run(key, lambda: self._fetch(user_id, symbol, resolution, period, rule))
        if chart.outcome is Outcome.OK:
            self._kept.put(key, chart)
        return chart

    async def _fetch(
        self, user_id: str, symbol: Symbol, resolution: Resolution, period: int, rule: Rule
    ) -> Chart:
        now, calendar = self._clock.now(), self._calendar.for_symbol(symbol)
        start = history_start(warm_up(period) + SHOWN, resolution, now, calendar)
        answer = await self._market.candles(user_id, symbol, resolution, start=start, end=now)
        next_close_at = next_close_after(now, resolution, calendar)
        return _draw(answer, WatchSeries(period, rule), next_close_at)


def _draw(answer: CandlesAnswer, series: WatchSeries, next_close_at: datetime) -> Chart:
    candles = []
    for candle in answer.candles:
        result = series.feed(candle)
        candles.append(ChartCandle(candle, result.hma, result.direction))
    shown = tuple(candles[-SHOWN:])
    return Chart(answer.outcome, shown, answer.forming, _line(series), next_close_at, answer.connection)


def _line(series: WatchSeries) -> HmaLine | None:
    """Find the line through two of its points."""
    low, high = series.preview(_LOW), series.preview(_HIGH)
    if low is None or high is None:
        return None
    slope = (high - low) / (_HIGH - _LOW)
    return HmaLine(low - slope * _LOW, slope)
