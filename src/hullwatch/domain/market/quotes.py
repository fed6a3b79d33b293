"""Quotes, and which of them cannot be true."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from hullwatch.domain.market.instruments import Symbol

SMALLEST_PRICE: Final = 0.0025
"""The smallest price step of any Indian exchange, that of currency contracts."""
FARTHEST: Final = 2.0
"""Of the previous close: no share or index halves or doubles within a day. Options do."""


class Implausibility(StrEnum):
    """Why a quote is shown as doubtful and used for nothing."""

    OUTSIDE_LIMITS = "outside_limits"
    """The last price is outside the day's circuit limits."""
    FAR_FROM_CLOSE = "far_from_close"
    """The last price is below half or above double of the previous close."""
    NO_PRICE_STEP = "no_price_step"
    """The last price is smaller than any price step."""


@dataclass(frozen=True, slots=True)
class CircuitLimits:
    """The lowest and highest price at which an instrument can trade today, in INR."""

    lower: float
    upper: float

    def contain(self, price: float) -> bool:
        """Whether a price is within the limits."""
        return self.lower <= price <= self.upper


@dataclass(frozen=True, slots=True)
class Quote:
    """A snapshot of one instrument; prices in INR, and `None`, never 0, for a missing value."""

    symbol: Symbol
    ltp: float | None
    """Last traded price."""
    change: float | None = None
    """`ltp` less `previous_close`, in INR."""
    change_percent: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    previous_close: float | None = None
    volume: int | None = None
    """Shares or contracts traded today; `None` for an index."""
    bid: float | None = None
    ask: float | None = None
    traded_at: datetime | None = None
    """When the last trade took place; aware, UTC."""
    lower_limit: float | None = None
    """The day's lower circuit limit; Fyers' quotes need not have it, its market depth has."""
    upper_limit: float | None = None

    @property
    def implausibility(self) -> Implausibility | None:
        """Why the quote is doubtful, `None` if it is not."""
        if self.ltp is None:
            return None
        if self.ltp < SMALLEST_PRICE:
            return Implausibility.NO_PRICE_STEP
        if self.lower_limit is not None and self.upper_limit is not None:
            is_within = self.lower_limit <= self.ltp <= self.upper_limit
            return None if is_within else Implausibility.OUTSIDE_LIMITS
        if self.previous_close is None or self.symbol.is_option:
            return None
        is_near = self.previous_close / FARTHEST <= self.ltp <= self.previous_close * FARTHEST
        return None if is_near else Implausibility.FAR_FROM_CLOSE

    @property
    def price(self) -> float | None:
        """The last traded price for computations: `None` if there is none or it is doubtful."""
        return self.ltp if self.implausibility is None else None


@dataclass(frozen=True, slots=True)
class QuoteDefect:
    """Why a successful call has no quote for a requested symbol."""

    symbol: Symbol | None
    """`None` if the symbol itself was unreadable."""
    sentence: str
    code: int | None = None
    """Fyers' own code for this item, e.g. -300 for an unknown symbol."""
