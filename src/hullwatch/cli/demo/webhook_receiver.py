"""The players' phones: a small receiver that the notices of everybody's webhook channel arrive at, and a browser that taps the links in them.

A phone is signed in nowhere: what it can do, it can do because of a link alone.
"""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp import web

from hullwatch.cli.demo.users import DemoTrouble, Player

KINDS: Final = (
    "session_expiring",
    "session_disconnected",
    "login_renewed",
    "not_ready",
    "now_ready",
    "daily_summary",
)
"""What the players want on their phones; signals would hide the story."""


@dataclass(frozen=True, slots=True)
class Message:
    """One notice as it arrived; `repr` shows no link."""

    id: str
    kind: str
    title: str
    text: str
    login_url: str | None

    def __repr__(self) -> str:
        return f"Message({self.kind}, {self.title!r})"


class Phones:
    """Receives what is sent to the players, checks that it really comes from the server, and keeps it."""

    def __init__(self, hear: Callable[[Player, Message], None]) -> None:
        self._hear = hear
        self._secrets: dict[str, bytes] = {}
        self._players: dict[str, Player] = {}
        self._messages: dict[str, list[Message]] = {}
        self._arrived = asyncio.Condition()
        self._port = 0

    def address_of(self, player: Player) -> str:
        """Return where this player's notices are to be sent."""
        return f"http://127.0.0.1:{self._port}/{player.fyers_id}"

    def belongs_to(self, player: Player, signing_secret: str) -> None:
        """Remember whose phone answers at the player's address, and what its messages are signed with."""
        self._players[player.fyers_id] = player
        self._secrets[player.fyers_id] = signing_secret.encode()

    def latest_link(self, player: Player) -> str | None:
        """Return the newest link that this phone was sent."""
        links = [
            message.login_url for message in self._messages.get(player.fyers_id, []) if message.login_url
        ]
        return links[-1] if links else None

    async def wait_for_link(self, player: Player, *, after: int, patience_s: float) -> str:
        """Return the newest link once more than `after` messages have come.

        Raises:
            DemoTrouble: None came in so many real seconds.
        """
        try:
            async with asyncio.timeout(patience_s), self._arrived:
                await self._arrived.wait_for(
                    lambda: self.count(player) > after and self.latest_link(player) is not None
                )
        except TimeoutError:
            raise DemoTrouble(f"no link reached the phone of {player.name}") from None
        return self.latest_link(player) or ""

    def count(self, player: Player) -> int:
        """Return how many messages have come to this phone."""
        return len(self._messages.get(player.fyers_id, []))

    async def _receive(self, request: web.Request) -> web.Response:
        player = self._players.get(request.match_info["name"])
        body = await request.read()
        if player is None or not self._is_genuine(player, request.headers, body):
            return web.Response(status=403)
        content = orjson.loads(body)
        message = Message(
            content["id"], content["kind"], content["title"], content["text"], content.get("loginUrl")
        )
        known = self._messages.setdefault(player.fyers_id, [])
        if all(message.id != other.id for other in known):  # a repetition has the same id
            known.append(message)
            self._hear(player, message)
            async with self._arrived:
                self._arrived.notify_all()
        return web.Response(status=204)

    def _is_genuine(self, player: Player, headers: Any, body: bytes) -> bool:
        """Check the signature as every receiver should; its time is the market's here, so its age says nothing."""
        parts = dict(part.partition("=")[::2] for part in headers.get("Hullwatch-Signature", "").split(","))
        signed = f"{parts.get('t', '')}.".encode() + body
        expected = hmac.new(self._secrets[player.fyers_id], signed, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, parts.get("v1", ""))

    @asynccontextmanager
    async def switched_on(self) -> AsyncIterator[None]:
        """Receive until the block ends."""
        app = web.Application()
        app.router.add_post("/{name}", self._receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self._port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()


async def tap(link: str, player: Player, *, on_seen: Callable[[str], None]) -> None:
    """Open a login link as a phone does that is signed in nowhere: look, press the button, log in at Fyers.

    Args:
        link: The address in the notice.
        player: Whose phone it is.
        on_seen: Told who asked, as the page says it, before the button is pressed.

    Raises:
        DemoTrouble: A step was refused.
    """
    parts = urlsplit(link)
    base_url = f"{parts.scheme}://{parts.netloc}"
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.CookieJar(unsafe=True),
        timeout=aiohttp.ClientTimeout(total=30),
        headers={"Origin": base_url},
    ) as http:
        await _step(http, "GET", link)
        body = {"link": parts.fragment}
        shown = await _step(http, "POST", f"{base_url}/api/reconnect/look", body)
        on_seen(str(shown["requestedBy"]))
        url = (await _step(http, "POST", f"{base_url}/api/reconnect/begin", body))["url"]
        await _step(http, "GET", f"{url}&fyersId={player.fyers_id}")


async def _step(
    http: aiohttp.ClientSession, method: str, url: str, body: dict[str, str] | None = None
) -> Any:
    async with http.request(method, url, json=body) as response:
        if response.status >= 400:
            path = urlsplit(url).path  # the link itself stays out of the text
            raise DemoTrouble(f"{method} {path} was answered with {response.status}")
        return await response.json() if response.content_type == "application/json" else None
