"""The session of a broker account: two state tables, a generation number, and the rules for ending it.

*May we talk* and *how sure are we* are two machines. The first (`LOGIN_TABLE`) knows whether a login session exists at all; the
second (`VERIFICATION_TABLE`) knows what Fyers' last answers said about it. Only the first ends a session, and only by its own triggers:
the known end, a refusal seen twice, the user, an admin. Doubt lives in the second and never leaks into the first.

Every login raises the **generation**. What was learned about an older generation never touches a newer one.

Deciding happens here, on values; asking, waiting, storing and telling belong to ``services/connections.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from hullwatch.domain.failures import BrokerService, LoginRefused
from hullwatch.domain.secrets import AccessToken

EXPIRING_BEFORE = timedelta(minutes=30)
"""How long before its known end a session is called expiring."""


class LoginState(StrEnum):
    """Whether a login session exists. The words are those of the connection object that the outside sees."""

    NEVER_CONNECTED = "never_connected"
    """The user has not linked a Fyers account yet."""
    CONNECTED = "connected"
    """A session exists and its known end is far."""
    EXPIRING = "expiring"
    """A session exists and its known end is less than `EXPIRING_BEFORE` away; it is used like any other."""
    DISCONNECTED = "disconnected"
    """The session ended, for a reason that is known; no call is made until the user logs in again."""


class LoginTrigger(StrEnum):
    """What can move `LoginState`."""

    LOGGED_IN = "logged_in"
    NEARED_EXPIRY = "neared_expiry"
    REACHED_EXPIRY = "reached_expiry"
    REFUSAL_CONFIRMED = "refusal_confirmed"
    SIGNED_OUT = "signed_out"
    DISCONNECTED_BY_ADMIN = "disconnected_by_admin"


class DisconnectReason(StrEnum):
    """Why a session ended, in the words of the connection object."""

    EXPIRED = "expired"
    REJECTED = "rejected"
    SIGNED_OUT = "signed_out"
    BY_ADMIN = "by_admin"


class VerificationState(StrEnum):
    """How sure we are of a session that exists."""

    ASSUMED = "assumed"
    """Nobody has asked Fyers yet; the session is used."""
    VERIFIED = "verified"
    """Fyers answered a call that needs the token; the session is used."""
    UNVERIFIED = "unverified"
    """Fyers could not be asked lately; the session is used."""
    UNDER_VERIFICATION = "under_verification"
    """Fyers refused once; nothing but the second look is sent."""
    HELD = "held"
    """Fyers refused, but it refuses many at once: its trouble, not the user's. Only a slow, single question is sent now and then."""


class VerificationTrigger(StrEnum):
    """What can move `VerificationState`."""

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
    **{(standing, _V.STARTED): _D.ASSUMED for standing in VerificationState},
    (_D.ASSUMED, _V.ANSWERED): _D.VERIFIED,
    (_D.ASSUMED, _V.UNAVAILABLE): _D.UNVERIFIED,
    (_D.ASSUMED, _V.REFUSED): _D.UNDER_VERIFICATION,
    (_D.VERIFIED, _V.ANSWERED): _D.VERIFIED,
    (_D.VERIFIED, _V.UNAVAILABLE): _D.UNVERIFIED,
    (_D.VERIFIED, _V.REFUSED): _D.UNDER_VERIFICATION,
    (_D.UNVERIFIED, _V.ANSWERED): _D.VERIFIED,
    (_D.UNVERIFIED, _V.UNAVAILABLE): _D.UNVERIFIED,
    (_D.UNVERIFIED, _V.REFUSED): _D.UNDER_VERIFICATION,
    # A call that was under way when the first refusal came neither clears nor condemns: the second look decides.
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
    """One account's session as everybody sees it; holds no secret. A new value for every change."""

    user_id: str
    state: LoginState = LoginState.NEVER_CONNECTED
    verification_state: VerificationState = VerificationState.ASSUMED
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
    """Names the present or latest interruption; one notice goes out per incident."""

    @property
    def has_session(self) -> bool:
        """Whether a login session exists, however sure we are of it."""
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
        """Whether Fyers itself confirmed the session when it was last asked."""
        return self.has_session and self.verification_state is VerificationState.VERIFIED


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a change was made, fit for an audit trail: no token, no body."""

    kind: str
    """``known_end``, ``refusal``, ``login``, ``user``, ``admin``, ``unreadable_token``, ``stored_end``."""
    actor: str = "hullwatch"
    """Who caused it: ``hullwatch``, ``fyers`` or a user id."""
    refusals: tuple[LoginRefused, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    """What an optional feature adds to the audit entry."""


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """One move of the login table: what was, what is, and why."""

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
    """Begin a new generation; the incident id stays, so that the repair can be told of the interruption it ends."""
    after = replace(
        connection,
        state=move(LOGIN_TABLE, connection.state, LoginTrigger.LOGGED_IN),
        verification_state=VerificationState.ASSUMED,
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


def end(
    connection: Connection, trigger: LoginTrigger, *, incident_id: str, now: datetime, evidence: Evidence
) -> ConnectionChange:
    """End the session.

    A confirmed refusal counts as *expired* when Fyers itself said so or when the known end has passed, else as *rejected*.
    """
    if trigger is LoginTrigger.REFUSAL_CONFIRMED:
        is_past = connection.expires_at is not None and now >= connection.expires_at
        is_expired = is_past or any(refusal.says_expired for refusal in evidence.refusals)
        reason = DisconnectReason.EXPIRED if is_expired else DisconnectReason.REJECTED
    else:
        reason = _REASONS[trigger]
    after = replace(
        connection,
        state=move(LOGIN_TABLE, connection.state, trigger),
        verification_state=VerificationState.ASSUMED,
        reason=reason,
        last_disconnect_at=now,
        incident_id=incident_id,
    )
    return ConnectionChange(connection, after, trigger, now, evidence)


def stand(connection: Connection, trigger: VerificationTrigger, *, now: datetime) -> Connection:
    """Return the connection after an observation about its standing; never touches the login state."""
    standing = move(VERIFICATION_TABLE, connection.verification_state, trigger)
    validated_at = (
        now
        if trigger in (VerificationTrigger.ANSWERED, VerificationTrigger.CLEARED)
        else connection.last_validated_at
    )
    if standing is connection.verification_state and validated_at is connection.last_validated_at:
        return connection
    return replace(connection, verification_state=standing, last_validated_at=validated_at)


@dataclass(slots=True)
class Lease:
    """The permission to make calls with one session, shared by everyone who holds its credential.

    The connection closes it in the same step in which it changes its mind, so that a call that waits for its turn is never sent
    after the session ended. A lease is never opened again: a new login brings a new one.
    """

    is_over: bool = False
    is_under_verification: bool = False
    """While true only the second look may be sent."""


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
        """Whether a call may be sent at this moment; to be asked right before sending, after every wait."""
        if self.lease.is_over or now >= self.expires_at:
            return False
        return self.is_for_verification or not self.lease.is_under_verification

    def for_verification(self) -> "Credential":
        """Return the same credential with the right to ask while in doubt."""
        return replace(self, is_for_verification=True)


def credential_of(connection: Connection, token: AccessToken) -> Credential:
    """Return what calls of this session need, with a lease of its own."""
    if connection.expires_at is None or connection.app_id is None or connection.fyers_id is None:
        raise ValueError("a session has an end, an app and an owner")
    return Credential(
        user_id=connection.user_id,
        generation=connection.generation,
        app_id=connection.app_id,
        fyers_id=connection.fyers_id,
        token=token,
        expires_at=connection.expires_at,
    )


class Look(StrEnum):
    """What one question of the second look brought."""

    REFUSED = "refused"
    ANSWERED = "answered"
    UNAVAILABLE = "unavailable"


class Verdict(StrEnum):
    """What the second look, taken as a whole, says."""

    CONFIRMED = "confirmed"
    """Two services refused: the session is over."""
    CLEARED = "cleared"
    """Another service that checks tokens answered: the first refusal was one of Fyers' isolated false ones."""
    UNDECIDED = "undecided"
    """Nobody who counts could be asked; ask again later."""


_LOOKS: Mapping[BrokerService, tuple[BrokerService, ...]] = {
    BrokerService.DATA: (BrokerService.PROFILE, BrokerService.TRADING, BrokerService.DATA),
    BrokerService.TRADING: (BrokerService.PROFILE, BrokerService.DATA, BrokerService.TRADING),
    # History and data live at one address: what refuses there must be confirmed elsewhere.
    BrokerService.HISTORY: (BrokerService.PROFILE, BrokerService.TRADING, BrokerService.DATA),
}
_LOOKS_ELSE = (BrokerService.DATA, BrokerService.TRADING)


def next_look(first: BrokerService, seen: Mapping[BrokerService, Look]) -> BrokerService | Verdict:
    """Return which service to ask next after a first refusal by `first`, or the verdict.

    ``/profile`` is asked first because it alone tells expired from revoked; its refusal confirms, its answer proves nothing (a Fyers
    developer's recorded run shows it answering while all others refused), so then the remaining service decides. Where that one cannot
    be asked, as for an app without its permission, the service that refused is asked once more: it can clear, but not confirm itself.
    """
    if any(look is Look.REFUSED for service, look in seen.items() if service is not first):
        return Verdict.CONFIRMED
    if any(look is Look.ANSWERED for service, look in seen.items() if service is not BrokerService.PROFILE):
        return Verdict.CLEARED
    for service in _LOOKS.get(first, _LOOKS_ELSE):
        if service not in seen:
            return service
    return Verdict.UNDECIDED
