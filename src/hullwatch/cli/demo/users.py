"""The demo's users. They do everything through the HTTP API and the simulator's login page, as real ones would."""

from dataclasses import dataclass, field
from typing import Any

import aiohttp

SYMBOLS_EACH = 4
"""Lines of a player's watchlist: enough to be busy, few enough to be read."""
_TICKER_COLUMN = 9
"""Of Fyers' symbol master, which has no header (Fyers API v3 docs, symbol master)."""
APP_ID = "HULLWATCH-100"
"""The app that the simulator knows from the start; its secret is part of the simulator, not of anybody's account."""
_APP_SECRET = "simulator"  # noqa: S105 - promised to everybody who tests against the simulator


class DemoTrouble(Exception):  # noqa: N818 - a fact told to the person who runs the demo
    """A step of the demo was answered in a way that it must not be; the text says which and how."""


@dataclass(slots=True)
class Player:
    """One user of the demo."""

    name: str
    full_name: str
    email: str
    password: str = field(repr=False)
    fyers_id: str
    symbols: tuple[str, ...]
    """What the player watches."""
    user_id: str = ""


FULL_NAMES = (
    "Asha Iyer",
    "Ravi Menon",
    "Meena Shah",
    "Arjun Rao",
    "Divya Nair",
    "Kabir Das",
    "Leela Bose",
    "Nikhil Jain",
)


def make_players(count: int, password: str, symbols: list[str]) -> list[Player]:
    """Return so many users, each with symbols of their own as far as there are enough; beyond the names that are known they are numbered."""
    players = []
    for number in range(count):
        full_name = FULL_NAMES[number] if number < len(FULL_NAMES) else f"Trader {number + 1}"
        name = full_name.split()[0] if number < len(FULL_NAMES) else f"Trader{number + 1}"
        email = f"{name.lower()}@demo.example"
        first = number * SYMBOLS_EACH
        own = dict.fromkeys(symbols[(first + place) % len(symbols)] for place in range(SYMBOLS_EACH))
        players.append(Player(name, full_name, email, password, f"FY{number + 1:05d}", tuple(own)))
    return players


class Door:
    """One player's browser: a cookie jar in front of the server's API."""

    def __init__(self, base_url: str, player: Player) -> None:
        self._base_url = base_url
        self.player = player
        # Cookies on a bare address are refused by default; the demo has no name to go by.
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(total=30),
            headers={"Origin": base_url},
        )

    async def close(self) -> None:
        """Close the browser."""
        await self._http.close()

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the API.

        Raises:
            DemoTrouble: It did not answer with success.
        """
        async with self._http.request(method, self._base_url + path, json=body) as response:
            if response.status >= 400:
                raise DemoTrouble(
                    f"{method} {path} was answered with {response.status}: {await response.text()}"
                )
            return await response.json() if response.content_type == "application/json" else None

    async def enter(self) -> None:
        """Register, or log in to the account that an earlier run made, and store the Fyers app."""
        player = self.player
        body = {"email": player.email, "password": player.password, "fullName": player.full_name}
        async with self._http.post(f"{self._base_url}/api/auth/register", json=body) as response:
            is_known = response.status == 409
            if response.status >= 400 and not is_known:
                raise DemoTrouble(f"{player.email} could not register: {await response.text()}")
        await self.call("POST", "/api/auth/login", {"email": player.email, "password": player.password})
        player.user_id = (await self.call("GET", "/api/auth/me"))["id"]
        app = {"appId": APP_ID, "secret": _APP_SECRET, "redirectUri": f"{self._base_url}/api/fyers/callback"}
        await self.call("PUT", "/api/fyers/app", app)

    async def connect(self) -> None:
        """Walk the login at Fyers' page, which approves at once when it is told who comes, and return through the redirect.

        Raises:
            DemoTrouble: The way did not end at a connected account.
        """
        url = (await self.call("POST", "/api/fyers/connect"))["url"]
        async with self._http.get(f"{url}&fyersId={self.player.fyers_id}") as response:
            if response.status >= 400:
                raise DemoTrouble(
                    f"the login of {self.player.name} ended with {response.status}: {await response.text()}"
                )

    async def add_phone(self, address: str, kinds: tuple[str, ...]) -> str:
        """Let notices of these kinds go to an address too; return what they will be signed with."""
        for channel in (await self.call("GET", "/api/notifications/channels"))["channels"]:
            await self.call("DELETE", f"/api/notifications/channels/{channel['id']}")  # of an earlier run
        body = {"kind": "webhook", "label": "Phone", "address": address, "kinds": list(kinds)}
        return str((await self.call("POST", "/api/notifications/channels", body))["signingSecret"])

    async def watch(self, *, period: int, resolution: str) -> None:
        """Fill the watchlist and start monitoring."""
        known = {watch["symbol"] for watch in (await self.call("GET", "/api/monitoring/watches"))["watches"]}
        for symbol in self.player.symbols:
            if symbol not in known:
                body = {"symbol": symbol, "resolution": resolution, "period": period, "rule": "cross"}
                await self.call("POST", "/api/monitoring/watches", body)
        await self.call("POST", "/api/monitoring/start")


class Simulator:
    """The simulator's control calls, as the demo uses them."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))

    async def close(self) -> None:
        """Close the connection."""
        await self._http.close()

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Make a control call.

        Raises:
            DemoTrouble: It did not answer with success.
        """
        async with self._http.request(method, f"{self.base_url}/simulator{path}", json=body) as response:
            if response.status >= 400:
                raise DemoTrouble(f"{method} /simulator{path} was answered with {response.status}")
            return await response.json()

    async def calls_of(self, player: Player) -> int:
        """Return how many calls the broker has counted for this player."""
        return int((await self.call("GET", f"/calls?fyersId={player.fyers_id}"))["total"])

    async def symbols(self) -> list[str]:
        """Return what can be watched here, stocks first, from the public symbol master.

        Raises:
            DemoTrouble: There is nothing to watch.
        """
        async with self._http.get(f"{self.base_url}/sym_details/NSE_CM.csv") as response:
            lines = (await response.text()).splitlines()
        symbols = [line.split(",")[_TICKER_COLUMN] for line in lines if line.count(",") >= _TICKER_COLUMN]
        if not symbols:
            raise DemoTrouble("The simulator's market has no symbol to watch.")
        return sorted(symbols, key=lambda symbol: symbol.endswith("-INDEX"))
