"""What quotes show about when a symbol traded, to know which of its slots must have a candle."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Quote

_SPACING: Final = timedelta(seconds=20)
"""Between two changes that are kept: the shortest slot, a minute, holds one all the same."""
_KEPT: Final = 6
_MARK_EVERY: Final = timedelta(minutes=1)
"""A missing candle is given up a minute after its close: one mark is at most that old, and the other one older."""
_LONGEST_GAP: Final = timedelta(minutes=1)
"""The price of an index may change and return within a longer time without quotes. A volume only grows."""


@dataclass(slots=True)
class _Trace:
    """The quotes of one symbol."""

    value: float
    """The volume of the day; for an index, which has none, the price."""
    at: datetime
    since: datetime
    """When the first quote was fetched; for an index the first one without a longer gap after it."""
    marks: tuple[tuple[datetime, float], ...]
    """The time and value of two earlier quotes, a minute or more apart."""
    changed: tuple[datetime, datetime] | None = None
    """The two quotes between which the value last changed."""
    changes: tuple[tuple[datetime, datetime], ...] = ()
    """Some of the earlier changes, oldest first."""


class TradingEvidence:
    """Remembers when the volumes of an account's symbols changed. How far apart the quotes are does not matter."""

    __slots__ = ("_traces",)

    def __init__(self) -> None:
        self._traces: dict[Symbol, _Trace] = {}

    def record(self, quotes: Iterable[Quote], at: datetime) -> None:
        """Record the quotes of one call; implausible ones are left out."""
        for quote in quotes:
            value = quote.price if quote.symbol.is_index else quote.volume
            if value is None or quote.price is None:
                continue
            trace = self._traces.get(quote.symbol)
            if trace is None:
                self._traces[quote.symbol] = _Trace(value, at, at, ((at, value),))
                continue
            if quote.symbol.is_index and at - trace.at > _LONGEST_GAP:
                trace.since = at
            if value != trace.value:
                trace.changed = (trace.at, at)
                if not trace.changes or trace.at - trace.changes[-1][0] >= _SPACING:
                    trace.changes = (*trace.changes, trace.changed)[-_KEPT:]
            if at - trace.marks[-1][0] >= _MARK_EVERY:
                trace.marks = (trace.marks[-1], (at, value))
            trace.value, trace.at = value, at

    def has_traded(self, symbol: Symbol, start: datetime, end: datetime) -> bool | None:
        """Return whether the symbol traded from `start` to `end`; `None` if the quotes do not show it."""
        trace = self._traces.get(symbol)
        if trace is None:
            return None
        if any(start <= before and after <= end for before, after in trace.changes):
            return True
        is_covered = trace.since <= start and trace.at >= end
        is_unchanged = trace.changed is None or trace.changed[1] <= start
        return False if is_covered and is_unchanged else None

    def has_volume(self, symbol: Symbol, start: datetime, end: datetime) -> bool:
        """Whether a quote that was fetched from `start` to `end` showed that the symbol had traded today.

        For an index, whether its price changed in this time.
        """
        trace = self._traces.get(symbol)
        if trace is None or symbol.is_index:
            return self.has_traded(symbol, start, end) is True
        return any(start <= at <= end and value > 0 for at, value in trace.marks)

    def keep(self, symbols: Iterable[Symbol]) -> None:
        """Drop the symbols that are not watched any more."""
        kept = set(symbols)
        for symbol in self._traces.keys() - kept:
            del self._traces[symbol]
