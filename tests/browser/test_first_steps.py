"""The first steps of a new user, from the sign-in page to the first watched symbol."""

import re

import pytest
from playwright.sync_api import expect

from browser.environment import BrowserEnvironment
from browser.users import APP, PASSWORD, BrowserUsers, accessibility_findings, readable_by_scripts, wait_until

pytestmark = pytest.mark.browser


def test_a_new_user_reaches_the_first_watched_symbol(environment: BrowserEnvironment, users: BrowserUsers):
    """No serious axe finding, no request to a third party and no secret on the page."""
    asha = users.register_later("Asha")
    environment.add_account(asha.fyers_id, "Asha Iyer")
    tab = asha.open()
    findings = accessibility_findings(tab) if tab.get_by_role("button", name="Sign in").is_visible() else []

    tab.get_by_role("button", name="Create an account").click()
    tab.get_by_label("Your name").fill("Asha Iyer")
    tab.get_by_label("E-mail").fill(asha.email)
    tab.get_by_label("Password").fill(PASSWORD)
    findings += accessibility_findings(tab)
    tab.keyboard.press("Enter")

    tab.get_by_label("App ID").fill(APP["appId"])
    tab.get_by_label("Secret ID").fill("not-the-secret")
    expect(tab.get_by_text(f"{environment.url}/api/fyers/callback", exact=True)).to_be_visible()
    tab.get_by_role("button", name="Save and check").click()
    expect(tab.get_by_role("alert")).to_contain_text("refuses this app id and secret")
    findings += accessibility_findings(tab)
    tab.get_by_label("Secret ID").fill(APP["secret"])
    tab.get_by_role("button", name="Save and check").click()

    tab.get_by_role("button", name="Log in to Fyers").click()
    expect(tab).to_have_title(re.compile("simulated"))
    tab.get_by_label("Fyers id").select_option(asha.fyers_id)
    tab.get_by_role("button", name="Approve").click()

    symbol = tab.get_by_role("combobox", name="Symbol")
    symbol.press_sequentially("infosys")
    expect(tab.get_by_role("option").first).to_contain_text("NSE:INFY-EQ")
    findings += accessibility_findings(tab)
    symbol.press("Enter")
    expect(symbol).to_have_value("NSE:INFY-EQ")
    tab.get_by_role("button", name="Add to watchlist").click()

    expect(tab.locator('.watchlist tr[data-symbol="NSE:INFY-EQ"][data-stale="false"]')).to_be_visible()
    expect(tab.get_by_text("Your watchlist is being watched.")).to_be_visible()
    expect(tab.locator(".chart .canvas[data-ready=true]")).to_have_attribute(
        "aria-label", re.compile(r"HMA ₹\s1,\d\d\d\.\d\d")
    )
    expect(tab.locator("a.pill")).to_contain_text(re.compile(r"Connected.*until .*06:00 IST.*left"))
    findings += accessibility_findings(tab)
    wait_until(tab, "() => document.querySelectorAll('.chart canvas').length > 0")
    seen = readable_by_scripts(tab)

    assert findings == []
    assert users.page_errors == []
    assert {
        url
        for url in users.requests
        if not url.startswith((environment.url, environment.simulator_url, "data:"))
    } == set()
    assert all(
        not url.startswith(environment.simulator_url) or "generate-authcode" in url or "favicon" in url
        for url in users.requests
    )
    assert PASSWORD not in seen
    assert APP["secret"] not in seen.replace(environment.simulator_url, "")
    assert "eyJ" not in seen
