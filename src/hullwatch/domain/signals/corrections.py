"""Compares stored signals with those that a rule gives on fresh history, and corrects the stored ones."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

from hullwatch.domain.market.calendar import MarketCalendar, day_bounds
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.signals import HistoryChange, Rule, Signal


@dataclass(frozen=True, slots=True)
class Recomputation:
    """All signals that one watch's rule gives on fresh history, over a range of candles."""

    watch_id: str
    user_id: str
    symbol: Symbol
    resolution: Resolution
    period: int
    rule: Rule
    signals_from: datetime
    """The watch's own moment: candles that closed up to it add no signals."""
    covers_after: datetime
    """Close of the last candle on which the fresh series can give no signal, because it still warms up."""
    covers_through: datetime
    """Close of the newest recomputed candle, at most the watch's `evaluated_through`."""
    signals: tuple[Signal, ...]
    """Every signal on a candle that closed in (`covers_after`, `covers_through`]."""
    cause: HistoryChange

    def concerns(self, signal: Signal) -> bool:
        """Whether it decides about a stored signal: the same definition of the watch, in the range."""
        same = (
            signal.watch_id == self.watch_id
            and signal.resolution == self.resolution
            and signal.period == self.period
            and signal.rule is self.rule
            and signal.symbol == self.symbol
        )
        return same and self.covers_after < signal.candle_closed_at <= self.covers_through


@dataclass(frozen=True, slots=True)
class Corrections:
    """The signals that a recomputation changes, each as it is to be stored."""

    withdrawn: tuple[Signal, ...] = ()
    reinstated: tuple[Signal, ...] = ()
    changed: tuple[Signal, ...] = ()
    """Another direction."""
    repriced: tuple[Signal, ...] = ()
    """The same direction with another close or average: what was notified of them is still true."""
    added: tuple[Signal, ...] = ()
    """Missing before, and late now."""
    marked: tuple[Signal, ...] = ()
    """Old signals whose mark "history changed" was set, or removed because they are right again."""

    @property
    def updated(self) -> tuple[Signal, ...]:
        """The signals that are stored already and change."""
        return (*self.withdrawn, *self.reinstated, *self.changed, *self.repriced, *self.marked)

    def __add__(self, other: "Corrections") -> "Corrections":
        return Corrections(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(self)))


def withdrawable_from(calendar: MarketCalendar, now: datetime) -> datetime:
    """Return the begin of the last two trading days: the day of the latest market open, and the one before it."""
    session = calendar.session_at(now) or calendar.previous_session(now)
    begins_at, _ = day_bounds(session.day)
    return day_bounds(calendar.trading_day_of(begins_at - timedelta(days=1)))[0]


def reconcile(
    stored: Iterable[Signal], recomputed: Recomputation, *, withdraw_from: datetime, now: datetime
) -> Corrections:
    """Return the corrections that make a watch's stored signals agree with the recomputed ones.

    Args:
        stored: The watch's stored signals; those that the recomputation does not concern stay as they are.
        recomputed: The signals on fresh history.
        withdraw_from: Signals of candles that closed after this moment are withdrawn, reinstated, changed and
            added. Older ones are only marked, because nobody acts on them any more.
        now: The time of the correction.
    """
    found = {one.candle_opened_at: one for one in recomputed.signals if recomputed.concerns(one)}
    withdrawn: list[Signal] = []
    reinstated: list[Signal] = []
    changed: list[Signal] = []
    repriced: list[Signal] = []
    marked: list[Signal] = []
    for signal in stored:
        if not recomputed.concerns(signal):
            continue
        other = found.pop(signal.candle_opened_at, None)
        if signal.candle_closed_at <= withdraw_from:
            marked += _marked(signal, other, now)
        elif other is None:
            if signal.withdrawn_at is None:
                withdrawn.append(_next(signal, withdrawn_at=now, withdrawn_reason=recomputed.cause))
        elif signal.withdrawn_at is not None:
            reinstated.append(_next(_with_values(signal, other), withdrawn_at=None, withdrawn_reason=None))
        elif _values(signal) != _values(other):
            kind = repriced if signal.direction is other.direction else changed
            kind.append(_next(_with_values(signal, other)))
    first = max(withdraw_from, recomputed.signals_from)
    added = [
        replace(one, detected_at=now, is_late=True) for one in found.values() if one.candle_closed_at > first
    ]
    return Corrections(*map(tuple, (withdrawn, reinstated, changed, repriced, added, marked)))


def _marked(signal: Signal, other: Signal | None, now: datetime) -> list[Signal]:
    """Return the old signal with its mark set or removed; nothing if the mark is right."""
    if signal.withdrawn_at is not None:
        return []
    differs = other is None or _values(signal) != _values(other)
    if differs == (signal.history_changed_at is not None):
        return []
    return [replace(signal, history_changed_at=now if differs else None)]


def _next(signal: Signal, **changes: object) -> Signal:
    return replace(signal, revision=signal.revision + 1, **changes)  # type: ignore[arg-type]


def _values(signal: Signal) -> tuple[object, ...]:
    return signal.direction, signal.close, signal.hma


def _with_values(signal: Signal, other: Signal) -> Signal:
    return replace(signal, direction=other.direction, close=other.close, hma=other.hma)
