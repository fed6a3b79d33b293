"""A WebSocket client that calls the ASGI app in the same event loop, without ports and threads."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from limits import ANSWER_LIMIT_S


class Closed(Exception):  # noqa: N818 - a fact
    """The server closed the socket."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class LiveSocket:
    """One open socket."""

    def __init__(self) -> None:
        self.to_app: asyncio.Queue[dict] = asyncio.Queue()
        self.from_app: asyncio.Queue[dict] = asyncio.Queue()
        self.is_reading = asyncio.Event()
        self.is_reading.set()

    async def send(self, message: dict) -> None:
        """Take a message of the app; a slow reader clears `is_reading`."""
        await self.is_reading.wait()
        self.from_app.put_nowait(message)

    async def receive(self) -> dict:
        """Return the next message; raises `Closed`."""
        async with asyncio.timeout(ANSWER_LIMIT_S):
            message = await self.from_app.get()
        if message["type"] == "websocket.close":
            raise Closed(message["code"])
        return json.loads(message["text"])

    async def receive_until(self, kind: str) -> dict:
        """Return the next message of a type, passing over heartbeats."""
        while (message := await self.receive())["type"] != kind:
            assert message["type"] == "heartbeat", message
        return message

    async def until_closed(self) -> tuple[int, int]:
        """Receive until the server closes; return the code and the last sequence number."""
        last = 0
        while True:
            try:
                last = (await self.receive())["seq"]
            except Closed as closed:
                return closed.code, last

    @property
    def waiting(self) -> list[dict]:
        """Messages that were sent and not received yet."""
        found = []
        while not self.from_app.empty():
            found.append(json.loads(self.from_app.get_nowait().get("text", "null")))
        return found


@asynccontextmanager
async def live(
    app: FastAPI, *, cookie: str | None = None, query: str = "", **headers: str
) -> AsyncIterator[LiveSocket]:
    """Open the event socket; the end of the block closes it and waits for the app."""
    given = {"host": "127.0.0.1:8000", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if cookie is not None:
        given["cookie"] = f"hullwatch_session={cookie}"
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "scheme": "ws",
        "path": "/api/events",
        "raw_path": b"/api/events",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("10.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "subprotocols": [],
    }
    socket = LiveSocket()
    socket.to_app.put_nowait({"type": "websocket.connect"})
    served = asyncio.create_task(app(scope, socket.to_app.get, socket.send))
    async with asyncio.timeout(ANSWER_LIMIT_S):
        accepted = await socket.from_app.get()
    assert accepted["type"] == "websocket.accept"
    try:
        yield socket
    finally:
        socket.is_reading.set()
        socket.to_app.put_nowait({"type": "websocket.disconnect", "code": 1000})
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await served
