"""Apprise in a process of its own: what it may do, and what becomes of one that hangs; `hullwatch.channels.apprise_process`."""

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
INSIDE = Refused("It leads to a private network, which this server does not send to.", is_permanent=True)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver."""
    async with http_receiver() as made:
        yield made


@pytest.fixture
async def services() -> AsyncIterator[AppriseChannel]:
    """Apprise that may reach this machine."""
    made = AppriseChannel(
        AddressGuard(allows_private=True), SystemClock(), processes=2, limit_s=ANSWER_LIMIT_S
    )
    yield made
    await made.close()


@pytest.fixture
async def guarded() -> AsyncIterator[AppriseChannel]:
    """Apprise as it is unless the operator says otherwise."""
    made = AppriseChannel(AddressGuard(), SystemClock(), processes=1, limit_s=ANSWER_LIMIT_S)
    yield made
    await made.close()


def at(receiver: Receiver, path: str = "/canary") -> str:
    """Return the receiver's address in Apprise's form."""
    return f"json://{receiver.url.removeprefix('http://')}{path}"


async def test_a_message_arrives(services, receiver):
    """With its link, by a process that is used again."""
    assert await services.send(message(), destination(OTHER, at(receiver))) == Sent()
    [pid] = services.pids
    assert await services.send(message(link=LINK), destination(OTHER, at(receiver))) == Sent()
    assert services.pids == (pid,)

    first, second = (json.loads(body) for _, body in receiver.requests)
    assert (first["title"], first["message"]) == ("Session <ended> ₹", "It is over & out.")
    assert LINK in second["message"]


async def test_its_command_line_and_environment_hold_no_secret(services, receiver, monkeypatch):
    """Others on the machine may read them; the operator's own keys and passwords do not even get there."""
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
    """As far as a plugin tells it."""
    receiver.answers.append(status(code))

    assert await services.send(message(), destination(OTHER, at(receiver))) == outcome


async def test_one_that_hangs_is_killed_and_the_next_has_another(receiver):
    """A thread could not be."""
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


async def test_one_that_died_is_replaced(services, receiver):
    """Whoever killed it."""
    await services.send(message(), destination(OTHER, at(receiver)))
    process = psutil.Process(services.pids[0])
    process.kill()
    process.wait()

    outcomes = [await services.send(message(), destination(OTHER, at(receiver))) for _ in range(2)]

    assert outcomes[-1] == Sent()


async def test_private_networks_are_out_of_reach(guarded, receiver):
    """Directly, by name, and by other ways than HTTP; nothing arrives."""
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
async def test_an_address_is_looked_at_before_it_is_stored(guarded, address, sentence):
    """And refused in a sentence that says why."""
    with pytest.raises(InvalidInput, match=sentence) as refused:
        await guarded.check(destination(OTHER, address))
    assert refused.value.field == "address"


async def test_what_our_own_forms_make_is_known_to_apprise(guarded):
    """And is looked at without a name being looked up: what stands in a host's place there is a secret."""
    looked_up = []

    async def resolve(name: str) -> list[str]:
        looked_up.append(name)
        return ["8.8.8.8"]

    guarded._guard = AddressGuard(resolve=resolve)
    telegram, _ = read_telegram("123456789:AAabcdefghijklmnopqrstuvwxyz_12345", "-1001")
    slack, _ = read_slack("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")

    await guarded.check(destination(ChannelKind.TELEGRAM, telegram.reveal()))
    await guarded.check(destination(ChannelKind.SLACK, slack.reveal()))
    assert looked_up == []
    await guarded.check(destination(OTHER, "jsons://hooks.example/in"))
    assert looked_up == ["hooks.example"]


async def test_files_of_this_machine_are_out_of_reach(services, receiver, tmp_path):
    """A plugin that takes the name of a file gets none, whatever its user writes: one that it could read would lead it to the receiver."""
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
