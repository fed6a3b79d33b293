"""When a closed candle is a signal: the two rules, and the series that applies one of them, live and in replay alike.

Both rules read exact numbers (see `hma`), so a close exactly on its average is a tie and not a coin toss. Whose watch it
is, whether a notice goes out and what was sent before are decided in the services.

Crossing, as TradingView's ``ta.crossover`` and ``ta.crossunder`` have it (Pine Script v5 reference): strictly above the
average now, and at or below it at the candle before; mirrored for below. The first candle that has an average cannot
cross anything. Turn: the average moves strictly up after it last moved down, or the other way round; candles on which
it stands still keep the direction it had.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import PAISA, HullMovingAverage

LATE_AFTER: Final = timedelta(seconds=60)
"""A signal noticed longer than this after its candle closed is late: found when catching up, not as it happened."""

CANDLE_READ_DELAY: Final = timedelta(seconds=1)
"""Wait between a candle's close and the call for it, so that its last trades are in it. Our assumption: Fyers states no delay.

Short, because a signal waits for it. `services/market/hma.py` keeps a reading provisional for longer.
"""


class Rule(StrEnum):
    """What a watch wants to hear about."""

    CROSS = "cross"
    """The close crossed its average."""
    TURN = "turn"
    """The average itself changed direction."""


class Direction(StrEnum):
    """Which way a signal points."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Signal:
    """A dated fact about one instrument and resolution, found for one watch; prices in INR, moments aware, UTC."""

    watch_id: str
    user_id: str
    symbol: Symbol
    resolution: Resolution
    period: int
    rule: Rule
    direction: Direction
    candle_opened_at: datetime
    candle_closed_at: datetime
    close: float
    hma: float
    detected_at: datetime
    is_late: bool


def is_late(candle_closed_at: datetime, detected_at: datetime) -> bool:
    """Tell whether a signal was noticed more than `LATE_AFTER` after its candle closed."""
    return detected_at - candle_closed_at > LATE_AFTER


class SignalDetector:
    """Applies one rule to closed candles' closes, oldest first; constant time and memory each.

    Raises:
        InvalidInput: the period or the tick size is unusable.
    """

    __slots__ = ("_last", "average", "rule")

    average: HullMovingAverage
    """The average that the rule reads; feed closes to `feed`, never to this."""

    def __init__(self, rule: Rule, period: int, tick_size: Decimal | float = PAISA) -> None:
        self.rule = rule
        self.average = HullMovingAverage(period, tick_size)
        self._last: int | None = None
        """Crossing: side of the last close. Turn: last movement other than 0."""

    def feed(self, close: float) -> Direction | None:
        """Take in the next closed candle's close and say whether it is a signal.

        Raises:
            InvalidInput: the close is no finite positive number; nothing has changed.
        """
        if self.average.update(close) is None:
            return None
        return self._crossing(close) if self.rule is Rule.CROSS else self._turn()

    def _crossing(self, close: float) -> Direction | None:
        before, side = self._last, self.average.compare(close)
        self._last = side
        if before is None:
            return None
        if side == 1 and before <= 0:
            return Direction.UP
        if side == -1 and before >= 0:
            return Direction.DOWN
        return None

    def _turn(self) -> Direction | None:
        before, movement = self._last, self.average.slope
        if not movement:
            return None
        self._last = movement
        if before is None or before == movement:
            return None
        return Direction.UP if movement == 1 else Direction.DOWN


class FeedStatus(StrEnum):
    """What became of a candle that was given to a series."""

    ACCEPTED = "accepted"
    """It is the newest candle now, and the average moved on."""
    DUPLICATE = "duplicate"
    """It is the newest candle once more, with the same close; nothing changed."""
    REVISED = "revised"
    """It is the newest candle once more with another close; nothing changed. Only a rebuilt series would know it."""
    OUT_OF_ORDER = "out_of_order"
    """It is older than the newest candle; nothing changed."""


@dataclass(frozen=True, slots=True)
class FeedResult:
    """The answer of a series to one candle."""

    status: FeedStatus
    direction: Direction | None = None
    """Set when this candle is a signal."""
    hma: float | None = None
    """The average after the candle, INR; `None` while warming up, and when the candle was not accepted."""


class WatchSeries:
    """One rule over one instrument and resolution: what a live watch and a replay both run; about 4 kB at period 55.

    Give it closed candles only. It does not know the calendar: whether a candle is missing between two others is for
    the caller to find out.

    Raises:
        InvalidInput: the period or the tick size is unusable.
    """

    __slots__ = ("_detector", "last_close", "last_opened_at")

    last_opened_at: datetime | None
    """Opening of the newest candle taken in."""
    last_close: float | None
    """Its close, INR."""

    def __init__(self, period: int, rule: Rule, tick_size: Decimal | float = PAISA) -> None:
        self._detector = SignalDetector(rule, period, tick_size)
        self.last_opened_at = None
        self.last_close = None

    def feed(self, candle: Candle) -> FeedResult:
        """Take in a closed candle if it is newer than all before.

        Raises:
            InvalidInput: the close is no finite positive number; nothing has changed.
        """
        newest = self.last_opened_at
        if newest is not None and candle.opened_at <= newest:
            if candle.opened_at < newest:
                return FeedResult(FeedStatus.OUT_OF_ORDER)
            return FeedResult(FeedStatus.DUPLICATE if candle.close == self.last_close else FeedStatus.REVISED)
        direction = self._detector.feed(candle.close)
        self.last_opened_at, self.last_close = candle.opened_at, candle.close
        return FeedResult(FeedStatus.ACCEPTED, direction, self._detector.average.value)

    @property
    def rule(self) -> Rule:
        """What the series looks for."""
        return self._detector.rule

    @property
    def period(self) -> int:
        """Length of the average in candles."""
        return self._detector.average.period

    @property
    def hma(self) -> float | None:
        """The average after the newest candle, INR; `None` while warming up."""
        return self._detector.average.value

    @property
    def count(self) -> int:
        """Candles taken in."""
        return self._detector.average.count

    @property
    def missing(self) -> int:
        """Candles still missing before the first average."""
        return self._detector.average.missing

    def preview(self, price: float) -> float | None:
        """Return what the average would be if the forming candle closed at `price`; changes nothing."""
        return self._detector.average.preview(price)
