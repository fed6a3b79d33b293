"""Uvicorn's HTTP protocol with limits on time and size, and on the number of connections.

Uvicorn itself waits for ever for the rest of a request, and keeps headers of any size.
"""

import asyncio
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from hullwatch.web.connection_limits import ConnectionLimits
from hullwatch.web.errors import status_problem

HEADERS_WITHIN_S: Final = 15.0
"""Real seconds from the connection, or from the first byte of a later request, to the end of its headers."""
BODY_WITHIN_S: Final = 15.0
"""Real seconds from the end of the headers to the end of the body; bodies have at most 256 kB."""
MOST_HEADER_BYTES: Final = 64 * 1024
"""Of the request line and all headers together."""
TOO_MANY_SOCKETS: Final = 4429
_PEER: Final = "hullwatch.peer"


class LimitedHttp(HttpToolsProtocol):
    """One connection with the limits."""

    def __init__(self, *args: Any, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = limits
        self._header_bytes = 0
        self._reads_headers = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit or close a new connection."""
        super().connection_made(transport)
        address = (get_remote_addr(transport) or ("",))[0]
        if not self._limits.admit(transport, address):
            self._refuse(503)
            return
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the connection's place back."""
        self._stop_timer()
        self._limits.discard(self.transport)
        super().connection_lost(exc)

    def close_idle(self) -> None:
        """Close the connection to make room for another one."""
        self._stop_timer()
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, within the limits."""
        if self.transport.is_closing():
            return  # refused; the rest of the request is not read
        if self._timer is None and self._reads_headers:
            self._start_timer(HEADERS_WITHIN_S)
        if self._reads_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._reads_headers and self._header_bytes > MOST_HEADER_BYTES:
            self._refuse(431)

    def on_url(self, url: bytes) -> None:
        """Refuse a request line that is too long."""
        super().on_url(url)
        if len(self.url) > MOST_HEADER_BYTES:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        """Begin to wait for the body."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        self._reads_headers, self._header_bytes = False, 0
        self._start_timer(BODY_WITHIN_S)
        if size > MOST_HEADER_BYTES:
            self._refuse(431)
        elif not self.transport.is_closing():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Drop the body of a refused request."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Let a complete request take its time."""
        self._stop_timer()
        self._limits.works(self.transport)
        if not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request; uvicorn closes a connection without one."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._reads_headers = True
            self._limits.waits(self.transport, self)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; it stays counted until it is lost."""
        self._stop_timer()
        self._limits.works(self.transport)
        super().handle_websocket_upgrade()

    def _wait_for_request(self) -> None:
        self._reads_headers = True
        self._limits.waits(self.transport, self)
        self._start_timer(HEADERS_WITHIN_S)

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        if self._reads_headers and not self._header_bytes:
            self.close_idle()  # nothing was asked, so nothing is answered
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Answer and close, without waiting for the rest of the request."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        response = status_problem(status, headers={"Connection": "close"})
        lines = [STATUS_LINE[status]]
        lines += [name + b": " + value + b"\r\n" for name, value in response.raw_headers]
        self.transport.write(b"".join([*lines, b"\r\n", bytes(response.body)]))
        self.transport.close()


class CountedSocket(WebSocketsSansIOProtocol):
    """An event socket, whose place is given back when its connection is lost."""

    def __init__(self, *args: Any, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = limits

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the connection's place back."""
        self._limits.discard(self.transport)
        super().connection_lost(exc)


class ForwardedAddresses:
    """Takes the clients' addresses from trusted proxies, and limits what one of these clients has under way."""

    def __init__(self, app: ASGIApp, limits: ConnectionLimits) -> None:
        self._app = app
        self._limits = limits
        self._proxied = ProxyHeadersMiddleware(self._counted, limits.proxies.as_text())  # type: ignore[arg-type] # the same protocol

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its client's address."""
        if scope["type"] != "lifespan":
            scope[_PEER] = scope.get("client")
        await self._proxied(scope, receive, send)  # type: ignore[arg-type] # the same types

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client is None or scope.pop(_PEER, client) == client:
            await self._app(scope, receive, send)
            return
        address = str(client[0])
        if not self._limits.enter(address):
            await _refuse_client(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._limits.leave(address)


async def _refuse_client(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await status_problem(503, headers={"Retry-After": "5"})(scope, receive, send)
        return
    await receive()  # websocket.connect
    closing: tuple[Message, ...] = (
        {"type": "websocket.accept"},
        {"type": "websocket.close", "code": TOO_MANY_SOCKETS},
    )
    for message in closing:  # accepted first, because browsers see a code only then
        await send(message)
