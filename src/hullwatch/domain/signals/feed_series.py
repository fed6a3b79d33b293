"""The series of all watches on one symbol and resolution, kept equal to Fyers' history.

A new candle is used once its close has settled. When an answer shows that Fyers has changed its history, every
series is built again, and all its signals are returned for a comparison with the stored ones. Any order of late,
corrected and missing candles so ends in the state of a fresh start on the final candles.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.market.candles import Candle, closes_at
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import warm_up
from hullwatch.domain.signals.jumps import is_like_corporate_action
from hullwatch.domain.signals.settling import Reading, confirms, decides_about_signal, read_again_at
from hullwatch.domain.signals.signals import Direction, HistoryChange, Rule, WatchSeries
from hullwatch.domain.signals.used_candles import UsedCandles

_TRADING_DAY = timedelta(hours=6, minutes=30)
_BEFORE_SIGNALS = 10
"""Candles between the warm-up and the first one that may have a signal: a turn needs a move of the average before it."""
_TRIMMED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """The closed candles of one history call; moments on this server's clock."""

    candles: Sequence[Candle]
    """Oldest first."""
    start: datetime
    """The opening that the call asked for first."""
    sent_at: datetime
    answered_at: datetime
    fyers_ahead: timedelta = timedelta()
    """How far Fyers' clock is surely ahead of this server's; negative if it may be behind."""
    is_whole: bool = False
    """Whether the call asked for the whole warm-up."""


@dataclass(frozen=True, slots=True)
class FoundSignal:
    """A signal of one watch; prices in INR."""

    watch_id: str
    opened_at: datetime
    closed_at: datetime
    close: float
    hma: float
    direction: Direction


@dataclass(frozen=True, slots=True)
class Recalculation:
    """All signals of one watch on the used candles, after its series was built again."""

    watch_id: str
    covers_after: datetime | None
    """Close of the last candle that can give no signal, because the average warms up; `None` if it still does."""
    covers_through: datetime
    """Close of the newest used candle."""
    signals: tuple[FoundSignal, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """What an answer changed."""

    accepted: tuple[tuple[Candle, datetime], ...] = ()
    """New candles, each with its close, oldest first."""
    signals: tuple[FoundSignal, ...] = ()
    """On the new candles."""
    change: HistoryChange | None = None
    """How the history of used candles differs, if it does."""
    recalculations: tuple[Recalculation, ...] = ()
    """One for each watch if the series were built again."""
    needs_whole: bool = False
    """Whether the whole warm-up has to be fetched before further candles can be used."""
    read_again_at: datetime | None = None
    """When the next reading can confirm the close that decides about a signal."""


class FeedSeries:
    """The used candles of one symbol and resolution, and the series of the watches on them."""

    __slots__ = (
        "_calendar",
        "_early",
        "_readings",
        "_resolution",
        "_settle_time",
        "_symbol",
        "series",
        "used",
    )

    def __init__(
        self, symbol: Symbol, resolution: Resolution, calendar: MarketCalendar, settle_time: timedelta
    ) -> None:
        self._symbol = symbol
        self._resolution = resolution
        self._calendar = calendar
        self._settle_time = settle_time
        self._readings: dict[datetime, Reading] = {}
        """Opening → the newest reading of a candle that is not used yet."""
        self._early: datetime | None = None
        """Opening of the newest used candle if its only reading was before the settle time."""
        self.used = UsedCandles()
        self.series: dict[str, WatchSeries] = {}
        """Watch id → its series."""

    @property
    def is_complete(self) -> bool:
        """Whether every watch has a series over the used candles."""
        last = self.used.last_opened_at
        return last is not None and all(one.last_opened_at == last for one in self.series.values())

    @property
    def is_early(self) -> bool:
        """Whether the only reading of the newest used candle was before its settle time."""
        return self._early is not None and self._early == self.used.last_opened_at

    def put(self, watch_id: str, period: int, rule: Rule) -> None:
        """Add or replace a watch; its series is built with the next answer for the whole warm-up."""
        self.series[watch_id] = WatchSeries(period, rule, self._symbol)

    def discard(self, watch_id: str) -> None:
        """Remove a watch."""
        self.series.pop(watch_id, None)

    def started_anew_at(self) -> datetime | None:
        """Return the opening of the candle after a jump, while an average that started anew with it warms up."""
        found = (one.started_anew_at for one in self.series.values() if one.hma is None)
        return max((one for one in found if one is not None), default=None)

    def lacks_candle(self, closed_at: datetime) -> bool:
        """Whether the slot that closed at this moment has no candle, although a later one has."""
        last = self.used.last_opened_at
        is_passed = last is not None and last >= closed_at
        return is_passed and not self.used.has_opening(closed_at - self._resolution.length, closed_at)

    def differs(self, candles: Sequence[Candle]) -> bool:
        """Whether candles of another call show a history that differs from the used one."""
        return self.used.difference(candles) is not None and not self._is_first_settled_reading(
            candles, candles[0].opened_at
        )

    def record(self, answer: Answer, evaluated_through: datetime) -> Update:
        """Use an answer.

        Args:
            answer: Of a call that began with `used.overlap_start` or earlier.
            evaluated_through: Candles that closed up to here give no new signal, so that their closes count at once.
        """
        if answer.is_whole or not self.used:
            return self._record_whole(answer, evaluated_through)
        change = self.used.difference(answer.candles, answer.start)
        recalculations: tuple[Recalculation, ...] = ()
        if change is not None:
            if not self._is_first_settled_reading(answer.candles, answer.start):
                return Update(change=change, needs_whole=True)
            last = self.used.last_opened_at
            self.used.replace_last_close(next(one.close for one in answer.candles if one.opened_at == last))
            recalculations = self._build()
        return self._use_new(answer, evaluated_through, change, recalculations)

    def _is_first_settled_reading(self, candles: Sequence[Candle], start: datetime) -> bool:
        """Whether the only difference is the close of a candle whose only reading was before its settle time."""
        return self.is_early and self.used.differs_only_in_last_close(candles, start)

    def _record_whole(self, answer: Answer, evaluated_through: datetime) -> Update:
        change = self.used.difference(answer.candles, answer.start if answer.is_whole else None)
        last = self.used.last_opened_at
        base = [
            candle
            for candle in answer.candles
            if (
                candle.opened_at <= last
                if last is not None
                else self._closes_at(candle.opened_at) <= evaluated_through
            )
        ]
        recalculations: tuple[Recalculation, ...] = ()
        if last is None:
            self.used.replace(base, answer.start)
        if base and (change is not None or not self.is_complete):
            if change is not None or base[0].opened_at < self._first_opened_at():
                self.used.replace(base, answer.start)
            recalculations = self._build(formerly_last=last)
        if last is not None and answer.sent_at >= self._settles_at(self._closes_at(last), answer):
            self._early = None
        return self._use_new(answer, evaluated_through, change, recalculations)

    def _build(self, formerly_last: datetime | None = None) -> tuple[Recalculation, ...]:
        """Build every series again from the used candles.

        Args:
            formerly_last: Opening of the newest candle before; its signals are gone if history took it back.
        """
        self.series = {
            watch_id: WatchSeries(old.period, old.rule, self._symbol) for watch_id, old in self.series.items()
        }
        last = self.used.last_opened_at
        if last is None:
            return ()
        first: dict[str, datetime] = {}
        signals: dict[str, list[FoundSignal]] = {watch_id: [] for watch_id in self.series}
        for opened_at, close in self.used:
            for found in self._add(opened_at, close):
                signals[found.watch_id].append(found)
            for watch_id, series in self.series.items():
                if watch_id not in first and series.can_signal:
                    first[watch_id] = self._closes_at(opened_at)
        through = self._closes_at(max(last, formerly_last or last))
        return tuple(
            Recalculation(watch_id, first.get(watch_id), through, tuple(found))
            for watch_id, found in signals.items()
        )

    def _add(self, opened_at: datetime, close: float) -> list[FoundSignal]:
        """Add a candle to every series."""
        found = []
        for watch_id, series in self.series.items():
            result = series.add(opened_at, close)
            if result.direction is not None and result.hma is not None:
                closed_at = self._closes_at(opened_at)
                found.append(FoundSignal(watch_id, opened_at, closed_at, close, result.hma, result.direction))
        return found

    def _use_new(
        self,
        answer: Answer,
        evaluated_through: datetime,
        change: HistoryChange | None,
        recalculations: tuple[Recalculation, ...],
    ) -> Update:
        """Use the candles that follow the used ones, up to the first whose close is not settled."""
        last = self.used.last_opened_at
        new = [
            (one, self._closes_at(one.opened_at))
            for one in answer.candles
            if last is None or one.opened_at > last
        ]
        accepted: list[tuple[Candle, datetime]] = []
        signals: list[FoundSignal] = []
        again_at: datetime | None = None
        needs_whole = False
        for candle, closed_at in new:
            needs_whole = self._is_jump(candle) and not answer.is_whole
            if needs_whole:
                break
            if closed_at > evaluated_through and not self._is_settled(candle, closed_at, answer):
                again_at = read_again_at(answer.answered_at, self._settles_at(closed_at, answer))
                break
            self.used.append(candle)
            accepted.append((candle, closed_at))
            is_early = answer.sent_at < self._settles_at(closed_at, answer)
            self._early = candle.opened_at if is_early else None
            signals += self._add(candle.opened_at, candle.close)
        if last is not None and not recalculations and accepted and accepted[0][1] <= evaluated_through:
            # Taken back before and shown again: as a new candle it would give no signal a second time.
            change, recalculations = change or HistoryChange.CANDLE_ADDED, self._build()
        self._remember_readings(new[len(accepted) :], answer)
        self._trim()
        return Update(tuple(accepted), tuple(signals), change, recalculations, needs_whole, again_at)

    def _is_settled(self, candle: Candle, closed_at: datetime, answer: Answer) -> bool:
        if not decides_about_signal(self.series.values(), candle.close):
            return True
        return confirms(
            self._readings.get(candle.opened_at),
            candle.close,
            sent_at=answer.sent_at,
            settles_at=self._settles_at(closed_at, answer),
        )

    def _remember_readings(self, unused: Sequence[tuple[Candle, datetime]], answer: Answer) -> None:
        """Keep the readings of candles that are not used yet; an equal reading keeps its earlier time."""
        kept: dict[datetime, Reading] = {}
        for candle, _ in unused:
            before = self._readings.get(candle.opened_at)
            is_same = before is not None and before.close == candle.close
            kept[candle.opened_at] = (
                before if is_same and before is not None else Reading(candle.close, answer.answered_at)
            )
        self._readings = kept

    def _is_jump(self, candle: Candle) -> bool:
        opened_at, close = self.used.last_opened_at, self.used.last_close
        if opened_at is None or close is None:
            return False
        return is_like_corporate_action(self._symbol, opened_at, close, candle.opened_at, candle.close)

    def _trim(self) -> None:
        """Keep enough candles to build the series again with the signals of the last two trading days."""
        periods = (series.period for series in self.series.values())
        count = (
            warm_up(max(periods, default=2))
            + _BEFORE_SIGNALS
            + 2 * math.ceil(_TRADING_DAY / self._resolution.length)
        )
        if len(self.used) > count + _TRIMMED_AT_ONCE:
            self.used.trim(count)

    def _settles_at(self, closed_at: datetime, answer: Answer) -> datetime:
        """Return from when a call can confirm the close, on this server's clock."""
        return closed_at + self._settle_time - answer.fyers_ahead

    def _closes_at(self, opened_at: datetime) -> datetime:
        return closes_at(opened_at, self._resolution, self._calendar)

    def _first_opened_at(self) -> datetime:
        return next(iter(self.used))[0]
