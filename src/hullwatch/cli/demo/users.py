"""The demo's users. They act through the HTTP API and the simulator's login page, as real users do."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import aiohttp

SYMBOLS_EACH = 4
"""Symbols in a user's watchlist."""
APP_ID = "HULLWATCH-100"
"""The Fyers app that every simulator has."""
_APP_SECRET = "simulator"  # noqa: S105 - public: the simulator's documentation names it
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


class DemoFailed(Exception):  # noqa: N818 - its text is shown to the user as it is
    """A step of the demo failed; the text names the request and its answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


async def request(
    http: aiohttp.ClientSession, method: str, url: str, body: dict[str, Any] | None = None
) -> Any:
    """Make a request, follow redirects, and return the JSON of the answer; `None` for another content type.

    Raises:
        DemoFailed: The answer is an error.
    """
    async with http.request(method, url, json=body) as response:
        if response.status >= 400:
            path = urlsplit(url).path  # without query and fragment, which can hold secrets
            text = f"{method} {path} was answered with {response.status}: {await response.text()}"
            raise DemoFailed(text, response.status)
        return await response.json() if response.content_type == "application/json" else None


def open_browser(base_url: str) -> aiohttp.ClientSession:
    """Return an HTTP session that keeps the server's cookies."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.CookieJar(unsafe=True),  # aiohttp keeps no cookies of a bare IP address otherwise
        timeout=aiohttp.ClientTimeout(total=30),
        headers={"Origin": base_url},
    )


class DemoUser:
    """One user with a browser, a Fyers account and a watchlist.

    Args:
        number: Counted from 0; users beyond `FULL_NAMES` are named by it.
        base_url: The server's address.
        password: For the login to hullwatch.
        symbols: All symbols of the market; each user watches other ones as long as there are enough.
    """

    def __init__(self, number: int, base_url: str, password: str, symbols: list[str]) -> None:
        is_named = number < len(FULL_NAMES)
        self.full_name = FULL_NAMES[number] if is_named else f"Trader{number + 1} Demo"
        self.name = self.full_name.split()[0]
        self.email = f"{self.name.lower()}@demo.example"
        self.fyers_id = f"FY{number + 1:05d}"
        first = number * SYMBOLS_EACH
        self.symbols = list(dict.fromkeys(symbols[(first + n) % len(symbols)] for n in range(SYMBOLS_EACH)))
        self.id = ""
        self.signing_secret = b""
        """Of the webhook channel."""
        self.login_link = ""
        """The newest one that a notice contained."""
        self.login_link_received = asyncio.Event()
        self._password = password
        self._base_url = base_url
        self._http = open_browser(base_url)

    async def close(self) -> None:
        """Close the browser."""
        await self._http.close()

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the API and return its answer."""
        return await request(self._http, method, self._base_url + path, body)

    async def register(self) -> None:
        """Register, or log in to the account of an earlier run, and store the Fyers app."""
        login = {"email": self.email, "password": self._password}
        try:
            await self.call("POST", "/api/auth/register", {**login, "fullName": self.full_name})
        except DemoFailed as failure:
            if failure.status != 409:  # the address is registered already
                raise
        await self.call("POST", "/api/auth/login", login)
        self.id = (await self.call("GET", "/api/auth/me"))["id"]
        app = {"appId": APP_ID, "secret": _APP_SECRET, "redirectUri": f"{self._base_url}/api/fyers/callback"}
        await self.call("PUT", "/api/fyers/app", app)

    async def connect(self) -> None:
        """Log in at Fyers; with `fyersId` in the address the simulator's login page approves at once."""
        url = (await self.call("POST", "/api/fyers/connect"))["url"]
        await request(self._http, "GET", f"{url}&fyersId={self.fyers_id}")

    async def add_webhook(self, address: str, kinds: tuple[str, ...]) -> None:
        """Send notices of these kinds to a webhook, the only channel of this user."""
        for channel in (await self.call("GET", "/api/notifications/channels"))["channels"]:
            await self.call("DELETE", f"/api/notifications/channels/{channel['id']}")
        body = {"kind": "webhook", "label": "Phone", "address": address, "kinds": list(kinds)}
        answer = await self.call("POST", "/api/notifications/channels", body)
        self.signing_secret = answer["signingSecret"].encode()

    async def start_monitoring(self, *, period: int, resolution: str) -> None:
        """Fill the watchlist and start monitoring."""
        watches = (await self.call("GET", "/api/monitoring/watches"))["watches"]
        present = {watch["symbol"] for watch in watches}  # of an earlier run
        for symbol in self.symbols:
            if symbol not in present:
                body = {"symbol": symbol, "resolution": resolution, "period": period, "rule": "cross"}
                await self.call("POST", "/api/monitoring/watches", body)
        await self.call("POST", "/api/monitoring/start")
