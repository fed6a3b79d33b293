"""The request guard: middleware that checks every request and completes every answer.

It checks host, origin and size of the body, and adds security headers, the request id and the request log. An unexpected exception is
answered and logged without its text, because the text can contain a secret.
"""

import itertools
import secrets
import time
import traceback
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hullwatch.domain.failures import NotAllowed
from hullwatch.web.config import WebConfig
from hullwatch.web.errors import refusal_problem, status_problem, unexpected_problem
from hullwatch.web.proxy_report import ProxyReport

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# Pages load scripts and styles from this origin only; inline ones are forbidden.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; "
    # The hash belongs to the one style element that the chart library adds for its logo.
    "style-src 'self' 'sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY='; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SECURITY: Final = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NO_STORE: Final = (b"cache-control", b"no-store")
_HSTS: Final = ((b"strict-transport-security", b"max-age=31536000"),)
_QUIET: Final = frozenset({"/api/token-validation/status", "/healthz", "/readyz", "/metrics"})
"""Routes that are polled: their successful answers are logged at debug level only."""


class PlainRoute(Route):
    """A Starlette route that the request log names by its path, for answers outside the API."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Also store the route in the scope, as FastAPI's routes do."""
        match, found = super().matches(scope)
        return match, {**found, "route": self}


class RequestGuard:
    """Wraps the app for HTTP; event sockets check themselves, because browsers see why only after a socket was accepted."""

    def __init__(self, app: ASGIApp, config: WebConfig) -> None:
        self._app = app
        self._id_prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._config = config
        self._headers = _SECURITY + (_HSTS if config.is_secure else ())
        self._proxy_report = ProxyReport(config)
        self._log = structlog.get_logger(component="Api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the app, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"{self._id_prefix}{next(self._numbers) & 0xFFFFFFFF:08x}"
        began = time.perf_counter()
        outgoing = _Outgoing(send, self._headers, request_id, is_api=scope["path"].startswith("/api/"))
        try:
            await self._handle(scope, receive, outgoing)
        except ClientDisconnect:
            self._log.debug("request.abandoned", request_id=request_id)
        except Exception as error:  # noqa: BLE001 - the last handler: its text must reach no answer and no log
            self._log.error(
                "request.failed", request_id=request_id, error=type(error).__name__, at=_frames(error)
            )
            if outgoing.status == 0:
                await unexpected_problem()(scope, receive, outgoing)
        finally:
            self._log_request(scope, outgoing.status, request_id, (time.perf_counter() - began) * 1000)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._proxy_report.check((scope.get("client") or ("unknown",))[0], headers)
        refused = self._refuse(scope, headers)
        if refused is None and ("content-length" in headers or "transfer-encoding" in headers):
            body = await _read_body(headers, receive, self._config.most_body_bytes)
            if body is None:
                refused = status_problem(
                    413,
                    f"A request can have at most {self._config.most_body_bytes // 1024} kB.",
                    {"Connection": "close"},
                )
            else:
                receive = _Replay(body, receive)
        await (refused or self._app)(scope, receive, send)

    def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        if not is_own_host(headers.get("host", ""), self._config):
            # DNS rebinding: a web page uses a foreign name that points here to reach a server on its visitor's machine.
            return status_problem(
                421,
                "This server does not answer under this host name. The setting HULLWATCH_PUBLIC_URL holds its address.",
            )
        if scope["method"] in SAFE_METHODS or headers.get("authorization", "")[:7].lower() == "bearer ":
            return None
        if is_foreign(headers, self._config):
            return refusal_problem(NotAllowed("This request came from a page of another website."))
        return None

    def _log_request(self, scope: Scope, status: int, request_id: str, took_ms: float) -> None:
        """Log the request with its route; the path and the query can contain ids and stay out."""
        route = getattr(scope.get("route"), "path", "unknown")
        is_quiet = status < 400 and route in _QUIET
        log = self._log.debug if is_quiet else self._log.info
        log(
            "request",
            method=scope["method"] if len(scope["method"]) <= 10 else "?",
            route=route,
            status=status,
            duration_ms=round(took_ms, 2),
            request_id=request_id,
        )


def is_own_host(host: str, config: WebConfig) -> bool:
    """Whether a `Host` header names this server."""
    name, _, port = host.lower().rpartition(":")
    return (name if name and port.isdigit() else host.lower()) in config.hosts


def is_foreign(headers: Headers, config: WebConfig) -> bool:
    """Whether a browser sent this for a page of another website.

    A page cannot forge `Sec-Fetch-Site`; browsers without it send `Origin`. A request with neither did not come from a browser.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    return is_foreign_origin(headers, config)


def is_foreign_origin(headers: Headers, config: WebConfig) -> bool:
    """Whether the `Origin` of a request is another address than this server's and than the address of the request."""
    origin = headers.get("origin")
    if origin is None or origin == config.origin:
        return False
    return urlsplit(origin).netloc.lower() != headers.get("host", "").lower() if "://" in origin else True


def _frames(error: BaseException) -> list[str]:
    """Return the last frames of a traceback as files and lines, without values and text."""
    stack: Iterable[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in stack][-8:]


async def _read_body(headers: Headers, receive: Receive, most: int) -> bytes | None:
    """Return the whole body, or `None` when it is larger than `most` bytes.

    Raises:
        ClientDisconnect: The client closed the connection before its body was complete.
    """
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared[:12]) > most:
        return None
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


class _Replay:
    """Returns a body that was read already, and afterwards the messages of the server."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Outgoing:
    """Sends an answer with the headers that every answer has, and records its status."""

    def __init__(
        self, send: Send, headers: tuple[tuple[bytes, bytes], ...], request_id: str, *, is_api: bool
    ) -> None:
        self._send = send
        self._headers = headers
        self._request_id = request_id
        self._is_api = is_api
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            present = message.setdefault("headers", [])
            present.extend(self._headers)
            present.append((b"x-request-id", self._request_id.encode()))
            if self._is_api and "cache-control" not in MutableHeaders(raw=present):
                present.append(_NO_STORE)
        await self._send(message)
