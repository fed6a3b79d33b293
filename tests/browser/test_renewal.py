"""Consent to automatic renewal on the Fyers page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browser.environment import BrowserEnvironment
from browser.users import BrowserUsers, accessibility_findings, readable_by_scripts

pytestmark = pytest.mark.browser

PIN = "739146"


@pytest.fixture
def renewing(browser: Browser, tmp_path: Path) -> Iterator[BrowserUsers]:
    """Users of a server that offers renewal, with a broker that accepts refresh tokens."""
    environment = BrowserEnvironment(tmp_path, HULLWATCH_FYERS_REFRESH="true")
    environment.control("POST", "/refresh", {"isOffered": True})
    users = BrowserUsers(browser, environment)
    yield users
    users.close()
    environment.close()


def test_a_user_switches_renewal_on_and_off(renewing: BrowserUsers):
    """The risk is explained beside the PIN field, and the PIN remains nowhere on the page."""
    asha = renewing.trader("Asha")
    tab = asha.open("/#/fyers")
    panel = tab.get_by_role("region", name="Automatic renewal", exact=True)
    expect(panel).to_contain_text("Log in to Fyers yourself when a session expires")
    panel.get_by_text("Turn on automatic renewal").click()
    expect(panel).to_contain_text("could open a Fyers session in your name")
    findings = accessibility_findings(tab)

    panel.get_by_label("Fyers PIN").fill(PIN)
    panel.get_by_role("button", name="Renew my sessions").click()
    expect(panel).to_contain_text("Log in to Fyers once more")
    asha.connect()
    expect(panel).to_contain_text("Your session is renewed once before it expires")
    expect(panel).to_contain_text("valid until")
    findings += accessibility_findings(tab)
    seen = readable_by_scripts(tab)
    panel.get_by_role("button", name="Stop renewal and delete PIN and token").click()
    expect(panel).to_contain_text("Log in to Fyers yourself when a session expires")

    assert findings == []
    assert renewing.page_errors == []
    assert PIN not in seen
    assert asha.call("GET", "/api/fyers/renewal")["isOptedIn"] is False


def test_a_server_without_renewal_shows_no_panel(users: BrowserUsers):
    """Renewal is off by default, and then the page does not mention it."""
    tab = users.trader("Asha").open("/#/fyers")

    expect(tab.get_by_role("heading", name="Your Fyers app")).to_be_visible()
    expect(tab.get_by_text("Automatic renewal")).to_have_count(0)
    assert users.page_errors == []
