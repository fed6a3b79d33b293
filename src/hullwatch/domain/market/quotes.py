"""What the market last said about an instrument; how Fyers spells it belongs to the Fyers room."""

from dataclasses import dataclass
from datetime import datetime

from hullwatch.domain.market.instruments import Symbol


@dataclass(frozen=True, slots=True)
class Quote:
    """A snapshot of one instrument; prices in INR, and `None` where Fyers gave none: never 0 for missing."""

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
    """Shares or contracts traded today; `None` where there is none, as for an index."""
    bid: float | None = None
    ask: float | None = None
    traded_at: datetime | None = None
    """When the last trade took place; aware, UTC."""


@dataclass(frozen=True, slots=True)
class QuoteDefect:
    """Why there is no quote for a symbol that was asked for, although the call itself succeeded."""

    symbol: Symbol | None
    """`None` when not even the symbol could be read."""
    sentence: str
    code: int | None = None
    """Fyers' own code for this item, e.g. -300 for an unknown symbol."""
