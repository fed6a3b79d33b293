"""The admin pages: their content, their actions and their live updates."""

import re

import pytest
from playwright.sync_api import expect

from browser.environment import BrowserEnvironment
from browser.users import BrowserUsers, accessibility_findings

pytestmark = pytest.mark.browser

SBIN, INFY = "NSE:SBIN-EQ", "NSE:INFY-EQ"


def test_an_admin_checks_and_disconnects_accounts(
    fresh_environment: BrowserEnvironment, new_users: BrowserUsers
):
    """Token health updates live, sorts and filters; every action appears in the audit trail."""
    admin = new_users.trader("Asha", SBIN)
    ravi = new_users.trader("Ravi", INFY)
    new_users.register_later("Meena").register()
    tab, his = admin.open("/#/health"), ravi.open()
    tile = tab.get_by_role("group", name="Accounts by state")
    line = tab.locator(f'tr[data-account="{ravi.email}"]')
    expect(tile).to_contain_text("2connected")
    expect(line.locator("td").nth(4)).to_have_text(re.compile(r"^[1-9][\d,]*$"))
    expect(tab.locator(".expiries rect").first).to_be_visible()
    findings = accessibility_findings(tab)

    line.get_by_role("button", name="Check Ravi now").click()
    expect(line.locator("td").nth(2)).to_contain_text(" s ago")
    tab.get_by_role("button", name="Check all now").click()
    expect(tab.get_by_text(re.compile(r"2 checked in .* s: 2 valid, 0 invalid"))).to_be_visible()

    fresh_environment.control("POST", f"/accounts/{ravi.fyers_id}/revoke")
    expect(line).to_contain_text("disconnected")
    expect(line).to_contain_text("rejected")
    line.get_by_text(re.compile("refusal confirmed")).click()
    expect(line.locator("dl")).to_contain_text("incident")
    tile.get_by_role("button", name=re.compile("disconnected")).click()
    expect(tab.locator("tr[data-account]")).to_have_count(1)
    tile.get_by_role("button", name=re.compile("disconnected")).click()
    tab.get_by_role("searchbox").fill("meena")
    expect(tab.locator("tr[data-account]")).to_have_count(1)
    tab.get_by_role("searchbox").fill("")
    tab.get_by_role("button", name="Account", exact=True).click()
    expect(tab.locator("tr[data-account]").first).to_contain_text("Asha")

    ravi.connect()
    expect(line).to_contain_text("connected")
    line.get_by_role("button", name="Disconnect Ravi").click()
    tab.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
    expect(line).to_contain_text("by admin")
    expect(his.get_by_role("dialog")).to_contain_text("An administrator disconnected your Fyers session")
    line.get_by_role("button", name="Change role: Ravi").click()
    tab.get_by_role("button", name="Change role", exact=True).click()
    expect(line.locator(".tag")).to_have_text("admin")

    tab.get_by_role("link", name="Audit trail").click()
    expect(tab.get_by_role("table")).to_contain_text("disconnected by admin")
    findings += accessibility_findings(tab)
    tab.get_by_role("link", name="Server").click()
    expect(tab.locator("tr[data-job=monitoring]")).to_contain_text("running")
    expect(tab.get_by_text("Allowed").first).to_be_visible()
    expect(tab.locator("[data-dependency=database]")).to_contain_text("Works")
    expect(tab.locator("[data-registration=open]")).to_contain_text("Open: ")
    findings += accessibility_findings(tab)

    assert findings == []
    assert new_users.page_errors == []


def test_a_trader_cannot_open_admin_pages(new_users: BrowserUsers):
    """A trader has no links to admin pages, and their addresses show an explanation instead."""
    new_users.trader("Asha")
    tab = new_users.trader("Ravi", INFY).open("/#/health")

    expect(tab.get_by_text("This page is for admins")).to_be_visible()
    expect(tab.get_by_role("link", name="Token health")).to_have_count(0)
