"""The chart belongs to the choice in its title, however slowly, wrongly or late the server answers."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from browser.users import BrowserUsers, price_of, row, wait_for_another_price, wait_until

CHART_CALLS = re.compile(r"/api/market/chart\?")
CANDLES = 4
"""Candles in which a quote may move the chart; one without a quote between its load and its close is rare."""
SBIN, TCS, NIFTY = "NSE:SBIN-EQ", "NSE:TCS-EQ", "NSE:NIFTY50-INDEX"


class HeldCharts:
    """Holds the chart calls of a tab, and lets the test answer them in any order."""

    def __init__(self, tab: Page) -> None:
        self._tab = tab
        self._held: list[Route] = []
        self._is_released = False
        tab.route(CHART_CALLS, self._hold)

    def _hold(self, route: Route) -> None:
        if self._is_released:
            route.fallback()
        else:
            self._held.append(route)

    @property
    def has_any(self) -> bool:
        """Whether a call is held."""
        return bool(self._held)

    def _of(self, **wanted: str) -> Route:
        for route in self._held:
            query = parse_qs(urlsplit(route.request.url).query)
            if all(query.get(name) == [value] for name, value in wanted.items()):
                return route
        raise LookupError(wanted)

    def wait(self, **wanted: str) -> None:
        """Wait until a call with this query is held."""
        for _ in range(600):
            try:
                self._of(**wanted)
            except LookupError:
                self._tab.evaluate("() => new Promise(requestAnimationFrame)")
            else:
                return
        self._of(**wanted)

    def answer(self, **wanted: str) -> None:
        """Let the held call with this query pass to the server, and wait for its answer."""
        route = self._of(**wanted)
        self._held.remove(route)
        route.fulfill(response=route.fetch())

    def fail(self, **wanted: str) -> None:
        """Answer the held call with this query with an error of a proxy."""
        route = self._of(**wanted)
        self._held.remove(route)
        route.fulfill(status=502, content_type="text/html", body="<html>Bad gateway</html>")

    def release(self) -> None:
        """Hold no more calls, and abort the held ones: Playwright reports a call that nobody answers as lost."""
        self._is_released = True
        for route in self._held:
            route.abort()
        self._tab.unroute_all(behavior="ignoreErrors")


@pytest.fixture
def charted(users: BrowserUsers) -> Callable[[], Page]:
    """Open the dashboard with a drawn chart of SBIN, so that a change has an old picture to remove."""

    def open_chart() -> Page:
        tab = users.trader("Asha", SBIN, TCS, NIFTY).open()
        choose(tab, SBIN)
        expect_drawn(tab, "SBIN")
        return tab

    return open_chart


def canvas(tab: Page):
    """Return the container of the drawn chart."""
    return tab.locator(".chart .canvas")


def expect_drawn(tab: Page, name: str) -> None:
    """Expect the chart of a symbol, without a message."""
    expect(canvas(tab)).to_have_attribute("aria-label", re.compile(rf"^{name}: \d+ candles"))
    expect(canvas(tab)).to_be_visible()
    expect(tab.locator(".chart-message")).to_have_count(0)


def expect_loading(tab: Page, name: str) -> None:
    """Expect that nothing is drawn and that the page says which chart it loads."""
    expect(tab.locator(".chart-panel h2")).to_contain_text(name)
    expect(tab.locator(".chart-message")).to_contain_text(f"Loading the candles of {name}")
    expect(canvas(tab)).to_be_hidden()
    expect(canvas(tab)).to_have_attribute("aria-label", "Chart")


def choose(tab: Page, symbol: str) -> None:
    """Choose a symbol in the watchlist."""
    row(tab, symbol).get_by_role("button").first.click()


def test_a_slow_answer_leaves_no_old_candles(charted: Callable[[], Page]):
    """Quotes of the new symbol arrive meanwhile, and must not move the old symbol's forming candle."""
    tab = charted()
    held = HeldCharts(tab)

    choose(tab, TCS)

    expect_loading(tab, "TCS")
    held.wait(symbol=TCS)
    wait_for_another_price(tab, TCS, price_of(tab, TCS))
    expect_loading(tab, "TCS")
    if folder := os.environ.get("HULLWATCH_TEST_PICTURES"):
        tab.screenshot(path=Path(folder) / "chart_loading.png")
    held.answer(symbol=TCS)
    expect_drawn(tab, "TCS")
    held.release()


def test_no_frame_has_the_new_title_over_old_candles(charted: Callable[[], Page]):
    """Each frame that the browser paints is looked at, because a flash of wrong candles can be acted on."""
    tab = charted()
    held = HeldCharts(tab)
    tab.evaluate(
        """() => {
            window.wrongFrames = 0; window.frames_ = 0;
            const look = () => {
                const title = document.querySelector(".chart-panel h2").innerText;
                const canvas = document.querySelector(".chart .canvas");
                if (!title.startsWith("SBIN") && canvas.checkVisibility({checkVisibilityCSS: true})
                    && canvas.ariaLabel.startsWith("SBIN")) window.wrongFrames += 1;
                window.frames_ += 1;
                requestAnimationFrame(look);
            };
            requestAnimationFrame(look);
        }"""
    )

    choose(tab, TCS)

    expect_loading(tab, "TCS")
    wait_until(tab, "() => window.frames_ > 20")
    assert tab.evaluate("() => window.wrongFrames") == 0
    held.release()


def test_reordered_answers_never_draw_under_another_title(charted: Callable[[], Page]):
    """The answers of two earlier choices arrive after the one of the present choice, and before it."""
    tab = charted()
    held = HeldCharts(tab)
    for symbol in (TCS, NIFTY):
        choose(tab, symbol)
        held.wait(symbol=symbol)
    choose(tab, SBIN)
    held.wait(symbol=SBIN)

    held.answer(symbol=TCS)
    expect_loading(tab, "SBIN")
    held.answer(symbol=SBIN)
    expect_drawn(tab, "SBIN")
    held.answer(symbol=NIFTY)
    tab.evaluate("() => new Promise(requestAnimationFrame)")

    expect_drawn(tab, "SBIN")
    held.release()


def test_a_failed_answer_shows_no_other_chart(charted: Callable[[], Page]):
    """The failure is named; a late failure of an earlier choice changes nothing."""
    tab = charted()
    held = HeldCharts(tab)
    choose(tab, TCS)
    held.wait(symbol=TCS)
    choose(tab, NIFTY)
    held.wait(symbol=NIFTY)

    held.fail(symbol=TCS)
    expect_loading(tab, "NIFTY50")
    held.fail(symbol=NIFTY)

    expect(tab.locator(".chart-message")).to_contain_text("502")
    expect(canvas(tab)).to_be_hidden()
    held.release()


@pytest.mark.parametrize(
    ("label", "value", "query"),
    [
        ("Candles", "15", {"resolution": "15"}),
        ("Signal when", "turn", {"rule": "turn"}),
        ("HMA period", "21", {"period": "21"}),
    ],
)
def test_each_other_setting_clears_the_chart(
    charted: Callable[[], Page], label: str, value: str, query: dict
):
    """The resolution, the rule and the period are in the title line as well."""
    tab = charted()
    held = HeldCharts(tab)

    field = tab.get_by_label(label, exact=True)
    if label == "HMA period":
        field.fill(value)
        field.press("Tab")
    else:
        field.select_option(value)

    held.wait(symbol=SBIN, **query)
    expect_loading(tab, "SBIN")
    held.answer(symbol=SBIN, **query)
    expect_drawn(tab, "SBIN")
    held.release()


def frame(tab: Page) -> None:
    """Let the page draw what it knows."""
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_quotes_move_the_chart_of_their_symbol(charted: Callable[[], Page]):
    """The picture changes while no chart call is answered. After the candle's close it waits for the next load."""
    tab = charted()
    held = HeldCharts(tab)
    pixels = "[...document.querySelectorAll('.chart canvas')].map((one) => one.toDataURL()).join()"
    has_moved = False
    for _ in range(CANDLES):
        frame(tab)
        before = tab.evaluate(f"() => {pixels}")
        while not has_moved and not held.has_any:
            wait_for_another_price(tab, SBIN, price_of(tab, SBIN))
            frame(tab)
            has_moved = tab.evaluate(f"(old) => {pixels} !== old", before)
        if has_moved:
            break
        with tab.expect_response(CHART_CALLS) as response:
            held.answer(symbol=SBIN)
        response.value.finished()
    held.release()

    assert has_moved
