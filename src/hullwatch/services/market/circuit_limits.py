"""The day's circuit limits of symbols, which Fyers gives in the market depth of one symbol a call.

They are the same for all accounts, so one call for a symbol and day is enough.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from hullwatch.domain.market.calendar import ist_date
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import CircuitLimits, Quote
from hullwatch.runtime.clock import Clock

NARROWEST: Final = 0.02
"""Of the previous close: no band of an exchange is narrower, so that nearer prices need no limits."""
MOST_AT_ONCE: Final = 4
"""Symbols that one account reads beside one quotes call."""
AGAIN_S: Final = 60.0
"""Between two calls for a symbol whose price is outside its limits: exchanges widen the band of a share in the day."""
RETRY_S: Final = 900.0
"""After a call that brought no limits."""


@dataclass(slots=True)
class _Known:
    limits: CircuitLimits | None
    next_call_s: float


class DayLimits:
    """Remembers the limits of the day."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._day: date | None = None
        self._known: dict[Symbol, _Known] = {}

    def applied(self, quotes: Iterable[Quote]) -> tuple[Quote, ...]:
        """Return the quotes with the limits that are known, unless Fyers gave them their own."""
        self._forget_yesterday()
        return tuple(map(self._applied, quotes))

    def _applied(self, quote: Quote) -> Quote:
        known = self._known.get(quote.symbol)
        if known is None or known.limits is None or quote.upper_limit is not None:
            return quote
        return replace(quote, lower_limit=known.limits.lower, upper_limit=known.limits.upper)

    def claim(self, quotes: Iterable[Quote]) -> list[Symbol]:
        """Return the symbols whose limits are to be read now; nobody else gets them for a minute."""
        self._forget_yesterday()
        now_s = self._clock.monotonic()
        found: list[Symbol] = []
        for quote in quotes:
            known = self._known.get(quote.symbol)
            if len(found) == MOST_AT_ONCE or not self._needs_call(quote, known, now_s):
                continue
            self._known[quote.symbol] = _Known(None if known is None else known.limits, now_s + AGAIN_S)
            found.append(quote.symbol)
        return found

    def record(self, symbol: Symbol, limits: CircuitLimits | None) -> None:
        """Record the limits of a symbol; `None` if the call brought none."""
        wait_s = RETRY_S if limits is None else AGAIN_S
        self._known[symbol] = _Known(limits, self._clock.monotonic() + wait_s)

    def _needs_call(self, quote: Quote, known: _Known | None, now_s: float) -> bool:
        if quote.ltp is None or quote.symbol.is_index:
            return False
        if known is None:
            return quote.upper_limit is None and _may_be_outside(quote)
        is_inside = known.limits is not None and known.limits.contain(quote.ltp)
        return now_s >= known.next_call_s and not is_inside

    def _forget_yesterday(self) -> None:
        day = ist_date(self._clock.now())
        if day != self._day:
            self._day = day
            self._known.clear()


def _may_be_outside(quote: Quote) -> bool:
    """Whether the last price may be outside the limits; those of an option do not follow from its previous close."""
    if quote.ltp is None or quote.previous_close is None or quote.symbol.is_option:
        return True
    return abs(quote.ltp / quote.previous_close - 1) >= NARROWEST
