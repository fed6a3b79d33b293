"""What can go wrong, as a closed family named by what to do next.

Two families live here, because two different parties have to act on them.

**Broker failures** are *values*: the answer that a call to Fyers turned into. They are returned, never raised, so that no
caller can forget them::

    BrokerFailure
    ├── LoginRefused      Fyers says this access token is not good   → take a second look, then stop asking for this account
    ├── SessionDisconnected       we did not ask: the session is known dead  → skip, invite a login
    ├── RateLimited       Fyers asked us to wait                     → wait `retry_after_s`, change nothing about the login
    ├── Unavailable       no verdict: silence, HTML, 5xx, nonsense   → wait with jitter, change nothing about the login
    ├── UnreadableReply   a well-meant answer that we cannot read    → as unavailable, and loud: our bug or their change
    ├── RequestRefused    Fyers understood and says no to this call  → tell the user, do not repeat
    └── NotPermitted      the app or the plan lacks the permission   → tell the user, do not repeat

**Refusals** are *exceptions*: hullwatch itself says no to a person. They know no HTTP status; ``web/errors.py`` has that table::

    Refusal
    ├── InvalidInput ── UnknownSymbol
    ├── NotSignedIn, WrongCredentials, TooManyAttempts, NotAllowed
    ├── NotFound, AlreadyExists, LimitReached
    ├── LinkRefused ── WrongAccount       the OAuth round trip came back wrong
    ├── BrokerRefusal                     Fyers' failure, told to the person who waits for it
    └── StorageUnavailable                the database did not answer; nothing was changed
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Outcome(StrEnum):
    """How a call for data ended; stands on every data answer, so that an empty list never means an error."""

    OK = "ok"
    NO_DATA = "no_data"
    DISCONNECTED = "disconnected"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    BAD_REQUEST = "bad_request"
    NOT_PERMITTED = "not_permitted"


class BrokerService(StrEnum):
    """The part of Fyers that gave an answer; each part checks logins on its own and can err on its own."""

    PROFILE = "profile"
    """``/profile``: may answer although every other part refuses (recorded run of a Fyers developer)."""
    TRADING = "trading"
    """``/funds`` and the order book: refuse with -16."""
    HISTORY = "history"
    """``/history``: refuses with -16 like the trading service, but lives at the address of the data."""
    DATA = "data"
    """Quotes, depth, market status: refuse with -15."""
    LOGIN = "login"
    """The exchange of an auth code for an access token."""
    PUBLIC = "public"
    """Symbol masters; no login involved."""


@dataclass(frozen=True, slots=True)
class Answered(Generic[T_co]):
    """Fyers answered the call; `value` is what it said, in the domain's words."""

    value: T_co


@dataclass(frozen=True, slots=True)
class BrokerFailure:
    """A call to Fyers that brought no data; never raised."""

    service: BrokerService

    @property
    def outcome(self) -> Outcome:
        """The word for this failure on a data answer."""
        return Outcome.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class LoginRefused(BrokerFailure):
    """Fyers' own clear answer that the access token is not good; a verdict only once it is seen twice."""

    code: int
    """Fyers' own code, e.g. -8, -15, -16, -17."""
    http_status: int
    path: str

    @property
    def says_expired(self) -> bool:
        """Whether Fyers named the token's age as the cause: only ``/profile`` does, with code -8 (observed SDK logs)."""
        return self.code == -8

    @property
    def outcome(self) -> Outcome:
        """One refusal is doubt; the connection decides whether it ends the session."""
        return Outcome.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class SessionDisconnected(BrokerFailure):
    """The call was not sent, because the session ended or is in doubt; Fyers heard nothing."""

    @property
    def outcome(self) -> Outcome:
        """A session that is over gives no data."""
        return Outcome.DISCONNECTED


@dataclass(frozen=True, slots=True)
class RateLimited(BrokerFailure):
    """Fyers asked us to wait, or our own pacing knows that it would."""

    retry_after_s: float

    @property
    def outcome(self) -> Outcome:
        """A wait is not an error of the login."""
        return Outcome.RATE_LIMITED


@dataclass(frozen=True, slots=True)
class Unavailable(BrokerFailure):
    """Fyers could not be reached or did not speak Fyers; says nothing about the login."""

    cause: str
    """A short stable word: ``timeout``, ``connection``, ``http_502``, ``not_fyers``, ``circuit_open``, …; never a body."""
    http_status: int | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class UnreadableReply(Unavailable):
    """Fyers said ok in a shape that we do not know: our bug or their change, to be logged loudly."""


@dataclass(frozen=True, slots=True)
class RequestRefused(BrokerFailure):
    """Fyers understood the call and says no to it: a bad symbol, a bad range."""

    code: int
    http_status: int
    message: str
    """Fyers' sentence, shortened; for people, never for decisions."""

    @property
    def outcome(self) -> Outcome:
        """The request has to change before it can succeed."""
        return Outcome.BAD_REQUEST


@dataclass(frozen=True, slots=True)
class NotPermitted(BrokerFailure):
    """The Fyers app or plan lacks the permission; the login itself is good."""

    code: int
    http_status: int
    message: str

    @property
    def outcome(self) -> Outcome:
        """Only the user can change the app's permissions, at Fyers."""
        return Outcome.NOT_PERMITTED


BrokerResult: TypeAlias = Answered[T] | BrokerFailure
"""What every call to the broker returns: an answer, or exactly one failure of the family."""


class Refusal(Exception):  # noqa: N818 - a refusal is a fact told to a person, not an error of the program
    """Hullwatch says no; the text is one sentence that a person understands and that holds no secret."""


class InvalidInput(Refusal):
    """What was given cannot be used; `field` names it where there is one."""

    def __init__(self, sentence: str, *, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


class UnknownSymbol(InvalidInput):
    """The text is not a symbol in Fyers' form, or no such instrument exists."""


class NotSignedIn(Refusal):
    """The caller gave no valid login."""


class WrongCredentials(Refusal):
    """E-mail and password do not fit; does not say which."""


class TooManyAttempts(Refusal):
    """Too many failed logins; `retry_after_s` says how long to wait."""

    def __init__(self, sentence: str, *, retry_after_s: float) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class NotAllowed(Refusal):
    """The caller is known but may not do this."""


class NotFound(Refusal):
    """Nothing of that name belongs to the caller."""


class AlreadyExists(Refusal):
    """It is there already."""


class LimitReached(Refusal):
    """One more would be too many."""


class LinkRefused(Refusal):
    """The login round trip to Fyers came back wrong: unknown, used, expired or foreign `state`, or a refused auth code.

    `reason` is a word for the audit trail.
    """

    def __init__(self, sentence: str, *, reason: str = "refused") -> None:
        super().__init__(sentence)
        self.reason = reason


class WrongAccount(LinkRefused):
    """The login belongs to another Fyers id than the one linked before; nothing was changed. `may_switch` says whether that can be meant."""

    def __init__(self, sentence: str, *, may_switch: bool = True) -> None:
        super().__init__(sentence, reason="wrong_account")
        self.may_switch = may_switch


class LoginLinkExpired(Refusal):
    """A login link that is good no longer, or never was: which of them is not said."""


class LoginLinkTaken(Refusal):
    """A login link whose button was pressed in another browser."""


class BrokerRefusal(Refusal):
    """A failure of Fyers that a person waits for, such as at the exchange of an auth code."""

    def __init__(self, sentence: str, failure: BrokerFailure) -> None:
        super().__init__(sentence)
        self.failure = failure


class StorageUnavailable(Refusal):
    """The database did not answer in time; nothing was changed and the same call may be made again."""
