"""Layout on phones, themes, keyboard use, Indian number formats, watchlist, signals and API tokens."""

import re
from datetime import datetime

import pytest
from playwright.sync_api import Locator, expect

from browser.environment import BrowserEnvironment
from browser.users import (
    NO_VALUE,
    PHONE,
    BrowserUsers,
    accessibility_findings,
    readable_by_scripts,
    row,
    wait_for_another_price,
    wait_until,
)
from hullwatch.domain.market.calendar import IST

pytestmark = pytest.mark.browser

SBIN, NIFTY, TCS = "NSE:SBIN-EQ", "NSE:NIFTY50-INDEX", "NSE:TCS-EQ"
OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
SCROLLS = "box => box.scrollWidth > box.clientWidth"


def press_enter(button: Locator) -> None:
    """Press a button with the keyboard; the button may disappear while the key is still down."""
    button.focus()
    button.page.keyboard.press("Enter")


def test_every_page_fits_a_phone(new_users: BrowserUsers):
    """No page overflows at 360 pixels, and axe finds nothing serious in either theme."""
    asha = new_users.trader("Asha", SBIN, NIFTY, viewport=PHONE)
    tab = asha.open()
    wait_for_another_price(tab, SBIN, NO_VALUE)
    findings, wide = [], []
    for page in (
        "watch",
        "coverage",
        "fyers",
        "notices",
        "account",
        "readiness",
        "health",
        "server",
        "audit",
    ):
        tab.goto(f"{asha.environment.url}/#/{page}")
        expect(tab.locator("main .panel").first).to_be_visible()
        expect(tab.locator("main .loading")).to_have_count(0)
        expect(tab.locator("nav [aria-current]")).to_be_in_viewport(ratio=0.9)
        for colours in ("dark", "light"):
            tab.emulate_media(color_scheme=colours)
            wait_until(tab, "theme => document.documentElement.dataset.theme === theme", colours)
            findings += [f"{page}, {colours}: {found}" for found in accessibility_findings(tab)]
        wide += [page] if tab.evaluate(OVERFLOWS) else []
        if page == "watch":
            expect(tab.locator(".signals tbody tr").first).to_be_visible()
            wide += ["signals"] if tab.locator(".signals .scroll").evaluate(SCROLLS) else []

    assert findings == []
    assert wide == []


def test_the_header_follows_the_end_of_the_trading_day(new_users: BrowserUsers):
    """The phases are market open, closing auction, derivatives only and closed. The tooltip has their times."""
    asha = new_users.trader("Asha", SBIN)
    environment, market = asha.environment, asha.open().locator(".market")
    environment.control("POST", "/clock", {"speed": 1})

    def go_to(hour: int, minute: int) -> None:
        now = datetime.fromisoformat(environment.control("GET", "/clock")["now"]).astimezone(IST)
        ahead = now.replace(hour=hour, minute=minute, second=0) - now
        environment.control("POST", "/clock", {"advanceSeconds": ahead.total_seconds()})

    expect(market).to_contain_text("Market open")
    expect(market).to_have_attribute("title", re.compile(r"derivatives trade until 15:40"))
    go_to(15, 16)
    expect(market).to_contain_text("Closing auction")
    expect(market).to_have_attribute("title", re.compile(r"closes in .*; stocks with derivatives"))
    go_to(15, 31)
    expect(market).to_contain_text("Derivatives open")
    expect(market).to_have_attribute("data-open", "true")
    go_to(15, 41)
    expect(market).to_contain_text("Market closed")
    expect(market).to_have_attribute("data-open", "false")


def test_the_watchlist_works_by_keyboard(users: BrowserUsers):
    """A symbol is added, changed and removed. Numbers have Indian grouping and times name IST."""
    asha = users.trader("Asha", NIFTY)
    tab = asha.open()
    wait_for_another_price(tab, NIFTY, NO_VALUE)
    expect(row(tab, NIFTY).locator("td.price")).to_have_text(re.compile(r"^\d\d,\d\d\d\.\d\d$"))
    expect(tab.locator(".market")).to_contain_text(re.compile(r"\d\d:\d\d:\d\d IST"))
    assert tab.evaluate("new Intl.NumberFormat('en-IN').format(12345678)") == "1,23,45,678"

    press_enter(tab.get_by_role("button", name="Add symbol"))
    search = tab.get_by_role("dialog").get_by_role("combobox", name="Symbol")
    expect(search).to_be_focused()
    search.press_sequentially("tcs")
    expect(tab.get_by_role("option").first).to_contain_text(TCS)
    tab.keyboard.press("Enter")
    expect(search).to_have_value(TCS)
    tab.keyboard.press("Enter")
    expect(row(tab, TCS)).to_be_visible()
    expect(row(tab, TCS)).to_have_attribute("data-stale", "false")
    expect(tab.get_by_role("dialog")).to_have_count(0)

    press_enter(tab.get_by_role("button", name=f"Change {TCS}"))
    tab.get_by_role("dialog").get_by_label("HMA period").fill("21")
    press_enter(tab.get_by_role("button", name="Save"))
    expect(row(tab, TCS)).to_contain_text("HMA 21")
    press_enter(tab.get_by_role("button", name=f"Remove {TCS}"))
    expect(tab.get_by_role("dialog").get_by_role("button", name="Remove")).to_be_focused()
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("dialog")).to_have_count(0)
    expect(row(tab, TCS)).to_be_visible()
    press_enter(tab.get_by_role("button", name=f"Remove {TCS}"))
    press_enter(tab.get_by_role("dialog").get_by_role("button", name="Remove"))
    expect(row(tab, TCS)).to_have_count(0)

    tab.get_by_role("button", name="Stop monitoring").click()
    expect(tab.get_by_text("Monitoring is off. Start monitoring to watch your watchlist.")).to_be_visible()
    tab.get_by_role("button", name="Start monitoring").click()
    expect(tab.get_by_text("Your watchlist is being watched.")).to_be_visible()


def test_signals_arrive_live_and_can_be_filtered(environment: BrowserEnvironment, users: BrowserUsers):
    """Signals of live candles appear in the list and on the chart without a reload."""
    asha = users.register_later("Asha")
    asha.register()
    asha.connect()
    asha.watch(SBIN, TCS, NIFTY, resolution="1", period=4)
    tab = asha.open()
    wait_for_another_price(tab, SBIN, NO_VALUE)
    expect(tab.locator(".signals tbody tr").first).to_be_visible()
    first = tab.locator(".signals tbody tr").first
    expect(first).to_contain_text(re.compile(r"\d\d:\d\d IST"))
    direction = "up" if "up" in first.inner_text() else "down"

    tab.get_by_role("combobox", name="Direction").select_option(direction)

    expect(tab.locator(".signals tbody tr").first).to_be_visible()
    other = "down" if direction == "up" else "up"
    expect(tab.locator(f".signals tbody .signal[data-tone={other}]")).to_have_count(0)
    expect(tab.locator(".chart .canvas[data-ready=true]")).to_have_attribute(
        "aria-label", re.compile(r"\d+ signals")
    )
    assert users.page_errors == []
    del environment


def test_an_api_token_is_shown_only_once(users: BrowserUsers):
    """The value disappears with Done, and neither the page nor the browser's storage keeps it."""
    tab = users.trader("Asha").open("/#/account")
    tab.get_by_label("Token name").fill("my laptop")
    tab.get_by_role("button", name="Create a token").click()
    value = tab.locator("[data-shown-once]").inner_text()
    tab.get_by_role("button", name="Done").click()
    expect(tab.get_by_role("rowheader", name="my laptop")).to_be_visible()

    assert len(value) > 20
    assert value not in readable_by_scripts(tab)
    tab.reload()
    expect(tab.get_by_role("rowheader", name="my laptop")).to_be_visible()
    assert value not in readable_by_scripts(tab)
