"""Whether an account will be watched at the market open, and in trading hours whether it is: rules over facts, in tables.

An account is *ready* when it has a verified session that is valid beyond the market open, and every average that can have a value
has one. An account whose session Fyers has not verified is *not ready*, but its user is not asked to act: `Readiness.is_for_user`
says whether the user can do something.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from hullwatch.domain.market.calendar import MarketCalendar, ist_date
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.lines import WITH_AVERAGE, Line, Monitored, monitored
from hullwatch.domain.monitoring.obstacles import (
    FOR_USER,
    OF_DISCONNECT,
    Obstacle,
    obstacle_of_verification,
)
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.sessions.connection import DisconnectReason, HoldReason, LoginState, VerificationState


class Phase(StrEnum):
    """The part of the exchange day."""

    BEFORE_OPEN = "before_open"
    """A trading session opens later today."""
    WATCHING = "watching"
    """A trading session is open."""
    CLOSED = "closed"
    """No further trading session opens today."""


@dataclass(frozen=True, slots=True)
class MarketHours:
    """The trading session that readiness is measured by: the open one, else the next."""

    phase: Phase
    day: date
    """Today, in IST."""
    opens_at: datetime
    closes_at: datetime
    """When the last trading session of that day closes."""


def market_hours(moment: datetime, calendar: MarketCalendar) -> MarketHours:
    """Return the phase of the day and the trading session that counts at a moment."""
    session = calendar.session_at(moment)
    measured = session or calendar.next_session(moment)
    today = ist_date(moment)
    if session is not None:
        phase = Phase.WATCHING
    else:
        phase = Phase.BEFORE_OPEN if measured.day == today else Phase.CLOSED
    return MarketHours(phase, today, measured.opens_at, calendar.sessions_on(measured.day)[-1].closes_at)


class ReadinessResult(StrEnum):
    """Whether an account is ready before the market opens, or watched in trading hours."""

    READY = "ready"
    """It will be watched when the market opens."""
    NOT_READY = "not_ready"
    """It will not be watched when the market opens, unless something changes."""
    WATCHING = "watching"
    """It is watched."""
    NOT_WATCHING = "not_watching"
    """It is not watched, although monitoring is wanted."""
    NOT_WANTED = "not_wanted"
    """Monitoring is off, or the watchlist is empty."""
    MARKET_CLOSED = "market_closed"
    """The market does not open any more today."""

    @property
    def is_good(self) -> bool:
        """Whether the account is ready or watched."""
        return self in (ReadinessResult.READY, ReadinessResult.WATCHING)

    @property
    def counts(self) -> bool:
        """Whether the account counts in the percentage of ready accounts."""
        return self in _COUNTED


_COUNTED: Final = frozenset(
    {
        ReadinessResult.READY,
        ReadinessResult.NOT_READY,
        ReadinessResult.WATCHING,
        ReadinessResult.NOT_WATCHING,
    }
)


@dataclass(frozen=True, slots=True)
class Facts:
    """The state of one account at one moment."""

    is_wanted: bool
    login_state: LoginState
    disconnect_reason: DisconnectReason | None
    expires_at: datetime | None
    disconnected_at: datetime | None
    verification_state: VerificationState
    status: WatchStatus
    lines: tuple[Line, ...]
    hold_reason: HoldReason | None = None

    @property
    def has_session(self) -> bool:
        """Whether a broker session exists."""
        return self.login_state in (LoginState.CONNECTED, LoginState.EXPIRING)

    def any_line(self, obstacle: Obstacle) -> bool:
        """Whether one watch has this obstacle."""
        return any(line.obstacle is obstacle for line in self.lines)

    def all_lines(self, obstacle: Obstacle) -> bool:
        """Whether every watch has this obstacle."""
        return all(line.obstacle is obstacle for line in self.lines)


@dataclass(frozen=True, slots=True)
class Readiness:
    """The result for one account and its most important reason; a good result with a reason is a warning."""

    result: ReadinessResult
    reason: Obstacle | None
    hours: MarketHours
    lines: int
    """Watches of the account."""
    warm: int
    """Watches that lack nothing."""
    symbols: tuple[Symbol, ...] = ()
    """The symbols that the reason is about."""
    monitored: Monitored = field(default_factory=lambda: Monitored(0))
    """Which symbols are monitored while the account is watched."""
    session_end_at: datetime | None = None
    """When the session was disconnected or expires, if the reason is about that."""

    @property
    def is_for_user(self) -> bool:
        """Whether the user can remove the reason."""
        return self.reason in FOR_USER


_Rule = tuple[Obstacle, Callable[[Facts, MarketHours], bool]]


def _is_disconnected(reason: DisconnectReason) -> Callable[[Facts, MarketHours], bool]:
    # Most sessions expire, so a disconnect without a stored reason counts as an expiry.
    return lambda facts, _: (
        facts.login_state is LoginState.DISCONNECTED
        and (facts.disconnect_reason or DisconnectReason.EXPIRED) is reason
    )


def _any_line(obstacle: Obstacle) -> _Rule:
    return obstacle, lambda facts, _: facts.any_line(obstacle)


def _is_in_verification(*obstacles: Obstacle) -> Callable[[Facts, MarketHours], bool]:
    return lambda facts, _: obstacle_of_verification(facts.verification_state, facts.hold_reason) in obstacles


def _expires_by(facts: Facts, moment: datetime) -> bool:
    return facts.has_session and facts.expires_at is not None and facts.expires_at <= moment


USER_OBSTACLES: Final[tuple[_Rule, ...]] = (
    (Obstacle.NEVER_CONNECTED, lambda facts, _: facts.login_state is LoginState.NEVER_CONNECTED),
    *((obstacle, _is_disconnected(reason)) for reason, obstacle in OF_DISCONNECT.items()),
    (Obstacle.SESSION_HELD, lambda facts, _: facts.hold_reason is HoldReason.UNCLEAR_REFUSAL),
    (Obstacle.EXPIRES_BEFORE_OPEN, lambda facts, hours: _expires_by(facts, hours.opens_at)),
    _any_line(Obstacle.NOT_PERMITTED),
    (Obstacle.ALL_REFUSED, lambda facts, _: facts.all_lines(Obstacle.SYMBOL_REFUSED)),
)
"""What only the user can change, the most important first; it counts before the market opens and after."""

DELAYS: Final[tuple[_Rule, ...]] = (
    (Obstacle.CHECKING_LOGIN, _is_in_verification(Obstacle.CHECKING_LOGIN)),
    # Users read the same of an outage with and without refusals: nothing to do, the session is kept.
    (Obstacle.FYERS_UNAVAILABLE, _is_in_verification(Obstacle.FYERS_UNAVAILABLE, Obstacle.MASS_REFUSAL)),
    _any_line(Obstacle.FYERS_UNAVAILABLE),
    _any_line(Obstacle.RATE_LIMITED),
    _any_line(Obstacle.WARMING),
    (Obstacle.NOT_VERIFIED, _is_in_verification(Obstacle.NOT_VERIFIED)),
)
"""What passes without the user and keeps an account from being ready until then; it counts before the market opens."""

WARNINGS: Final[tuple[_Rule, ...]] = (
    (
        Obstacle.EXPIRES_BEFORE_CLOSE,
        lambda facts, hours: _expires_by(facts, hours.closes_at) and facts.expires_at != hours.closes_at,
    ),
    _any_line(Obstacle.SYMBOL_NOT_PERMITTED),
    _any_line(Obstacle.SYMBOL_REFUSED),
    _any_line(Obstacle.NO_HISTORY),
    _any_line(Obstacle.PRICE_JUMP),
    _any_line(Obstacle.SYMBOL_UNAVAILABLE),
    _any_line(Obstacle.TOO_YOUNG),
)
"""What a user should know although the account is, or will be, watched."""

# In trading hours these two statuses last until the first cycle of the trading session or of a new login.
_STARTING_STATUSES: Final = frozenset({WatchStatus.MARKET_CLOSED, WatchStatus.NO_SESSION})


def status_obstacle(status: WatchStatus) -> Obstacle | None:
    """Return what keeps an account with a session from being watched in trading hours."""
    return Obstacle.STARTING if status in _STARTING_STATUSES else status.obstacle


def assess(facts: Facts, hours: MarketHours) -> Readiness:
    """Return the result for an account, with the most important reason."""
    if not facts.is_wanted:
        return _readiness(ReadinessResult.NOT_WANTED, Obstacle.NOT_WANTED, facts, hours)
    if not facts.lines:
        return _readiness(ReadinessResult.NOT_WANTED, Obstacle.NO_WATCHES, facts, hours)
    if hours.phase is Phase.CLOSED:
        return _readiness(ReadinessResult.MARKET_CLOSED, None, facts, hours)
    is_before = hours.phase is Phase.BEFORE_OPEN
    obstacle = _first(USER_OBSTACLES, facts, hours)
    if obstacle is None and all(line.is_unmonitored for line in facts.lines):
        obstacle = facts.lines[0].obstacle
    if obstacle is None:
        obstacle = _first(DELAYS, facts, hours) if is_before else status_obstacle(facts.status)
    if obstacle is not None:
        result = ReadinessResult.NOT_READY if is_before else ReadinessResult.NOT_WATCHING
        return _readiness(result, obstacle, facts, hours)
    result = ReadinessResult.READY if is_before else ReadinessResult.WATCHING
    return _readiness(result, _first(WARNINGS, facts, hours), facts, hours)


def _first(rules: tuple[_Rule, ...], facts: Facts, hours: MarketHours) -> Obstacle | None:
    return next((obstacle for obstacle, applies in rules if applies(facts, hours)), None)


_LINE_OBSTACLES: Final[Mapping[Obstacle, Obstacle]] = {
    Obstacle.ALL_REFUSED: Obstacle.SYMBOL_REFUSED,
    Obstacle.SYMBOL_REFUSED: Obstacle.SYMBOL_REFUSED,
    Obstacle.SYMBOL_NOT_PERMITTED: Obstacle.SYMBOL_NOT_PERMITTED,
    Obstacle.SYMBOL_UNAVAILABLE: Obstacle.SYMBOL_UNAVAILABLE,
    Obstacle.NO_HISTORY: Obstacle.NO_HISTORY,
    Obstacle.PRICE_JUMP: Obstacle.PRICE_JUMP,
    Obstacle.TOO_YOUNG: Obstacle.TOO_YOUNG,
    Obstacle.NOT_PERMITTED: Obstacle.NOT_PERMITTED,
    Obstacle.WARMING: Obstacle.WARMING,
}
"""Reason → the obstacle of the watches whose symbols it names."""
_ABOUT_SESSION_END: Final = frozenset(
    {*OF_DISCONNECT.values(), Obstacle.EXPIRES_BEFORE_OPEN, Obstacle.EXPIRES_BEFORE_CLOSE}
)


def _readiness(
    result: ReadinessResult, reason: Obstacle | None, facts: Facts, hours: MarketHours
) -> Readiness:
    named = _LINE_OBSTACLES.get(reason) if reason else None
    session_end_at = facts.expires_at if facts.has_session else facts.disconnected_at
    return Readiness(
        result=result,
        reason=reason,
        hours=hours,
        lines=len(facts.lines),
        warm=sum(line.obstacle in (None, *WITH_AVERAGE) for line in facts.lines),
        symbols=tuple(dict.fromkeys(line.symbol for line in facts.lines if named and line.obstacle is named)),
        monitored=monitored(facts.lines),
        session_end_at=session_end_at if reason in _ABOUT_SESSION_END else None,
    )


def expires_early(expires_at: datetime, calendar: MarketCalendar, *, next_expires_at: datetime) -> bool:
    """Return whether an expiry is worth a warning: it is before the market closes, and a new session would last longer.

    The daily expiry in the early morning is before the close too, but a session from a login just before it expires at
    the same time. The checks before the market opens ask the user to log in after it.

    Args:
        expires_at: The expiry of the session.
        calendar: Trading days.
        next_expires_at: When a session that began now would expire.
    """
    sessions = calendar.sessions_on(ist_date(expires_at))
    return bool(sessions) and expires_at < sessions[-1].closes_at and next_expires_at > expires_at
