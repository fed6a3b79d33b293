"""The people of the browser tests: each has a browser window or more, walks through Fyers' login page, and looks at pages."""

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page

from browser.stage import PATIENCE_S, DemoEnvironment

PASSWORD = "correct horse battery"
APP = {"appId": "HULLWATCH-100", "secret": "simulator"}
AXE = Path(__file__).resolve().parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE_MS = 30_000
NOTHING = "\N{EN DASH}"
"""Stands where there is no number."""
WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}

_NUMBERS = count(1)
"""A stage is used by several tests in turn: nobody of one test may be met in the next."""


@dataclass
class Person:
    """Somebody with an account here and one at Fyers."""

    stage: DemoEnvironment
    name: str
    fyers_id: str
    context: BrowserContext
    tabs: list[Page] = field(default_factory=list)

    @property
    def email(self) -> str:
        """The address to sign in with."""
        return f"{self.name.lower()}.{self.fyers_id.lower()}@demo.example"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API with this window's login, as no page does it."""
        answer = self.context.request.fetch(f"{self.stage.url}{path}", method=method, data=body)
        assert answer.ok, f"{method} {path}: {answer.status} {answer.text()}"
        return answer.json() if answer.status != 204 else None

    def register(self) -> None:
        """Make the accounts on both sides, and store the Fyers app."""
        self.stage.add_person(self.fyers_id, self.name)
        self.call(
            "POST", "/api/auth/register", {"email": self.email, "password": PASSWORD, "fullName": self.name}
        )
        self.call("PUT", "/api/fyers/app", {**APP, "redirectUri": f"{self.stage.url}/api/fyers/callback"})

    def sign_in(self) -> None:
        """Sign this window in."""
        self.call("POST", "/api/auth/login", {"email": self.email, "password": PASSWORD})

    def connect(self) -> None:
        """Walk Fyers' login without looking at its page."""
        url = self.call("POST", "/api/fyers/connect")["url"]
        assert self.context.request.get(f"{url}&fyersId={self.fyers_id}").ok

    def watch(self, *symbols: str, resolution: str = "5", period: int = 9) -> None:
        """Fill the watchlist and start."""
        for symbol in symbols:
            body = {"symbol": symbol, "resolution": resolution, "period": period, "rule": "cross"}
            self.call("POST", "/api/monitoring/watches", body)
        self.call("POST", "/api/monitoring/start")

    def open(self, path: str = "/") -> Page:
        """Open a tab."""
        tab = self.context.new_page()
        tab.set_default_timeout(PATIENCE_MS)
        self.tabs.append(tab)
        tab.goto(f"{self.stage.url}{path}")
        return tab


class People:
    """Everybody in a test; they leave together, and nobody may have met a fault on the way."""

    def __init__(self, browser: Browser, stage: DemoEnvironment) -> None:
        self._browser = browser
        self._stage = stage
        self._contexts: list[BrowserContext] = []
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def window(self, **options: Any) -> BrowserContext:
        """Open a window with cookies of its own, in which every request and complaint is noted."""
        context = self._browser.new_context(**{"viewport": WIDE, "color_scheme": "dark", **options})
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", lambda message: self._hear(message.type, message.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self._contexts.append(context)
        return context

    def _hear(self, kind: str, text: str) -> None:
        # Chromium says of every answer of 400 and more that it failed to load; those are looked at where they matter.
        if kind in ("error", "warning") and "Failed to load resource" not in text and "WebSocket" not in text:
            self.complaints.append(text)

    def stranger(self, name: str, **options: Any) -> Person:
        """Bring in somebody who is not known yet."""
        return Person(self._stage, name, f"FY{next(_NUMBERS):05d}", self.window(**options))

    def trader(self, name: str, *symbols: str, **options: Any) -> Person:
        """Bring in somebody who is connected and watches."""
        person = self.stranger(name, **options)
        person.register()
        person.connect()
        if symbols:
            person.watch(*symbols)
        return person

    def elsewhere(self, person: Person, **options: Any) -> Person:
        """Give the same person a second browser, signed in."""
        other = Person(self._stage, person.name, person.fyers_id, self.window(**options))
        other.sign_in()
        return other

    def close(self) -> None:
        """Close all windows."""
        for context in self._contexts:
            context.close()


def row(tab: Page, symbol: str) -> Locator:
    """Return a line of the watchlist."""
    return tab.locator(f'.watchlist tr[data-symbol="{symbol}"]')


def price_of(tab: Page, symbol: str) -> str:
    """Return the price that a line shows."""
    return row(tab, symbol).locator("td.price").inner_text()


def wait_until(tab: Page, script: str, argument: Any = None) -> None:
    """Wait until the page itself finds something true."""
    tab.wait_for_function(script, arg=argument, timeout=PATIENCE_S * 1000)


def wait_for_another_price(tab: Page, symbol: str, old: str) -> None:
    """Wait until a line shows another price and looks alive."""
    wait_until(
        tab,
        """([symbol, old]) => {
            const row = document.querySelector(`.watchlist tr[data-symbol="${symbol}"]`);
            const text = row?.querySelector("td.price")?.innerText;
            return text && text !== old && text !== "\u2013" && row.dataset.stale === "false";
        }""",
        [symbol, old],
    )


def serious_findings(tab: Page) -> list[str]:
    """Return what axe finds serious or critical on the page as it stands."""
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']} at {[node['target'] for node in one['nodes']][:3]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def stored(tab: Page) -> str:
    """Return everything that a script on the page could read: the document, storage, cookies."""
    return tab.evaluate(
        "JSON.stringify([document.documentElement.outerHTML, {...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    )
