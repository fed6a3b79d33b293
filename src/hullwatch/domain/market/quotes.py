"""Quotes."""

from dataclasses import dataclass
from datetime import datetime

from hullwatch.domain.market.instruments import Symbol


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


@dataclass(frozen=True, slots=True)
class QuoteDefect:
    """Why a successful call has no quote for a requested symbol."""

    symbol: Symbol | None
    """`None` if the symbol itself was unreadable."""
    sentence: str
    code: int | None = None
    """Fyers' own code for this item, e.g. -300 for an unknown symbol."""
