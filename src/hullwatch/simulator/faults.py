"""Faults on demand, by account, path, probability, count and time.

A fault matches a call by account and by the beginning of its path, with a probability, so many times, for so many
simulated seconds. Faults are tried in the order they were made. Delays add up; of the rest the first match acts.
"""

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson


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
    """Shifts the `Date` header, the times in new tokens and those of quotes; the broker's own time stays right.

    By `skewSeconds`, negative for a clock that is behind. Without that field `seconds` is the shift and the fault
    lasts until deleted."""
    STREAM_STALL = "stream_stall"
    """The data stream stays connected and sends nothing."""
    STREAM_DROP = "stream_drop"
    """The data stream's connection is aborted without a close frame."""


_DELAYS = {FaultKind.LATENCY, FaultKind.CLOCK_SKEW}
_STREAM = {FaultKind.STREAM_STALL, FaultKind.STREAM_DROP}


class InvalidFault(ValueError):  # noqa: N818  failures are named as facts
    """A fault that cannot be carried out; names the field."""

    def __init__(self, field_name: str, reason: str) -> None:
        super().__init__(f"{field_name}: {reason}")
        self.field_name = field_name


@dataclass(slots=True)
class Fault:
    """One fault. `ends_at` is a simulated moment, `left` the number of times it still acts."""

    id: str
    kind: FaultKind
    fyers_id: str | None = None
    path: str | None = None
    probability: float = 1.0
    left: float = math.inf
    ends_at: float = math.inf
    status: int | None = None
    body: bytes | None = None
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    latency_ms: float | None = None
    bytes: int = 20
    skew_s: float = 0.0
    is_ended: bool = False

    def described(self) -> dict[str, Any]:
        """Return its entry in the list of faults."""
        left = None if math.isinf(self.left) else int(self.left)
        return {"id": self.id, "kind": self.kind, "fyersId": self.fyers_id, "path": self.path, "left": left}


class FaultBoard:
    """The active faults."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311  chosen faults must repeat with the seed
        self._numbers = itertools.count(1)
        self._faults: list[Fault] = []

    def __iter__(self) -> Iterator[Fault]:
        """Iterate over the faults, oldest first."""
        return iter(self._faults)

    def add(self, order: dict[str, Any], now: float) -> Fault:
        """Add a fault from its JSON form.

        Raises:
            InvalidFault: A field is unknown or cannot be used.
        """
        fault = read_fault(order, f"fault-{next(self._numbers)}", now)
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
        """Return the faults of a kind that affect a connection of the stream; `drawn` are those it has been through.

        Each connection draws each fault once, so probability and count are per connection. Whom a fault names is not
        known before the connection is logged in: until then it is not drawn.
        """
        hits: list[Fault] = []
        for fault in self._active(now):
            if fault.kind is kind and fault.id not in drawn and fault.fyers_id in {None, fyers_id}:
                drawn.add(fault.id)
                if self._applies(fault, fyers_id, path):
                    hits.append(fault)
        return hits

    def _active(self, now: float) -> list[Fault]:
        """Return the faults that can still act; drop those that have ended."""
        if any(now >= fault.ends_at or fault.left < 1 for fault in self._faults):
            # A stall that stops no further connection still holds its present ones, so it can be deleted until its end.
            self._faults = [
                fault
                for fault in self._faults
                if now < fault.ends_at and (fault.left >= 1 or fault.kind is FaultKind.STREAM_STALL)
            ]
        return [fault for fault in self._faults if fault.left >= 1]

    def _applies(self, fault: Fault, fyers_id: str, path: str) -> bool:
        if fault.fyers_id is not None and fault.fyers_id != fyers_id:
            return False
        if fault.path is not None and not path.startswith(fault.path):
            return False
        if fault.probability < 1 and self._chance.random() >= fault.probability:
            return False
        fault.left -= 1
        return True


_FIELDS = {
    "kind", "fyersId", "path", "probability", "count", "seconds", "status", "body", "contentType", "headers",
    "latencyMs", "bytes", "skewSeconds",
}  # fmt: skip


def read_fault(order: dict[str, Any], fault_id: str, now: float) -> Fault:
    """Read a fault from its JSON form.

    Raises:
        InvalidFault: A field is unknown or cannot be used.
    """
    for name in order:
        if name not in _FIELDS:
            raise InvalidFault(name, "no such field")
    try:
        kind = FaultKind(order.get("kind", ""))
    except ValueError as error:
        raise InvalidFault("kind", f"must be one of {', '.join(FaultKind)}") from error
    fault = Fault(
        fault_id, kind, fyers_id=_text(order, "fyersId"), path=_text(order, "path"),
        status=_whole(order, "status", 200, 599), content_type=_text(order, "contentType"),
        headers=_headers(order), latency_ms=_number(order, "latencyMs", 0, 3_600_000),
    )  # fmt: skip
    if fault.path is not None and not fault.path.startswith("/"):
        raise InvalidFault("path", "must be the beginning of a full path such as /data/quotes")
    fault.probability = _or(_number(order, "probability", 0, 1), 1.0)
    fault.left = _or(_whole(order, "count", 1, 10**9), 1 if kind is FaultKind.AUTH_ERROR else math.inf)
    fault.bytes = int(_or(_whole(order, "bytes", 0, 10**6), 20))
    fault.body = _body(order)
    if fault.content_type is None and fault.body is not None:
        fault.content_type = _guessed_type(fault.body)
    _time(fault, order, now)
    return fault


def _time(fault: Fault, order: dict[str, Any], now: float) -> None:
    """Read how long it lasts and, for a clock skew, by how much the clock is wrong."""
    skew = _number(order, "skewSeconds", -(10.0**9), 10.0**9)
    if fault.kind is FaultKind.CLOCK_SKEW and skew is None:
        fault.skew_s = _or(_number(order, "seconds", -(10.0**9), 10.0**9), 300.0)
        return
    fault.skew_s = skew or 0.0
    seconds = _number(order, "seconds", 0, 10.0**9)
    if seconds is not None:
        fault.ends_at = now + seconds


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _text(order: dict[str, Any], name: str) -> str | None:
    value = order.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 500 or not value.isprintable():
        raise InvalidFault(name, "must be a short text")
    return value


def _number(order: dict[str, Any], name: str, least: float, most: float) -> float | None:
    value = order.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InvalidFault(name, f"must be a number from {least:g} to {most:g}")
    return float(value)


def _whole(order: dict[str, Any], name: str, least: int, most: int) -> int | None:
    value = _number(order, name, least, most)
    if value is not None and not value.is_integer():
        raise InvalidFault(name, "must be a whole number")
    return None if value is None else int(value)


def _headers(order: dict[str, Any]) -> dict[str, str]:
    headers = order.get("headers")
    if headers is None:
        return {}
    if not isinstance(headers, dict) or not all(isinstance(value, (str, int)) for value in headers.values()):
        raise InvalidFault("headers", "must be an object of texts")
    for name, value in headers.items():
        token = name.replace("-", "").replace("_", "")
        if not (token.isascii() and token.isalnum() and str(value).isascii() and str(value).isprintable()):
            raise InvalidFault("headers", f"{name!r} is no usable header")
        if name.lower() in {"content-length", "transfer-encoding", "connection"}:
            raise InvalidFault("headers", f"{name} is set by the server itself")
    return {name: str(value) for name, value in headers.items()}


def _body(order: dict[str, Any]) -> bytes | None:
    body = order.get("body")
    if body is None:
        return None
    return body.encode() if isinstance(body, str) else orjson.dumps(body)


def _guessed_type(body: bytes) -> str:
    first = body.lstrip()[:1]
    return "application/json" if first in {b"{", b"["} else "text/html" if first == b"<" else "text/plain"
