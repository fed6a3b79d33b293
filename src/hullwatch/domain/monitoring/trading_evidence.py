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


@dataclass(slots=True)
class _Trace:
    """The quotes of one symbol."""

    first: float
    """The first of the values."""
    value: float
    """The volume of the day; for an index, which has none, the price."""
    at: datetime
    since: datetime
    """When the first of the quotes without a gap was fetched."""
    changed: tuple[datetime, datetime] | None = None
    """The two quotes between which the value last changed."""
    changes: tuple[tuple[datetime, datetime], ...] = ()
    """Some of the earlier changes, oldest first."""


class TradingEvidence:
    """Remembers when the volumes of an account's symbols changed."""

    __slots__ = ("_longest_gap", "_traces")

    def __init__(self, longest_gap: timedelta = timedelta(minutes=1)) -> None:
        """Quotes that are farther apart than `longest_gap` show nothing about the time between them."""
        self._longest_gap = longest_gap
        self._traces: dict[Symbol, _Trace] = {}

    def record(self, quotes: Iterable[Quote], at: datetime) -> None:
        """Record the quotes of one call; implausible ones are left out."""
        for quote in quotes:
            value = quote.price if quote.symbol.is_index else quote.volume
            if value is None or quote.price is None:
                continue
            trace = self._traces.get(quote.symbol)
            if trace is None or at - trace.at > self._longest_gap:
                self._traces[quote.symbol] = _Trace(value, value, at, at)
                continue
            if value != trace.value:
                trace.changed = (trace.at, at)
                if not trace.changes or trace.at - trace.changes[-1][0] >= _SPACING:
                    trace.changes = (*trace.changes, trace.changed)[-_KEPT:]
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

    def had_volume(self, symbol: Symbol, start: datetime, end: datetime) -> bool:
        """Whether the first quote of the symbol was fetched from `start` to `end` and showed that it had traded today."""
        trace = self._traces.get(symbol)
        return trace is not None and not symbol.is_index and trace.first > 0 and start <= trace.since <= end

    def keep(self, symbols: Iterable[Symbol]) -> None:
        """Drop the symbols that are not watched any more."""
        kept = set(symbols)
        for symbol in self._traces.keys() - kept:
            del self._traces[symbol]
