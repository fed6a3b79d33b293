"""A login link on a phone that is not signed in: what opening it does, the way through Fyers, and the dashboard that recovers elsewhere."""

import http.client
import sqlite3
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from browser.people import (
    NOTHING,
    PHONE,
    People,
    Person,
    price_of,
    serious_findings,
    stored,
    wait_for_another_price,
)
from browser.stage import DemoEnvironment

pytestmark = pytest.mark.browser

SBIN = "NSE:SBIN-EQ"
OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def make_link(person: Person) -> str:
    """Return the address of a link as a notice would hold it."""
    return person.call("POST", "/api/fyers/link")["url"]


def open_link(people: People, address: str, **options) -> Page:
    """Open an address in a phone's browser that nobody is signed in to."""
    tab = people.window(viewport=PHONE, **options).new_page()
    tab.goto(address)
    return tab


def log_in_at_fyers(tab: Page, fyers_id: str) -> None:
    """Walk the simulated page of Fyers."""
    tab.get_by_label("Fyers id").select_option(fyers_id)
    tab.get_by_role("button", name="Approve").click()


def leftovers(stage: DemoEnvironment) -> tuple[list, list]:
    """Return what the database holds of links and of logins that were begun."""
    with sqlite3.connect(stage.folder / "hullwatch.db") as database:
        links = database.execute("SELECT * FROM login_links ORDER BY value_hash").fetchall()
        return links, database.execute("SELECT state_hash FROM pending_logins ORDER BY 1").fetchall()


def test_one_tap_on_a_phone_brings_the_dashboard_back(stage: DemoEnvironment, people: People):
    """Opened, pressed, logged in at Fyers, done: the phone is signed in to nothing, and the dashboard on the desk recovers by itself."""
    asha = people.trader("Asha", SBIN)
    desk = asha.open()
    wait_for_another_price(desk, SBIN, NOTHING)
    stage.control("POST", f"/accounts/{asha.fyers_id}/revoke")
    expect(desk.get_by_role("dialog", name="Your Fyers session has ended")).to_be_visible()
    address = make_link(asha)
    value = address.partition("#")[2]

    phone = open_link(people, address)
    expect(phone.get_by_role("button", name="Log in to Fyers")).to_be_visible()
    assert phone.url == f"{stage.url}/reconnect"
    expect(phone.locator("#asked-by")).to_have_text("You, from the dashboard")
    expect(phone.locator("#asked-at")).to_contain_text("IST")
    expect(phone.locator("#said")).to_contain_text("Fyers ended your session early")
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
    assert phone.url == f"{stage.url}/reconnect/done"
    assert "hullwatch_session" not in {cookie["name"] for cookie in phone.context.cookies()}
    assert value not in stored(phone)
    expect(desk.get_by_role("dialog")).to_have_count(0)
    wait_for_another_price(desk, SBIN, price_of(desk, SBIN))
    expect(desk.locator("a.pill")).to_contain_text("Connected")

    phone.goto(f"{address}")
    expect(phone.locator("#said")).to_contain_text("good no longer")
    phone.get_by_role("button", name="Send me a new link").click()
    expect(phone.locator("#said")).to_contain_text("on its way")
    log = "".join(path.read_text() for path in stage.folder.glob("*.log"))
    assert value not in log
    assert people.complaints == []


def test_whatever_opens_a_link_changes_nothing(stage: DemoEnvironment, people: People):
    """Fetched, asked for its head, or drawn by a previewer that runs scripts: the link is as good as before, for another browser too."""
    asha = people.trader("Asha")
    address = make_link(asha)
    before, generation = leftovers(stage), asha.call("GET", "/api/fyers/status")["connectedAt"]
    place = urlsplit(address)
    for method in ("GET", "HEAD"):
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
        connection.request(method, place.path)
        assert connection.getresponse().status == 200
        connection.close()
    for _ in range(2):
        preview = open_link(people, address)
        expect(preview.get_by_role("button", name="Log in to Fyers")).to_be_visible()
        preview.screenshot()

    assert leftovers(stage) == before
    assert asha.call("GET", "/api/fyers/status")["connectedAt"] == generation
    phone = open_link(people, address)
    phone.get_by_role("button", name="Log in to Fyers").click()
    log_in_at_fyers(phone, asha.fyers_id)
    expect(phone.locator("#done")).to_be_visible()


def test_the_wrong_account_and_the_wrong_browser_are_told_so(stage: DemoEnvironment, people: People):
    """Another Fyers account leads back to the link, which goes on; a second browser is told that it is in use."""
    asha = people.trader("Asha")
    stage.add_person(f"Z{asha.fyers_id}", "Somebody Else")
    address = make_link(asha)
    phone = open_link(people, address)
    phone.get_by_role("button", name="Log in to Fyers").click()
    log_in_at_fyers(phone, f"Z{asha.fyers_id}")
    expect(phone.locator("body")).to_contain_text("this login link is for")
    expect(phone.get_by_role("link", name="I do want to switch")).to_have_count(0)

    other = open_link(people, address)
    expect(other.locator("#said")).to_contain_text("in use in another browser")
    expect(other.get_by_role("button", name="Log in to Fyers")).to_have_count(0)
    expect(other.get_by_role("link", name="open hullwatch")).to_be_visible()

    phone.get_by_role("link", name="Back to your login link").click()
    phone.get_by_role("button", name="Log in to Fyers").click()
    log_in_at_fyers(phone, asha.fyers_id)
    expect(phone.locator("#done")).to_be_visible()


@pytest.mark.parametrize("colours", ["dark", "light"])
def test_the_page_reads_well_on_a_phone(people: People, colours: str):
    """On 360 pixels nothing sticks out, axe finds nothing serious, nothing foreign is asked for; without a link, and without JavaScript, it says what to do."""
    asha = people.trader("Asha")
    findings = []
    tab = open_link(people, make_link(asha), color_scheme=colours)
    expect(tab.get_by_role("button", name="Log in to Fyers")).to_be_visible()
    for address in ("", f"{asha.stage.url}/reconnect/done"):
        if address:
            tab.goto(address)
        findings += serious_findings(tab)
        assert not tab.evaluate(OVERFLOWS)
    tab.goto(f"{asha.stage.url}/reconnect")
    expect(tab.locator("#said")).to_contain_text("There is no login link here")
    plain = open_link(people, make_link(asha), java_script_enabled=False)
    expect(plain.get_by_role("link", name="sign in to hullwatch")).to_be_visible()

    assert findings == []
    assert all(url.startswith(asha.stage.url) for url in people.requests)
    assert people.complaints == []


def test_a_second_link_in_the_same_tab_is_looked_at(people: People):
    """A link that is opened where another one is open takes its place, though the page is not loaded anew."""
    asha, ravi = people.trader("Asha"), people.trader("Ravi")
    tab = open_link(people, make_link(asha))
    expect(tab.locator("#email")).to_contain_text("a•••")

    tab.goto(make_link(ravi))

    expect(tab.locator("#email")).to_contain_text("r•••")
    assert tab.url == f"{asha.stage.url}/reconnect"


def test_users_and_admins_find_the_button(newcomers: People):
    """The Fyers page makes a link, shown once; the operator's page asks somebody else, and shows none."""
    admin = newcomers.trader("Meera")
    tab = admin.open("/#/fyers")
    tab.get_by_text("Log in on my phone instead").click()
    tab.get_by_role("button", name="Make a link").click()
    value = tab.locator("[data-once]").inner_text().partition("#")[2]
    tab.get_by_role("button", name="Done").click()
    expect(tab.locator("[data-once]")).to_have_count(0)
    assert len(value) > 20
    assert value not in stored(tab)

    asha = newcomers.trader("Asha")
    asha.call("POST", "/api/fyers/disconnect")
    tab.goto(f"{admin.stage.url}/#/health")
    tab.get_by_role("button", name="Ask to log in: Asha").click()
    expect(tab.get_by_text("Asha is asked")).to_be_visible()
    notices = asha.call("GET", "/api/notifications")["notifications"]
    assert notices[0]["title"] == "An administrator asks you to log in to Fyers"
