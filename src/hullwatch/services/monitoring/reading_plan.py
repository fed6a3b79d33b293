"""Which due candles are read at once, and how the readings of all other lines are spread after a close.

The last prices before and after a close show the lines that may give a signal: their first reading is made at once,
so that the second one can confirm it at the settle time. All other lines have one reading, at the settle time or later.
If they all began in the same moment, second readings of a server with many accounts would wait behind them.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Final

from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.settling import SETTLE_TIME, decides_about_signal
from hullwatch.services.monitoring.feeds import Feed, FeedKey

STARTED_PER_CALL: Final = 1.2
"""Readings begin a fifth faster than this server may make calls, so that some always wait: quotes pause meanwhile."""
WORTH_SPREADING_S: Final = 1.0
"""Readings that the calls of one second suffice for all begin at the settle time."""
LONGEST_SPREAD: Final = 0.8
"""Of the candle's length, so that each line is read before its next candle closes."""
_KEPT_ANSWERS: Final = 3
"""Answers with quotes that are kept: one from before the last close is among them."""


@dataclass(frozen=True, slots=True)
class ReadingTimes:
    """When the cycles of all accounts read."""

    interval: timedelta
    """Between two cycles of an account in trading hours."""
    settle_time: timedelta = SETTLE_TIME
    """Between a close and the call that can confirm it."""
    calls_per_second: float = 500.0
    """Calls that this server may make for all accounts together."""


class LastPrices:
    """The prices of an account's last quotes."""

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        self._answers: tuple[tuple[datetime, Mapping[Symbol, float]], ...] = ()
        """When each answer came and its prices, newest first."""

    @property
    def newest(self) -> Mapping[Symbol, float]:
        """The prices of the newest answer."""
        return self._answers[0][1] if self._answers else {}

    def record(self, prices: Mapping[Symbol, float], answered_at: datetime) -> None:
        """Keep the prices of an answer."""
        self._answers = ((answered_at, prices), *self._answers[: _KEPT_ANSWERS - 1])

    def around(self, symbol: Symbol, close: datetime) -> tuple[float, float] | None:
        """Return the lowest and highest of the newest price and the last one before a close.

        The newest price may belong to the next candle already; the close is most likely between the two.
        """
        before = next((prices for at, prices in self._answers if at <= close), {})
        found = [one for one in (self.newest.get(symbol), before.get(symbol)) if one is not None]
        return (min(found), max(found)) if found else None


@dataclass(frozen=True, slots=True)
class PlannedReading:
    """The first reading of a feed after a close."""

    key: FeedKey
    feed: Feed
    expected: datetime
    """The close of the candle."""
    distance: float
    """How far the prices are from the nearest trigger, as a share of the price; 0 if one has crossed it."""
    starts_at: datetime | None = None
    """When its call is made; `None` for at once."""


@dataclass(slots=True)
class _LinesOfClose:
    """How many lines of all accounts are spread after a close, and after the close before."""

    close: datetime
    count: int = 0
    before: int = 0


@dataclass(slots=True)
class ReadingPlan:
    """Plans the readings of all accounts, so that they begin no faster than calls can be made."""

    times: ReadingTimes
    random: Random
    _lines: dict[Resolution, _LinesOfClose] = field(default_factory=dict)

    @property
    def settle_time(self) -> timedelta:
        """Between a close and the call that can confirm it."""
        return self.times.settle_time

    def readings(
        self,
        due: Iterable[tuple[FeedKey, Feed, datetime]],
        prices: LastPrices,
        *,
        now: datetime,
        ahead: timedelta,
    ) -> list[PlannedReading]:
        """Return the readings of an account's due feeds, those without a wait first.

        Args:
            due: Each feed with the close that is expected of it.
            prices: Of the account's last quotes.
            now: By this server's clock.
            ahead: How far Fyers' clock is ahead of it.
        """
        found = []
        far: defaultdict[tuple[Resolution, datetime], list[PlannedReading]] = defaultdict(list)
        for key, feed, expected in due:
            around = prices.around(key[0], expected - ahead)
            is_near = _is_near(feed, around)
            reading = PlannedReading(key, feed, expected, _distance(feed, around, is_near=is_near))
            if not is_near and self._can_wait(key, feed, expected - ahead, now):
                far[key[1], expected].append(reading)
            else:
                found.append(reading)
        for (resolution, close), readings in far.items():
            found += self._spread(readings, resolution, close, close + self.settle_time - ahead)
        return found

    def _can_wait(self, key: FeedKey, feed: Feed, close: datetime, now: datetime) -> bool:
        lasts = self._lasts(key[1])
        return feed.candles.is_complete and now < close + self.settle_time + lasts

    def _spread(
        self, readings: list[PlannedReading], resolution: Resolution, close: datetime, settles_at: datetime
    ) -> list[PlannedReading]:
        """Spread an account's readings, the nearest line first; all accounts have theirs in the same time."""
        lines = self._lines.setdefault(resolution, _LinesOfClose(close))
        if lines.close != close:
            lines.close, lines.count, lines.before = close, 0, lines.count
        lines.count += len(readings)
        lasts, phase = self._lasts(resolution), self.random.random()
        return [
            PlannedReading(
                one.key, one.feed, one.expected, one.distance,
                settles_at + lasts * ((number + phase) / len(readings)),
            )
            for number, one in enumerate(sorted(readings, key=lambda one: one.distance))
        ]  # fmt: skip

    def _lasts(self, resolution: Resolution) -> timedelta:
        """Return over how long the readings of a close are spread, to judge by the lines of this close and of the last."""
        lines = self._lines.get(resolution)
        if lines is None:
            return timedelta()
        seconds = max(lines.count, lines.before) / (self.times.calls_per_second * STARTED_PER_CALL)
        if seconds < WORTH_SPREADING_S:
            return timedelta()
        return min(timedelta(seconds=seconds), resolution.length * LONGEST_SPREAD)


def _is_near(feed: Feed, around: tuple[float, float] | None) -> bool:
    return around is not None and decides_about_signal(feed.candles.series.values(), *around)


def _distance(feed: Feed, around: tuple[float, float] | None, *, is_near: bool) -> float:
    if around is None:
        return math.inf
    all_series = feed.candles.series.values()
    if is_near:
        distances = [one.distance(price) for one in all_series for price in around]
    else:  # neither price has crossed a trigger
        triggers = [one.trigger for one in all_series]
        distances = [abs(price - one) / price for one in triggers if one is not None for price in around]
    return min((one for one in distances if one is not None), default=math.inf)
