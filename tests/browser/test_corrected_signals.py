"""Withdrawn, late and changed signals in the list of the Watch page; the server's answers are replaced."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from browser.users import PHONE, BrowserUsers, accessibility_findings

pytestmark = pytest.mark.browser

CLOSED_AT = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
REASON = "Fyers corrected a close, and with the new close the rule gives no signal here."
WITHDRAWN = {"withdrawnAt": "2026-11-23T04:07:00Z", "withdrawnReason": REASON, "revision": 2}


def signal(number: int, **changes) -> dict:
    """Return a signal as the API shows it; higher numbers have newer candles."""
    opened_at = CLOSED_AT + number * timedelta(minutes=5)
    return {
        "watchId": "wch_1", "symbol": "NSE:SBIN-EQ", "resolution": "5", "period": 9, "rule": "cross", "direction": "up",
        "candleOpenedAt": opened_at.isoformat(), "candleClosedAt": (opened_at + timedelta(minutes=5)).isoformat(),
        "close": 812.35, "hma": 811.9, "detectedAt": (opened_at + timedelta(minutes=5)).isoformat(), "isLate": False,
        "revision": 1, "withdrawnAt": None, "withdrawnReason": None, "historyChangedAt": None, **changes,
    }  # fmt: skip


class SignalsScenario:
    """A page whose list of signals and pushed events the test decides."""

    def __init__(self, tab: Page, *signals: dict) -> None:
        self.tab = tab
        self.signals = list(signals)
        self.socket: WebSocketRoute | None = None
        tab.route("**/api/monitoring/signals?*", self._answer)
        tab.route_web_socket("**/api/events*", self._connect)
        tab.reload()

    def _answer(self, route: Route) -> None:
        route.fulfill(json={"signals": self.signals})

    def _connect(self, socket: WebSocketRoute) -> None:
        self.socket = socket
        socket.connect_to_server()  # all other messages pass unchanged

    def push(self, *corrected: dict) -> None:
        """Send a correction, as the server does."""
        assert self.socket is not None
        event = {
            "seq": 0,
            "type": "signalsCorrected",
            "at": datetime.now(UTC).isoformat(),
            "data": {"signals": corrected},
        }
        self.socket.send(json.dumps(event))

    def row(self, number: int):
        """Return a row of the list, the newest first."""
        return self.tab.locator(".signals tbody tr").nth(number)


def test_a_withdrawn_signal_is_struck_out_with_its_reason(users: BrowserUsers):
    """The reason and the time are texts, because a line through a word is not read aloud."""
    tab = users.trader("Asha", "NSE:SBIN-EQ").open()
    scenario = SignalsScenario(
        tab,
        signal(4, isLate=True),
        signal(3, direction="down", revision=2),
        signal(2, **WITHDRAWN),
        signal(1, historyChangedAt="2026-11-23T04:07:00Z"),
    )

    expect(tab.locator(".signals h2")).to_have_text("Signals 3, 1 withdrawn")
    expect(scenario.row(0).locator(".tag")).to_have_text("late")
    expect(scenario.row(1)).to_contain_text("Corrected, because Fyers changed its history.")
    expect(scenario.row(2).locator("s")).to_have_text("crossed up")
    expect(scenario.row(2)).to_contain_text(f"Withdrawn 23 Nov, 09:37 IST. {REASON}")
    expect(scenario.row(2).locator("td").last).to_have_css("text-decoration-line", "line-through")
    expect(scenario.row(3)).to_contain_text("Fyers has changed the prices of this candle")
    expect(tab.locator(".signals s")).to_have_count(1)
    tab.get_by_label("Kind", exact=True).select_option("withdrawn")
    expect(tab.locator(".signals tbody tr")).to_have_count(1)
    assert accessibility_findings(tab) == []
    assert users.page_errors == []


def test_a_pushed_correction_changes_the_open_page(users: BrowserUsers):
    """The list is right at once, also on a phone; no row is added or lost."""
    tab = users.trader("Asha", "NSE:SBIN-EQ", viewport=PHONE).open()
    scenario = SignalsScenario(tab, signal(2), signal(1))
    expect(tab.locator(".signals tbody tr")).to_have_count(2)
    expect(tab.locator(".signals s")).to_have_count(0)

    scenario.signals = [signal(2), signal(1, **WITHDRAWN)]
    scenario.push(signal(1, **WITHDRAWN))

    expect(scenario.row(1).locator("s")).to_be_visible()
    expect(tab.locator(".signals tbody tr")).to_have_count(2)
    expect(tab.locator(".signals h2")).to_have_text("Signals 1, 1 withdrawn")
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert accessibility_findings(tab) == []
