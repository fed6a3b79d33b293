"""Tabs of several users when Fyers sessions are disconnected and connected again."""

import pytest
from playwright.sync_api import Page, expect

from browser.environment import BrowserEnvironment
from browser.users import NO_VALUE, BrowserUsers, price_of, row, wait_for_another_price, wait_until

pytestmark = pytest.mark.browser

SBIN, INFY, TCS = "NSE:SBIN-EQ", "NSE:INFY-EQ", "NSE:TCS-EQ"


def dialog(tab: Page):
    """Return the dialog about the disconnect."""
    return tab.get_by_role("dialog", name="You are disconnected from Fyers")


def test_a_disconnect_reaches_all_tabs_of_one_user_only(environment: BrowserEnvironment, users: BrowserUsers):
    """Both browsers show the dialog, and a login in one closes it in the other. Other users see no change."""
    asha = users.trader("Asha", SBIN, TCS)
    ravi = users.trader("Ravi", INFY)
    at_home, his = asha.open(), ravi.open()
    at_work = users.second_browser(asha).open()
    for tab, symbol in ((at_home, SBIN), (at_work, SBIN), (his, INFY)):
        wait_for_another_price(tab, symbol, NO_VALUE)
    assert row(his, SBIN).count() == 0

    environment.control("POST", f"/accounts/{asha.fyers_id}/revoke")

    for tab in (at_home, at_work):
        expect(dialog(tab)).to_be_visible()
        expect(dialog(tab)).to_contain_text("Fyers ended your session early")
        expect(row(tab, SBIN)).to_have_attribute("data-stale", "true")
        expect(tab.locator("a.pill")).to_contain_text("Disconnected")
    calls, price = environment.calls_of(asha.fyers_id), price_of(his, INFY)
    at_home.get_by_role("button", name="Later").click()
    expect(at_home.locator("[data-banner=incident]")).to_contain_text("Log in to Fyers")
    at_home.reload()
    expect(at_home.locator("[data-banner=incident]")).to_be_visible()
    expect(dialog(at_home)).to_have_count(0)
    wait_for_another_price(his, INFY, price)
    expect(his.locator("a.pill")).to_contain_text("Connected")
    assert his.get_by_role("dialog").count() == 0
    assert environment.calls_of(asha.fyers_id) == calls

    at_work.route(
        "**/api/token-validation/status", lambda check: check.abort()
    )  # only the push channel is left
    at_home.locator("[data-banner=incident]").get_by_role("button", name="Log in to Fyers").click()
    at_home.get_by_label("Fyers id").select_option(asha.fyers_id)
    with at_home.expect_response(lambda answer: "/api/fyers/callback" in answer.url):
        at_home.get_by_role("button", name="Approve").click()
    expect(dialog(at_work)).to_have_count(0)

    wait_for_another_price(at_work, SBIN, price_of(at_work, SBIN))
    expect(at_home.locator("a.pill")).to_contain_text("Connected")
    expect(at_home.locator("[data-banner=incident]")).to_have_count(0)
    at_home.get_by_role("button", name="Notices").click()
    expect(at_home.get_by_role("region", name="Notices", exact=True)).to_contain_text(
        "Connected to Fyers again"
    )
    assert users.page_errors == []


def test_an_outage_shows_a_banner_and_never_the_dialog(environment: BrowserEnvironment, users: BrowserUsers):
    """Gateway error pages are no refusal: the session stays connected, and the banner disappears later."""
    asha = users.trader("Asha", SBIN)
    tab = asha.open()
    wait_for_another_price(tab, SBIN, NO_VALUE)

    environment.control("POST", "/faults", {"kind": "html_page", "status": 503, "path": "/data"})
    expect(tab.locator("[data-banner=outage]")).to_be_visible()
    expect(row(tab, SBIN)).to_have_attribute("data-stale", "true")
    expect(tab.locator("a.pill")).to_contain_text("Connected")
    assert tab.get_by_role("dialog").count() == 0

    environment.control("DELETE", "/faults")
    expect(tab.locator("[data-banner=outage]")).to_have_count(0)
    wait_for_another_price(tab, SBIN, NO_VALUE)
    assert tab.get_by_role("dialog").count() == 0


def test_the_page_is_right_even_without_the_push_channel(
    environment: BrowserEnvironment, users: BrowserUsers
):
    """A tab whose push channel never opens polls the status, and so shows the disconnect too."""
    asha = users.trader("Asha", SBIN)
    asha.context.route_web_socket("**/api/events*", lambda socket: socket.close())
    tab = asha.open()
    expect(row(tab, SBIN)).to_be_visible()
    expect(tab.locator("[data-banner=reconnecting]")).to_contain_text("Reconnecting")

    environment.control("POST", f"/accounts/{asha.fyers_id}/revoke")

    expect(dialog(tab)).to_be_visible()


def test_a_switch_of_fyers_account_needs_confirmation(environment: BrowserEnvironment, users: BrowserUsers):
    """Another Fyers account changes nothing until the user confirms the switch and logs in again."""
    asha = users.trader("Asha", SBIN)
    other = f"X{asha.fyers_id}"
    environment.add_account(other, "Another Asha")
    tab = asha.open("/#/fyers")
    tab.get_by_role("button", name="Log in again").click()
    tab.get_by_label("Fyers id").select_option(other)
    tab.get_by_role("button", name="Approve").click()
    expect(tab.locator("body")).to_contain_text(
        f"logged in at Fyers as {other}, but {asha.fyers_id} is linked here"
    )
    assert asha.call("GET", "/api/fyers/status")["fyersId"] == asha.fyers_id

    tab.get_by_role("link", name="Switch to another Fyers account").click()
    expect(tab.get_by_role("dialog")).to_contain_text(f"Linked now: {asha.fyers_id}")
    tab.get_by_role("button", name="Log in with another account").click()
    tab.get_by_label("Fyers id").select_option(other)
    tab.get_by_role("button", name="Approve").click()

    expect(row(tab, SBIN)).to_be_visible()
    assert asha.call("GET", "/api/fyers/status")["fyersId"] == other


def test_a_tab_never_shows_another_users_data(users: BrowserUsers):
    """When another user signs in to the same browser, the open tab goes to the sign-in page."""
    asha = users.trader("Asha", SBIN)
    ravi = users.trader("Ravi", INFY)
    tab = asha.open()
    wait_for_another_price(tab, SBIN, NO_VALUE)

    asha.context.clear_cookies()
    asha.context.add_cookies(ravi.context.cookies())
    wait_until(tab, "() => document.querySelector('.sign-in') !== null")

    assert INFY not in tab.content()
    tab.reload()
    expect(row(tab, INFY)).to_be_visible()
