"""Classifies the replies of Fyers with tables of its codes.

Fyers' numeric **code** decides together with the HTTP status. Its messages never do: one message ("Could
not authenticate the user") belongs to -16 and to -17, and "invalid token" also comes from services that do
not check a login. Only a reply in Fyers' form (a JSON object with ``s`` and a whole-number ``code``) says
anything about a login. Pages of Cloudflare, half bodies and outages never do. A login is refused by exactly
one pair: a refusal code **and** HTTP 401. All of about 20,000 refusals in observed SDK logs have this form.
A refusal code with another status below 500 is an `UnclearRefusal`, because public adapters report -16 with 200.
Any other reply that contradicts itself counts as a failure of Fyers.

Sources of the rows: Fyers API v3 docs (error codes, rate limits, history), observed SDK logs, the official
Python SDK 3.2.0.
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
    UnclearRefusal,
)

DEFAULT_RETRY_AFTER_S = 60.0
"""For a 429 without a time: usually the limit of the minute was hit (16,700 in observed SDK logs)."""
LONGEST_RETRY_AFTER_S = 86_400.0
LONGEST_MESSAGE = 200
"""Characters of Fyers' message that are kept for people."""


class Host(Enum):
    """Which base address a call goes to."""

    API = "api"
    DATA = "data"
    PUBLIC = "public"


class CallKind(Enum):
    """Every call that hullwatch makes, with its service, host, path and method."""

    EXCHANGE_AUTH_CODE = (BrokerService.LOGIN, Host.API, "/validate-authcode", "POST")
    RENEW_ACCESS_TOKEN = (BrokerService.LOGIN, Host.API, "/validate-refresh-token", "POST")
    PROFILE = (BrokerService.PROFILE, Host.API, "/profile", "GET")
    FUNDS = (BrokerService.TRADING, Host.API, "/funds", "GET")
    LOGOUT = (BrokerService.TRADING, Host.API, "/logout", "POST")
    HISTORY = (BrokerService.HISTORY, Host.DATA, "/history", "GET")
    """On the data host, but its login is checked as by the trading service: it refuses with -16."""
    QUOTES = (BrokerService.DATA, Host.DATA, "/quotes", "GET")
    DEPTH = (BrokerService.DATA, Host.DATA, "/depth", "GET")
    MARKET_STATUS = (BrokerService.DATA, Host.DATA, "/marketStatus", "GET")
    SYMBOL_MASTER = (BrokerService.PUBLIC, Host.PUBLIC, "/sym_details", "GET")

    def __init__(self, service: BrokerService, host: Host, path: str, method: str) -> None:
        self.service = service
        self.host = host
        self.path = path
        self.method = method

    @property
    def may_repeat(self) -> bool:
        """Whether a retry is harmless: an auth code is valid once, and wrong PINs lock an account."""
        return self.method == "GET"


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP reply. The body can hold a token and stays out of `repr`."""

    http_status: int
    body: bytes = field(repr=False)
    content_type: str = ""
    retry_after: str = ""
    """The ``Retry-After`` header as sent, in seconds or as a date; empty when absent."""
    date: str = ""
    """The ``Date`` header as sent; empty when it is absent or the reply comes from a cache."""


class Kind(Enum):
    """What a code means for the call."""

    LOGIN = "login"
    """The access token is refused."""
    UNCLEAR_LOGIN = "unclear_login"
    """The code refuses the access token, and the HTTP status does not."""
    LIMIT = "limit"
    """Too many calls."""
    REQUEST = "request"
    """The call itself is wrong."""
    PERMISSION = "permission"
    """The app or the plan lacks the permission."""
    UNAVAILABLE = "unavailable"
    """Fyers fails, or reports something about neither the call nor the login."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row: what a code means, and with which HTTP statuses."""

    kind: Kind
    statuses: Collection[int]
    """With any other HTTP status the reply contradicts itself and counts as `Unavailable`."""
    cause: str = "fyers_error"
    """The cause of the `Unavailable`, for that kind."""


_ANY = range(100, 600)
_REQUEST_STATUSES = frozenset({200, *range(400, 500)} - {401, 403})
"""With 200, since -371 was reported under it. Without 401 (a login) and 403 (a permission)."""
_CLIENT = range(400, 500)
_UNCLEAR_STATUSES = frozenset({*range(200, 300), *_CLIENT} - {401, 429})
"""With a refusal code. Under 5xx Fyers has an outage, whatever the body holds."""
UNCLEAR_CAUSE = "refused_without_401"
_TOKEN_SERVICES = (BrokerService.PROFILE, BrokerService.TRADING, BrokerService.HISTORY, BrokerService.DATA)

_REFUSED = Meaning(Kind.LOGIN, frozenset({401}))
_LIMITED = Meaning(Kind.LIMIT, _ANY)
_BAD_REQUEST = Meaning(Kind.REQUEST, _REQUEST_STATUSES)
_BAD_LOGIN_REQUEST = Meaning(Kind.REQUEST, frozenset({200, *_CLIENT}))
_FORBIDDEN = Meaning(Kind.PERMISSION, _CLIENT)
_UNAVAILABLE = Meaning(Kind.UNAVAILABLE, _ANY)

CODES: Mapping[int, Meaning] = {
    # The access token. The code depends on the service (observed SDK logs): -8 and -17 from /profile, -16
    # from trading and history, -15 from quotes and market status. Any service may send each of them, since
    # Fyers has moved endpoints between services before.
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
    # Failures of Fyers: -99 "Something went wrong" under 500. With 4xx it rejects an order; hullwatch sends
    # none. -96 and -20x are documented as temporary errors.
    -99: _UNAVAILABLE,
    -96: _UNAVAILABLE,
    -201: _UNAVAILABLE,
    -202: _UNAVAILABLE,
    -204: _UNAVAILABLE,
    -205: _UNAVAILABLE,
    500: _UNAVAILABLE,
    # Our header: an unknown app id, or no header. The app may be deleted, but a proxy may also strip
    # headers, or hullwatch may have a defect, which would log out all users. Their HTTP status is not
    # documented, and -352 has a second meaning. They need not count as a refusal: the other services refuse
    # the session of a deleted app with -15 and -16.
    -352: Meaning(Kind.UNAVAILABLE, _ANY, cause="header_refused"),
    -209: Meaning(Kind.UNAVAILABLE, _ANY, cause="header_refused"),
}
"""The meanings of codes on calls with a session's token."""

HISTORY_CODES: Mapping[int, Meaning] = {
    # Older servers used their own codes for dates and ranges (older documented list). -353 is one of them
    # and a rate limit elsewhere. Under 429 the status decides before this table is read.
    **dict.fromkeys((*range(-339, -333), *range(-349, -340), -351, -354, -355, -356), _BAD_REQUEST),
    -353: Meaning(Kind.REQUEST, frozenset({400, 422})),
}
"""Meanings on history only; they come before `CODES`."""

LOGIN_CODES: Mapping[int, Meaning] = {
    # An auth code or a refresh token: no session exists yet. HTTP statuses are mostly unknown.
    -437: _BAD_LOGIN_REQUEST,
    -371: _BAD_LOGIN_REQUEST,
    -5: _BAD_LOGIN_REQUEST,
    -441: _BAD_LOGIN_REQUEST,
    -374: _BAD_LOGIN_REQUEST,
    -501: _BAD_LOGIN_REQUEST,
    # The codes that refuse a session elsewhere. Since 2026-04-01, -16 with 400 also refuses all refresh
    # tokens.
    -8: _BAD_LOGIN_REQUEST,
    -15: _BAD_LOGIN_REQUEST,
    -16: _BAD_LOGIN_REQUEST,
    -17: _BAD_LOGIN_REQUEST,
    # The app credentials that the user entered.
    -352: _BAD_LOGIN_REQUEST,
    -209: _BAD_LOGIN_REQUEST,
}
"""Meanings on calls that request a session; they come before `CODES`."""


def classify(call: CallKind, reply: Reply) -> Answered[dict[str, object]] | BrokerFailure:
    """Return the parsed body if Fyers answered the call, else exactly one failure.

    It never raises. The ``s`` of an answered body is ``ok`` or ``no_data``; the rest of it is not checked.
    """
    service, status = call.service, reply.http_status
    if status == 429:
        # The status alone decides, since a 429 can be an HTML page of Cloudflare.
        return RateLimited(service, retry_after_s(reply) or DEFAULT_RETRY_AFTER_S)
    envelope = _read_envelope(reply.body)
    if envelope is None:
        return Unavailable(service, _cause_of(reply), status, retry_after_s(reply))
    if envelope.is_ok:
        return _answer(call, reply, envelope)
    return _refusal(call, reply, envelope)


def classify_file(call: CallKind, reply: Reply) -> Answered[bytes] | BrokerFailure:
    """Return the body of a public file unread, else a failure."""
    status = reply.http_status
    if status == 429:
        return RateLimited(call.service, retry_after_s(reply) or DEFAULT_RETRY_AFTER_S)
    if status != 200:
        return Unavailable(call.service, _cause_of(reply), status, retry_after_s(reply))
    return Answered(reply.body)


def is_cloudflare_block(reply: Reply) -> bool:
    """Whether Cloudflare refused the call and not Fyers: a sign that it blocks this server's address."""
    return reply.http_status in {403, 429} and _read_envelope(reply.body) is None


def retry_after_s(reply: Reply) -> float | None:
    """Return the seconds that Fyers named, `None` without a usable number; a date is not used."""
    try:
        seconds = float(reply.retry_after)
    except ValueError:
        return None
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return min(seconds, LONGEST_RETRY_AFTER_S)


def meaning_of(call: CallKind, code: int) -> Meaning | None:
    """Return the row for a code on a call, `None` for a code that no source documents there."""
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
    """Read Fyers' form; `None` for all else, such as an error without a whole-number code."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(parsed, dict):
        return None
    status, code = parsed.get("s"), parsed.get("code")
    if not isinstance(code, int) or isinstance(code, bool):
        code = None
    # Some of Fyers' services write "OK" (official documents' order samples).
    match status.lower() if isinstance(status, str) else None:
        case "ok" | "no_data":
            return _Envelope(parsed, is_ok=True, code=code)
        case "error" if code is not None:
            return _Envelope(parsed, is_ok=False, code=code)
    return None


def _answer(call: CallKind, reply: Reply, envelope: _Envelope) -> Answered[dict[str, object]] | BrokerFailure:
    """Accept an ok only with a 2xx status and without an error code; some data endpoints omit ``code``."""
    if not 200 <= reply.http_status < 300 or (envelope.code or 0) < 0:
        return Unavailable(call.service, "contradictory", reply.http_status, retry_after_s(reply))
    return Answered(envelope.body)


def _refusal(call: CallKind, reply: Reply, envelope: _Envelope) -> BrokerFailure:
    service, status, code = call.service, reply.http_status, envelope.code or 0
    kind, cause = _meaning_with_status(call, status, code)
    match kind:
        case Kind.LOGIN:
            return LoginRefused(service, code, status, call.path)
        case Kind.UNCLEAR_LOGIN:
            return UnclearRefusal(service, UNCLEAR_CAUSE, status, code=code, path=call.path)
        case Kind.LIMIT:
            return RateLimited(service, retry_after_s(reply) or DEFAULT_RETRY_AFTER_S)
        case Kind.REQUEST:
            return RequestRefused(service, code, status, _message(envelope.body))
        case Kind.PERMISSION:
            return NotPermitted(service, code, status, _message(envelope.body))
        case Kind.UNAVAILABLE:
            return Unavailable(service, cause, status, retry_after_s(reply))


def _meaning_with_status(call: CallKind, status: int, code: int) -> tuple[Kind, str]:
    meaning = meaning_of(call, code)
    if meaning is not None and status in meaning.statuses:
        return meaning.kind, meaning.cause
    if meaning is _REFUSED and status in _UNCLEAR_STATUSES:
        return Kind.UNCLEAR_LOGIN, UNCLEAR_CAUSE
    if call is CallKind.RENEW_ACCESS_TOKEN and meaning is None and status in _BAD_LOGIN_REQUEST.statuses:
        # An unknown refusal may be about the PIN. As an outage it would be retried.
        return Kind.REQUEST, ""
    if call.service in _TOKEN_SERVICES and (meaning is None or meaning.kind is Kind.REQUEST):
        # Two statuses have one documented meaning with any code: 422 the call's content, 403 the permission.
        if status == 422:
            return Kind.REQUEST, ""
        if status == 403:
            return Kind.PERMISSION, ""
    return Kind.UNAVAILABLE, "unknown_code" if meaning is None else "contradictory"


def _message(body: Mapping[str, object]) -> str:
    """Return Fyers' message for people: one line, printable, shortened."""
    message = body.get("message")
    if not isinstance(message, str):
        return ""
    line = " ".join(message.split())
    return "".join(character for character in line if character.isprintable())[:LONGEST_MESSAGE]


def _cause_of(reply: Reply) -> str:
    status = reply.http_status
    if status == 403:
        return "cloudflare_blocked"
    if not 200 <= status < 300:
        return f"http_{status}"
    return "empty_body" if not reply.body.strip() else "not_fyers"
