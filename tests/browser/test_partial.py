"""The watchlist page while some symbols cannot be monitored."""

import os

import pytest
from playwright.sync_api import expect

from browser.users import BrowserUsers, accessibility_findings, row

pytestmark = pytest.mark.browser

SBIN, TCS, GONE = "NSE:SBIN-EQ", "NSE:TCS-EQ", "NSE:GONE-EQ"


def test_a_partial_watchlist_is_shown_as_partial(new_users: BrowserUsers):
    """Row, status and header name the symbol that Fyers does not serve, until it leaves the watchlist."""
    asha = new_users.trader("Asha", SBIN, TCS, GONE)
    tab = asha.open()
    status, partial = tab.locator(".watchlist .status"), tab.locator(".header [data-partial]")

    expect(status).to_have_attribute("data-status", "partial")
    expect(status).to_have_text("2 of 3 symbols are monitored; GONE: Fyers does not serve it.")
    expect(row(tab, GONE)).to_have_attribute("data-status", "symbol_refused")
    expect(row(tab, GONE).locator("th .problem")).to_have_text("Fyers does not serve it.")
    expect(row(tab, SBIN)).to_have_attribute("data-status", "watching")
    expect(partial).to_contain_text("2 of 3")
    assert accessibility_findings(tab) == []
    if folder := os.environ.get("SCREENSHOTS"):
        tab.screenshot(path=f"{folder}/partial.png")

    row(tab, GONE).get_by_role("button", name=f"Remove {GONE}").click()
    tab.get_by_role("dialog").get_by_role("button", name="Remove").click()

    expect(status).to_have_text("Your watchlist is being watched.")
    expect(partial).to_have_count(0)
