"""Tests the notices to operators about a database that cannot be used."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fakes.channels import hang

from hullwatch.domain.notifications.channels import Refused, Sent, TryLater
from hullwatch.domain.notifications.notifications import ChannelKind, NotificationKind
from hullwatch.domain.storage import StorageFault
from hullwatch.domain.users.accounts import Role
from hullwatch.services.notifications.channels import Choice, NewChannel
from hullwatch.services.operations.storage_alerts import JOB, READ_CHANNELS_EVERY_S, TRY_AGAIN_S, WELL_FOR_S
from services.environment import Environment

ADMIN, OTHER, TRADER = "usr_admin", "usr_other", "usr_trader"
FAILED, RECOVERED = NotificationKind.STORAGE_UNAVAILABLE, NotificationKind.STORAGE_RECOVERED
CHOSEN = frozenset({NotificationKind.JOB_RESTARTING, NotificationKind.JOB_RECOVERED})
OUTAGE_S = 20.0
"""Long enough for an outage to be noticed and reported."""


def address(name: str) -> str:
    """Return the address of a webhook."""
    return f"https://{name}.example.com/hook"


class Operators:
    """Two admins and a trader; the checks, the alerts and the outbox run."""

    def __init__(self) -> None:
        self.env = Environment()

    async def start(self) -> None:
        """Add the users and begin."""
        env = self.env
        await env.add_user(ADMIN, role=Role.ADMIN)
        await env.add_user(OTHER, role=Role.ADMIN)
        await env.add_user(TRADER)
        env.outbox.start_jobs(env.supervisor)
        env.storage_health.start_job(env.supervisor)
        env.storage_alerts.start_job(env.supervisor)
        await env.clock.settle()

    async def add_channel(self, name: str, user_id: str = ADMIN, kinds=CHOSEN):
        """Add a webhook, and let time pass until the alerts know it."""
        async with self.env.store.begin(read_only=True) as work:
            user = await work.users.get(user_id)
        new = NewChannel(ChannelKind.WEBHOOK, name, kinds, address=address(name))
        channel, _ = await self.env.channels.add(user, new)
        await self.env.clock.advance(READ_CHANNELS_EVERY_S + 5)
        return channel

    async def fail(self, fault: StorageFault = StorageFault.FULL, seconds: float = OUTAGE_S) -> None:
        """Let the database fail for so long."""
        self.env.store.is_down, self.env.store.fault = True, fault
        await self.env.clock.advance(seconds)

    async def recover(self, seconds: float = WELL_FOR_S + 10) -> None:
        """Let the database work again."""
        self.env.store.is_down = False
        await self.env.clock.advance(seconds)

    def arrived(self, name: str) -> list[NotificationKind]:
        """Return the kinds of the notices that arrived at a channel."""
        return [message.notification.kind for at, message in self.env.carriers.arrived if at == address(name)]

    def kinds(self, user_id: str) -> list[NotificationKind]:
        """Return the kinds of a user's stored notices."""
        return [notice.kind for notice in self.env.notices(user_id)]


@pytest.fixture
async def operators() -> AsyncIterator[Operators]:
    """Nothing has failed yet."""
    built = Operators()
    await built.start()
    yield built
    await built.env.supervisor.stop(0)


async def test_operators_are_notified_while_nothing_can_be_stored(operators: Operators) -> None:
    """Each admin with a channel for it gets one notice, and nobody else."""
    await operators.add_channel("pager")
    await operators.add_channel("other", OTHER)
    await operators.fail(seconds=3600)

    assert operators.arrived("pager") == operators.arrived("other") == [FAILED]
    [(_, message), _] = operators.env.carriers.arrived
    assert "The disk with the database is full." in message.notification.text
    assert operators.kinds(ADMIN) == []


async def test_notice_and_recovery_are_stored_and_not_repeated(operators: Operators) -> None:
    """The stored notice has the id of the sent message, so its delivery is known to be done."""
    channel = await operators.add_channel("pager")
    await operators.fail()
    await operators.recover(3600)

    assert operators.arrived("pager") == [FAILED, RECOVERED]
    assert operators.kinds(ADMIN) == operators.kinds(OTHER) == [FAILED, RECOVERED]
    assert operators.kinds(TRADER) == []
    first, second = operators.env.notices(ADMIN)
    assert first.incident_id == second.incident_id
    assert operators.env.carriers.ids(address("pager"))[0] == f"{first.id}.{channel.id}"
    assert operators.env.audit(prefix="storage.") == ["storage.unavailable", "storage.available"]


async def test_a_database_that_fails_again_and_again_is_one_incident(operators: Operators) -> None:
    """A nearly full disk accepts some writes; the outage has ended when all succeed for a while."""
    await operators.add_channel("pager")
    for _ in range(5):
        await operators.fail()
        await operators.recover(WELL_FOR_S / 2)
    assert operators.arrived("pager") == [FAILED]

    await operators.recover()
    assert operators.arrived("pager") == [FAILED, RECOVERED]

    await operators.fail()
    assert operators.arrived("pager") == [FAILED, RECOVERED, FAILED]


async def test_a_short_failure_notifies_nobody(operators: Operators) -> None:
    """One failed check can be a lock of another program."""
    await operators.add_channel("pager")
    await operators.fail(seconds=3)
    await operators.recover(3600)

    assert operators.arrived("pager") == []
    assert operators.kinds(ADMIN) == []


async def test_a_suspended_machine_is_no_outage(operators: Operators) -> None:
    """The last check is old then, but none has failed."""
    await operators.add_channel("pager")
    await operators.env.clock.stall(3600)
    await operators.env.clock.advance(120)

    assert operators.arrived("pager") == []


async def test_a_channel_that_fails_for_a_time_is_tried_again(operators: Operators) -> None:
    """The network may have failed together with the disk; the other channel is not disturbed."""
    await operators.add_channel("pager")
    await operators.add_channel("works")
    operators.env.carriers.behaviours[address("pager")] = lambda _: TryLater("no network")
    await operators.fail()
    assert (operators.arrived("pager"), operators.arrived("works")) == ([], [FAILED])

    operators.env.carriers.behaviours[address("pager")] = lambda _: Sent()
    await operators.fail(seconds=TRY_AGAIN_S + 10)
    assert (operators.arrived("pager"), operators.arrived("works")) == ([FAILED], [FAILED])


@pytest.mark.parametrize(
    "behaviour", [lambda _: Refused("no"), hang, lambda _: 1 / 0], ids=["no", "hangs", "bug"]
)
async def test_a_channel_that_does_not_work_delays_no_other(operators: Operators, behaviour) -> None:
    """After the recovery the outbox tries it, as any other notice."""
    await operators.add_channel("broken")
    await operators.add_channel("works")
    operators.env.carriers.behaviours[address("broken")] = behaviour
    await operators.fail(seconds=40)
    assert operators.arrived("works") == [FAILED]

    operators.env.carriers.behaviours.clear()
    await operators.recover()
    assert operators.arrived("works") == [FAILED, RECOVERED]
    assert sorted(operators.arrived("broken")) == [RECOVERED, FAILED]
    assert all(job.failures == 0 for job in operators.env.supervisor.jobs() if job.name == JOB)


async def test_only_channels_that_deliver_the_kind_are_used(operators: Operators) -> None:
    """Not one that is off, nor one for signals, nor one of a trader."""
    await operators.add_channel("signals", kinds=frozenset({NotificationKind.SIGNAL}))
    off = await operators.add_channel("off")
    async with operators.env.store.begin(read_only=True) as work:
        admin = await work.users.get(ADMIN)
    await operators.env.channels.choose(admin, {off.id: Choice(is_on=False)})
    await operators.add_channel("trader", TRADER, frozenset({NotificationKind.SIGNAL}))
    await operators.fail()

    assert operators.env.carriers.attempts == []


async def test_the_notice_shows_when_it_began(operators: Operators) -> None:
    """That is the last successful check, not the moment of the notice."""
    await operators.add_channel("pager")
    began_at = operators.env.clock.now()
    await operators.fail(seconds=60)
    await operators.recover()

    entry = next(one for one in operators.env.store.tables.audit if one.kind == "storage.unavailable")
    assert timedelta() <= began_at - entry.at <= timedelta(seconds=5)
    assert entry.reason == StorageFault.FULL.value


async def test_a_recovery_that_cannot_be_stored_is_stored_later(operators: Operators) -> None:
    """The database fails again in the moment of the commit."""
    await operators.add_channel("pager")
    await operators.fail()
    failures = iter([True])

    async def fail_once() -> None:
        operators.env.store.is_down = next(failures, False)

    operators.env.store.before_commit = fail_once
    await operators.recover(WELL_FOR_S + 4)
    operators.env.store.before_commit = None
    await operators.recover(2 * WELL_FOR_S + 20)
    await asyncio.sleep(0)

    assert operators.kinds(ADMIN) == [FAILED, RECOVERED]
    assert operators.arrived("pager") == [FAILED, RECOVERED]
