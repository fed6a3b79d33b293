"""Users of the browser tests: their browser windows, logins and watchlists, and helpers that read a page."""

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from limits import ANSWER_LIMIT_S
from playwright.sync_api import Browser, BrowserContext, Locator, Page

from browser.environment import BrowserEnvironment

PASSWORD = "correct horse battery"
APP = {"appId": "HULLWATCH-100", "secret": "simulator"}
AXE = Path(__file__).resolve().parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
NO_VALUE = "\N{EN DASH}"
"""What a page shows instead of a missing number."""
WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}

_NUMBERS = count(1)
"""Tests share an environment, so each user gets a Fyers id of its own."""


@dataclass
class BrowserUser:
    """A user with an account here and one at Fyers."""

    environment: BrowserEnvironment
    name: str
    fyers_id: str
    context: BrowserContext
    tabs: list[Page] = field(default_factory=list)

    @property
    def email(self) -> str:
        """The address to sign in with."""
        return f"{self.name.lower()}.{self.fyers_id.lower()}@demo.example"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API directly with this window's login."""
        answer = self.context.request.fetch(f"{self.environment.url}{path}", method=method, data=body)
        assert answer.ok, f"{method} {path}: {answer.status} {answer.text()}"
        return answer.json() if answer.status != 204 else None

    def register(self) -> None:
        """Create the accounts here and at Fyers, and store the Fyers app."""
        self.environment.add_account(self.fyers_id, self.name)
        self.call(
            "POST", "/api/auth/register", {"email": self.email, "password": PASSWORD, "fullName": self.name}
        )
        self.call(
            "PUT", "/api/fyers/app", {**APP, "redirectUri": f"{self.environment.url}/api/fyers/callback"}
        )

    def sign_in(self) -> None:
        """Sign this window in."""
        self.call("POST", "/api/auth/login", {"email": self.email, "password": PASSWORD})

    def connect(self) -> None:
        """Log in to Fyers without opening its page."""
        url = self.call("POST", "/api/fyers/connect")["url"]
        assert self.context.request.get(f"{url}&fyersId={self.fyers_id}").ok

    def watch(self, *symbols: str, resolution: str = "5", period: int = 9) -> None:
        """Add symbols to the watchlist and start monitoring."""
        for symbol in symbols:
            body = {"symbol": symbol, "resolution": resolution, "period": period, "rule": "cross"}
            self.call("POST", "/api/monitoring/watches", body)
        self.call("POST", "/api/monitoring/start")

    def open(self, path: str = "/") -> Page:
        """Open a tab."""
        tab = self.context.new_page()
        tab.set_default_timeout(ANSWER_LIMIT_S * 1000)
        self.tabs.append(tab)
        tab.goto(f"{self.environment.url}{path}")
        return tab


class BrowserUsers:
    """Creates the users of a test, records their requests and page errors, and closes their windows."""

    def __init__(self, browser: Browser, environment: BrowserEnvironment) -> None:
        self._browser = browser
        self._environment = environment
        self._contexts: list[BrowserContext] = []
        self.requests: list[str] = []
        self.page_errors: list[str] = []

    def window(self, **options: Any) -> BrowserContext:
        """Open a window with its own cookies, and record its requests and page errors."""
        context = self._browser.new_context(**{"viewport": WIDE, "color_scheme": "dark", **options})
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", lambda message: self._record_console(message.type, message.text))
        context.on("weberror", lambda error: self.page_errors.append(str(error.error)))
        self._contexts.append(context)
        return context

    def _record_console(self, kind: str, text: str) -> None:
        # Chromium reports every answer of 400 and above; the tests that expect one check it themselves.
        if kind in ("error", "warning") and "Failed to load resource" not in text and "WebSocket" not in text:
            self.page_errors.append(text)

    def register_later(self, name: str, **options: Any) -> BrowserUser:
        """Return a user who has no account yet."""
        return BrowserUser(self._environment, name, f"FY{next(_NUMBERS):05d}", self.window(**options))

    def trader(self, name: str, *symbols: str, **options: Any) -> BrowserUser:
        """Return a connected user who watches the symbols."""
        person = self.register_later(name, **options)
        person.register()
        person.connect()
        if symbols:
            person.watch(*symbols)
        return person

    def second_browser(self, person: BrowserUser, **options: Any) -> BrowserUser:
        """Return the same user, signed in with a second browser."""
        other = BrowserUser(self._environment, person.name, person.fyers_id, self.window(**options))
        other.sign_in()
        return other

    def close(self) -> None:
        """Close all windows."""
        for context in self._contexts:
            context.close()


def row(tab: Page, symbol: str) -> Locator:
    """Return a row of the watchlist."""
    return tab.locator(f'.watchlist tr[data-symbol="{symbol}"]')


def price_of(tab: Page, symbol: str) -> str:
    """Return the price that a row shows."""
    return row(tab, symbol).locator("td.price").inner_text()


def wait_until(tab: Page, script: str, argument: Any = None) -> None:
    """Wait until the script is true in the page."""
    tab.wait_for_function(script, arg=argument, timeout=ANSWER_LIMIT_S * 1000)


def wait_for_another_price(tab: Page, symbol: str, old: str) -> None:
    """Wait until a row shows another price and is not stale."""
    wait_until(
        tab,
        """([symbol, old]) => {
            const row = document.querySelector(`.watchlist tr[data-symbol="${symbol}"]`);
            const text = row?.querySelector("td.price")?.innerText;
            return text && text !== old && text !== "\u2013" && row.dataset.stale === "false";
        }""",
        [symbol, old],
    )


def accessibility_findings(tab: Page) -> list[str]:
    """Return the serious and critical findings of axe on the current page, when its transitions have ended."""
    tab.evaluate(
        "Promise.all(document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime !== Infinity)"
        ".map((one) => one.finished.catch(() => undefined)))"
    )
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']} at {[node['target'] for node in one['nodes']][:3]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def readable_by_scripts(tab: Page) -> str:
    """Return everything that a script on the page could read: the document, storage, cookies."""
    return tab.evaluate(
        "JSON.stringify([document.documentElement.outerHTML, {...localStorage}, {...sessionStorage},"
        " document.cookie, location.href])"
    )
