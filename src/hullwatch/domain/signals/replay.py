"""Finds the signals that closed candles would have given live. Nothing is resampled."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import MarketCalendar, nse_calendar
from hullwatch.domain.market.candles import Candle, closes_at
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import PAISA
from hullwatch.domain.signals.signals import Direction, FeedStatus, Rule, WatchSeries


@dataclass(frozen=True, slots=True)
class ReplayedSignal:
    """A signal as a live watch would have found it; prices in INR, moments aware, UTC."""

    symbol: Symbol
    resolution: Resolution
    period: int
    rule: Rule
    direction: Direction
    candle_opened_at: datetime
    candle_closed_at: datetime
    close: float
    hma: float


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """One candle and the average after it, INR; `None` while warming up."""

    candle: Candle
    hma: float | None


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Everything a replay found, oldest first."""

    symbol: Symbol
    resolution: Resolution
    period: int
    rows: tuple[ReplayRow, ...]
    signals: tuple[ReplayedSignal, ...]
    notes: tuple[str, ...]
    """What a reader of the signals should know."""


def replay(
    candles: Sequence[Candle],
    symbol: Symbol,
    period: int,
    resolution: Resolution,
    rules: Iterable[Rule] = tuple(Rule),
    *,
    tick_size: Decimal | float = PAISA,
    calendar: MarketCalendar | None = None,
) -> ReplayReport:
    """Run the live series of each rule over closed candles, oldest first.

    As in live monitoring, a candle that is not newer than the last one is ignored. The calendar of the
    symbol's segment, NSE's unless given, decides when a candle closed.

    Raises:
        InvalidInput: the period, the tick size or a close is unusable.
    """
    calendar_of_symbol = (nse_calendar() if calendar is None else calendar).for_symbol(symbol)
    series_by_rule = [WatchSeries(period, rule, symbol, tick_size=tick_size) for rule in dict.fromkeys(rules)]
    if not series_by_rule:
        raise InvalidInput("A replay needs at least one rule.", field="rule")
    rows: list[ReplayRow] = []
    signals: list[ReplayedSignal] = []
    for candle in candles:
        answers = [series.feed(candle) for series in series_by_rule]
        if answers[0].status is not FeedStatus.ACCEPTED:
            continue
        rows.append(ReplayRow(candle, answers[0].hma))
        for series, result in zip(series_by_rule, answers, strict=True):
            if result.direction is not None and result.hma is not None:
                signals.append(
                    ReplayedSignal(
                        symbol,
                        resolution,
                        period,
                        series.rule,
                        result.direction,
                        candle.opened_at,
                        closes_at(candle.opened_at, resolution, calendar_of_symbol),
                        candle.close,
                        result.hma,
                    )
                )
    missing = series_by_rule[0].missing
    notes = (f"{missing} more candles are needed before the first average.",) if missing else ()
    return ReplayReport(symbol, resolution, period, tuple(rows), tuple(signals), notes)
