"""Charts of one instrument: candles, their average, and which candles were signals."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.market.candles import Candle, history_start, next_close_after
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.signals.hma import warm_up
from hullwatch.domain.signals.signals import Direction, Rule, WatchSeries
from hullwatch.runtime.single_flight import SingleFlight
from hullwatch.runtime.ttl_cache import TtlCache
from hullwatch.services.context import Context
from hullwatch.services.market.service import CandlesAnswer, HistoryComparison, MarketService
from hullwatch.services.sessions.service import ConnectionService

SHOWN: Final = 300
"""Closed candles on a chart; those for the warm-up are fetched too and not shown."""
FRESH_S: Final = 3.0
"""How long a chart is cached, so that several tabs of one account share it."""
MAX_CACHED: Final = 500
_LOW, _HIGH = 100.0, 200.0


@dataclass(frozen=True, slots=True)
class ChartCandle:
    """A closed candle, the average after it in INR, and its signal, if it gave one."""

    candle: Candle
    hma: float | None
    """`None` while warming up."""
    direction: Direction | None


@dataclass(frozen=True, slots=True)
class HmaLine:
    """The average as a function of the forming candle's price: ``base + slope * price``."""

    base: float
    slope: float


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart; empty unless `outcome` is ok."""

    outcome: Outcome
    candles: tuple[ChartCandle, ...]
    """Closed ones, oldest first."""
    forming: Candle | None
    line: HmaLine | None
    """`None` if the forming candle does not complete the warm-up."""
    next_close_at: datetime
    """When the forming or next candle closes."""
    connection: Connection
    scope: FailureScope | None = None
    """What the failure concerns; `None` if there is none."""


class ChartService:
    """Builds charts with the same series as monitoring, so that both find the same signals."""

    def __init__(
        self,
        context: Context,
        *,
        connections: ConnectionService,
        market: MarketService,
        compare_history: HistoryComparison,
    ) -> None:
        self._connections = connections
        self._market = market
        self._compare_history = compare_history
        self._calendar = context.calendar
        self._clock = context.clock
        self._cache: TtlCache[tuple[object, ...], Chart] = TtlCache(
            context.clock, ttl_s=FRESH_S, max_entries=MAX_CACHED
        )
        self._flights: SingleFlight[tuple[object, ...], Chart] = SingleFlight()

    async def chart(
        self, user_id: str, symbol: Symbol, *, resolution: Resolution, period: int, rule: Rule
    ) -> Chart:
        """Return a chart, fetched with the account's own session.

        Raises:
            InvalidInput: An HMA cannot have this period.
        """
        warm_up(period)
        generation = self._connections.connection(user_id).generation
        key = (user_id, generation, symbol, resolution, period, rule)
        cached = self._cache.get(key)
        if cached is not None and self._connections.connection(user_id).has_session:
            return cached
        chart = await self._flights.run(key, lambda: self._fetch(user_id, symbol, resolution, period, rule))
        if chart.outcome is Outcome.OK:
            self._cache.put(key, chart)
        return chart

    async def _fetch(
        self, user_id: str, symbol: Symbol, resolution: Resolution, period: int, rule: Rule
    ) -> Chart:
        now, calendar = self._clock.now(), self._calendar.for_symbol(symbol)
        start = history_start(warm_up(period) + SHOWN, resolution, now, calendar)
        answer = await self._market.candles(user_id, symbol, resolution, start=start, end=now)
        self._compare_history(user_id, symbol, resolution, answer.candles)
        next_close_at = next_close_after(now, resolution, calendar)
        return _draw(answer, WatchSeries(period, rule, symbol), next_close_at)


def _draw(answer: CandlesAnswer, series: WatchSeries, next_close_at: datetime) -> Chart:
    candles = []
    for candle in answer.candles:
        result = series.feed(candle)
        candles.append(ChartCandle(candle, result.hma, result.direction))
    shown = tuple(candles[-SHOWN:])
    return Chart(
        answer.outcome, shown, answer.forming, _line(series), next_close_at, answer.connection, answer.scope
    )


def _line(series: WatchSeries) -> HmaLine | None:
    # The average is affine in the price, so two points define it.
    low, high = series.preview(_LOW), series.preview(_HIGH)
    if low is None or high is None:
        return None
    slope = (high - low) / (_HIGH - _LOW)
    return HmaLine(low - slope * _LOW, slope)
