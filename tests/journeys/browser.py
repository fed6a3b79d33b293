"""One user's browser: cookies, the login at Fyers, and event sockets."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from limits import ANSWER_LIMIT_S

from hullwatch.domain.notifications.notifications import FOR_OPERATORS
from journeys.broker import APP_ID, APP_SECRET

PASSWORD = "a long enough passphrase"


@dataclass(frozen=True)
class Reply:
    """One HTTP response."""

    method: str
    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    text: str

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.text)

    def header(self, name: str) -> str:
        """Return the first header of this name, or nothing."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


@dataclass
class Tab:
    """An open event socket and the messages that it received, oldest first."""

    socket: aiohttp.ClientWebSocketResponse
    messages: list[dict[str, Any]] = field(default_factory=list)

    def data(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of messages of this kind."""
        return [message["data"] for message in self.messages if message["type"] == kind]

    async def read(self) -> None:
        """Collect messages until the socket closes."""
        async for message in self.socket:
            self.messages.append(json.loads(message.data))


class Browser:
    """A user with a browser, which records every response."""

    def __init__(self, base_url: str, name: str, fyers_id: str, symbols: tuple[str, ...] = ()) -> None:
        self.base_url = base_url
        self.name = name
        self.email = f"{name.lower()}@example.com"
        self.password = PASSWORD
        self.fyers_id = fyers_id
        self.symbols = symbols
        self.user_id = ""
        self.replies: list[Reply] = []
        self._reading: list[asyncio.Task[None]] = []
        self.http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(
                unsafe=True
            ),  # aiohttp keeps no cookies of a bare IP address otherwise
            timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT_S),
            headers={"Origin": base_url},
        )

    async def close(self) -> None:
        """Close all tabs and the browser."""
        for reading in self._reading:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
        await self.http.close()

    async def request(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str
    ) -> Reply:
        """Send a request to a path of the server or to a full address; redirects are not followed."""
        url = path if "://" in path else self.base_url + path
        content = {"data": raw} if raw is not None else {"json": body}
        if raw is not None:
            headers = {"Content-Type": "application/json", **headers}
        async with self.http.request(
            method, url, headers=headers, allow_redirects=False, **content
        ) as response:
            text = await response.text(errors="replace")
            received = tuple((name, value) for name, value in response.headers.items())
        reply = Reply(method, url, response.status, received, text)
        if url.startswith(self.base_url):
            self.replies.append(reply)
        return reply

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API, check that it succeeds, and return its answer."""
        reply = await self.request(method, path, body)
        assert reply.status < 400, f"{method} {path} was answered with {reply.status}: {reply.text}"
        return reply.json if reply.text and "json" in reply.header("content-type") else None

    async def get(self, path: str) -> Any:
        """Make a GET call to the API and return its answer."""
        return await self.call("GET", path)

    # ---------------------------------------------------------------- actions

    async def register(self) -> None:
        """Create an account and store the Fyers app."""
        body = {"email": self.email, "password": self.password, "fullName": self.name}
        self.user_id = (await self.call("POST", "/api/auth/register", body))["id"]
        redirect_uri = f"{self.base_url}/api/fyers/callback"
        app = {"appId": APP_ID, "secret": APP_SECRET, "redirectUri": redirect_uri}
        await self.call("PUT", "/api/fyers/app", app)

    async def begin_login(self, *, fyers_id: str = "", **options: Any) -> str:
        """Log in on the page of Fyers as this or another person; return the redirect's address."""
        url = (await self.call("POST", "/api/fyers/connect", options or None))["url"]
        page = await self.request("GET", f"{url}&fyersId={fyers_id or self.fyers_id}")
        assert page.status == 302, page.text
        return page.header("location")

    async def connect(self) -> None:
        """Log in at Fyers and open the redirect."""
        callback = await self.request("GET", await self.begin_login())
        assert callback.status == 303, callback.text

    async def add_watch(
        self, symbol: str, *, rule: str = "cross", period: int = 55, resolution: str = "5"
    ) -> Any:
        """Add a watch."""
        body = {"symbol": symbol, "resolution": resolution, "period": period, "rule": rule}
        return await self.call("POST", "/api/monitoring/watches", body)

    async def watch(self, *rules: str) -> None:
        """Add the user's symbols for these rules, `cross` by default, and start monitoring."""
        for symbol in self.symbols:
            for rule in rules or ("cross",):
                await self.add_watch(symbol, rule=rule)
        await self.call("POST", "/api/monitoring/start")

    async def open_tab(self) -> Tab:
        """Open an event socket and collect its messages."""
        socket = await self.http.ws_connect(self.base_url.replace("http", "ws", 1) + "/api/events")
        tab = Tab(socket, [json.loads((await socket.receive()).data)])
        self._reading.append(asyncio.create_task(tab.read(), name=f"tab of {self.name}"))
        return tab

    # ---------------------------------------------------------------- queries

    async def connection(self) -> dict[str, Any]:
        """Return the connection object."""
        return await self.get("/api/fyers/status")

    async def state(self) -> dict[str, Any]:
        """Return the state of monitoring."""
        return await self.get("/api/monitoring/state")

    async def signals(self) -> list[dict[str, Any]]:
        """Return all stored signals, newest first."""
        found = (await self.get("/api/monitoring/signals?limit=500"))["signals"]
        assert len(found) < 500
        return found

    async def notices(self, kind: str = "") -> list[dict[str, Any]]:
        """Return the stored notices of one kind. Without a kind: all except those for operators."""
        found = (await self.get("/api/notifications?limit=500"))["notifications"]
        if kind:
            return [notice for notice in found if notice["kind"] == kind]
        return [notice for notice in found if notice["kind"] not in FOR_OPERATORS]

    async def quotes(self) -> dict[str, Any]:
        """Return quotes of the user's symbols."""
        return await self.get(f"/api/market/quotes?symbols={','.join(self.symbols)}")

    async def hma(self) -> dict[str, Any]:
        """Return the HMA of the user's first symbol."""
        return await self.get(f"/api/hma/{self.symbols[0]}")
