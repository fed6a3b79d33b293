"""The operator's pages: what they show, what can be done there, and that they move by themselves."""

import re

import pytest
from playwright.sync_api import expect

from browser.people import People, serious_findings
from browser.stage import DemoEnvironment

pytestmark = pytest.mark.browser

SBIN, INFY = "NSE:SBIN-EQ", "NSE:INFY-EQ"


def test_an_operator_sees_and_acts(fresh_stage: DemoEnvironment, newcomers: People):
    """Health is live, sorted and filtered; one and all are checked; an account is disconnected and a role changed; the trail tells it."""
    admin = newcomers.trader("Asha", SBIN)
    ravi = newcomers.trader("Ravi", INFY)
    newcomers.stranger("Meena").register()
    tab, his = admin.open("/#/health"), ravi.open()
    tile = tab.get_by_role("group", name="Accounts by state")
    line = tab.locator(f'tr[data-account="{ravi.email}"]')
    expect(tile).to_contain_text("2connected")
    expect(line.locator("td").nth(4)).to_have_text(re.compile(r"^[1-9][\d,]*$"))
    expect(tab.locator(".expiries rect").first).to_be_visible()
    findings = serious_findings(tab)

    line.get_by_role("button", name="Check Ravi now").click()
    expect(line.locator("td").nth(2)).to_contain_text(" s ago")
    tab.get_by_role("button", name="Check all now").click()
    expect(tab.get_by_text(re.compile(r"2 checked in .* s: 2 valid, 0 invalid"))).to_be_visible()

    fresh_stage.control("POST", f"/accounts/{ravi.fyers_id}/revoke")
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
    expect(his.get_by_role("dialog")).to_contain_text("An admin disconnected your Fyers session")
    line.get_by_role("button", name="Change the role of Ravi").click()
    tab.get_by_role("button", name="Change role").click()
    expect(line.locator(".tag")).to_have_text("admin")

    tab.get_by_role("link", name="Audit trail").click()
    expect(tab.get_by_role("table")).to_contain_text("disconnected by admin")
    findings += serious_findings(tab)
    tab.get_by_role("link", name="Server").click()
    expect(tab.locator("tr[data-job=monitoring]")).to_contain_text("running")
    expect(tab.get_by_text("Calls pass").first).to_be_visible()
    findings += serious_findings(tab)

    assert findings == []
    assert newcomers.complaints == []


def test_a_trader_has_no_operators_pages(newcomers: People):
    """Who is no admin is offered none of these pages and gets none by typing their address."""
    newcomers.trader("Asha")
    tab = newcomers.trader("Ravi", INFY).open("/#/health")

    expect(tab.get_by_text("There is no such page")).to_be_visible()
    expect(tab.get_by_role("link", name="Token health")).to_have_count(0)
