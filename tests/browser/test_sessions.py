"""What tabs show when a session ends and comes back, and that nobody else's tab notices."""

import time

import pytest
from playwright.sync_api import Page, expect

from browser.people import NOTHING, People, price_of, row, wait_for_another_price, wait_until
from browser.stage import DemoEnvironment

pytestmark = pytest.mark.browser

SBIN, INFY, TCS = "NSE:SBIN-EQ", "NSE:INFY-EQ", "NSE:TCS-EQ"
GONE_WITHIN_S = 2.0


def dialog(tab: Page):
    """Return the dialog that asks for a login."""
    return tab.get_by_role("dialog", name="Your Fyers session has ended")


def test_the_whole_story_with_two_users_and_three_tabs(stage: DemoEnvironment, people: People):
    """One user's session ends: both her windows are told once, his goes on; the repair in one window closes what is open in the other."""
    asha = people.trader("Asha", SBIN, TCS)
    ravi = people.trader("Ravi", INFY)
    at_home, his = asha.open(), ravi.open()
    at_work = people.elsewhere(asha).open()
    for tab, symbol in ((at_home, SBIN), (at_work, SBIN), (his, INFY)):
        wait_for_another_price(tab, symbol, NOTHING)
    assert row(his, SBIN).count() == 0

    stage.control("POST", f"/accounts/{asha.fyers_id}/revoke")

    for tab in (at_home, at_work):
        expect(dialog(tab)).to_be_visible()
        expect(dialog(tab)).to_contain_text("Fyers ended your session early")
        expect(row(tab, SBIN)).to_have_attribute("data-stale", "true")
        expect(tab.locator("a.pill")).to_contain_text("Disconnected")
    calls, price = stage.calls_of(asha.fyers_id), price_of(his, INFY)
    at_home.get_by_role("button", name="Later").click()
    expect(at_home.locator("[data-banner=incident]")).to_contain_text("Log in to Fyers")
    at_home.reload()
    expect(at_home.locator("[data-banner=incident]")).to_be_visible()
    expect(dialog(at_home)).to_have_count(0)
    wait_for_another_price(his, INFY, price)
    expect(his.locator("a.pill")).to_contain_text("Connected")
    assert his.get_by_role("dialog").count() == 0
    assert stage.calls_of(asha.fyers_id) == calls

    at_home.locator("[data-banner=incident]").get_by_role("button", name="Log in to Fyers").click()
    at_home.get_by_label("Fyers id").select_option(asha.fyers_id)
    with at_home.expect_response(lambda answer: "/api/fyers/callback" in answer.url):
        at_home.get_by_role("button", name="Approve").click()
    repaired = time.monotonic()
    expect(dialog(at_work)).to_have_count(0, timeout=GONE_WITHIN_S * 1000)
    assert time.monotonic() - repaired < GONE_WITHIN_S + 1

    wait_for_another_price(at_work, SBIN, price_of(at_work, SBIN))
    expect(at_home.locator("a.pill")).to_contain_text("Connected")
    expect(at_home.locator("[data-banner=incident]")).to_have_count(0)
    at_home.get_by_role("button", name="Notices").click()
    expect(at_home.get_by_role("region", name="Notices")).to_contain_text("Connected to Fyers again")
    assert people.complaints == []


def test_an_outage_shows_a_banner_and_never_the_dialog(stage: DemoEnvironment, people: People):
    """While Fyers answers with pages of a gateway the session stands; the banner goes when Fyers is back."""
    asha = people.trader("Asha", SBIN)
    tab = asha.open()
    wait_for_another_price(tab, SBIN, NOTHING)

    stage.control("POST", "/faults", {"kind": "html_page", "status": 503, "path": "/data"})
    expect(tab.locator("[data-banner=outage]")).to_be_visible()
    expect(row(tab, SBIN)).to_have_attribute("data-stale", "true")
    expect(tab.locator("a.pill")).to_contain_text("Connected")
    assert tab.get_by_role("dialog").count() == 0

    stage.control("DELETE", "/faults")
    expect(tab.locator("[data-banner=outage]")).to_have_count(0)
    wait_for_another_price(tab, SBIN, NOTHING)
    assert tab.get_by_role("dialog").count() == 0


def test_the_page_is_right_even_without_the_push_channel(stage: DemoEnvironment, people: People):
    """A tab whose push channel never opens asks for its status by itself, says that it is reconnecting, and learns of the end."""
    asha = people.trader("Asha", SBIN)
    asha.context.route_web_socket("**/api/events*", lambda socket: socket.close())
    tab = asha.open()
    expect(row(tab, SBIN)).to_be_visible()
    expect(tab.locator("[data-banner=line]")).to_contain_text("Reconnecting")

    stage.control("POST", f"/accounts/{asha.fyers_id}/revoke")

    expect(dialog(tab)).to_be_visible()


def test_another_fyers_account_is_taken_only_when_it_is_meant(stage: DemoEnvironment, people: People):
    """Coming back from Fyers as somebody else changes nothing and asks; saying so, and logging in again, switches."""
    asha = people.trader("Asha", SBIN)
    other = f"X{asha.fyers_id}"
    stage.add_person(other, "Another Asha")
    tab = asha.open("/#/fyers")
    tab.get_by_role("button", name="Log in again").click()
    tab.get_by_label("Fyers id").select_option(other)
    tab.get_by_role("button", name="Approve").click()
    expect(tab.locator("body")).to_contain_text(
        f"logged in at Fyers as {other}, but {asha.fyers_id} is linked here"
    )
    assert asha.call("GET", "/api/fyers/status")["fyersId"] == asha.fyers_id

    tab.get_by_role("link", name="I do want to switch to another Fyers account").click()
    expect(tab.get_by_role("dialog")).to_contain_text(f"Linked now: {asha.fyers_id}")
    tab.get_by_role("button", name="Log in as another account").click()
    tab.get_by_label("Fyers id").select_option(other)
    tab.get_by_role("button", name="Approve").click()

    expect(row(tab, SBIN)).to_be_visible()
    assert asha.call("GET", "/api/fyers/status")["fyersId"] == other


def test_a_tab_never_shows_another_users_data(people: People):
    """When somebody else signs in to the same browser, the first one's tab leaves instead of showing the other's watchlist."""
    asha = people.trader("Asha", SBIN)
    ravi = people.trader("Ravi", INFY)
    tab = asha.open()
    wait_for_another_price(tab, SBIN, NOTHING)

    asha.context.clear_cookies()
    asha.context.add_cookies(ravi.context.cookies())
    wait_until(tab, "() => document.querySelector('.enter') !== null")

    assert INFY not in tab.content()
    tab.reload()
    expect(row(tab, INFY)).to_be_visible()
