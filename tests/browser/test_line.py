"""The push channel over a day: sleep, network loss, a server that is restarted, a login that is taken away."""

import pytest
from playwright.sync_api import expect

from browser.people import NOTHING, People, price_of, row, wait_for_another_price
from browser.stage import DemoEnvironment

pytestmark = pytest.mark.browser

SBIN = "NSE:SBIN-EQ"


def test_after_sleep_the_tab_catches_up(stage: DemoEnvironment, people: People):
    """Without network the tab says so; awake again it shows what happened meanwhile: the end of the session, in a dialog."""
    asha = people.trader("Asha", SBIN)
    tab = asha.open()
    wait_for_another_price(tab, SBIN, NOTHING)

    asha.context.set_offline(offline=True)
    expect(tab.locator(".line-state")).to_contain_text("reconnecting")
    expect(tab.locator("[data-banner=line]")).to_be_visible()
    expect(row(tab, SBIN)).to_have_attribute("data-stale", "true")
    stage.control("POST", f"/accounts/{asha.fyers_id}/revoke")
    elsewhere = people.elsewhere(asha).open()
    expect(elsewhere.get_by_role("dialog")).to_be_visible()
    assert tab.get_by_role("dialog").count() == 0

    asha.context.set_offline(offline=False)
    expect(tab.get_by_role("dialog")).to_be_visible()
    expect(tab.locator(".line-state")).to_contain_text("live")
    elsewhere.close()


def test_a_restarted_server_finds_its_tabs_again(stage: DemoEnvironment, people: People):
    """While the server is away the tab says that it is reconnecting; afterwards numbers move again, without a reload or a login."""
    asha = people.trader("Asha", SBIN)
    tab = asha.open()
    wait_for_another_price(tab, SBIN, NOTHING)

    stage.stop_server()
    expect(tab.locator(".line-state")).to_contain_text("reconnecting")
    old = price_of(tab, SBIN)
    stage.start_server()

    expect(tab.locator(".line-state")).to_contain_text("live")
    wait_for_another_price(tab, SBIN, old)
    assert tab.get_by_role("dialog").count() == 0


def test_signing_out_reaches_the_other_tabs(people: People):
    """Signing out in one tab takes every other tab of that browser to the sign-in page."""
    asha = people.trader("Asha", SBIN)
    first, second = asha.open(), asha.open("/#/account")
    expect(second.get_by_role("heading", name="Account", exact=True)).to_be_visible()
    expect(first.locator(".line-state")).to_contain_text("live")

    first.get_by_role("button", name="Sign out").click()

    for tab in (first, second):
        expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
