"""Watchlists, whether monitoring is wanted, and its status."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.signals import Rule

MAX_WATCHES = 100
"""Per account: two quotes calls a cycle and one history call a symbol and candle stay within Fyers' 200 calls a minute."""


@dataclass(frozen=True, slots=True)
class Watch:
    """One line of a watchlist."""

    id: str
    user_id: str
    symbol: Symbol
    resolution: Resolution
    period: int
    rule: Rule
    created_at: datetime
    evaluated_through: datetime
    """Candles that closed up to this moment have been evaluated; only later ones can give a signal."""


@dataclass(frozen=True, slots=True)
class MonitoringWish:
    """Whether a user wants monitoring; neither restarts nor lost sessions change it."""

    user_id: str
    is_wanted: bool
    changed_at: datetime


class WatchStatus(StrEnum):
    """What monitoring does for an account now."""

    WATCHING = "watching"
    """Cycles complete."""
    STARTING = "starting"
    """Wanted, but the first cycle has not completed yet."""
    MARKET_CLOSED = "market_closed"
    """Wanted and ready, but the market is closed."""
    NOT_WANTED = "not_wanted"
    """The user has not started monitoring or has stopped it."""
    NO_WATCHES = "no_watches"
    """Wanted, but the watchlist is empty."""
    NO_SESSION = "no_session"
    """Wanted, but there is no broker session: blind until the user logs in."""
    CHECKING_LOGIN = "checking_login"
    """Fyers refused the session and verification is under way: blind for a moment."""
    FYERS_UNAVAILABLE = "fyers_unavailable"
    """Fyers is unavailable or refuses many accounts: blind through no fault of the user."""
    RATE_LIMITED = "rate_limited"
    """Fyers limits our calls: blind until the wait is over."""

    @property
    def is_good(self) -> bool:
        """Whether a cycle with this result succeeded."""
        return self in (WatchStatus.WATCHING, WatchStatus.MARKET_CLOSED)

    @property
    def is_blind(self) -> bool:
        """Whether trading minutes in this status are missed."""
        return self in _BLIND


_BLIND = frozenset(
    {
        WatchStatus.STARTING,
        WatchStatus.NO_SESSION,
        WatchStatus.CHECKING_LOGIN,
        WatchStatus.FYERS_UNAVAILABLE,
        WatchStatus.RATE_LIMITED,
    }
)
