"""The contract of `ChannelPort`, for every real channel and the fake one."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from fakes.channels import FakeChannels

from channels.receivers import http_receiver, mail_server, status
from channels.samples import destination, mail, message
from hullwatch.channels.carriers import Carriers
from hullwatch.channels.guard import AddressGuard
from hullwatch.channels.smtp import SmtpServer
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import ChannelAddress, Destination, Refused, Sent, TryLater
from hullwatch.domain.notifications.notifications import ChannelKind
from hullwatch.runtime.clock import SystemClock


@dataclass
class World:
    """A channel, a destination, and functions that control the receiver."""

    channels: Carriers | FakeChannels
    target: Destination
    arrived: Callable[[], int]
    be_busy: Callable[[], None]
    """The next message meets a receiver that is busy."""
    inside: Destination | None = None
    """Addresses that this channel must refuse."""


def carriers(server: SmtpServer | None = None, *, allows_private: bool = True) -> Carriers:
    """Return the real channels."""
    guard = AddressGuard(allows_private=allows_private)
    return Carriers(guard=guard, clock=SystemClock(), server=server, public_url="https://h.in", version="1")


@asynccontextmanager
async def fake_world() -> AsyncIterator[World]:
    """Return the fake in memory."""
    channels = FakeChannels()
    channels.refused.add("http://10.0.0.1/")
    answers: list[TryLater] = []
    channels.behaviours["somewhere"] = lambda _: answers.pop() if answers else Sent()
    target = destination(ChannelKind.WEBHOOK, "somewhere")
    inside = destination(ChannelKind.WEBHOOK, "http://10.0.0.1/")
    yield World(
        channels, target, lambda: len(channels.arrived), lambda: answers.append(TryLater("busy")), inside
    )


@asynccontextmanager
async def webhook_world() -> AsyncIterator[World]:
    """Return webhooks with a real HTTP server."""
    async with http_receiver() as receiver:
        channels = carriers()
        taken = [0]
        target = destination(ChannelKind.WEBHOOK, receiver.url)

        def be_busy() -> None:
            receiver.answers.append(status(503))
            taken[0] += 1

        yield World(channels, target, lambda: len(receiver.requests) - taken[0], be_busy)
        await channels.close()


@asynccontextmanager
async def mail_world() -> AsyncIterator[World]:
    """Return e-mail with a real SMTP server."""
    async with mail_server() as mailbox:
        channels = carriers(SmtpServer("127.0.0.1", mailbox.port, "none", "h@h.in"))
        target = destination(ChannelKind.EMAIL, "asha@example.com")
        yield World(channels, target, lambda: len(mailbox.mails), lambda: mailbox.answers.append("451 later"))
        await channels.close()


@asynccontextmanager
async def apprise_world() -> AsyncIterator[World]:
    """Return Apprise with a real HTTP server."""
    async with http_receiver() as receiver:
        channels = carriers()
        taken = [0]
        target = destination(ChannelKind.APPRISE, f"json://{receiver.url.removeprefix('http://')}")

        def be_busy() -> None:
            receiver.answers.append(status(503))
            taken[0] += 1

        yield World(channels, target, lambda: len(receiver.requests) - taken[0], be_busy)
        await channels.close()


@pytest.fixture(params=[fake_world, webhook_world, mail_world, apprise_world], ids=lambda made: made.__name__)
async def world(request) -> AsyncIterator[World]:
    """Return one channel after the other."""
    async with request.param() as made:
        yield made


async def test_a_busy_receiver_gets_the_message_later(world: World):
    """A refused attempt delivers nothing, and the next one delivers the same message."""
    await world.channels.check(world.target)
    world.be_busy()

    first = await world.channels.send(message(), world.target)
    assert (type(first), world.arrived()) == (TryLater, 0)
    assert await world.channels.send(message(), world.target) == Sent()
    assert world.arrived() == 1


async def test_every_kind_has_its_limit(world: World):
    """The outbox gives up a sending after this time."""
    for kind in ChannelKind:
        assert 5 < world.channels.limit_s(kind) < 120


@pytest.mark.parametrize("address", ["http://10.0.0.1/", "https://192.168.1.1/x"])
async def test_no_channel_reaches_a_private_network(address):
    """Such an address is neither stored nor sent to."""
    fake, real = FakeChannels(), carriers(allows_private=False)
    fake.refused.add(address)
    target = destination(ChannelKind.WEBHOOK, address)
    for channels in (fake, real):
        with pytest.raises(InvalidInput, match="private"):
            await channels.check(target)
    assert isinstance(await real.send(message(), target), Refused)
    await real.close()


async def test_without_a_mail_server_there_is_no_mail():
    """An e-mail channel cannot be added, and an existing one waits."""
    channels, target = carriers(), destination(ChannelKind.EMAIL, "a@b.in")

    assert not channels.can_mail
    with pytest.raises(InvalidInput):
        await channels.check(target)
    assert isinstance(await channels.send(message(), target), TryLater)
    fake = FakeChannels()
    fake.can_mail = False
    for without in (channels, fake):
        assert isinstance(await without.mail(mail(), target.address), TryLater)


async def test_a_mail_that_is_no_notice_is_sent_once():
    """It has its own words alone. A busy mail server leaves it to the caller, who waits."""
    fake, recipient = FakeChannels(), ChannelAddress("asha@example.com")
    answers = [TryLater("busy")]
    fake.behaviours["asha@example.com"] = lambda _: answers.pop() if answers else Sent()
    async with mail_server() as mailbox:
        real = carriers(SmtpServer("127.0.0.1", mailbox.port, "none", "h@h.in"))
        mailbox.answers.append("451 later")
        for channels in (fake, real):
            assert isinstance(await channels.mail(mail(), recipient), TryLater)
            assert await channels.mail(mail(), recipient) == Sent()
        await real.close()

    [arrived] = mailbox.mails
    assert (arrived["To"], arrived["Subject"]) == ("asha@example.com", "A code")
    assert "1234-5678" in arrived.get_content()
    assert "canary" not in repr(mail())
    assert [to for to, _ in fake.mails] == ["asha@example.com"]
