"""Consent to renewals on the Fyers page: there where the server offers them, and nowhere else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browser.people import People, serious_findings, stored
from browser.stage import DemoEnvironment

pytestmark = pytest.mark.browser

PIN = "739146"


@pytest.fixture
def renewing(browser: Browser, tmp_path: Path) -> Iterator[People]:
    """People at a server that offers renewals, before a broker that takes refresh tokens."""
    stage = DemoEnvironment(tmp_path, HULLWATCH_FYERS_REFRESH="true")
    stage.control("POST", "/refresh", {"isOffered": True})
    people = People(browser, stage)
    yield people
    people.close()
    stage.close()


def test_a_user_lets_sessions_be_renewed_and_takes_it_back(renewing: People):
    """The risk is said before the PIN is asked for, each step shows at once, and the PIN stays nowhere on the page."""
    asha = renewing.trader("Asha")
    tab = asha.open("/#/fyers")
    panel = tab.get_by_role("region", name="Renewal without you", exact=True)
    expect(panel).to_contain_text("you log in to Fyers by yourself")
    panel.get_by_text("Let hullwatch renew my sessions").click()
    expect(panel).to_contain_text("could open a Fyers session in your name")
    findings = serious_findings(tab)

    panel.get_by_label("PIN at Fyers").fill(PIN)
    panel.get_by_role("button", name="Renew my sessions").click()
    expect(panel).to_contain_text("Log in to Fyers once more")
    asha.connect()
    expect(panel).to_contain_text("Your session is renewed once before it ends")
    expect(panel).to_contain_text("good until")
    findings += serious_findings(tab)
    seen = stored(tab)
    panel.get_by_role("button", name="Stop renewing and delete both").click()
    expect(panel).to_contain_text("you log in to Fyers by yourself")

    assert findings == []
    assert renewing.complaints == []
    assert PIN not in seen
    assert asha.call("GET", "/api/fyers/renewal")["isOptedIn"] is False


def test_a_server_that_offers_none_shows_none(people: People):
    """The page is as it was."""
    tab = people.trader("Asha").open("/#/fyers")

    expect(tab.get_by_role("heading", name="Your Fyers app")).to_be_visible()
    expect(tab.get_by_text("Renewal without you")).to_have_count(0)
    assert people.complaints == []
