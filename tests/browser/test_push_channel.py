"""The push channel through sleep, network loss, a server restart and a sign-out."""

import pytest
from playwright.sync_api import expect

from browser.environment import BrowserEnvironment
from browser.users import NO_VALUE, BrowserUsers, price_of, row, wait_for_another_price

pytestmark = pytest.mark.browser

SBIN = "NSE:SBIN-EQ"


def test_after_sleep_the_tab_catches_up(environment: BrowserEnvironment, users: BrowserUsers):
    """Offline the tab shows that it is reconnecting; online again it shows the disconnect that it missed."""
    asha = users.trader("Asha", SBIN)
    tab = asha.open()
    wait_for_another_price(tab, SBIN, NO_VALUE)

    asha.context.set_offline(offline=True)
    expect(tab.locator(".push-status")).to_contain_text("reconnecting")
    expect(tab.locator("[data-banner=reconnecting]")).to_be_visible()
    expect(row(tab, SBIN)).to_have_attribute("data-stale", "true")
    environment.control("POST", f"/accounts/{asha.fyers_id}/revoke")
    elsewhere = users.second_browser(asha).open()
    expect(elsewhere.get_by_role("dialog")).to_be_visible()
    assert tab.get_by_role("dialog").count() == 0

    asha.context.set_offline(offline=False)
    expect(tab.get_by_role("dialog")).to_be_visible()
    expect(tab.locator(".push-status")).to_contain_text("live")
    elsewhere.close()


def test_a_tab_reconnects_after_a_server_restart(environment: BrowserEnvironment, users: BrowserUsers):
    """Prices move again after the restart, without a reload and without a login."""
    asha = users.trader("Asha", SBIN)
    tab = asha.open()
    wait_for_another_price(tab, SBIN, NO_VALUE)

    environment.stop_server()
    expect(tab.locator(".push-status")).to_contain_text("reconnecting")
    old = price_of(tab, SBIN)
    environment.start_server()

    expect(tab.locator(".push-status")).to_contain_text("live")
    wait_for_another_price(tab, SBIN, old)
    assert tab.get_by_role("dialog").count() == 0


def test_signing_out_reaches_the_other_tabs(users: BrowserUsers):
    """All tabs of a browser share one cookie, so each one must show the sign-in page."""
    asha = users.trader("Asha", SBIN)
    first, second = asha.open(), asha.open("/#/account")
    expect(second.get_by_role("heading", name="Account", exact=True)).to_be_visible()
    expect(first.locator(".push-status")).to_contain_text("live")

    first.get_by_role("button", name="Sign out").click()

    for tab in (first, second):
        expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
