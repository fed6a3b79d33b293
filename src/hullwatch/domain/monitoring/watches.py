"""Watchlists, whether monitoring is wanted, and its status."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.obstacles import OF_DISCONNECT, OF_OUTCOME, Obstacle
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
    """Candles that closed up to this moment have been evaluated; only later ones can give a new signal."""
    signals_from: datetime
    """When the watch was added, last changed or last started: a correction adds no signal of an earlier close."""


@dataclass(frozen=True, slots=True)
class MonitoringWish:
    """Whether a user wants monitoring; neither restarts nor lost sessions change it."""

    user_id: str
    is_wanted: bool
    changed_at: datetime


class WatchStatus(StrEnum):
    """What monitoring does for an account now: it watches, or the obstacle that keeps it from watching."""

    WATCHING = "watching"
    """Cycles complete."""
    STARTING = Obstacle.STARTING.value
    MARKET_CLOSED = Obstacle.MARKET_CLOSED.value
    """Monitoring is wanted and ready; there is no trading session now."""
    NOT_WANTED = Obstacle.NOT_WANTED.value
    NO_WATCHES = Obstacle.NO_WATCHES.value
    NO_SESSION = Obstacle.NO_SESSION.value
    """Blind until the user logs in."""
    NOT_PERMITTED = Obstacle.NOT_PERMITTED.value
    """Blind until the user gives the Fyers app its permissions."""
    CHECKING_LOGIN = Obstacle.CHECKING_LOGIN.value
    """Blind for a moment."""
    SESSION_HELD = Obstacle.SESSION_HELD.value
    """Blind until Fyers accepts the session again, or the user logs in."""
    FYERS_UNAVAILABLE = Obstacle.FYERS_UNAVAILABLE.value
    """Blind until Fyers responds."""
    RATE_LIMITED = Obstacle.RATE_LIMITED.value
    """Blind until the wait is over."""

    @property
    def obstacle(self) -> Obstacle | None:
        """What keeps the account from being watched; `None` while it is watched."""
        return None if self is WatchStatus.WATCHING else Obstacle(self.value)

    @property
    def is_good(self) -> bool:
        """Whether a cycle that ends with this status did its work."""
        return self in (WatchStatus.WATCHING, WatchStatus.MARKET_CLOSED)

    @property
    def is_blind(self) -> bool:
        """Whether trading minutes that pass with this status are missed, for now."""
        return self in _BLIND


_BLIND = frozenset(
    {
        WatchStatus.STARTING,
        WatchStatus.NO_SESSION,
        WatchStatus.NOT_PERMITTED,
        WatchStatus.CHECKING_LOGIN,
        WatchStatus.SESSION_HELD,
        WatchStatus.FYERS_UNAVAILABLE,
        WatchStatus.RATE_LIMITED,
    }
)

STATUS_OF: Mapping[Obstacle, WatchStatus] = {
    **{status.obstacle: status for status in WatchStatus if status.obstacle is not None},
    **dict.fromkeys((Obstacle.NEVER_CONNECTED, *OF_DISCONNECT.values()), WatchStatus.NO_SESSION),
    Obstacle.MASS_REFUSAL: WatchStatus.FYERS_UNAVAILABLE,
    # The account is watched all the same: these concern a later time, or one watch alone.
    **dict.fromkeys(
        (
            Obstacle.EXPIRES_BEFORE_OPEN,
            Obstacle.EXPIRES_BEFORE_CLOSE,
            Obstacle.ALL_REFUSED,
            Obstacle.SYMBOL_REFUSED,
            Obstacle.SYMBOL_NOT_PERMITTED,
            Obstacle.SYMBOL_UNAVAILABLE,
            Obstacle.NO_HISTORY,
            Obstacle.PRICE_JUMP,
            Obstacle.CANDLES_MISSING,
            Obstacle.OFF_GRID,
            Obstacle.NOT_VERIFIED,
            Obstacle.WARMING,
            Obstacle.TOO_YOUNG,
        ),
        WatchStatus.WATCHING,
    ),
    # A server that is down reports no status, and a missed cycle leaves the status of the one before.
    **dict.fromkeys(
        (Obstacle.SERVER_DOWN, Obstacle.SERVER_BUSY, Obstacle.SLOW_CYCLE, Obstacle.CLOCK_SET),
        WatchStatus.WATCHING,
    ),
}
"""Obstacle → the status of its account."""


def status_after(outcome: Outcome) -> WatchStatus:
    """Return the status that the outcome of a cycle's calls leaves the account in."""
    obstacle = OF_OUTCOME[outcome]
    return STATUS_OF[obstacle] if obstacle else WatchStatus.WATCHING
