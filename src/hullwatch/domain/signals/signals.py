"""The rules that make a closed candle a signal, and the series that applies one rule, live and in a replay.

Crossing is defined as TradingView's ``ta.crossover`` and ``ta.crossunder`` (Pine Script v5 reference):
strictly above the average now, and at or below it at the candle before; mirrored for below. The first candle
with an average gives no crossing. Turn: the average moves strictly up after it last moved down, or the other
way round; a candle that leaves the average unchanged keeps the direction. All comparisons use exact numbers
(see `hma`), so a close exactly on its average is a tie.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import PAISA, HullMovingAverage
from hullwatch.domain.signals.jumps import is_like_corporate_action

LATE_AFTER: Final = timedelta(seconds=60)
"""A signal found longer than this after its candle closed is late."""


class Rule(StrEnum):
    """What a watch looks for."""

    CROSS = "cross"
    """The close crossed its average."""
    TURN = "turn"
    """The average itself changed direction."""


class Direction(StrEnum):
    """Direction of a signal."""

    UP = "up"
    DOWN = "down"


class HistoryChange(StrEnum):
    """How Fyers changed its history of a symbol after hullwatch had used it."""

    CANDLE_CORRECTED = "candle_corrected"
    """A candle has another close."""
    CANDLE_ADDED = "candle_added"
    """A candle arrived after its successors."""
    CANDLE_REMOVED = "candle_removed"
    RESCALED = "rescaled"
    """All earlier closes changed by one factor, as after a split, a bonus or a roll-over."""
    OTHER = "other"


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
    """Found late; a correction of a signal that was found in time does not make it late."""
    revision: int = 1
    """Grows when the signal is withdrawn, reinstated, or gets another direction or other prices."""
    withdrawn_at: datetime | None = None
    """When a correction withdrew the signal; `None` while it holds."""
    withdrawn_reason: HistoryChange | None = None
    history_changed_at: datetime | None = None
    """When Fyers' history was found to differ from this signal, which is too old to be withdrawn."""


@dataclass(frozen=True, slots=True)
class SignalCounts:
    """How many signals there were; withdrawn ones count neither as on time nor as late."""

    on_time: int = 0
    late: int = 0
    withdrawn: int = 0


def is_late(candle_closed_at: datetime, detected_at: datetime) -> bool:
    """Return whether a signal was found more than `LATE_AFTER` after its candle closed."""
    return detected_at - candle_closed_at > LATE_AFTER


class SignalDetector:
    """Applies one rule to closes, oldest first, in constant time and memory for each.

    Raises:
        InvalidInput: the period or the tick size is unusable.
    """

    __slots__ = ("_last", "average", "rule")

    average: HullMovingAverage
    """The average that the rule uses; only `feed` may update it."""

    def __init__(self, rule: Rule, period: int, tick_size: Decimal | float = PAISA) -> None:
        self.rule = rule
        self.average = HullMovingAverage(period, tick_size)
        self._last: int | None = None
        """Crossing: side of the last close. Turn: last movement other than 0."""

    def feed(self, close: float) -> Direction | None:
        """Add the next closed candle's close; return the direction if it is a signal.

        Raises:
            InvalidInput: the close is no finite positive number; nothing has changed.
        """
        if self.average.update(close) is None:
            return None
        return self._crossing(close) if self.rule is Rule.CROSS else self._turn()

    def next_direction(self, close: float) -> Direction | None:
        """Return the direction if the next candle were a signal with this close; nothing is changed.

        Raises:
            InvalidInput: the close is no finite positive number.
        """
        forming = self.average.compare_forming(close)
        if forming is None:
            return None
        side, movement = forming
        return _crossed(self._last, side) if self.rule is Rule.CROSS else _turned(self._last, movement)

    @property
    def can_signal(self) -> bool:
        """Whether the next close can be a signal."""
        return self._last is not None

    @property
    def trigger(self) -> float | None:
        """The close beyond which the next candle is a signal, INR; `None` while warming up.

        It may be below 0, which no close reaches.
        """
        prices = self.average.turning_prices()
        if prices is None or self._last is None:
            return None
        return prices[0] if self.rule is Rule.CROSS else prices[1]

    def _crossing(self, close: float) -> Direction | None:
        before, side = self._last, self.average.compare(close)
        self._last = side
        return None if side is None else _crossed(before, side)

    def _turn(self) -> Direction | None:
        before, movement = self._last, self.average.slope
        if not movement:
            return None
        self._last = movement
        return _turned(before, movement)


def _crossed(before: int | None, side: int) -> Direction | None:
    """Return the direction of a crossing from one side of the average to another."""
    if before is None:
        return None
    if side == 1 and before <= 0:
        return Direction.UP
    return Direction.DOWN if side == -1 and before >= 0 else None


def _turned(before: int | None, movement: int) -> Direction | None:
    """Return the direction of a turn; a candle that keeps the average is none."""
    if before is None or movement in (0, before):
        return None
    return Direction.UP if movement > 0 else Direction.DOWN


class FeedStatus(StrEnum):
    """What a series did with a candle."""

    ACCEPTED = "accepted"
    """It is the newest candle now, and the average is updated."""
    DUPLICATE = "duplicate"
    """The newest candle again with the same close; nothing changed."""
    REVISED = "revised"
    """The newest candle again with another close; nothing changed. Only a rebuilt series would use it."""
    OUT_OF_ORDER = "out_of_order"
    """Older than the newest candle; nothing changed."""


@dataclass(frozen=True, slots=True)
class FeedResult:
    """The result of one candle in a series."""

    status: FeedStatus
    direction: Direction | None = None
    """Set when this candle is a signal."""
    hma: float | None = None
    """The average after the candle, INR; `None` while warming up, and when the candle was not accepted."""


class WatchSeries:
    """One rule over one instrument and resolution, for live watches, charts and replays; about 4 kB at period 55.

    It takes closed candles only. It does not use the calendar, so the caller has to notice missing candles. Where two
    closes are so far apart as after a split, the average starts anew with the later one.

    Raises:
        InvalidInput: the period or the tick size is unusable.
    """

    __slots__ = ("_detector", "_symbol", "_tick_size", "last_close", "last_opened_at", "started_anew_at")

    last_opened_at: datetime | None
    """Opening of the newest candle."""
    last_close: float | None
    """Close of the newest candle, INR."""
    started_anew_at: datetime | None
    """Opening of the last candle with which the average started anew."""

    def __init__(
        self, period: int, rule: Rule, symbol: Symbol | None = None, *, tick_size: Decimal | float = PAISA
    ) -> None:
        """Without a symbol no step between two closes counts as a split."""
        self._detector = SignalDetector(rule, period, tick_size)
        self._symbol = symbol
        self._tick_size = tick_size
        self.last_opened_at = None
        self.last_close = None
        self.started_anew_at = None

    def feed(self, candle: Candle) -> FeedResult:
        """Add a closed candle if it is newer than all before.

        Raises:
            InvalidInput: the close is no finite positive number; nothing has changed.
        """
        return self.add(candle.opened_at, candle.close)

    def add(self, opened_at: datetime, close: float) -> FeedResult:
        """Add a closed candle by its opening and close; see `feed`."""
        newest, last_close, detector = self.last_opened_at, self.last_close, self._detector
        if newest is not None and last_close is not None:
            if opened_at < newest:
                return FeedResult(FeedStatus.OUT_OF_ORDER)
            if opened_at == newest:
                return FeedResult(FeedStatus.DUPLICATE if close == last_close else FeedStatus.REVISED)
            if self._symbol is not None and is_like_corporate_action(
                self._symbol, newest, last_close, opened_at, close
            ):
                detector = SignalDetector(self.rule, self.period, self._tick_size)
        direction = detector.feed(close)
        if detector is not self._detector:
            self._detector, self.started_anew_at = detector, opened_at
        self.last_opened_at, self.last_close = opened_at, close
        return FeedResult(FeedStatus.ACCEPTED, direction, detector.average.value)

    @property
    def can_signal(self) -> bool:
        """Whether the next candle can be a signal."""
        return self._detector.can_signal

    @property
    def rule(self) -> Rule:
        """The rule that is applied."""
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
        """Number of candles added."""
        return self._detector.average.count

    @property
    def missing(self) -> int:
        """Candles missing before the first average."""
        return self._detector.average.missing

    def next_direction(self, close: float) -> Direction | None:
        """Return the direction if the next candle were a signal with this close; nothing is changed."""
        return self._detector.next_direction(close)

    @property
    def trigger(self) -> float | None:
        """The close beyond which the next candle is a signal, INR; `None` while warming up.

        The average is affine in the closing price, so one price separates the closes with a signal from the others.
        """
        return self._detector.trigger

    def distance(self, price: float) -> float | None:
        """Return how far `price` is from the trigger, as a fraction of `price`.

        Returns:
            0 where the next candle would be a signal at this price; `None` while warming up.
        """
        trigger = self.trigger
        if trigger is None:
            return None
        return 0.0 if self.next_direction(price) is not None else abs(price - trigger) / price

    def preview(self, price: float) -> float | None:
        """Return the average if the forming candle closed at `price`; nothing is changed."""
        return self._detector.average.preview(price)
