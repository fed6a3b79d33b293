"""The Notices page, with a real webhook receiver."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from limits import ANSWER_LIMIT_S
from playwright.sync_api import expect

from browser.environment import BrowserEnvironment
from browser.users import PHONE, BrowserUsers, accessibility_findings, readable_by_scripts

pytestmark = pytest.mark.browser


class Receiver:
    """A webhook receiver that records the bodies and answers with the status that the test sets."""

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
                """Write no access log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/canary-path"

    def close(self) -> None:
        """Stop the server."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def wait_until_posted(receiver: Receiver, number: int) -> None:
    """Wait until this number of messages has arrived."""
    deadline = time.monotonic() + ANSWER_LIMIT_S
    while len(receiver.bodies) < number and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(receiver.bodies) == number


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that is stopped after the test."""
    made = Receiver()
    yield made
    made.close()


def test_a_webhook_from_adding_to_removing(
    users: BrowserUsers, environment: BrowserEnvironment, receiver: Receiver
):
    """The secret is shown once, a test shows its result, and the address is never shown again."""
    asha = users.trader("Asha", "NSE:SBIN-EQ")
    tab = asha.open("/#/notices")
    expect(tab.get_by_text("No channels yet")).to_be_visible()
    tab.get_by_label("Kind").select_option("webhook")
    tab.get_by_label("Channel name").fill("my hook")
    tab.get_by_label("Address").fill(receiver.url)
    tab.get_by_role("button", name="Add channel").click()
    secret = tab.locator("[data-shown-once]").inner_text()
    assert len(secret) > 30
    tab.get_by_role("button", name="Done").click()

    card = tab.get_by_role("region", name="my hook")
    expect(card.get_by_label("Session disconnected")).to_be_checked()
    expect(card.get_by_label("Signals", exact=True)).not_to_be_checked()
    expect(card.locator("[data-proven=false]")).to_contain_text("Not tested yet.")
    card.get_by_role("button", name="Send a test").click()
    expect(card.get_by_role("status")).to_have_text("Delivered. Check that it arrived.")
    expect(card.locator("[data-proven=true]")).to_contain_text("Last delivered")
    assert [body["kind"] for body in receiver.bodies] == ["test"]
    assert secret not in readable_by_scripts(tab)
    assert "canary" not in readable_by_scripts(tab)

    receiver.status = 410
    card.get_by_role("button", name="Send a test").click()
    expect(card.get_by_role("status")).to_have_text("Not delivered. The server answered 410.")
    expect(card.locator("[data-failing=true]")).to_contain_text("The server answered 410.")
    expect(card.locator("[data-proven=true]")).to_contain_text("Last delivered")
    receiver.status = 200
    card.get_by_role("button", name="Send a test").click()
    expect(card.get_by_role("status")).to_have_text("Delivered. Check that it arrived.")

    card.get_by_label("Signals", exact=True).click()  # checked once the server has stored it
    expect(card.get_by_label("Signals", exact=True)).to_be_checked()
    environment.control("POST", f"/accounts/{asha.fyers_id}/revoke")
    expect(tab.locator("dialog[open]")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(
        tab.locator("tr[data-delivery=sent]").filter(has_text="Fyers ended your session early")
    ).to_be_visible()
    assert receiver.bodies[-1]["kind"] == "session_disconnected"
    assert accessibility_findings(tab) == []

    tab.reload()
    expect(card.get_by_label("Signals", exact=True)).to_be_checked()
    card.get_by_role("button", name="Remove my hook").click()
    expect(tab.get_by_text("No channels yet")).to_be_visible()
    assert users.page_errors == []


def test_a_wrong_address_is_explained_at_its_field(users: BrowserUsers):
    """The fields change with the kind, and the error is not repeated below the form."""
    tab = users.register_later("Ravi", viewport=PHONE)
    tab.register()
    page = tab.open("/#/notices")
    page.get_by_label("Kind").select_option("slack")
    page.get_by_label("Channel name").fill("team")
    page.get_by_label("Incoming webhook").fill("https://example.com/services/T/A/secret")
    page.get_by_role("button", name="Add channel").click()
    expect(page.locator(".field.wrong .hint")).to_contain_text("hooks.slack.com")
    error = page.locator("form .problem").inner_text()
    assert error.count("hooks.slack.com") == 1  # the form shows the message of its only field once
    page.get_by_label("Kind").select_option("telegram")
    expect(page.get_by_label("Bot token")).to_be_visible()
    expect(page.get_by_label("Incoming webhook")).to_have_count(0)

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert accessibility_findings(page) == []


def test_an_admin_retries_and_discards_undelivered_notices(new_users: BrowserUsers, receiver: Receiver):
    """A retry delivers the notice, and the address of a user's channel stays hidden from admins."""
    admin, ravi = new_users.trader("Asha"), new_users.trader("Ravi")
    receiver.status = 410
    body = {
        "kind": "webhook",
        "label": "his hook",
        "kinds": ["session_disconnected", "login_renewed"],
        "address": receiver.url,
    }
    ravi.call("POST", "/api/notifications/channels", body)
    tab = admin.open("/#/notices")
    expect(tab.get_by_text("No undelivered notices")).to_be_visible()

    ravi.call("POST", "/api/fyers/disconnect")
    ravi.connect()
    lines = tab.locator("tr[data-dead-letter]")
    expect(lines).to_have_count(2)
    expect(lines.first).to_contain_text("The server answered 410.")
    expect(lines.first).to_contain_text(ravi.email)
    assert "canary" not in readable_by_scripts(tab)
    findings = accessibility_findings(tab)
    receiver.status = 200
    lines.filter(has_text="You disconnected").get_by_role("button", name="Retry").click()
    expect(lines).to_have_count(1)
    lines.get_by_role("button", name="Discard").click()
    expect(tab.get_by_text("No undelivered notices")).to_be_visible()

    wait_until_posted(receiver, 3)
    assert [one["title"] for one in receiver.bodies].count("You disconnected Fyers") == 2
    tab.get_by_role("button", name="Notices").click()
    expect(tab.get_by_role("region", name="Notices", exact=True)).to_contain_text(
        "A notice could not be delivered"
    )
    assert findings == []
    assert new_users.page_errors == []
