"""Apprise in a process of its own: what it may do, and what happens when it hangs."""

import asyncio
import json
from collections.abc import AsyncIterator

import psutil
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fakes.clock import FakeClock
from limits import ANSWER_LIMIT_S

from channels.receivers import Receiver, http_receiver, status
from channels.samples import LINK, destination, message
from hullwatch.channels.apprise_process import AppriseChannel
from hullwatch.channels.guard import AddressGuard
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import Refused, Sent, TryLater, read_slack, read_telegram
from hullwatch.domain.notifications.notifications import ChannelKind
from hullwatch.runtime.clock import SystemClock

OTHER = ChannelKind.APPRISE
INSIDE = Refused(
    "This address is in a private network, to which this server does not send.", is_permanent=True
)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return a receiver on this machine."""
    async with http_receiver() as made:
        yield made


@pytest.fixture
async def services() -> AsyncIterator[AppriseChannel]:
    """Return an Apprise channel that may connect to this machine."""
    made = AppriseChannel(
        AddressGuard(allows_private=True), SystemClock(), processes=2, limit_s=ANSWER_LIMIT_S
    )
    yield made
    await made.close()


@pytest.fixture
async def guarded() -> AsyncIterator[AppriseChannel]:
    """Return an Apprise channel with the default rules."""
    made = AppriseChannel(AddressGuard(), SystemClock(), processes=1, limit_s=ANSWER_LIMIT_S)
    yield made
    await made.close()


def at(receiver: Receiver, path: str = "/canary") -> str:
    """Return the receiver's address in Apprise's form."""
    return f"json://{receiver.url.removeprefix('http://')}{path}"


async def test_a_message_arrives(services, receiver):
    """It has its login link, and the process is used again."""
    assert await services.send(message(), destination(OTHER, at(receiver))) == Sent()
    [pid] = services.pids
    assert await services.send(message(link=LINK), destination(OTHER, at(receiver))) == Sent()
    assert services.pids == (pid,)

    first, second = (json.loads(body) for _, body in receiver.requests)
    assert (first["title"], first["message"]) == ("Session <ended> ₹", "It is over & out.")
    assert LINK in second["message"]


async def test_the_process_shows_no_secret(services, receiver, monkeypatch):
    """Other users of the machine may read its command line and environment."""
    monkeypatch.setenv("HULLWATCH_SMTP_PASSWORD", "canary-password")
    await services.send(message(link=LINK), destination(OTHER, at(receiver)))

    process = psutil.Process(services.pids[0])
    assert "canary" not in repr(process.cmdline()) + repr(process.environ())


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (503, TryLater("The service answered 503.")),
        (429, TryLater("The service answered 429.")),
        (403, Refused("The service answered 403.")),
    ],
)
async def test_each_status_has_its_outcome(services, receiver, code, outcome):
    """Only some plugins log the status, so an unknown one is retried."""
    receiver.answers.append(status(code))

    assert await services.send(message(), destination(OTHER, at(receiver))) == outcome


async def test_a_hanging_process_is_killed(receiver):
    """A thread could not be killed; the next message gets a new process."""
    clock = FakeClock()
    services = AppriseChannel(AddressGuard(allows_private=True), clock, processes=1, limit_s=20.0)
    assert await services.send(message(), destination(OTHER, at(receiver))) == Sent()
    process = psutil.Process(services.pids[0])
    has_come = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        has_come.set()
        return await asyncio.get_running_loop().create_future()

    receiver.answers.append(hang)
    hanging = asyncio.create_task(services.send(message(), destination(OTHER, at(receiver))))
    await has_come.wait()
    await clock.advance(20)

    assert await hanging == TryLater("The service did not answer in time.")
    assert not process.is_running()
    starting = asyncio.create_task(services.send(message(), destination(OTHER, at(receiver))))
    assert await starting == Sent()
    await services.close()
    assert services.pids == ()


async def test_a_killed_process_is_replaced(services, receiver):
    """The operating system may kill it when memory is short."""
    await services.send(message(), destination(OTHER, at(receiver)))
    process = psutil.Process(services.pids[0])
    process.kill()
    process.wait()

    outcomes = [await services.send(message(), destination(OTHER, at(receiver))) for _ in range(2)]

    assert outcomes[-1] == Sent()


async def test_private_networks_cannot_be_reached(guarded, receiver):
    """Neither by address, by name nor by other protocols than HTTP."""
    port = receiver.url.rpartition(":")[2]
    for address in (
        at(receiver),
        f"json://localhost:{port}/",
        f"json://[::ffff:127.0.0.1]:{port}/",
        f"rsyslog://127.0.0.1:{port}/",
        f"mailto://user:word@127.0.0.1:{port}/?to=a@b.in",
        f"irc://127.0.0.1:{port}/channel",
    ):
        outcome = await guarded.send(message(), destination(OTHER, address))
        assert not isinstance(outcome, Sent), address
    assert await guarded.send(message(), destination(OTHER, at(receiver))) == INSIDE
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("json://127.0.0.1/", "private"),
        ("json://localhost/", "private"),
        ("ntfys://10.0.0.7/topic", "private"),
        ("mailtos://user:pass@gmail.com?smtp=127.0.0.1", "private"),
        ("syslog://", "server itself"),
        ("dbus://", "server itself"),
        ("nonsense://x", "does not know"),
        ("tgram://nonsense", "does not know"),
    ],
)
async def test_an_address_is_checked_before_it_is_stored(guarded, address, sentence):
    """The refusal gives the reason."""
    with pytest.raises(InvalidInput, match=sentence) as refused:
        await guarded.check(destination(OTHER, address))
    assert refused.value.field == "address"


async def test_addresses_of_our_forms_are_accepted(guarded):
    """No name is looked up, since the host part of such an address holds a secret."""
    resolved = []

    async def resolve(name: str) -> list[str]:
        resolved.append(name)
        return ["8.8.8.8"]

    guarded._guard = AddressGuard(resolve=resolve)
    telegram, _ = read_telegram("123456789:AAabcdefghijklmnopqrstuvwxyz_12345", "-1001")
    slack, _ = read_slack("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")

    await guarded.check(destination(ChannelKind.TELEGRAM, telegram.reveal()))
    await guarded.check(destination(ChannelKind.SLACK, slack.reveal()))
    assert resolved == []
    await guarded.check(destination(OTHER, "jsons://hooks.example/in"))
    assert resolved == ["hooks.example"]


async def test_files_of_this_machine_cannot_be_read(services, receiver, tmp_path):
    """A plugin that takes a file name would send the file to the receiver."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    names = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "client_email": "a@b.in",
    }
    readable = tmp_path / "key.json"
    readable.write_text(json.dumps({**names, "private_key": pem, "token_uri": f"{receiver.url}/token"}))
    readable.chmod(0o644)

    for address in (
        f"fcm://project/device/?keyfile={readable}",
        f"vapid://a@b.in/c@d.in?keyfile={readable}&subfile={readable}",
    ):
        outcome = await services.send(message(), destination(OTHER, address))
        assert not isinstance(outcome, Sent)
    assert receiver.paths == []
