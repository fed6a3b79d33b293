"""Login links, opened on a phone that is not signed in."""

import http.client
import sqlite3
from urllib.parse import urlsplit

import pytest
from limits import ANSWER_LIMIT_S
from playwright.sync_api import Page, expect

from browser.environment import BrowserEnvironment
from browser.users import (
    NO_VALUE,
    PHONE,
    BrowserUser,
    BrowserUsers,
    accessibility_findings,
    price_of,
    readable_by_scripts,
    wait_for_another_price,
)

pytestmark = pytest.mark.browser

SBIN = "NSE:SBIN-EQ"
OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def make_link(person: BrowserUser) -> str:
    """Return the address of a login link, as a notice contains it."""
    return person.call("POST", "/api/fyers/link")["url"]


def open_link(users: BrowserUsers, address: str, **options) -> Page:
    """Open an address in a phone browser without a login."""
    tab = users.window(viewport=PHONE, **options).new_page()
    tab.goto(address)
    return tab


def log_in_at_fyers(tab: Page, fyers_id: str) -> None:
    """Log in on the simulated page of Fyers."""
    tab.get_by_label("Fyers id").select_option(fyers_id)
    tab.get_by_role("button", name="Approve").click()


def stored_links_and_logins(environment: BrowserEnvironment) -> tuple[list, list]:
    """Return the stored login links and pending logins."""
    with sqlite3.connect(environment.folder / "hullwatch.db") as database:
        links = database.execute("SELECT * FROM login_links ORDER BY value_hash").fetchall()
        return links, database.execute("SELECT state_hash FROM pending_logins ORDER BY 1").fetchall()


def test_a_login_by_link_reconnects_the_dashboard(environment: BrowserEnvironment, users: BrowserUsers):
    """The phone gets no hullwatch login, no log has the link, and the desktop recovers without a reload."""
    asha = users.trader("Asha", SBIN)
    desk = asha.open()
    wait_for_another_price(desk, SBIN, NO_VALUE)
    environment.control("POST", f"/accounts/{asha.fyers_id}/revoke")
    expect(desk.get_by_role("dialog", name="You are disconnected from Fyers")).to_be_visible()
    address = make_link(asha)
    value = address.partition("#")[2]

    phone = open_link(users, address)
    expect(phone.get_by_role("button", name="Log in to Fyers")).to_be_visible()
    assert phone.url == f"{environment.url}/reconnect"
    expect(phone.locator("#requested-by")).to_have_text("You, from the dashboard")
    expect(phone.locator("#requested-at")).to_contain_text("IST")
    expect(phone.locator("#message")).to_contain_text("Fyers ended your session early")
    expect(phone.locator("#fyers-id")).to_contain_text(asha.fyers_id[-2:])
    assert asha.fyers_id not in phone.content()
    assert asha.email not in phone.content()
    phone.reload()
    button = phone.get_by_role("button", name="Log in to Fyers")
    expect(button).to_be_visible()
    button.focus()
    phone.keyboard.press("Enter")
    log_in_at_fyers(phone, asha.fyers_id)

    expect(phone.get_by_role("heading", name="Connected to Fyers")).to_be_visible()
    expect(phone.locator("#done")).to_contain_text("You are connected until")
    assert phone.url == f"{environment.url}/reconnect/done"
    assert "hullwatch_session" not in {cookie["name"] for cookie in phone.context.cookies()}
    assert value not in readable_by_scripts(phone)
    expect(desk.get_by_role("dialog")).to_have_count(0)
    wait_for_another_price(desk, SBIN, price_of(desk, SBIN))
    expect(desk.locator("a.pill")).to_contain_text("Connected")

    phone.goto(f"{address}")
    expect(phone.locator("#message")).to_contain_text("not valid any more")
    phone.get_by_role("button", name="Send a new link").click()
    expect(phone.locator("#message")).to_contain_text("a new link is sent")
    log = "".join(path.read_text() for path in environment.folder.glob("*.log"))
    assert value not in log
    assert users.page_errors == []


def test_opening_a_link_changes_nothing(environment: BrowserEnvironment, users: BrowserUsers):
    """Link previews fetch pages and run scripts, so only the button may use the link."""
    asha = users.trader("Asha")
    address = make_link(asha)
    before, generation = (
        stored_links_and_logins(environment),
        asha.call("GET", "/api/fyers/status")["connectedAt"],
    )
    url = urlsplit(address)
    for method in ("GET", "HEAD"):
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=ANSWER_LIMIT_S)
        connection.request(method, url.path)
        assert connection.getresponse().status == 200
        connection.close()
    for _ in range(2):
        preview = open_link(users, address)
        expect(preview.get_by_role("button", name="Log in to Fyers")).to_be_visible()
        preview.screenshot()

    assert stored_links_and_logins(environment) == before
    assert asha.call("GET", "/api/fyers/status")["connectedAt"] == generation
    phone = open_link(users, address)
    phone.get_by_role("button", name="Log in to Fyers").click()
    log_in_at_fyers(phone, asha.fyers_id)
    expect(phone.locator("#done")).to_be_visible()


def test_a_link_refuses_another_account_and_another_browser(
    environment: BrowserEnvironment, users: BrowserUsers
):
    """After a login with the wrong account the link still works. A second browser shows that it is in use."""
    asha = users.trader("Asha")
    environment.add_account(f"Z{asha.fyers_id}", "Somebody Else")
    address = make_link(asha)
    phone = open_link(users, address)
    phone.get_by_role("button", name="Log in to Fyers").click()
    log_in_at_fyers(phone, f"Z{asha.fyers_id}")
    expect(phone.locator("body")).to_contain_text("this login link is for")
    expect(phone.get_by_role("link", name="Switch to another Fyers account")).to_have_count(0)

    other = open_link(users, address)
    expect(other.locator("#message")).to_contain_text("in use in another browser")
    expect(other.get_by_role("button", name="Log in to Fyers")).to_have_count(0)
    expect(other.get_by_role("link", name="open hullwatch")).to_be_visible()

    phone.get_by_role("link", name="Back to the login link").click()
    phone.get_by_role("button", name="Log in to Fyers").click()
    log_in_at_fyers(phone, asha.fyers_id)
    expect(phone.locator("#done")).to_be_visible()


@pytest.mark.parametrize("colours", ["dark", "light"])
def test_the_link_page_fits_a_phone(users: BrowserUsers, colours: str):
    """No overflow at 360 pixels, no serious axe finding. Without JavaScript it shows an instruction."""
    asha = users.trader("Asha")
    findings = []
    tab = open_link(users, make_link(asha), color_scheme=colours)
    expect(tab.get_by_role("button", name="Log in to Fyers")).to_be_visible()
    for address in ("", f"{asha.environment.url}/reconnect/done"):
        if address:
            tab.goto(address)
        findings += accessibility_findings(tab)
        assert not tab.evaluate(OVERFLOWS)
    tab.goto(f"{asha.environment.url}/reconnect")
    expect(tab.locator("#message")).to_contain_text("There is no login link here")
    plain = open_link(users, make_link(asha), java_script_enabled=False)
    expect(plain.get_by_role("link", name="sign in to hullwatch")).to_be_visible()

    assert findings == []
    assert all(url.startswith(asha.environment.url) for url in users.requests)
    assert users.page_errors == []


def test_a_second_link_in_the_same_tab_replaces_the_first(users: BrowserUsers):
    """Only the fragment changes, so the browser does not reload the page."""
    asha, ravi = users.trader("Asha"), users.trader("Ravi")
    tab = open_link(users, make_link(asha))
    expect(tab.locator("#email")).to_contain_text("a•••")

    tab.goto(make_link(ravi))

    expect(tab.locator("#email")).to_contain_text("r•••")
    assert tab.url == f"{asha.environment.url}/reconnect"


def test_users_create_links_and_admins_request_logins(new_users: BrowserUsers):
    """A user sees the own link once; an admin only sends a request to a user and sees no link."""
    admin = new_users.trader("Meera")
    tab = admin.open("/#/fyers")
    tab.get_by_text("Log in on my phone").click()
    tab.get_by_role("button", name="Create a link").click()
    value = tab.locator("[data-shown-once]").inner_text().partition("#")[2]
    tab.get_by_role("button", name="Done").click()
    expect(tab.locator("[data-shown-once]")).to_have_count(0)
    assert len(value) > 20
    assert value not in readable_by_scripts(tab)

    asha = new_users.trader("Asha")
    asha.call("POST", "/api/fyers/disconnect")
    tab.goto(f"{admin.environment.url}/#/health")
    tab.get_by_role("button", name="Ask to log in: Asha").click()
    expect(tab.get_by_text("Asha gets a login link")).to_be_visible()
    notices = asha.call("GET", "/api/notifications")["notifications"]
    assert notices[0]["title"] == "An administrator asks you to log in to Fyers"
