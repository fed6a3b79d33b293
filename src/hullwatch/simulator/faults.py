"""Faults on demand, by account, path, probability, count and time.

A fault matches a call by account and by the beginning of its path, with a probability, so many times, for
so many simulated seconds. Faults are tried in the order they were made. Delays add up; of the rest the
first match acts.
"""

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from hullwatch.simulator.answers import Answer
from hullwatch.simulator.control_input import ControlInput, InvalidRequest, Text


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
    CLOCK_SKEW = "clock_skew"
    """Shifts the `Date` header, the times in new tokens and those of quotes; the broker's own time stays
    right.

    By `skewSeconds`, negative for a clock that is behind. Without that field `seconds` is the shift and the
    fault lasts until deleted."""
    STREAM_STALL = "stream_stall"
    """The data stream stays connected and sends nothing."""
    STREAM_DROP = "stream_drop"
    """The data stream's connection is aborted without a close frame."""


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
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    count: Annotated[int, Field(ge=1, le=10**9)] | None = None
    seconds: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    status: Annotated[int, Field(ge=200, le=599)] | None = None
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

    def http_error(self) -> Answer:
        """Return the answer that it describes."""
        return Answer(_encoded(self.body), self.status or 500, self.answer_type or _guessed_type(b""))

    @property
    def answer_type(self) -> str | None:
        """The content type that was given, or that the given body seems to have."""
        if self.content_type is not None or self.body is None:
            return self.content_type
        return _guessed_type(_encoded(self.body))


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
    is_ended: bool = False

    @property
    def kind(self) -> FaultKind:
        """What happens."""
        return self.given.kind

    def described(self) -> dict[str, Any]:
        """Return its entry in the list of faults."""
        left = None if math.isinf(self.left) else int(self.left)
        given = self.given
        return {
            "id": self.id,
            "kind": given.kind,
            "fyersId": given.fyers_id,
            "path": given.path,
            "left": left,
        }


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
        fault = Fault(f"fault-{next(self._numbers)}", given, left, now + given.lasts_s())
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

    def for_call(self, fyers_id: str, path: str, now: float, *, has_token: bool) -> list[Fault]:
        """Return the faults that act on a call: delays first, then at most one that decides the answer.

        Args:
            fyers_id: Whose call it is, empty for nobody's.
            path: The full path.
            now: Simulated epoch seconds.
            has_token: Whether the endpoint takes an access token; only then can a fault refuse it.
        """
        if not self._faults:
            return []
        acting: list[Fault] = []
        for fault in self._active(now):
            if fault.kind in _STREAM or (not has_token and fault.kind.value.startswith("auth_error")):
                continue
            decides = fault.kind not in _DELAYS
            if decides and acting and acting[-1].kind not in _DELAYS:
                continue
            if self._applies(fault, fyers_id, path):
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
                if self._applies(fault, fyers_id, path):
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
        return [fault for fault in self._faults if fault.left >= 1]

    def _applies(self, fault: Fault, fyers_id: str, path: str) -> bool:
        given = fault.given
        if given.fyers_id not in {None, fyers_id} or not path.startswith(given.path or ""):
            return False
        if given.probability < 1 and self._chance.random() >= given.probability:
            return False
        fault.left -= 1
        return True
