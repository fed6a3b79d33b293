"""The Coverage page: gaps of a day with their reasons, the last days, and all accounts for admins."""

import os
import re

import pytest
from playwright.sync_api import Page, expect

from browser.environment import BrowserEnvironment
from browser.users import PHONE, BrowserUsers, accessibility_findings, wait_until

pytestmark = pytest.mark.browser

SBIN = "NSE:SBIN-EQ"
OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
PICTURES = os.environ.get("HULLWATCH_TEST_PICTURES")
"""The folder for pictures, if they are wanted."""


def picture(tab: Page, name: str) -> None:
    """Take a picture of the whole page, if a folder is set."""
    if PICTURES:
        tab.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def test_a_gap_is_shown_with_its_reason(fresh_environment: BrowserEnvironment, new_users: BrowserUsers):
    """A lost session appears on the bar, in the table, in the last days and in the admins' list of accounts."""
    asha, ravi = new_users.trader("Asha", SBIN), new_users.trader("Ravi", SBIN)
    expect(asha.open().locator(".coverage")).to_contain_text("watched")
    fresh_environment.control("POST", f"/accounts/{ravi.fyers_id}/revoke")
    his = ravi.open()
    expect(his.get_by_role("dialog")).to_be_visible()
    his.keyboard.press("Escape")
    fresh_environment.control("POST", "/clock", {"advanceSeconds": 120})
    ravi.connect()
    expect(his.locator(".pill")).to_have_attribute("data-state", "connected")

    his.locator(".coverage").get_by_role("link").click()
    expect(his.get_by_role("heading", name="Coverage", level=1)).to_be_visible()
    line = his.locator("tr[data-reason=no_session]")
    expect(line).to_contain_text("There was no Fyers session")
    expect(line.locator("th")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    expect(his.locator(".day-summary")).to_contain_text(re.compile(r"Watched .* of .* \(.* %\), blind "))
    expect(his.locator(".timeline")).to_have_attribute(
        "aria-label", re.compile("^From 09:15 to 15:30 IST: blind ")
    )
    blind = his.locator(".timeline [data-part=blind]")
    assert blind.first.bounding_box()["width"] >= 2
    expect(his.get_by_role("region", name="Last days table")).to_contain_text("no session")
    expect(his.get_by_role("heading", name=re.compile("All accounts"))).to_have_count(0)
    findings = accessibility_findings(his)
    picture(his, "coverage-trader")

    days = his.get_by_role("region", name="Last days table").get_by_role("button")
    days.nth(3).click()
    expect(his.locator(".day-summary")).to_contain_text("Monitoring was off")
    expect(his.locator("tr[aria-current=true]")).to_have_count(1)
    his.get_by_role("button", name="Latest").click()
    expect(line).to_be_visible()

    hers = asha.open("/#/coverage")
    accounts = hers.locator("tr[data-account]")
    expect(accounts).to_have_count(2)
    expect(accounts.first).to_contain_text("Ravi")
    expect(accounts.first).to_contain_text("no session")
    findings += accessibility_findings(hers)
    picture(hers, "coverage-admin")

    assert findings == []
    assert new_users.page_errors == []


def test_coverage_fits_a_phone_in_both_themes(fresh_environment: BrowserEnvironment, new_users: BrowserUsers):
    """A gap makes the page widest: it must not overflow, and axe must find nothing serious."""
    asha = new_users.trader("Asha", SBIN, viewport=PHONE)
    asha.call("POST", "/api/fyers/disconnect")
    tab = asha.open("/#/coverage")
    tab.keyboard.press("Escape")
    fresh_environment.control("POST", "/clock", {"advanceSeconds": 60})
    asha.connect()
    tab.reload()
    expect(tab.locator("tr[data-reason=no_session]")).to_be_visible()
    findings = []
    for colours in ("dark", "light"):
        tab.emulate_media(color_scheme=colours)
        wait_until(tab, "theme => document.documentElement.dataset.theme === theme", colours)
        findings += accessibility_findings(tab)
        picture(tab, f"coverage-phone-{colours}")

    assert not tab.evaluate(OVERFLOWS)
    assert findings == []
    assert new_users.page_errors == []
