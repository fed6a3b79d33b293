"""The session of a broker account: two state tables, a generation number, and the rules for disconnecting it.

`LOGIN_TABLE` holds whether a login session exists. `VERIFICATION_TABLE` holds what Fyers' last answers showed about it.
Only the first table disconnects a session.

Every login raises the **generation**. A result for an older generation never changes a newer one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from hullwatch.domain.failures import LoginRefused
from hullwatch.domain.secrets import AccessToken

EXPIRING_BEFORE = timedelta(minutes=30)
"""How long before its expiry a session is in the state `EXPIRING`."""


class LoginState(StrEnum):
    """Whether a login session exists; the values are those of the connection object of the API."""

    NEVER_CONNECTED = "never_connected"
    """The user has not linked a Fyers account yet."""
    CONNECTED = "connected"
    """A session exists and its expiry is not near."""
    EXPIRING = "expiring"
    """A session exists and expires within `EXPIRING_BEFORE`; it is used like any other."""
    DISCONNECTED = "disconnected"
    """The session was disconnected; no call is made until the user logs in again."""


class LoginTrigger(StrEnum):
    """What changes a `LoginState`."""

    LOGGED_IN = "logged_in"
    NEARED_EXPIRY = "neared_expiry"
    REACHED_EXPIRY = "reached_expiry"
    REFUSAL_CONFIRMED = "refusal_confirmed"
    SIGNED_OUT = "signed_out"
    DISCONNECTED_BY_ADMIN = "disconnected_by_admin"


class DisconnectReason(StrEnum):
    """Why a session was disconnected; the values are those of the connection object of the API."""

    EXPIRED = "expired"
    REJECTED = "rejected"
    SIGNED_OUT = "signed_out"
    BY_ADMIN = "by_admin"


class VerificationState(StrEnum):
    """What Fyers' answers show about a session that exists."""

    ASSUMED = "assumed"
    """No call was made since the login or the start; the session is used."""
    VERIFIED = "verified"
    """Fyers answered a call that needs the token; the session is used."""
    UNVERIFIED = "unverified"
    """Fyers could not be reached lately; the session is used."""
    UNDER_VERIFICATION = "under_verification"
    """Fyers refused once; only the probes of the verification are sent."""
    HELD = "held"
    """Fyers refuses, but that is not enough to disconnect the session; `HoldReason` says why. Only slow probes are sent."""


class HoldReason(StrEnum):
    """Why a refused session is held instead of disconnected."""

    MASS_REFUSAL = "mass_refusal"
    """Fyers refuses many accounts at once, so it has an outage."""
    UNCLEAR_REFUSAL = "unclear_refusal"
    """Two services refuse this account, but not with HTTP 401, which alone ends a session."""


class VerificationTrigger(StrEnum):
    """What changes a `VerificationState`."""

    STARTED = "started"
    ANSWERED = "answered"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    CLEARED = "cleared"
    HELD_BACK = "held_back"
    RELEASED = "released"


_S, _T = LoginState, LoginTrigger
LOGIN_TABLE: Mapping[tuple[LoginState, LoginTrigger], LoginState] = {
    (_S.NEVER_CONNECTED, _T.LOGGED_IN): _S.CONNECTED,
    (_S.CONNECTED, _T.LOGGED_IN): _S.CONNECTED,
    (_S.CONNECTED, _T.NEARED_EXPIRY): _S.EXPIRING,
    (_S.CONNECTED, _T.REACHED_EXPIRY): _S.DISCONNECTED,
    (_S.CONNECTED, _T.REFUSAL_CONFIRMED): _S.DISCONNECTED,
    (_S.CONNECTED, _T.SIGNED_OUT): _S.DISCONNECTED,
    (_S.CONNECTED, _T.DISCONNECTED_BY_ADMIN): _S.DISCONNECTED,
    (_S.EXPIRING, _T.LOGGED_IN): _S.CONNECTED,
    (_S.EXPIRING, _T.REACHED_EXPIRY): _S.DISCONNECTED,
    (_S.EXPIRING, _T.REFUSAL_CONFIRMED): _S.DISCONNECTED,
    (_S.EXPIRING, _T.SIGNED_OUT): _S.DISCONNECTED,
    (_S.EXPIRING, _T.DISCONNECTED_BY_ADMIN): _S.DISCONNECTED,
    (_S.DISCONNECTED, _T.LOGGED_IN): _S.CONNECTED,
}

_D, _V = VerificationState, VerificationTrigger
VERIFICATION_TABLE: Mapping[tuple[VerificationState, VerificationTrigger], VerificationState] = {
    **{(state, _V.STARTED): _D.ASSUMED for state in VerificationState},
    (_D.ASSUMED, _V.ANSWERED): _D.VERIFIED,
    (_D.ASSUMED, _V.UNAVAILABLE): _D.UNVERIFIED,
    (_D.ASSUMED, _V.REFUSED): _D.UNDER_VERIFICATION,
    (_D.VERIFIED, _V.ANSWERED): _D.VERIFIED,
    (_D.VERIFIED, _V.UNAVAILABLE): _D.UNVERIFIED,
    (_D.VERIFIED, _V.REFUSED): _D.UNDER_VERIFICATION,
    (_D.UNVERIFIED, _V.ANSWERED): _D.VERIFIED,
    (_D.UNVERIFIED, _V.UNAVAILABLE): _D.UNVERIFIED,
    (_D.UNVERIFIED, _V.REFUSED): _D.UNDER_VERIFICATION,
    # The result of a call that was under way at the first refusal changes nothing: the verification decides.
    (_D.UNDER_VERIFICATION, _V.ANSWERED): _D.UNDER_VERIFICATION,
    (_D.UNDER_VERIFICATION, _V.UNAVAILABLE): _D.UNDER_VERIFICATION,
    (_D.UNDER_VERIFICATION, _V.REFUSED): _D.UNDER_VERIFICATION,
    (_D.UNDER_VERIFICATION, _V.CLEARED): _D.VERIFIED,
    (_D.UNDER_VERIFICATION, _V.HELD_BACK): _D.HELD,
    (_D.HELD, _V.ANSWERED): _D.HELD,
    (_D.HELD, _V.UNAVAILABLE): _D.HELD,
    (_D.HELD, _V.REFUSED): _D.HELD,
    (_D.HELD, _V.CLEARED): _D.VERIFIED,
    (_D.HELD, _V.HELD_BACK): _D.HELD,
    (_D.HELD, _V.RELEASED): _D.UNVERIFIED,
}


class ImpossibleTransition(Exception):  # noqa: N818 - a fact about the table, raised only by a bug
    """The table has no row for this state and trigger."""

    def __init__(self, state: StrEnum, trigger: StrEnum) -> None:
        super().__init__(f"nothing is defined for {type(state).__name__} {state.value} on {trigger.value}")
        self.state = state
        self.trigger = trigger


State = TypeVar("State", bound=StrEnum)
Trigger = TypeVar("Trigger", bound=StrEnum)


def move(table: Mapping[tuple[State, Trigger], State], state: State, trigger: Trigger) -> State:
    """Return the state that follows.

    Raises:
        ImpossibleTransition: The table has no such row.
    """
    try:
        return table[state, trigger]
    except KeyError:
        raise ImpossibleTransition(state, trigger) from None


@dataclass(frozen=True, slots=True)
class Connection:
    """One account's session, without secrets; every change makes a new value."""

    user_id: str
    state: LoginState = LoginState.NEVER_CONNECTED
    verification_state: VerificationState = VerificationState.ASSUMED
    hold_reason: HoldReason | None = None
    """Why the session is held; `None` in all other verification states. It is not stored."""
    generation: int = 0
    """Counts this account's logins; 0 before the first."""
    reason: DisconnectReason | None = None
    fyers_id: str | None = None
    app_id: str | None = None
    expires_at: datetime | None = None
    connected_at: datetime | None = None
    last_validated_at: datetime | None = None
    """When Fyers last answered a call that needs the token."""
    last_disconnect_at: datetime | None = None
    incident_id: str | None = None
    """The present or latest interruption; one notice is sent per incident."""

    @property
    def has_session(self) -> bool:
        """Whether a login session exists, in any verification state."""
        return self.state in (LoginState.CONNECTED, LoginState.EXPIRING)

    @property
    def is_usable(self) -> bool:
        """Whether ordinary calls may be made with this session."""
        return self.has_session and self.verification_state not in (
            VerificationState.UNDER_VERIFICATION,
            VerificationState.HELD,
        )

    @property
    def is_verified(self) -> bool:
        """Whether Fyers' last answer confirmed the session."""
        return self.has_session and self.verification_state is VerificationState.VERIFIED


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a change was made, for the audit trail: no token, no body."""

    kind: str
    """``expiry``, ``refusal``, ``login``, ``user``, ``admin``, ``unreadable_token``, ``stored_disconnect``."""
    actor: str = "hullwatch"
    """Who caused it: ``hullwatch``, ``fyers`` or a user id."""
    refusals: tuple[LoginRefused, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    """What an optional feature adds to the audit entry."""


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """One change of the login state."""

    before: Connection
    after: Connection
    trigger: LoginTrigger
    at: datetime
    evidence: Evidence


_REASONS = {
    LoginTrigger.REACHED_EXPIRY: DisconnectReason.EXPIRED,
    LoginTrigger.SIGNED_OUT: DisconnectReason.SIGNED_OUT,
    LoginTrigger.DISCONNECTED_BY_ADMIN: DisconnectReason.BY_ADMIN,
}


def log_in(
    connection: Connection,
    *,
    fyers_id: str,
    app_id: str,
    expires_at: datetime,
    now: datetime,
    actor: str,
    kind: str = "login",
) -> ConnectionChange:
    """Return a new generation; the incident id stays, so that the notice of the recovery carries it."""
    after = replace(
        connection,
        state=move(LOGIN_TABLE, connection.state, LoginTrigger.LOGGED_IN),
        verification_state=VerificationState.ASSUMED,
        hold_reason=None,
        generation=connection.generation + 1,
        reason=None,
        fyers_id=fyers_id,
        app_id=app_id,
        expires_at=expires_at,
        connected_at=now,
        last_validated_at=None,
    )
    return ConnectionChange(connection, after, LoginTrigger.LOGGED_IN, now, Evidence(kind, actor))


def can_be_continued(connection: Connection, generation: int) -> bool:
    """Whether a session that no person started may follow this generation: no newer one exists, and no person ended it."""
    is_ended_by_person = connection.state is LoginState.DISCONNECTED and connection.reason in (
        DisconnectReason.SIGNED_OUT,
        DisconnectReason.BY_ADMIN,
    )
    return connection.generation == generation and not is_ended_by_person


def mark_expiring(connection: Connection, *, now: datetime) -> ConnectionChange:
    """Mark a session as expiring."""
    after = replace(connection, state=move(LOGIN_TABLE, connection.state, LoginTrigger.NEARED_EXPIRY))
    return ConnectionChange(connection, after, LoginTrigger.NEARED_EXPIRY, now, Evidence("expiry"))


def disconnect(
    connection: Connection, trigger: LoginTrigger, *, incident_id: str, now: datetime, evidence: Evidence
) -> ConnectionChange:
    """Return the disconnected session.

    A confirmed refusal counts as *expired* when Fyers said so or when the expiry has passed, else as *rejected*.
    """
    if trigger is LoginTrigger.REFUSAL_CONFIRMED:
        is_past = connection.expires_at is not None and now >= connection.expires_at
        is_expired = is_past or any(refusal.is_expired for refusal in evidence.refusals)
        reason = DisconnectReason.EXPIRED if is_expired else DisconnectReason.REJECTED
    else:
        reason = _REASONS[trigger]
    after = replace(
        connection,
        state=move(LOGIN_TABLE, connection.state, trigger),
        verification_state=VerificationState.ASSUMED,
        hold_reason=None,
        reason=reason,
        last_disconnect_at=now,
        incident_id=incident_id,
    )
    return ConnectionChange(connection, after, trigger, now, evidence)


def update_verification(
    connection: Connection,
    trigger: VerificationTrigger,
    *,
    now: datetime,
    hold_reason: HoldReason | None = None,
) -> Connection:
    """Return the connection after a change of its verification state; the login state stays.

    Args:
        connection: The session.
        trigger: What changes it.
        now: The present.
        hold_reason: Why the session is held, for the trigger `HELD_BACK`.
    """
    state = move(VERIFICATION_TABLE, connection.verification_state, trigger)
    validated_at = (
        now
        if trigger in (VerificationTrigger.ANSWERED, VerificationTrigger.CLEARED)
        else connection.last_validated_at
    )
    if state is VerificationState.HELD:
        hold_reason = hold_reason or connection.hold_reason
    if (state, hold_reason) == (connection.verification_state, connection.hold_reason) and (
        validated_at is connection.last_validated_at
    ):
        return connection
    return replace(
        connection, verification_state=state, hold_reason=hold_reason, last_validated_at=validated_at
    )


@dataclass(frozen=True, slots=True)
class NewLogin:
    """A login at Fyers that is to start a session; `repr` shows no secret."""

    token: AccessToken
    fyers_id: str
    app_id: str
    expires_at: datetime
    actor: str
    """Who logged in."""
    only_after: int | None = None
    """Start the session only while this is the present generation."""
    continues: int | None = None
    """Follow this generation without an action of its user, who gets no notice."""
    kind: str = "login"
    """The kind of the evidence."""


@dataclass(slots=True)
class Lease:
    """The permission to make calls with one session, shared by all copies of its credential.

    It is closed in the step in which the session is disconnected, so that a call that waits for its turn is never
    sent afterwards. A closed lease stays closed: a new login has a new one.
    """

    is_closed: bool = False
    is_under_verification: bool = False
    """While true only the probes of the verification may be sent."""
    expires_by_time: bool = True
    """Whether no call is sent after the expiry; false while this server's clock is not reliable."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a call to Fyers needs; `repr` shows no secret."""

    user_id: str
    generation: int
    app_id: str
    fyers_id: str
    token: AccessToken
    expires_at: datetime
    lease: Lease = field(default_factory=Lease, compare=False)
    is_for_verification: bool = False

    def may_call(self, now: datetime) -> bool:
        """Whether a call may be sent at this moment; to be checked right before sending, after every wait."""
        if self.lease.is_closed or (self.lease.expires_by_time and now >= self.expires_at):
            return False
        return self.is_for_verification or not self.lease.is_under_verification

    def for_verification(self) -> "Credential":
        """Return the same credential with the permission to probe while under verification."""
        return replace(self, is_for_verification=True)


def credential_of(connection: Connection, token: AccessToken) -> Credential:
    """Return what calls of this session need, with a new lease."""
    if connection.expires_at is None or connection.app_id is None or connection.fyers_id is None:
        raise ValueError("a session has an expiry, an app and an owner")
    return Credential(
        user_id=connection.user_id,
        generation=connection.generation,
        app_id=connection.app_id,
        fyers_id=connection.fyers_id,
        token=token,
        expires_at=connection.expires_at,
    )
