"""What an answer of Fyers means: one classifier, and the tables it reads. How an answer came here is ``transport.py``'s.

Fyers' numeric **code** decides together with the HTTP status; Fyers' sentences never do: one sentence ("Could not authenticate the user")
stands for -16 and for -17, and "invalid token" texts come from parts that know nothing of a login. Only a reply *shaped like Fyers* (a JSON
object with ``s`` and a whole-number ``code``) says anything about a login; pages of the edge in front of Fyers, half bodies and outages never
do. A login is refused by exactly one pair: a refusal code **and** HTTP 401. All 20,000-odd refusals in observed SDK logs came so, and a reply
that contradicts itself is trouble.

Sources of the rows: Fyers API v3 docs (error codes, rate limits, history), observed SDK logs, the official Python SDK 3.2.0.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum

import orjson

from hullwatch.domain.failures import (
    Answered,
    BrokerFailure,
    BrokerService,
    LoginRefused,
    NotPermitted,
    RateLimited,
    RequestRefused,
    Unavailable,
)

DEFAULT_RETRY_AFTER_S = 60.0
"""When a 429 names no time: the limit hit in practice is the minute's (16,700 of them in observed SDK logs)."""
LONGEST_RETRY_AFTER_S = 86_400.0
LONGEST_MESSAGE = 200
"""Characters of Fyers' sentence that are kept for people."""


class Host(Enum):
    """Which base address a call goes to."""

    API = "api"
    DATA = "data"
    PUBLIC = "public"


class CallKind(Enum):
    """Every call hullwatch makes: the service that answers it, where it lives, how it is sent."""

    EXCHANGE_AUTH_CODE = (BrokerService.LOGIN, Host.API, "/validate-authcode", "POST")
    RENEW_ACCESS_TOKEN = (BrokerService.LOGIN, Host.API, "/validate-refresh-token", "POST")
    PROFILE = (BrokerService.PROFILE, Host.API, "/profile", "GET")
    FUNDS = (BrokerService.TRADING, Host.API, "/funds", "GET")
    LOGOUT = (BrokerService.TRADING, Host.API, "/logout", "POST")
    HISTORY = (BrokerService.HISTORY, Host.DATA, "/history", "GET")
    """Lives with the data, but its logins are checked like the trading service's: it refuses with -16."""
    QUOTES = (BrokerService.DATA, Host.DATA, "/quotes", "GET")
    MARKET_STATUS = (BrokerService.DATA, Host.DATA, "/marketStatus", "GET")
    SYMBOL_MASTER = (BrokerService.PUBLIC, Host.PUBLIC, "/sym_details", "GET")

    def __init__(self, service: BrokerService, host: Host, path: str, method: str) -> None:
        self.service = service
        self.host = host
        self.path = path
        self.method = method

    @property
    def may_repeat(self) -> bool:
        """Whether sending it twice does no more than sending it once; an auth code is good once, and a wrong PIN sent often locks an account."""
        return self.method == "GET"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came over the wire, whole; the body can hold a token and stays out of `repr`."""

    http_status: int
    body: bytes = field(repr=False)
    content_type: str = ""
    retry_after: str = ""
    """The ``Retry-After`` header as sent, in seconds or as a date; empty when absent."""


class Kind(Enum):
    """What a code means for the call."""

    LOGIN = "login"
    """The access token is not good."""
    LIMIT = "limit"
    """Too many calls."""
    REQUEST = "request"
    """The call itself is wrong."""
    PERMISSION = "permission"
    """The app or the plan may not."""
    TROUBLE = "trouble"
    """Fyers is unwell, or says something that is about neither the call nor the login."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row: what a code means, and which replies it is believed in."""

    kind: Kind
    statuses: Collection[int]
    """HTTP statuses it is believed with; with any other the reply contradicts itself and is trouble."""
    cause: str = "fyers_trouble"
    """For trouble: the word that `Unavailable` carries."""


_ANY = range(100, 600)
_ASKED_WRONG = frozenset({200, *range(400, 500)} - {401, 403})
"""200 because -371 was reported under it; 401 and 403 speak of a login or a permission, so a code about the request contradicts them."""
_CLIENT = range(400, 500)
_TOKEN_SERVICES = (
    BrokerService.PROFILE,
    BrokerService.TRADING,
    BrokerService.HISTORY,
    BrokerService.DATA,
)

_REFUSED = Meaning(Kind.LOGIN, frozenset({401}))
_LIMITED = Meaning(Kind.LIMIT, _ANY)
_BAD_REQUEST = Meaning(Kind.REQUEST, _ASKED_WRONG)
_BAD_LOGIN_REQUEST = Meaning(Kind.REQUEST, frozenset({200, *_CLIENT}))
_FORBIDDEN = Meaning(Kind.PERMISSION, _CLIENT)
_UNWELL = Meaning(Kind.TROUBLE, _ANY)

CODES: Mapping[int, Meaning] = {
    # The access token. Which of the four comes depends on the service that was asked (observed SDK logs): -8 and -17 /profile, -16 trading
    # and history, -15 quotes and market status. All four are believed from each of them: Fyers has moved endpoints between services before.
    -8: _REFUSED,
    -15: _REFUSED,
    -16: _REFUSED,
    -17: _REFUSED,
    # Limits. 429 on /data, -429 on the trading service, -353 on /profile (observed SDK logs).
    429: _LIMITED,
    -429: _LIMITED,
    -353: _LIMITED,
    # The call: 422 on history, 400 on quotes (observed SDK logs).
    -50: _BAD_REQUEST,
    -300: _BAD_REQUEST,
    # The app's permission (history, 403 in observed SDK logs; -373 in the older documented list).
    -403: _FORBIDDEN,
    -373: _FORBIDDEN,
    # Fyers' own trouble: -99 "Something went wrong" under 500. With 4xx it rejects an order; hullwatch sends none, so there it is no more
    # than an answer that was not expected. -96 and -20x are documented as passing errors.
    -99: _UNWELL,
    -96: _UNWELL,
    -201: _UNWELL,
    -202: _UNWELL,
    -204: _UNWELL,
    -205: _UNWELL,
    500: _UNWELL,
    # Our header: no such app id, or no header at all. That can be a deleted app, but as well a proxy that strips headers or a mistake of
    # ours, which would log everybody out. Their HTTP status is not on record, and -352 has a second documented meaning. Nothing is lost by
    # not believing them: a session whose app is gone is refused by the other services with -15 and -16.
    -352: Meaning(Kind.TROUBLE, _ANY, cause="header_refused"),
    -209: Meaning(Kind.TROUBLE, _ANY, cause="header_refused"),
}
"""What a code means wherever a session's token was sent."""

HISTORY_CODES: Mapping[int, Meaning] = {
    # Older servers used codes of their own for dates and ranges (older documented list). -353 is among them and is a limit elsewhere;
    # under 429 the status has decided before this table is read.
    **dict.fromkeys((*range(-339, -333), *range(-349, -340), -351, -354, -355, -356), _BAD_REQUEST),
    -353: Meaning(Kind.REQUEST, frozenset({400, 422})),
}
"""Meanings that hold on history only; read before `CODES`."""

LOGIN_CODES: Mapping[int, Meaning] = {
    # An auth code or a refresh token: no session exists yet, so nothing here is a verdict about one. HTTP statuses are mostly unrecorded.
    -437: _BAD_LOGIN_REQUEST,
    -371: _BAD_LOGIN_REQUEST,
    -5: _BAD_LOGIN_REQUEST,
    -441: _BAD_LOGIN_REQUEST,
    -374: _BAD_LOGIN_REQUEST,
    -501: _BAD_LOGIN_REQUEST,
    # The same words that refuse a session elsewhere; -16 with HTTP 400 also says that refresh tokens are no longer taken (since 2026-04-01).
    -8: _BAD_LOGIN_REQUEST,
    -15: _BAD_LOGIN_REQUEST,
    -16: _BAD_LOGIN_REQUEST,
    -17: _BAD_LOGIN_REQUEST,
    # The credentials of the app that the person typed in.
    -352: _BAD_LOGIN_REQUEST,
    -209: _BAD_LOGIN_REQUEST,
}
"""Meanings that hold where a session is asked for; read before `CODES`."""


def classify(call: CallKind, reply: Reply) -> Answered[dict[str, object]] | BrokerFailure:
    """Return what the reply says: the parsed body if Fyers answered the call, else exactly one failure.

    Raises nothing, whatever the reply holds. An answered body is an object whose ``s`` is ``ok`` or ``no_data``; what is in it has not been
    looked at.
    """
    service, status = call.service, reply.http_status
    if status == 429:
        # The status beats the body: one of the shapes of 429 is an HTML page of the edge.
        return RateLimited(service, retry_after_s(reply) or DEFAULT_RETRY_AFTER_S)
    envelope = _read_envelope(reply.body)
    if envelope is None:
        return Unavailable(service, _trouble_word(reply), status, retry_after_s(reply))
    if envelope.is_ok:
        return _answer(call, reply, envelope)
    return _refusal(call, reply, envelope)


def classify_file(call: CallKind, reply: Reply) -> Answered[bytes] | BrokerFailure:
    """Return the body of a public file; what is in it, if anything, has not been looked at."""
    status = reply.http_status
    if status == 429:
        return RateLimited(call.service, retry_after_s(reply) or DEFAULT_RETRY_AFTER_S)
    if status != 200:
        return Unavailable(call.service, _trouble_word(reply), status, retry_after_s(reply))
    return Answered(reply.body)


def is_edge_block(reply: Reply) -> bool:
    """Whether the edge in front of Fyers, not Fyers, turned the call away: a sign that it dislikes this machine's address."""
    return reply.http_status in {403, 429} and _read_envelope(reply.body) is None


def retry_after_s(reply: Reply) -> float | None:
    """Return the seconds Fyers asked for, `None` when it named none that can be used; a date is not used."""
    try:
        seconds = float(reply.retry_after)
    except ValueError:
        return None
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return min(seconds, LONGEST_RETRY_AFTER_S)


def meaning_of(call: CallKind, code: int) -> Meaning | None:
    """Return the row for a code on a call, `None` for a code that no source knows there."""
    if call.service is BrokerService.LOGIN:
        return LOGIN_CODES.get(code) or CODES.get(code)
    if call.service not in _TOKEN_SERVICES:
        return None
    if call is CallKind.HISTORY and code in HISTORY_CODES:
        return HISTORY_CODES[code]
    return CODES.get(code)


@dataclass(frozen=True, slots=True)
class _Envelope:
    """A reply in Fyers' form: an answer, or an error with its code."""

    body: dict[str, object]
    is_ok: bool
    code: int | None


def _read_envelope(body: bytes) -> _Envelope | None:
    """Read Fyers' form; `None` for everything else, such as an error without a whole-number code."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(parsed, dict):
        return None
    said, code = parsed.get("s"), parsed.get("code")
    if not isinstance(code, int) or isinstance(code, bool):
        code = None
    # Some of Fyers' services write "OK" (official documents' order samples).
    match said.lower() if isinstance(said, str) else None:
        case "ok" | "no_data":
            return _Envelope(parsed, is_ok=True, code=code)
        case "error" if code is not None:
            return _Envelope(parsed, is_ok=False, code=code)
    return None


def _answer(call: CallKind, reply: Reply, envelope: _Envelope) -> Answered[dict[str, object]] | BrokerFailure:
    """Believe an ok only with a 2xx status and no error code beside it; some data endpoints leave ``code`` out."""
    if not 200 <= reply.http_status < 300 or (envelope.code or 0) < 0:
        return Unavailable(call.service, "contradictory", reply.http_status, retry_after_s(reply))
    return Answered(envelope.body)


def _refusal(call: CallKind, reply: Reply, envelope: _Envelope) -> BrokerFailure:
    service, status, code = call.service, reply.http_status, envelope.code or 0
    kind, cause = _judge(call, status, code)
    match kind:
        case Kind.LOGIN:
            return LoginRefused(service, code, status, call.path)
        case Kind.LIMIT:
            return RateLimited(service, retry_after_s(reply) or DEFAULT_RETRY_AFTER_S)
        case Kind.REQUEST:
            return RequestRefused(service, code, status, _sentence(envelope.body))
        case Kind.PERMISSION:
            return NotPermitted(service, code, status, _sentence(envelope.body))
        case Kind.TROUBLE:
            return Unavailable(service, cause, status, retry_after_s(reply))


def _judge(call: CallKind, status: int, code: int) -> tuple[Kind, str]:
    """Return what an error means and, for trouble, its word."""
    meaning = meaning_of(call, code)
    if meaning is not None and status in meaning.statuses:
        return meaning.kind, meaning.cause
    if call is CallKind.RENEW_ACCESS_TOKEN and meaning is None and status in _BAD_LOGIN_REQUEST.statuses:
        # A no that is on no record may be about the PIN: it must not pass for trouble, after which the same is sent again.
        return Kind.REQUEST, ""
    if call.service in _TOKEN_SERVICES and (meaning is None or meaning.kind is Kind.REQUEST):
        # Two statuses have one documented meaning each, whatever the code beside them: 422 for the call's content, 403 for permission.
        if status == 422:
            return Kind.REQUEST, ""
        if status == 403:
            return Kind.PERMISSION, ""
    return Kind.TROUBLE, "unknown_code" if meaning is None else "contradictory"


def _sentence(body: Mapping[str, object]) -> str:
    """Return Fyers' message fit to be shown: one line, printable, shortened."""
    message = body.get("message")
    if not isinstance(message, str):
        return ""
    line = " ".join(message.split())
    return "".join(character for character in line if character.isprintable())[:LONGEST_MESSAGE]


def _trouble_word(reply: Reply) -> str:
    """Name a reply that is not Fyers' own word."""
    status = reply.http_status
    if status == 403:
        return "edge_blocked"
    if not 200 <= status < 300:
        return f"http_{status}"
    return "empty_body" if not reply.body.strip() else "not_fyers"
