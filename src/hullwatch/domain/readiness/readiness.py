"""Whether an account will be watched when the bell rings, and once it has rung, whether it is: pure rules over facts, in tables.

An account is *ready* when a session exists that Fyers has confirmed and that lives beyond the opening, and every average that can be warm
is warm. Doubt makes it *not ready* without making it anybody's fault: `Readiness.is_for_user` tells whether there is something that its
user can do. When checks are made is in `check_times`; the sentences are in ``services/notifications``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.calendar import MarketCalendar, ist_date
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState, VerificationState


class Phase(StrEnum):
    """Where in the exchange's day we are."""

    BEFORE_OPEN = "before_open"
    """A session opens later today."""
    WATCHING = "watching"
    """A session is under way."""
    CLOSED = "closed"
    """Today no session opens any more."""


@dataclass(frozen=True, slots=True)
class Bell:
    """The session that readiness is measured by: the one under way, else the next."""

    phase: Phase
    day: date
    """Today, in IST."""
    opens_at: datetime
    closes_at: datetime
    """When the last session of the opening's day closes."""


def bell_at(moment: datetime, calendar: MarketCalendar) -> Bell:
    """Return where in the exchange's day a moment lies."""
    session = calendar.session_at(moment)
    measured = session or calendar.next_session(moment)
    today = ist_date(moment)
    if session is not None:
        phase = Phase.WATCHING
    else:
        phase = Phase.BEFORE_OPEN if measured.day == today else Phase.CLOSED
    return Bell(phase, today, measured.opens_at, calendar.sessions_on(measured.day)[-1].closes_at)


class Verdict(StrEnum):
    """How an account stands; before the opening, in trading hours, and apart from both."""

    READY = "ready"
    """At the opening it will be watched."""
    NOT_READY = "not_ready"
    """As things stand it will not."""
    WATCHING = "watching"
    """It is watched."""
    NOT_WATCHING = "not_watching"
    """It is not, although it wants to be."""
    NOT_WANTED = "not_wanted"
    """Nothing is to be watched: monitoring was not started, or the watchlist is empty."""
    MARKET_CLOSED = "market_closed"
    """There is nothing to be ready for today."""

    @property
    def is_good(self) -> bool:
        """Whether all is as it should be."""
        return self in (Verdict.READY, Verdict.WATCHING)

    @property
    def counts(self) -> bool:
        """Whether the account counts in a percentage."""
        return self in _COUNTED


_COUNTED = frozenset({Verdict.READY, Verdict.NOT_READY, Verdict.WATCHING, Verdict.NOT_WATCHING})


class Reason(StrEnum):
    """The most important thing to know of an account that is not simply ready."""

    NEVER_CONNECTED = "never_connected"
    EXPIRED = "expired"
    REJECTED = "rejected"
    SIGNED_OUT = "signed_out"
    BY_ADMIN = "by_admin"
    EXPIRES_BEFORE_OPEN = "expires_before_open"
    """The session lives, but its known end comes before the opening."""
    NOT_PERMITTED = "not_permitted"
    """The Fyers app lacks the permission to read market data."""
    ALL_REFUSED = "all_refused"
    """Fyers serves none of the symbols."""
    CHECKING_LOGIN = "checking_login"
    """Fyers refused once and is being asked a second time."""
    FYERS_UNAVAILABLE = "fyers_unavailable"
    """Fyers cannot be asked."""
    RATE_LIMITED = "rate_limited"
    """Fyers asked us to wait."""
    NOT_VERIFIED = "not_verified"
    """Nobody has asked Fyers about the session yet."""
    WARMING = "warming"
    """History is still to be loaded."""
    STARTING = "starting"
    """The first cycle of the session has not completed yet."""
    EXPIRES_BEFORE_CLOSE = "expires_before_close"
    """The known end comes before the close."""
    SOME_REFUSED = "some_refused"
    """Fyers serves not all of the symbols."""
    TOO_YOUNG = "too_young"
    """Some instruments have fewer candles than their average needs."""
    NOT_STARTED = "not_started"
    """Monitoring is not wanted."""
    NO_WATCHES = "no_watches"
    """The watchlist is empty."""


FOR_USER = frozenset(
    {
        Reason.NEVER_CONNECTED,
        Reason.EXPIRED,
        Reason.REJECTED,
        Reason.SIGNED_OUT,
        Reason.BY_ADMIN,
        Reason.EXPIRES_BEFORE_OPEN,
        Reason.NOT_PERMITTED,
        Reason.ALL_REFUSED,
        Reason.EXPIRES_BEFORE_CLOSE,
        Reason.SOME_REFUSED,
        Reason.NOT_STARTED,
        Reason.NO_WATCHES,
    }
)
"""Reasons that the user can put right; the others pass by themselves or are Fyers' to put right."""


class LineState(StrEnum):
    """How far one line of a watchlist is prepared."""

    WARM = "warm"
    """It has an average, and its history reaches to the last close."""
    COLD = "cold"
    """Its history is to be fetched."""
    TOO_YOUNG = "too_young"
    """Its history was fetched and is too short for an average."""
    REFUSED = "refused"
    """Fyers does not serve the symbol or the resolution."""
    NOT_PERMITTED = "not_permitted"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"


_COLD_AFTER: Mapping[Outcome, LineState] = {
    Outcome.OK: LineState.TOO_YOUNG,
    Outcome.NO_DATA: LineState.TOO_YOUNG,
    Outcome.DISCONNECTED: LineState.COLD,
    Outcome.RATE_LIMITED: LineState.RATE_LIMITED,
    Outcome.UNAVAILABLE: LineState.UNAVAILABLE,
    Outcome.BAD_REQUEST: LineState.REFUSED,
    Outcome.NOT_PERMITTED: LineState.NOT_PERMITTED,
}


def line_state(*, has_average: bool, is_current: bool, outcome: Outcome | None) -> LineState:
    """Return how far a line is prepared.

    Args:
        has_average: Whether enough candles were taken in.
        is_current: Whether history was answered for up to the last close.
        outcome: How the last fetch ended; `None` before the first.
    """
    if has_average and is_current:
        return LineState.WARM
    if outcome is None or (not is_current and outcome in (Outcome.OK, Outcome.NO_DATA)):
        return LineState.COLD
    return _COLD_AFTER[outcome]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a watchlist."""

    symbol: Symbol
    state: LineState


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an account at one moment."""

    is_wanted: bool
    login: LoginState
    end_reason: DisconnectReason | None
    expires_at: datetime | None
    ended_at: datetime | None
    verification_state: VerificationState
    status: WatchStatus
    lines: tuple[Line, ...]

    @property
    def has_session(self) -> bool:
        """Whether a login session exists."""
        return self.login in (LoginState.CONNECTED, LoginState.EXPIRING)

    def any_line(self, state: LineState) -> bool:
        """Whether a line is in this state."""
        return any(line.state is state for line in self.lines)

    def all_lines(self, state: LineState) -> bool:
        """Whether all lines are in this state."""
        return all(line.state is state for line in self.lines)


@dataclass(frozen=True, slots=True)
class Readiness:
    """One account's verdict and the one thing to say about it; a `READY` or `WATCHING` with a reason is a *yes, but*."""

    verdict: Verdict
    reason: Reason | None
    bell: Bell
    lines: int
    warm: int
    symbols: tuple[Symbol, ...] = ()
    """The symbols that the reason speaks of."""
    end_at: datetime | None = None
    """When the session ended or will end, where the reason speaks of it."""

    @property
    def is_for_user(self) -> bool:
        """Whether there is something that the user can do."""
        return self.reason in FOR_USER


_ENDED: Mapping[DisconnectReason, Reason] = {
    DisconnectReason.EXPIRED: Reason.EXPIRED,
    DisconnectReason.REJECTED: Reason.REJECTED,
    DisconnectReason.SIGNED_OUT: Reason.SIGNED_OUT,
    DisconnectReason.BY_ADMIN: Reason.BY_ADMIN,
}
_DOUBTS: Mapping[VerificationState, Reason | None] = {
    VerificationState.VERIFIED: None,
    VerificationState.ASSUMED: Reason.NOT_VERIFIED,
    VerificationState.UNVERIFIED: Reason.FYERS_UNAVAILABLE,
    VerificationState.UNDER_VERIFICATION: Reason.CHECKING_LOGIN,
    VerificationState.HELD: Reason.FYERS_UNAVAILABLE,
}
_STATUSES: Mapping[WatchStatus, Reason | None] = {
    WatchStatus.WATCHING: None,
    WatchStatus.STARTING: Reason.STARTING,
    # In trading hours these two last until the first cycle of the session or of the new login.
    WatchStatus.MARKET_CLOSED: Reason.STARTING,
    WatchStatus.NO_SESSION: Reason.STARTING,
    WatchStatus.NOT_WANTED: Reason.NOT_STARTED,
    WatchStatus.NO_WATCHES: Reason.NO_WATCHES,
    WatchStatus.CHECKING_LOGIN: Reason.CHECKING_LOGIN,
    WatchStatus.FYERS_UNAVAILABLE: Reason.FYERS_UNAVAILABLE,
    WatchStatus.RATE_LIMITED: Reason.RATE_LIMITED,
}

_Rule = tuple[Reason, Callable[[Facts, Bell], bool]]


def _is_over(reason: DisconnectReason) -> Callable[[Facts, Bell], bool]:
    # An end whose reason was not kept is called what most ends are.
    return lambda facts, _: (
        facts.login is LoginState.DISCONNECTED and (facts.end_reason or DisconnectReason.EXPIRED) is reason
    )


def _is_in(state: LineState) -> Callable[[Facts, Bell], bool]:
    return lambda facts, _: facts.any_line(state)


def _ends_by(facts: Facts, moment: datetime) -> bool:
    return facts.has_session and facts.expires_at is not None and facts.expires_at <= moment


OBSTACLES: tuple[_Rule, ...] = (
    (Reason.NEVER_CONNECTED, lambda facts, _: facts.login is LoginState.NEVER_CONNECTED),
    *((reason, _is_over(end)) for end, reason in _ENDED.items()),
    (Reason.EXPIRES_BEFORE_OPEN, lambda facts, bell: _ends_by(facts, bell.opens_at)),
    (Reason.NOT_PERMITTED, _is_in(LineState.NOT_PERMITTED)),
    (Reason.ALL_REFUSED, lambda facts, _: facts.all_lines(LineState.REFUSED)),
)
"""What only the user can put right, the most important first; it hinders before the opening and after."""

DELAYS: tuple[_Rule, ...] = (
    (Reason.CHECKING_LOGIN, lambda facts, _: _DOUBTS[facts.verification_state] is Reason.CHECKING_LOGIN),
    (
        Reason.FYERS_UNAVAILABLE,
        lambda facts, _: _DOUBTS[facts.verification_state] is Reason.FYERS_UNAVAILABLE,
    ),
    (Reason.FYERS_UNAVAILABLE, _is_in(LineState.UNAVAILABLE)),
    (Reason.RATE_LIMITED, _is_in(LineState.RATE_LIMITED)),
    (Reason.WARMING, _is_in(LineState.COLD)),
    (Reason.NOT_VERIFIED, lambda facts, _: _DOUBTS[facts.verification_state] is Reason.NOT_VERIFIED),
)
"""What passes without the user and keeps an account from being called ready until then; looked at before the opening."""

CAVEATS: tuple[_Rule, ...] = (
    (
        Reason.EXPIRES_BEFORE_CLOSE,
        lambda facts, bell: _ends_by(facts, bell.closes_at) and not _at_close(facts, bell),
    ),
    (Reason.SOME_REFUSED, _is_in(LineState.REFUSED)),
    (Reason.TOO_YOUNG, _is_in(LineState.TOO_YOUNG)),
)
"""What is worth a word although the account is, or will be, watched."""


def _at_close(facts: Facts, bell: Bell) -> bool:
    return facts.expires_at == bell.closes_at


def assess(facts: Facts, bell: Bell) -> Readiness:
    """Return how an account stands, with the most important reason."""
    if not facts.is_wanted:
        return _readiness(Verdict.NOT_WANTED, Reason.NOT_STARTED, facts, bell)
    if not facts.lines:
        return _readiness(Verdict.NOT_WANTED, Reason.NO_WATCHES, facts, bell)
    if bell.phase is Phase.CLOSED:
        return _readiness(Verdict.MARKET_CLOSED, None, facts, bell)
    is_before = bell.phase is Phase.BEFORE_OPEN
    hindrance = _first(OBSTACLES, facts, bell)
    if hindrance is None:
        hindrance = _first(DELAYS, facts, bell) if is_before else _STATUSES[facts.status]
    if hindrance is not None:
        return _readiness(Verdict.NOT_READY if is_before else Verdict.NOT_WATCHING, hindrance, facts, bell)
    return _readiness(
        Verdict.READY if is_before else Verdict.WATCHING, _first(CAVEATS, facts, bell), facts, bell
    )


def _first(rules: tuple[_Rule, ...], facts: Facts, bell: Bell) -> Reason | None:
    return next((reason for reason, applies in rules if applies(facts, bell)), None)


_SPOKEN_OF: Mapping[Reason, LineState] = {
    Reason.ALL_REFUSED: LineState.REFUSED,
    Reason.SOME_REFUSED: LineState.REFUSED,
    Reason.TOO_YOUNG: LineState.TOO_YOUNG,
    Reason.NOT_PERMITTED: LineState.NOT_PERMITTED,
    Reason.WARMING: LineState.COLD,
}
_TELL_THE_END = frozenset({*_ENDED.values(), Reason.EXPIRES_BEFORE_OPEN, Reason.EXPIRES_BEFORE_CLOSE})


def _readiness(verdict: Verdict, reason: Reason | None, facts: Facts, bell: Bell) -> Readiness:
    concerned = _SPOKEN_OF.get(reason) if reason else None
    end_at = facts.expires_at if facts.has_session else facts.ended_at
    return Readiness(
        verdict=verdict,
        reason=reason,
        bell=bell,
        lines=len(facts.lines),
        warm=sum(line.state is LineState.WARM for line in facts.lines),
        symbols=tuple(dict.fromkeys(line.symbol for line in facts.lines if line.state is concerned)),
        end_at=end_at if reason in _TELL_THE_END else None,
    )


def expires_early(expires_at: datetime, calendar: MarketCalendar, *, next_expires_at: datetime) -> bool:
    """Tell whether a session's known end is worth a warning: it cuts the day's trading short, and a login now would last longer.

    The daily end early in the morning lies before the close as well, but whoever logged in just before it would be thrown out at the same
    moment; that one is called to act by the checks before the opening.

    Args:
        expires_at: The known end.
        calendar: Trading days.
        next_expires_at: When a session that began now would expire.
    """
    sessions = calendar.sessions_on(ist_date(expires_at))
    return bool(sessions) and expires_at < sessions[-1].closes_at and next_expires_at > expires_at
