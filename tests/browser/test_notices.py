"""The page of notices: a channel is added, tested, chosen for and removed, with a real receiver at its other end."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from browser.people import PHONE, People, serious_findings, stored
from browser.stage import PATIENCE_S, DemoEnvironment

pytestmark = pytest.mark.browser


class Receiver:
    """A webhook's other end: keeps what it is sent, and answers with a status of the test's choice."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/canary-path"

    def close(self) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def wait_until_posted(receiver: Receiver, number: int) -> None:
    """Wait until so many messages have come."""
    ends_at = time.monotonic() + PATIENCE_S
    while len(receiver.bodies) < number and time.monotonic() < ends_at:
        time.sleep(0.02)
    assert len(receiver.bodies) == number


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver."""
    made = Receiver()
    yield made
    made.close()


def test_a_webhook_from_adding_to_removing(people: People, stage: DemoEnvironment, receiver: Receiver):
    """Its secret is shown once, a test says how it went, the end of a session arrives, and its address is never shown again."""
    asha = people.trader("Asha", "NSE:SBIN-EQ")
    tab = asha.open("/#/notices")
    expect(tab.get_by_text("No channels yet")).to_be_visible()
    tab.get_by_label("Kind").select_option("webhook")
    tab.get_by_label("What you call it").fill("my hook")
    tab.get_by_label("Address").fill(receiver.url)
    tab.get_by_role("button", name="Add channel").click()
    secret = tab.locator("[data-once]").inner_text()
    assert len(secret) > 30
    tab.get_by_role("button", name="Done").click()

    card = tab.get_by_role("region", name="my hook")
    expect(card.get_by_label("Session ended")).to_be_checked()
    expect(card.get_by_label("Signals")).not_to_be_checked()
    expect(card.locator("[data-proven=false]")).to_contain_text("Not proven: nothing was ever delivered here")
    card.get_by_role("button", name="Send a test").click()
    expect(card.get_by_role("status")).to_have_text("Delivered: look there.")
    expect(card.locator("[data-proven=true]")).to_contain_text("Last delivered")
    assert [body["kind"] for body in receiver.bodies] == ["test"]
    assert secret not in stored(tab)
    assert "canary" not in stored(tab)

    receiver.status = 410
    card.get_by_role("button", name="Send a test").click()
    expect(card.get_by_role("status")).to_have_text("Not delivered. The server answered 410.")
    expect(card.locator("[data-failing=true]")).to_contain_text("The server answered 410.")
    expect(card.locator("[data-proven=true]")).to_contain_text("Last delivered")
    receiver.status = 200
    card.get_by_role("button", name="Send a test").click()
    expect(card.get_by_role("status")).to_have_text("Delivered: look there.")

    card.get_by_label("Signals").check()
    expect(card.get_by_label("Signals")).to_be_checked()
    stage.control("POST", f"/accounts/{asha.fyers_id}/revoke")
    expect(tab.locator("dialog[open]")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(
        tab.locator("tr[data-delivery=sent]").filter(has_text="Fyers ended your session early")
    ).to_be_visible()
    assert receiver.bodies[-1]["kind"] == "session_disconnected"
    assert serious_findings(tab) == []

    tab.reload()
    expect(card.get_by_label("Signals")).to_be_checked()
    card.get_by_role("button", name="Remove my hook").click()
    expect(tab.get_by_text("No channels yet")).to_be_visible()
    assert people.complaints == []


def test_what_cannot_be_used_is_said_where_it_was_typed(people: People):
    """Each kind asks for what it needs."""
    tab = people.stranger("Ravi", viewport=PHONE)
    tab.register()
    page = tab.open("/#/notices")
    page.get_by_label("Kind").select_option("slack")
    page.get_by_label("What you call it").fill("team")
    page.get_by_label("Incoming webhook").fill("https://example.com/services/T/A/secret")
    page.get_by_role("button", name="Add channel").click()
    expect(page.locator(".field.wrong .hint")).to_contain_text("hooks.slack.com")
    said = page.locator("form .problem").inner_text()
    assert said.count("hooks.slack.com") == 1  # the field's sentence is the problem's own
    page.get_by_label("Kind").select_option("telegram")
    expect(page.get_by_label("Bot token")).to_be_visible()
    expect(page.get_by_label("Incoming webhook")).to_have_count(0)

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert serious_findings(page) == []


def test_an_operator_decides_on_what_was_set_aside(newcomers: People, receiver: Receiver):
    """It is tried again, or discarded; the address is not shown to operators either."""
    admin, ravi = newcomers.trader("Asha"), newcomers.trader("Ravi")
    receiver.status = 410
    body = {
        "kind": "webhook",
        "label": "his hook",
        "kinds": ["session_disconnected", "login_renewed"],
        "address": receiver.url,
    }
    ravi.call("POST", "/api/notifications/channels", body)
    tab = admin.open("/#/notices")
    expect(tab.get_by_text("Nothing was set aside")).to_be_visible()

    ravi.call("POST", "/api/fyers/disconnect")
    ravi.connect()
    lines = tab.locator("tr[data-set-aside]")
    expect(lines).to_have_count(2)
    expect(lines.first).to_contain_text("The server answered 410.")
    expect(lines.first).to_contain_text(ravi.email)
    assert "canary" not in stored(tab)
    findings = serious_findings(tab)
    receiver.status = 200
    lines.filter(has_text="You disconnected").get_by_role("button", name="Try again").click()
    expect(lines).to_have_count(1)
    lines.get_by_role("button", name="Discard").click()
    expect(tab.get_by_text("Nothing was set aside")).to_be_visible()

    wait_until_posted(receiver, 3)
    assert [one["title"] for one in receiver.bodies].count("You disconnected Fyers") == 2
    tab.get_by_role("button", name="Notices").click()
    expect(tab.get_by_role("region", name="Notices")).to_contain_text("A notice could not be delivered")
    assert findings == []
    assert newcomers.complaints == []
