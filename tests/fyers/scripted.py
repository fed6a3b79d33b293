"""An HTTP server on this machine that answers as a test configures it."""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class ReceivedRequest:
    """One request as it arrived; `raw_path` is not decoded."""

    method: str
    path: str
    raw_path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass
class ScriptedReply:
    """One answer: a status with a body, or a failure to answer."""

    status: int = 200
    body: bytes | str | dict[str, Any] | list[Any] | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    how: str = "whole"  # whole, hang, reset, half, endless

    def bytes(self) -> bytes:
        """Return the body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return b"" if self.body is None else json.dumps(self.body).encode()


class Scripted:
    """Answers by path: first from the queue, then with the default, else 404 with an HTML page."""

    def __init__(self) -> None:
        self.received: list[ReceivedRequest] = []
        self.defaults: dict[str, ScriptedReply] = {}
        self.queued: dict[str, deque[ScriptedReply]] = defaultdict(deque)
        self.arrived = asyncio.Condition()
        self.release = asyncio.Event()
        self.url = ""

    def always(self, path: str, reply: ScriptedReply) -> None:
        """Set the default answer of this path."""
        self.defaults[path] = reply

    def next(self, path: str, *replies: ScriptedReply) -> None:
        """Queue answers for the next requests of this path."""
        self.queued[path].extend(replies)

    async def wait_for(self, count: int) -> None:
        """Wait until so many requests have arrived."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.received) >= count)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Record the request and answer it."""
        received = ReceivedRequest(
            request.method,
            request.path,
            request.raw_path,
            dict(request.query),
            dict(request.headers),
            await request.read(),
        )
        async with self.arrived:
            self.received.append(received)
            self.arrived.notify_all()
        queue = self.queued[request.path]
        page = ScriptedReply(404, "<html>nothing here</html>", "text/html")
        reply = queue.popleft() if queue else self.defaults.get(request.path, page)
        return await self._send(request, reply)

    async def _send(self, request: web.Request, reply: ScriptedReply) -> web.StreamResponse:
        body = reply.bytes()
        if reply.how == "whole":
            return web.Response(
                status=reply.status, body=body, content_type=reply.content_type, headers=dict(reply.headers)
            )
        if reply.how == "hang":
            await self.release.wait()
            return web.Response(status=reply.status, body=body, content_type=reply.content_type)
        if reply.how == "reset":
            request.transport.abort()
            return web.Response()
        response = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.content_type})
        if reply.how == "half":
            response.content_length = len(body) + 1000
        await response.prepare(request)
        if reply.how == "endless":
            while not self.release.is_set() and not request.transport.is_closing():
                await response.write(b"x" * 65536)
        else:
            await response.write(body)
        request.transport.abort()
        return response


@asynccontextmanager
async def scripted_server() -> AsyncIterator[Scripted]:
    """Run a scripted server on a free port for one test."""
    scripted = Scripted()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", scripted.handle)
    server = TestServer(application, host="127.0.0.1")
    await server.start_server(shutdown_timeout=0.1)
    scripted.url = str(server.make_url("")).rstrip("/")
    try:
        yield scripted
    finally:
        scripted.release.set()
        await server.close()
