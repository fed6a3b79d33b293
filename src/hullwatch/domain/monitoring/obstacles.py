"""Why an account or a symbol is not monitored: one enum, and the tables that lead to it.

Every other view is derived from `Obstacle`: what monitoring does (`WatchStatus`), why time was blind (`BlindReason`), what
readiness reports, and the status of an HMA reading. The texts are in ``services/texts/obstacles.py``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.sessions.connection import DisconnectReason, HoldReason, VerificationState


class Obstacle(StrEnum):
    """What keeps an account or a symbol from being monitored, or will do so."""

    NOT_WANTED = "not_wanted"
    """The user has not started monitoring or has stopped it."""
    NO_WATCHES = "no_watches"
    """The watchlist is empty."""
    MARKET_CLOSED = "market_closed"
    """There is no trading session now."""

    NO_SESSION = "no_session"
    """There is no broker session; the five below say why."""
    NEVER_CONNECTED = "never_connected"
    EXPIRED = "expired"
    REJECTED = "rejected"
    SIGNED_OUT = "signed_out"
    BY_ADMIN = "by_admin"
    EXPIRES_BEFORE_OPEN = "expires_before_open"
    """The broker session expires before the market opens."""
    EXPIRES_BEFORE_CLOSE = "expires_before_close"
    """The broker session expires before the market closes."""

    NOT_PERMITTED = "not_permitted"
    """The Fyers app lacks the permission to read market data."""
    ALL_REFUSED = "all_refused"
    """Fyers serves none of the symbols."""
    SYMBOL_REFUSED = "symbol_refused"
    """Fyers does not serve a symbol, or not in its resolution."""
    SYMBOL_NOT_PERMITTED = "symbol_not_permitted"
    """The Fyers app may read other symbols and not this one."""
    SYMBOL_UNAVAILABLE = "symbol_unavailable"
    """Fyers gives no usable answer for a symbol, and serves others."""
    NO_HISTORY = "no_history"
    """Fyers has no candles of a symbol that trades."""
    PRICE_JUMP = "price_jump"
    """The price of a symbol jumped as after a split, and history does not explain it: its average starts anew."""
    CANDLES_MISSING = "candles_missing"
    """Fyers' history skips candles of a symbol in which it traded; averages rest on the others."""
    OFF_GRID = "off_grid"
    """Fyers' candles of a symbol do not begin at the market open; they are used as they are."""

    CHECKING_LOGIN = "checking_login"
    """Fyers refused a call, and the session is being verified."""
    FYERS_UNAVAILABLE = "fyers_unavailable"
    """Fyers cannot be reached or gives no usable answer."""
    MASS_REFUSAL = "mass_refusal"
    """Fyers refuses many accounts at once, so their sessions are kept."""
    SESSION_HELD = "session_held"
    """Fyers refuses this session without ending it, so it makes no calls but slow probes."""
    RATE_LIMITED = "rate_limited"
    """Fyers asked us to wait."""
    NOT_VERIFIED = "not_verified"
    """No call has verified the session yet."""

    WARMING = "warming"
    """The history of a symbol is still to be loaded."""
    TOO_YOUNG = "too_young"
    """An instrument has fewer candles than its average needs."""
    STARTING = "starting"
    """The first cycle has not completed yet."""

    SERVER_DOWN = "server_down"
    """The server did not run."""
    SERVER_BUSY = "server_busy"
    """The server began a cycle so late that others were missed."""
    SLOW_CYCLE = "slow_cycle"
    """A cycle took so long that others were missed."""
    CLOCK_SET = "clock_set"
    """The server's clock was set forward, so these moments did not occur."""


OF_DISCONNECT: Final[Mapping[DisconnectReason, Obstacle]] = {
    DisconnectReason.EXPIRED: Obstacle.EXPIRED,
    DisconnectReason.REJECTED: Obstacle.REJECTED,
    DisconnectReason.SIGNED_OUT: Obstacle.SIGNED_OUT,
    DisconnectReason.BY_ADMIN: Obstacle.BY_ADMIN,
}

OF_VERIFICATION: Final[Mapping[VerificationState, Obstacle | None]] = {
    VerificationState.VERIFIED: None,
    VerificationState.ASSUMED: Obstacle.NOT_VERIFIED,
    VerificationState.UNVERIFIED: Obstacle.FYERS_UNAVAILABLE,
    VerificationState.UNDER_VERIFICATION: Obstacle.CHECKING_LOGIN,
    VerificationState.HELD: Obstacle.MASS_REFUSAL,
}

OF_HOLD: Final[Mapping[HoldReason, Obstacle]] = {
    HoldReason.MASS_REFUSAL: Obstacle.MASS_REFUSAL,
    HoldReason.UNCLEAR_REFUSAL: Obstacle.SESSION_HELD,
}


def obstacle_of_verification(state: VerificationState, hold_reason: HoldReason | None) -> Obstacle | None:
    """Return what keeps a session in this state from being used or trusted; `None` if nothing does."""
    return OF_VERIFICATION[state] if hold_reason is None else OF_HOLD[hold_reason]


OF_OUTCOME: Final[Mapping[Outcome, Obstacle | None]] = {
    Outcome.OK: None,
    Outcome.NO_DATA: None,
    Outcome.DISCONNECTED: Obstacle.NO_SESSION,
    Outcome.RATE_LIMITED: Obstacle.RATE_LIMITED,
    Outcome.UNAVAILABLE: Obstacle.FYERS_UNAVAILABLE,
    Outcome.BAD_REQUEST: Obstacle.SYMBOL_REFUSED,
    Outcome.NOT_PERMITTED: Obstacle.NOT_PERMITTED,
}

OF_SYMBOL_OUTCOME: Final[Mapping[Outcome, Obstacle | None]] = {
    **OF_OUTCOME,
    Outcome.UNAVAILABLE: Obstacle.SYMBOL_UNAVAILABLE,
    Outcome.NOT_PERMITTED: Obstacle.SYMBOL_NOT_PERMITTED,
}
"""The same where the failure concerns one symbol alone."""


def outcome_obstacle(outcome: Outcome, scope: FailureScope | None) -> Obstacle | None:
    """Return what the outcome of a call about a symbol means for that symbol."""
    table = OF_SYMBOL_OUTCOME if scope is FailureScope.SYMBOL else OF_OUTCOME
    return table[outcome]


FOR_USER: Final = frozenset(
    {
        Obstacle.NOT_WANTED,
        Obstacle.NO_WATCHES,
        Obstacle.NO_SESSION,
        Obstacle.NEVER_CONNECTED,
        Obstacle.EXPIRED,
        Obstacle.REJECTED,
        Obstacle.SIGNED_OUT,
        Obstacle.BY_ADMIN,
        Obstacle.SESSION_HELD,  # a new login may be accepted
        Obstacle.EXPIRES_BEFORE_OPEN,
        Obstacle.EXPIRES_BEFORE_CLOSE,
        Obstacle.NOT_PERMITTED,
        Obstacle.ALL_REFUSED,
        Obstacle.SYMBOL_REFUSED,
        Obstacle.SYMBOL_NOT_PERMITTED,
    }
)
"""Obstacles that the user can remove; the others pass without the user."""
