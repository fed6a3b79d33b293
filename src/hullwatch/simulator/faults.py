"""Faults on demand, by account, symbol, service, path, probability, count and time.

Faults are tried in the order they were made. Delays add up; of the rest the first match acts.
"""

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from hullwatch.simulator.answers import Answer, refusal
from hullwatch.simulator.control.input import ControlInput, InvalidRequest, Text


class FaultKind(StrEnum):
    """The kinds of faults."""

    LATENCY = "latency"
    """Waits `latencyMs` of real time (500), then goes on."""
    HANG = "hang"
    """Never answers; with `latencyMs`, closes the connection after that much real time."""
    RESET = "reset"
    """Resets the connection without an answer."""
    DROP_AFTER_BYTES = "drop_after_bytes"
    """Breaks off the true answer after `bytes` (20) bytes of its body."""
    HTTP_ERROR = "http_error"
    """Answers the given `status` (500), `body`, `contentType` and `headers`."""
    HTML_PAGE = "html_page"
    """Answers a page of Cloudflare with `status` (502)."""
    RATE_LIMIT = "rate_limit"
    """Answers the endpoint's own 429; Cloudflare's page if `contentType` is `text/html`."""
    ADDRESS_BAN = "address_ban"
    """Answers every call with Cloudflare's page for banned addresses, `status` 429."""
    MALFORMED_JSON = "malformed_json"
    """Answers the true body cut in half, as a complete answer."""
    WRONG_TYPES = "wrong_types"
    """Answers the true body with numbers as words, words as numbers and lists as objects; `s` stays."""
    EMPTY_BODY = "empty_body"
    """Answers `status` (200) with nothing in it."""
    AUTH_ERROR = "auth_error"
    """Refuses the token `count` (1) times; the session itself stays valid."""
    AUTH_ERROR_ALL = "auth_error_all"
    """The same for every account, until deleted."""
    REFUSAL = "refusal"
    """Answers Fyers' envelope with `code`, `message` and `status`, until deleted; by default as the service refuses a
    token. With `symbol`, the answer with the quotes of several symbols has it as the item of that symbol."""
    SCALED_PRICES = "scaled_prices"
    """Multiplies the prices in the true answer by `factor` (1e-9), with `symbol` only that symbol's."""
    CLOCK_SKEW = "clock_skew"
    """Shifts the `Date` header, the times in new tokens and those of quotes; the broker's own time stays
    right.

    By `skewSeconds`, negative for a clock that is behind. Without that field `seconds` is the shift and the
    fault lasts until deleted."""
    STREAM_STALL = "stream_stall"
    """The data stream stays connected and sends nothing."""
    STREAM_DROP = "stream_drop"
    """The data stream's connection is aborted without a close frame."""


Service = Literal["login", "profile", "trading", "history", "data", "masters"]
"""Fyers' services: `data` is quotes, depth, market status, option chain and symbol tokens."""
AUTH_KINDS = {FaultKind.AUTH_ERROR, FaultKind.AUTH_ERROR_ALL}
_DELAYS = {FaultKind.LATENCY, FaultKind.CLOCK_SKEW}
_STREAM = {FaultKind.STREAM_STALL, FaultKind.STREAM_DROP}


def _usable_headers(headers: dict[str, str | int]) -> dict[str, str | int]:
    for name, value in headers.items():
        token = name.replace("-", "").replace("_", "")
        if not (token.isascii() and token.isalnum() and str(value).isascii() and str(value).isprintable()):
            raise ValueError(f"{name!r} is no usable header")
        if name.lower() in {"content-length", "transfer-encoding", "connection"}:
            raise ValueError(f"{name} is set by the server itself")
    return headers


class FaultInput(ControlInput):
    """The JSON form of a fault."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[FaultKind, Field(strict=False)]
    fyers_id: Text | None = None
    path: Annotated[Text, StringConstraints(pattern="^/")] | None = None
    """Only paths that begin like this."""
    service: Service | None = None
    symbol: Text | None = None
    """Only calls that ask for this symbol, alone or among others."""
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    count: Annotated[int, Field(ge=1, le=10**9)] | None = None
    seconds: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    after_seconds: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    """Simulated seconds until it begins; `seconds` count from there."""
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    code: Annotated[int, Field(ge=-9_999, le=9_999)] | None = None
    """Of the refusal; also for `auth_error` and `auth_error_all`."""
    message: Text | None = None
    factor: Annotated[float, Field(ge=0, le=1e9)] = 1e-9
    body: Any = None
    content_type: Text | None = None
    headers: Annotated[dict[str, str | int], AfterValidator(_usable_headers)] = Field(default_factory=dict)
    latency_ms: Annotated[float, Field(ge=0, le=3_600_000)] | None = None
    bytes: Annotated[int, Field(ge=0, le=10**6)] = 20
    skew_seconds: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None

    @property
    def skew_s(self) -> float:
        """How much the broker's clock seems to be wrong."""
        if self.skew_seconds is not None or self.kind is not FaultKind.CLOCK_SKEW:
            return self.skew_seconds or 0.0
        return 300.0 if self.seconds is None else self.seconds

    def lasts_s(self) -> float:
        """Return the simulated seconds that it lasts."""
        is_skew = self.kind is FaultKind.CLOCK_SKEW and self.skew_seconds is None
        if self.seconds is None or is_skew:
            return math.inf
        if self.seconds < 0:
            raise InvalidRequest(422, "seconds: must be at least 0", "seconds")
        return self.seconds

    def refused(self, usual: Answer) -> Answer:
        """Return the refusal that it describes; what it leaves open is that of the usual one."""
        if self.code is None and self.message is None:
            return replace(usual, status=self.status or usual.status)
        given = orjson.loads(usual.body)
        code = given["code"] if self.code is None else self.code
        message = REFUSAL_TEXTS.get(code, given["message"]) if self.message is None else self.message
        return refusal(self.status or usual.status, code, message)

    def http_error(self) -> Answer:
        """Return the answer that it describes."""
        return Answer(_encoded(self.body), self.status or 500, self.answer_type or _guessed_type(b""))

    @property
    def answer_type(self) -> str | None:
        """The content type that was given, or that the given body seems to have."""
        if self.content_type is not None or self.body is None:
            return self.content_type
        return _guessed_type(_encoded(self.body))


REFUSAL_TEXTS = {
    -8: "Your token has expired. Please generate a token", -15: "Please provide valid token",
    -16: "Could not authenticate the user", -17: "Could not authenticate the user",
    -50: "Invalid input", -300: "Invalid symbol provided", -403: "You do not have the permission to access this",
    -429: "Request limit reached, refresh after few mins",
}  # fmt: skip
"""Texts of usual codes. That of -403 is assumed, the others are from logs."""


@dataclass(frozen=True, slots=True)
class CallFacts:
    """The facts of a call by which faults are chosen; `symbols` are those that it asks for."""

    fyers_id: str
    path: str
    service: str
    symbols: frozenset[str] = frozenset()
    has_token: bool = False


def _encoded(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else orjson.dumps(body)


def _guessed_type(body: bytes) -> str:
    first = body.lstrip()[:1]
    return "application/json" if first in {b"{", b"["} else "text/html" if first == b"<" else "text/plain"


@dataclass(slots=True)
class Fault:
    """One fault. `ends_at` is a simulated moment, `left` the number of times it still acts."""

    id: str
    given: FaultInput
    left: float
    ends_at: float
    begins_at: float = -math.inf
    is_ended: bool = False

    @property
    def kind(self) -> FaultKind:
        """What happens."""
        return self.given.kind

    @property
    def times_left(self) -> int | None:
        """How often it still acts; `None` without a limit."""
        return None if math.isinf(self.left) else int(self.left)


class FaultBoard:
    """The active faults."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311  chosen faults must repeat with the seed
        self._numbers = itertools.count(1)
        self._faults: list[Fault] = []

    def __iter__(self) -> Iterator[Fault]:
        """Iterate over the faults, oldest first."""
        return iter(self._faults)

    def add(self, given: FaultInput, now: float) -> Fault:
        """Add a fault.

        Raises:
            InvalidRequest: The fault would end before it begins.
        """
        left = given.count or (1 if given.kind is FaultKind.AUTH_ERROR else math.inf)
        begins_at = now + given.after_seconds
        number = f"fault-{next(self._numbers)}"
        fault = Fault(number, given, left, begins_at + given.lasts_s(), begins_at)
        self._faults.append(fault)
        return fault

    def remove(self, fault_id: str) -> bool:
        """End one fault; return whether it was there."""
        known = [fault for fault in self._faults if fault.id == fault_id]
        for fault in known:
            fault.is_ended = True
            self._faults.remove(fault)
        return bool(known)

    def clear(self) -> None:
        """End all faults."""
        for fault in self._faults:
            fault.is_ended = True
        self._faults.clear()

    @property
    def needs_symbols(self) -> bool:
        """Whether an active fault depends on the symbols of a call."""
        return any(fault.given.symbol is not None for fault in self._faults)

    def for_call(self, call: CallFacts, now: float) -> list[Fault]:
        """Return the faults that act on a call at `now`: delays first, then at most one that decides the answer."""
        if not self._faults:
            return []
        acting: list[Fault] = []
        for fault in self._active(now):
            if fault.kind in _STREAM or (not call.has_token and fault.kind in AUTH_KINDS):
                continue
            decides = fault.kind not in _DELAYS
            if decides and acting and acting[-1].kind not in _DELAYS:
                continue
            if self._applies(fault, call):
                acting = [*acting, fault] if decides else [fault, *acting]
        return acting

    def for_stream(
        self, kind: FaultKind, fyers_id: str, path: str, now: float, drawn: set[str]
    ) -> list[Fault]:
        """Return the faults of a kind that affect a connection of the stream and are not yet in `drawn`.

        Each connection draws each fault once, so probability and count are per connection. A fault of one
        account is drawn after the login of the connection.
        """
        hits: list[Fault] = []
        for fault in self._active(now):
            if fault.kind is kind and fault.id not in drawn and fault.given.fyers_id in {None, fyers_id}:
                drawn.add(fault.id)
                if self._applies(fault, CallFacts(fyers_id, path, "data")):
                    hits.append(fault)
        return hits

    def _active(self, now: float) -> list[Fault]:
        """Return the faults that can still act; drop those that have ended."""
        if any(now >= fault.ends_at or fault.left < 1 for fault in self._faults):
            # A used-up stall still holds its present connections, so it can be deleted until it ends.
            self._faults = [
                fault
                for fault in self._faults
                if now < fault.ends_at and (fault.left >= 1 or fault.kind is FaultKind.STREAM_STALL)
            ]
        return [fault for fault in self._faults if fault.left >= 1 and now >= fault.begins_at]

    def _applies(self, fault: Fault, call: CallFacts) -> bool:
        given = fault.given
        if given.fyers_id not in {None, call.fyers_id} or not call.path.startswith(given.path or ""):
            return False
        if given.service not in {None, call.service}:
            return False
        if given.symbol is not None and given.symbol not in call.symbols:
            return False
        if given.probability < 1 and self._chance.random() >= given.probability:
            return False
        fault.left -= 1
        return True
