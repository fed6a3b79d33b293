"""Webhooks with a real HTTP server."""

import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import format_datetime

import pytest
from fakes.clock import FakeClock

from channels.receivers import Receiver, broken, endless, http_receiver, status
from channels.samples import LINK, NOW, SECRET, destination, message
from hullwatch.channels.guard import AddressGuard
from hullwatch.channels.webhook import WebhookChannel
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import Refused, Sent, TryLater
from hullwatch.domain.notifications.notifications import ChannelKind, NotificationKind

HOOK = ChannelKind.WEBHOOK


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return a receiver on this machine."""
    async with http_receiver() as made:
        yield made


def make(**options) -> WebhookChannel:
    """Return a webhook channel."""
    return WebhookChannel(AddressGuard(**options), FakeClock(NOW), version="1.2.3")


@pytest.fixture
async def hooks() -> AsyncIterator[WebhookChannel]:
    """Return a webhook channel that may connect to this machine."""
    made = make(allows_private=True)
    yield made
    await made.close()


async def test_a_message_is_signed_with_its_time(receiver, hooks):
    """The check follows the documentation and uses none of our code."""
    assert await hooks.send(message(), destination(HOOK, f"{receiver.url}/in?key=1")) == Sent()

    [(headers, body)] = receiver.requests
    assert receiver.paths == ["/in?key=1"]
    parts = dict(part.split("=", 1) for part in headers["hullwatch-signature"].split(","))
    expected = hmac.new(SECRET.encode(), parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(parts["v1"], expected)
    assert int(parts["t"]) == NOW.timestamp()
    assert headers["hullwatch-id"] == "ntc_1.chn_1"
    assert headers["user-agent"] == "hullwatch/1.2.3"
    assert json.loads(body) == {
        "id": "ntc_1.chn_1",
        "kind": "session_disconnected",
        "title": "Session <ended> ₹",
        "text": "It is over & out.",
        "createdAt": "2026-11-23T08:35:00+00:00",
        "incidentId": "inc_1",
        "loginUrl": None,
    }


async def test_no_proxy_of_the_environment_is_used(receiver, hooks, monkeypatch):
    """A proxy would bypass the guard and read unencrypted requests."""
    async with http_receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)

        assert await hooks.send(message(), destination(HOOK, f"{receiver.url}/in")) == Sent()

        assert (receiver.paths, proxy.paths) == (["/in"], [])


async def test_a_login_link_is_in_the_body_only(receiver, hooks):
    """Notices that do not ask for a login have no such field."""
    await hooks.send(message(link=LINK), destination(HOOK, receiver.url))
    await hooks.send(message(kind=NotificationKind.SIGNAL), destination(HOOK, receiver.url))

    (headers, first), (_, second) = receiver.requests
    assert json.loads(first)["loginUrl"] == LINK
    assert "canary-link" not in repr(headers) + receiver.paths[0]
    assert "loginUrl" not in json.loads(second)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (200, Sent()),
        (204, Sent()),
        (500, TryLater("The server answered 500.")),
        (503, TryLater("The server answered 503.")),
        (429, TryLater("The server answered 429.")),
        (408, TryLater("The server answered 408.")),
        (404, Refused("The server answered 404.")),
        (401, Refused("The server answered 401.")),
        (410, Refused("The server answered 410.", is_permanent=True)),
        (422, Refused("The server answered 422.", is_of_message=True)),
        (302, Refused("The server answered 302; redirects are not followed.")),
    ],
)
async def test_each_status_has_its_outcome(receiver, hooks, code, outcome):
    """A temporary failure is retried, one of the address or the message is refused."""
    receiver.answers.append(status(code, Location=f"{receiver.url}/elsewhere"))

    assert await hooks.send(message(), destination(HOOK, receiver.url)) == outcome
    assert receiver.paths == ["/"]


async def test_a_receiver_names_the_time_of_the_retry(receiver, hooks):
    """In seconds or by a date; an impossible value is ignored."""
    date = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    receiver.answers += [status(503, Retry_After=text) for text in ("120", date, "soon", "-5")]

    asked = [(await hooks.send(message(), destination(HOOK, receiver.url))).retry_after_s for _ in range(4)]

    assert asked == [120.0, 90.0, None, None]


async def test_an_interrupted_connection_is_retried(receiver, hooks):
    """The receiver may or may not have accepted the message."""
    receiver.answers.append(broken)

    assert isinstance(await hooks.send(message(), destination(HOOK, receiver.url)), TryLater)
    assert await hooks.send(message(), destination(HOOK, receiver.url)) == Sent()


async def test_an_endless_answer_is_not_read(receiver, hooks):
    """The status alone decides, so the body is not needed."""
    receiver.answers.append(endless)

    assert await hooks.send(message(), destination(HOOK, receiver.url)) == Sent()


async def test_an_unreachable_receiver_is_retried(hooks):
    """The failure does not show the address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    outcome = await hooks.send(message(), destination(HOOK, f"http://127.0.0.1:{port}/canary"))

    assert outcome == TryLater("The server cannot be reached.")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "2130706433", "0"])
async def test_this_machine_cannot_be_reached(receiver, host):
    """In every spelling of its address, unless the operator allows it."""
    hooks = make()
    port = receiver.url.rpartition(":")[2]

    outcome = await hooks.send(message(), destination(HOOK, f"http://{host}:{port}/"))
    await hooks.close()

    assert isinstance(outcome, Refused)
    assert outcome.is_permanent
    assert receiver.requests == []


async def test_a_name_that_becomes_private_is_refused(receiver):
    """The name was public when the user entered it."""
    answers = iter([["8.8.8.8"]])

    async def resolve(name: str) -> list[str]:
        assert name == "rebinding.example"
        return next(answers, ["127.0.0.1"])

    hooks = make(resolve=resolve)
    target = destination(HOOK, f"https://rebinding.example:{receiver.url.rpartition(':')[2]}/")
    await hooks.check(target)

    outcome = await hooks.send(message(), target)
    await hooks.close()

    assert outcome == Refused(
        "This address is in a private network, to which this server does not send.", is_permanent=True
    )
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("address", "found", "sentence"),
    [
        ("https://a.example/", ["8.8.8.8"], None),
        ("https://a.example/", ["8.8.8.8", "10.0.0.1"], "private"),
        ("https://a.example/", [], "resolve"),
        ("http://a.example/", ["8.8.8.8"], "https"),
        ("https://169.254.169.254/latest", [], "private"),
        ("https://[fd00::1]/", [], "private"),
    ],
)
async def test_an_address_is_checked_before_it_is_stored(address, found, sentence):
    """The refusal gives the reason."""

    async def resolve(_: str) -> list[str]:
        if not found:
            raise OSError
        return found

    hooks = make(resolve=resolve)
    if sentence is None:
        await hooks.check(destination(HOOK, address))
        return
    with pytest.raises(InvalidInput, match=sentence) as refused:
        await hooks.check(destination(HOOK, address))
    assert refused.value.field == "address"


async def test_the_operator_may_allow_private_addresses(receiver, hooks):
    """Only a webhook in a private network may be unencrypted."""
    await hooks.check(destination(HOOK, receiver.url))

    async def resolve(_: str) -> list[str]:
        return ["8.8.8.8"]

    outside = make(allows_private=True, resolve=resolve)
    with pytest.raises(InvalidInput, match="https"):
        await outside.check(destination(HOOK, "http://a.example/"))


async def test_an_unencrypted_webhook_sends_nothing_to_the_internet():
    """Its name led to a private network when it was stored, and leads to the internet now."""

    async def resolve(_: str) -> list[str]:
        return ["8.8.8.8"]

    hooks = make(allows_private=True, resolve=resolve)
    outcome = await hooks.send(message(), destination(HOOK, "http://a.example/"))
    await hooks.close()

    assert outcome == Refused(
        "A webhook's address has to begin with https://: messages can hold a login link.", is_permanent=True
    )
