"""Failures of calls to Fyers, and refusals of requests to hullwatch; each class is named by what to do next.

**Broker failures** are *values*. They are returned, never raised, so that no caller can forget them::

    BrokerFailure
    ├── LoginRefused        Fyers refused the access token           → verify it, then stop calling for this account
    ├── SessionDisconnected no call: the session is disconnected     → skip, invite a login
    ├── RateLimited         Fyers asked us to wait                   → wait `retry_after_s`, change nothing about the login
    ├── Unavailable         no response, HTML, 5xx, nonsense         → wait with jitter, change nothing about the login
    ├── UnreadableReply     an answer that we cannot read            → as unavailable, and log an error
    ├── UnclearRefusal      a refused token without HTTP 401         → as unavailable; put the account on hold if it lasts
    ├── RequestRefused      Fyers refused this call                  → show the user, do not repeat
    └── NotPermitted        the app lacks the permission             → show the user, do not repeat

**Refusals** are *exceptions*: hullwatch refuses a request. ``web/errors.py`` has the table of their HTTP status::

    Refusal
    ├── InvalidInput ── UnknownSymbol
    ├── NotSignedIn, WrongCredentials, TooManyAttempts, NotAllowed
    ├── NotFound, AlreadyExists, LimitReached
    ├── LinkRefused ── WrongAccount       the OAuth round trip came back wrong
    ├── BrokerRefusal                     Fyers failed while a user waits
    ├── MailNotSent                       the mail server failed while a user waits
    └── StorageUnavailable                the database did not answer; nothing was changed
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Outcome(StrEnum):
    """The outcome of a call for data; part of every data answer, so that an empty list never means an error."""

    OK = "ok"
    NO_DATA = "no_data"
    DISCONNECTED = "disconnected"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    BAD_REQUEST = "bad_request"
    NOT_PERMITTED = "not_permitted"


class FailureScope(StrEnum):
    """What a failed call about one symbol concerns."""

    SYMBOL = "symbol"
    """The symbol alone; other calls of the account are answered."""
    ACCOUNT = "account"
    """All calls of the account to this service."""
    SERVICE = "service"
    """The service for all accounts."""


class BrokerService(StrEnum):
    """The part of Fyers that answered; each part checks access tokens itself and can be wrong alone."""

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
    """Fyers answered the call; `value` is the answer as a domain value."""

    value: T_co


@dataclass(frozen=True, slots=True)
class BrokerFailure:
    """A call to Fyers that brought no data; never raised."""

    service: BrokerService

    @property
    def outcome(self) -> Outcome:
        """The outcome on a data answer."""
        return Outcome.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class LoginRefused(BrokerFailure):
    """Fyers refused the access token; only a verified refusal disconnects the session."""

    code: int
    """Fyers' own code, e.g. -8, -15, -16, -17."""
    http_status: int
    path: str

    @property
    def is_expired(self) -> bool:
        """Whether Fyers reported an expired token: only ``/profile`` does, with code -8 (observed SDK logs)."""
        return self.code == -8

    @property
    def outcome(self) -> Outcome:
        """A refusal has to be verified before the session counts as disconnected."""
        return Outcome.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class SessionDisconnected(BrokerFailure):
    """The call was not sent, because the session is disconnected or under verification."""

    @property
    def outcome(self) -> Outcome:
        """A disconnected session gives no data."""
        return Outcome.DISCONNECTED


@dataclass(frozen=True, slots=True)
class RateLimited(BrokerFailure):
    """Fyers asked us to wait, or our own pacing knows that it would."""

    retry_after_s: float

    @property
    def outcome(self) -> Outcome:
        """A wait changes nothing about the session."""
        return Outcome.RATE_LIMITED


@dataclass(frozen=True, slots=True)
class Unavailable(BrokerFailure):
    """Fyers could not be reached or gave no answer of its API; the session is unaffected."""

    cause: str
    """A short stable word: ``timeout``, ``connection``, ``http_502``, ``not_fyers``, ``circuit_open``, …; never a body."""
    http_status: int | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class UnreadableReply(Unavailable):
    """Fyers answered ok in an unknown shape: a defect here or a change there, logged as an error."""


@dataclass(frozen=True, slots=True)
class UnclearRefusal(Unavailable):
    """Fyers refused the access token with its own code, but not with HTTP 401. It never disconnects a session."""

    code: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True)
class RequestRefused(BrokerFailure):
    """Fyers understood the call and refused it: a bad symbol, a bad range."""

    code: int
    http_status: int
    message: str
    """Fyers' sentence, shortened: for people, never for decisions."""

    @property
    def outcome(self) -> Outcome:
        """The request has to change before it can succeed."""
        return Outcome.BAD_REQUEST


@dataclass(frozen=True, slots=True)
class NotPermitted(BrokerFailure):
    """The Fyers app or plan lacks the permission; the session itself is valid."""

    code: int
    http_status: int
    message: str

    @property
    def outcome(self) -> Outcome:
        """Only the user can change the app's permissions, at Fyers."""
        return Outcome.NOT_PERMITTED


BrokerResult: TypeAlias = Answered[T] | BrokerFailure
"""What every call to the broker returns: an answer, or exactly one failure of the family."""


class Refusal(Exception):  # noqa: N818 - a refusal is a fact that a user reads, not an error of the program
    """Hullwatch refuses a request; the text is one sentence for people and holds no secret."""


class InvalidInput(Refusal):
    """The input cannot be used; `field` names it where there is one."""

    def __init__(self, sentence: str, *, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


class UnknownSymbol(InvalidInput):
    """The text is not a symbol in Fyers' form, or no such instrument exists."""


class NotSignedIn(Refusal):
    """The caller gave no valid login."""


class WrongCredentials(Refusal):
    """Wrong e-mail or password; the text does not say which."""


class TooManyAttempts(Refusal):
    """Too many failed logins; `retry_after_s` says how long to wait."""

    def __init__(self, sentence: str, *, retry_after_s: float) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class NotAllowed(Refusal):
    """The caller lacks the role."""


class NotFound(Refusal):
    """The caller owns nothing with this id."""


class AlreadyExists(Refusal):
    """Something with this name exists already."""


class LimitReached(Refusal):
    """The caller has reached a limit."""


class LinkRefused(Refusal):
    """Fyers' redirect cannot be used: unknown, used, expired or foreign `state`, or a refused auth code.

    `reason` is stored in the audit trail.
    """

    def __init__(self, sentence: str, *, reason: str = "refused") -> None:
        super().__init__(sentence)
        self.reason = reason


class WrongAccount(LinkRefused):
    """The login belongs to another Fyers id than the linked one; `may_switch` says whether the user may want that."""

    def __init__(self, sentence: str, *, may_switch: bool = True) -> None:
        super().__init__(sentence, reason="wrong_account")
        self.may_switch = may_switch


class BrokerOutageKnown(Refusal):
    """Fyers has an outage, so a login may fail; the caller may want to try all the same."""


class LoginLinkExpired(Refusal):
    """A login link that is good no longer, or never was: which of them is not said."""


class ResetLinkExpired(Refusal):
    """A reset link that is not valid any more, or never was; the text does not say which."""


class LoginLinkTaken(Refusal):
    """A login link whose button was pressed in another browser."""


class BrokerRefusal(Refusal):
    """Fyers failed while a user waits, as at the exchange of an auth code."""

    def __init__(self, sentence: str, failure: BrokerFailure) -> None:
        super().__init__(sentence)
        self.failure = failure


class MailNotSent(Refusal):
    """The mail server did not accept a mail while a user waits; the call can be repeated."""


class StorageUnavailable(Refusal):
    """The database did not respond in time; nothing was changed, and the call can be repeated."""
