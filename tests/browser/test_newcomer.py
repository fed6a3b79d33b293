"""A first-time user, from the empty page to the first watched symbol."""

import re

import pytest
from playwright.sync_api import expect

from browser.people import APP, PASSWORD, People, serious_findings, stored, wait_until
from browser.stage import DemoEnvironment

pytestmark = pytest.mark.browser


def test_a_newcomer_is_led_to_the_first_watched_symbol(stage: DemoEnvironment, people: People):
    """Account, Fyers app, login, symbol: each step follows from the one before, each page is well made, and nothing leaves the house."""
    asha = people.stranger("Asha")
    stage.add_person(asha.fyers_id, "Asha Iyer")
    tab = asha.open()
    findings = serious_findings(tab) if tab.get_by_role("button", name="Sign in").is_visible() else []

    tab.get_by_role("button", name="Make an account").click()
    tab.get_by_label("Your name").fill("Asha Iyer")
    tab.get_by_label("E-mail").fill(asha.email)
    tab.get_by_label("Password").fill(PASSWORD)
    findings += serious_findings(tab)
    tab.keyboard.press("Enter")

    tab.get_by_label("App ID").fill(APP["appId"])
    tab.get_by_label("Secret ID").fill("not-the-secret")
    expect(tab.get_by_text(f"{stage.url}/api/fyers/callback", exact=True)).to_be_visible()
    tab.get_by_role("button", name="Store and check").click()
    expect(tab.get_by_role("alert")).to_contain_text("does not accept this app id together with this secret")
    findings += serious_findings(tab)
    tab.get_by_label("Secret ID").fill(APP["secret"])
    tab.get_by_role("button", name="Store and check").click()

    tab.get_by_role("button", name="Log in to Fyers").click()
    expect(tab).to_have_title(re.compile("simulated"))
    tab.get_by_label("Fyers id").select_option(asha.fyers_id)
    tab.get_by_role("button", name="Approve").click()

    symbol = tab.get_by_role("combobox", name="Symbol")
    symbol.press_sequentially("infosys")
    expect(tab.get_by_role("option").first).to_contain_text("NSE:INFY-EQ")
    findings += serious_findings(tab)
    symbol.press("Enter")
    expect(symbol).to_have_value("NSE:INFY-EQ")
    tab.get_by_role("button", name="Add to watchlist").click()

    expect(tab.locator('.watchlist tr[data-symbol="NSE:INFY-EQ"][data-stale="false"]')).to_be_visible()
    expect(tab.get_by_text("Your watchlist is being watched.")).to_be_visible()
    expect(tab.locator(".chart .canvas[data-ready=true]")).to_have_attribute(
        "aria-label", re.compile(r"HMA ₹\s1,\d\d\d\.\d\d")
    )
    expect(tab.locator("a.pill")).to_contain_text(re.compile(r"Connected.*until .*06:00 IST.*left"))
    findings += serious_findings(tab)
    wait_until(tab, "() => document.querySelectorAll('.chart canvas').length > 0")
    seen = stored(tab)

    assert findings == []
    assert people.complaints == []
    assert {
        url for url in people.requests if not url.startswith((stage.url, stage.simulator_url, "data:"))
    } == set()
    assert all(
        not url.startswith(stage.simulator_url) or "generate-authcode" in url or "favicon" in url
        for url in people.requests
    )
    assert PASSWORD not in seen
    assert APP["secret"] not in seen.replace(stage.simulator_url, "")
    assert "eyJ" not in seen
