"""Readiness before the market opens: the user's line and the admins' list."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.environment import BrowserEnvironment
from browser.users import PHONE, BrowserUsers, accessibility_findings

pytestmark = pytest.mark.browser

SBIN, INFY = "NSE:SBIN-EQ", "NSE:INFY-EQ"
OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def shot(tab: Page, name: str) -> None:
    """Take a picture, if a folder is set."""
    folder = os.environ.get("HULLWATCH_PICTURES")
    if folder:
        tab.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_readiness_before_and_monitoring_after_market_open(
    early_environment: BrowserEnvironment, early_users: BrowserUsers
):
    """The user's line and the admins' list follow a login and the market open without a reload."""
    asha = early_users.trader("Asha", SBIN, INFY)
    ravi = early_users.trader("Ravi", INFY, viewport=PHONE)
    ravi.call("POST", "/api/fyers/disconnect")
    tab, his, list_tab = asha.open(), ravi.open(), asha.open("/#/readiness")
    hers_line, his_line = tab.locator(".readiness"), his.locator(".readiness")

    expect(hers_line).to_have_text(
        "Ready for the market open at 09:15 IST: Fyers confirmed your session, and all symbols have enough history."
    )
    expect(tab.locator(".watchlist .status")).to_have_count(0)
    his.get_by_role("dialog").get_by_role("button", name="Later").click()
    expect(his_line).to_contain_text(
        "Not ready for the market open at 09:15 IST, because you disconnected Fyers at 08:5"
    )
    expect(his_line.get_by_role("button")).to_have_count(0)  # the banner already has the login button

    share, lines = list_tab.locator(".share"), list_tab.locator("tr[data-account]")
    expect(share).to_contain_text("50 %")
    expect(share).to_contain_text("1 of 2 accounts ready")
    expect(lines.first).to_contain_text("You disconnected Fyers")
    list_tab.get_by_label("Show only accounts not ready").check()
    expect(lines).to_have_count(1)
    list_tab.get_by_label("Show only accounts not ready").uncheck()
    list_tab.get_by_role("button", name="Check now").click()
    expect(list_tab.get_by_text(re.compile(r"Checked \d+ s ago\. Next check at 09:00 IST"))).to_be_visible()
    for page, name in ((tab, "ready"), (his, "not-ready-phone"), (list_tab, "list")):
        shot(page, name)
    findings = accessibility_findings(tab) + accessibility_findings(list_tab) + accessibility_findings(his)
    is_too_wide = his.evaluate(OVERFLOWS)

    ravi.connect()
    expect(his_line).to_contain_text("Ready for the market open at 09:15 IST")
    expect(share).to_contain_text("100 %")

    early_environment.control("POST", "/clock", {"advanceSeconds": 26 * 60})
    expect(share).to_contain_text("2 of 2 accounts watched")
    expect(hers_line).to_have_count(0)
    expect(tab.locator(".watchlist .status")).to_have_text("Your watchlist is being watched.")
    shot(list_tab, "watching")
    assert findings == []
    assert not is_too_wide
    assert early_users.page_errors == []
