"""Tests that the outbox sends every notice once, also when a channel or the database fails."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fakes.channels import hang
from limits import ANSWER_LIMIT_S

from hullwatch.domain.events import NotificationStored
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.notifications.channels import (
    AddressProof,
    Channel,
    ChannelAddress,
    Destination,
    Refused,
    Sent,
    TryLater,
)
from hullwatch.domain.notifications.notifications import (
    ChannelKind,
    DeliveryState,
    Notification,
    NotificationKind,
)
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import Role
from hullwatch.services.notifications.delivery import CLAIM, KEEP_OTHERS, KEEP_SENT, POLL_S, PURGE_BATCH
from hullwatch.services.notifications.retry_policy import MAX_AGE, MAX_REFUSALS, NOTIFY_AFTER
from services.environment import ALICE, BOB, Environment

ENDED, SIGNAL, TEST = NotificationKind.SESSION_DISCONNECTED, NotificationKind.SIGNAL, NotificationKind.TEST
BAD = TryLater("The server answered 503.")
ADMIN = "usr_admin"


class Links:
    """Makes a different link at each call, and none for users with a broker session."""

    def __init__(self) -> None:
        self.users: list[str] = []
        self.has_session: set[str] = set()
        self.is_down = False

    async def link_for(self, user_id: str, *, requested_by: str = "hullwatch") -> SecretText | None:
        """Return a link with the number of the call."""
        if self.is_down:
            raise StorageUnavailable("down")
        self.users.append(user_id)
        return None if user_id in self.has_session else SecretText(f"https://h.in/#canary-{len(self.users)}")


async def add_channel(
    env: Environment, name: str, user_id: str = ALICE, *, kind=ChannelKind.WEBHOOK, kinds=(ENDED, SIGNAL)
) -> None:
    """Store a channel whose address is its name."""
    channel = Channel(
        name,
        user_id,
        kind,
        f"label of {name}",
        "hint",
        frozenset(kinds),
        is_on=True,
        created_at=env.clock.now(),
        proof=AddressProof.CODE,
    )
    async with env.store.begin() as work:
        await work.channels.add(channel, Destination(kind, ChannelAddress(name)))
        await work.commit()


async def store(env: Environment, *names: str, user_id: str = ALICE, kind=ENDED, incident_id=None) -> None:
    """Store one notice for each name."""
    async with env.store.begin() as work:
        for name in names:
            notice = Notification(
                name, user_id, kind, f"Title of {name}", "Text", env.clock.now(), incident_id
            )
            await work.notifications.add(notice)
        await work.commit()


def states(env: Environment) -> dict[str, DeliveryState]:
    """Return the state of each delivery by its id."""
    return {one.id: one.state for one in env.store.tables.deliveries.values()}


def health(env: Environment, name: str):
    """Return the stored health of a channel."""
    return env.store.tables.channels[name].health


async def wait(env: Environment, until: timedelta, step_s: float = 60.0) -> None:
    """Let time pass in steps, so that sending and storing happen in each of them."""
    ends_at = env.clock.now() + until
    while env.clock.now() < ends_at:
        await env.clock.advance(min(step_s, (ends_at - env.clock.now()).total_seconds()))


@pytest.fixture
async def env() -> AsyncIterator[Environment]:
    """Two users and an admin. The first user has a webhook, and the outbox runs."""
    made = Environment(links=Links())
    for user_id in (ALICE, BOB):
        await made.add_user(user_id)
    await made.add_user(ADMIN, role=Role.ADMIN)
    await add_channel(made, "hook")
    await made.start(with_monitoring=False, with_outbox=True)
    yield made
    await made.kill()


async def test_a_notice_is_sent_at_once_and_once(env: Environment) -> None:
    """Storing a notice wakes the outbox before its next poll."""
    await store(env, "n1")
    await env.clock.settle()

    assert env.carriers.ids("hook") == ["n1.hook"]
    assert states(env) == {"n1.hook": DeliveryState.SENT}
    assert health(env, "hook").last_sent_at == env.clock.now()
    await wait(env, timedelta(hours=1))
    assert len(env.carriers.attempts) == 1
    assert env.metrics.notifications == {("webhook", "sent"): 1}


async def test_a_notice_of_another_process_is_sent_at_the_next_poll(env: Environment) -> None:
    """The other process cannot wake this outbox."""
    env.store.on_deliveries(lambda: None)
    await store(env, "n1")
    await env.clock.settle()
    assert env.carriers.attempts == []

    await env.clock.advance(POLL_S)

    assert env.carriers.ids("hook") == ["n1.hook"]


async def test_each_channel_gets_the_notice_with_its_own_id(env: Environment) -> None:
    """A receiver recognizes a repeated message by this id."""
    await add_channel(env, "mail", kind=ChannelKind.EMAIL)
    await add_channel(env, "slack", kind=ChannelKind.SLACK, kinds=(SIGNAL,))
    await store(env, "n1")
    await env.clock.settle()

    assert sorted(message.id for _, message in env.carriers.arrived) == ["n1.hook", "n1.mail"]


async def test_a_failed_message_is_retried_with_the_same_id(env: Environment) -> None:
    """The pauses grow until the message is sent."""
    answers = iter([BAD, BAD, BAD])
    env.carriers.behaviours["hook"] = lambda _: next(answers, Sent())
    await store(env, "n1")

    await wait(env, timedelta(minutes=1), 1.0)

    assert [message.id for _, message in env.carriers.attempts] == ["n1.hook"] * 4
    assert env.carriers.ids("hook") == ["n1.hook"]
    assert health(env, "hook").failures == 0
    assert env.metrics.notifications == {("webhook", "later"): 3, ("webhook", "sent"): 1}


async def test_a_hanging_channel_delays_no_other(env: Environment) -> None:
    """Unproven channels have a limit of their own, and so has mail."""
    for number in range(100):
        await add_channel(env, f"hanging{number}", BOB)
        env.carriers.behaviours[f"hanging{number}"] = hang
    for number in range(4):
        await add_channel(env, f"stuck{number}", BOB, kind=ChannelKind.APPRISE)
        env.carriers.behaviours[f"stuck{number}"] = hang
    await add_channel(env, "mail", kind=ChannelKind.EMAIL)
    await add_channel(env, "chat", kind=ChannelKind.TELEGRAM)
    await store(env, "first")
    await env.clock.settle()
    await store(env, "b1", "b2", user_id=BOB)
    await env.clock.settle()
    assert len(env.carriers.attempts) > 60

    await store(env, "n1")
    await env.clock.settle()

    assert {"n1.hook", "n1.mail", "n1.chat"} <= {message.id for _, message in env.carriers.arrived}


async def test_a_hanging_channel_is_tried_less_and_less(env: Environment) -> None:
    """Each attempt has a timeout, and only one message is tried at a time."""
    env.carriers.behaviours["hook"] = hang
    await store(env, *(f"n{number}" for number in range(20)))
    await env.clock.settle()
    assert len(env.carriers.attempts) == 1

    await wait(env, timedelta(hours=1), 5.0)

    assert 5 < len(env.carriers.attempts) < 25
    assert health(env, "hook").last_error == "It did not respond in time."
    assert set(states(env).values()) == {DeliveryState.WAITING}


async def test_all_messages_are_sent_once_after_an_outage(env: Environment) -> None:
    """Each attempt uses another message, so that one bad message cannot block the channel."""
    env.carriers.behaviours["hook"] = lambda _: BAD
    names = [f"n{number:02}" for number in range(30)]
    await store(env, *names)
    await wait(env, timedelta(hours=2))
    assert len({message.id for _, message in env.carriers.attempts}) > 5
    del env.carriers.behaviours["hook"]

    await wait(env, timedelta(hours=1))

    assert sorted(env.carriers.ids("hook")) == [f"{name}.hook" for name in names]


async def test_a_refused_message_blocks_no_other(env: Environment) -> None:
    """It fails permanently after a few attempts, and the admins get one notice on the page."""
    refused = Refused("The server answered 422.", is_of_message=True)
    env.carriers.behaviours["hook"] = lambda message: refused if message.id == "n1.hook" else Sent()
    await store(env, "n1", "n2", "n3")
    await env.clock.advance(1)
    assert sorted(env.carriers.ids("hook")) == ["n2.hook", "n3.hook"]

    await wait(env, timedelta(minutes=5))

    assert states(env)["n1.hook"] is DeliveryState.FAILED_PERMANENTLY
    assert len([one for _, one in env.carriers.attempts if one.id == "n1.hook"]) == MAX_REFUSALS
    [notice] = env.notices(ADMIN)
    assert (notice.kind, "422" in notice.text) == (NotificationKind.DELIVERY_FAILED, True)
    assert env.notices(ALICE, NotificationKind.CHANNEL_FAILING) == []


async def test_a_channel_that_refuses_every_message_is_reported(env: Environment) -> None:
    """Once, with the reason, whatever the status; and again when it accepts a message."""
    env.carriers.behaviours["hook"] = lambda _: Refused("The server answered 400.", is_of_message=True)
    for number in range(3):
        await store(env, f"n{number}")
        await wait(env, timedelta(minutes=5))
    [failing] = env.notices(ALICE, NotificationKind.CHANNEL_FAILING)
    assert "400" in failing.text
    assert health(env, "hook").failures > MAX_REFUSALS

    env.carriers.behaviours.clear()
    await store(env, "n9")
    await wait(env, timedelta(hours=1))
    assert health(env, "hook").failures == 0
    assert len(env.notices(ALICE, NotificationKind.CHANNEL_RECOVERED)) == 1


async def test_admins_are_notified_once_per_failing_channel(env: Environment) -> None:
    """The admin's own channel fails too. Its failure must not produce further notices."""
    await add_channel(env, "admins", ADMIN, kinds=tuple(NotificationKind))
    for name in ("hook", "admins"):
        env.carriers.behaviours[name] = lambda _: Refused("The server answered 410.", is_permanent=True)
    await store(env, *(f"n{number}" for number in range(5)))

    await wait(env, timedelta(hours=2))

    assert set(states(env).values()) == {DeliveryState.FAILED_PERMANENTLY}
    assert len(env.notices(ADMIN, NotificationKind.DELIVERY_FAILED)) == 1
    assert [one.id for one in env.store.tables.deliveries.values() if "admins" in one.id] == []


async def test_a_message_fails_permanently_after_a_day(env: Environment) -> None:
    """An older notice is of no use to its user."""
    env.carriers.behaviours["hook"] = lambda _: BAD
    await store(env, "n1")

    await wait(env, MAX_AGE + timedelta(hours=1), 300.0)

    assert states(env) == {"n1.hook": DeliveryState.FAILED_PERMANENTLY}
    async with env.store.begin(read_only=True) as work:
        [dead_letter] = await work.outbox.dead_letters()
    assert dead_letter.delivery.last_error == BAD.why


async def test_users_get_one_notice_per_channel_failure_and_recovery(env: Environment) -> None:
    """The page gets both at once. A short failure produces no notice."""
    async with env.hub.subscribe(ALICE) as pushed:
        env.carriers.behaviours["hook"] = lambda _: BAD
        await store(env, "n1", "n2")
        await wait(env, NOTIFY_AFTER / 2)
        assert env.notices(ALICE, NotificationKind.CHANNEL_FAILING) == []
        await wait(env, NOTIFY_AFTER * 2)
        [failing] = env.notices(ALICE, NotificationKind.CHANNEL_FAILING)
        del env.carriers.behaviours["hook"]
        await wait(env, timedelta(hours=1))
        [recovered] = env.notices(ALICE, NotificationKind.CHANNEL_RECOVERED)

        received = []
        async for delivery in pushed:
            received.append(delivery.message)
            if len(received) == 2:
                break
    assert received == [NotificationStored(failing), NotificationStored(recovered)]
    assert failing.incident_id == recovered.incident_id
    assert BAD.why in failing.text

    env.carriers.behaviours["hook"] = lambda _: BAD
    await store(env, "n3")
    await wait(env, timedelta(minutes=2))
    del env.carriers.behaviours["hook"]
    await wait(env, timedelta(minutes=10))
    assert len(env.notices(ALICE, NotificationKind.CHANNEL_RECOVERED)) == 1


async def test_an_adapter_error_stops_no_other_channel(env: Environment) -> None:
    """The message fails permanently, the outbox keeps running, and no address is stored."""

    def broken(message):
        raise ValueError("https://canary.in/hook?key=canary")

    await add_channel(env, "other", BOB)
    env.carriers.behaviours["hook"] = broken
    await store(env, "n1")
    await store(env, "n2", user_id=BOB)
    await wait(env, timedelta(minutes=5))

    assert states(env) == {"n1.hook": DeliveryState.FAILED_PERMANENTLY, "n2.other": DeliveryState.SENT}
    assert env.supervisor.is_healthy("outbox")
    assert "canary" not in repr(env.store.tables.deliveries)


async def test_a_database_outage_loses_and_repeats_no_message(env: Environment) -> None:
    """The result of a message sent during the outage is stored after it."""

    async def accept_and_lose_the_database(message):
        env.store.is_down = True
        return Sent()

    env.carriers.behaviours["hook"] = accept_and_lose_the_database
    await store(env, "n1")
    await wait(env, CLAIM * 2)
    assert states(env) == {"n1.hook": DeliveryState.WAITING}

    env.store.is_down = False
    del env.carriers.behaviours["hook"]
    await env.clock.advance(POLL_S)

    assert states(env) == {"n1.hook": DeliveryState.SENT}
    assert env.carriers.ids("hook") == ["n1.hook"]


async def test_an_unreadable_address_has_an_error_with_advice(env: Environment) -> None:
    """A retry cannot succeed without the key, so none is made."""
    del env.store.tables.destinations["hook"]
    await store(env, "n1")
    await env.clock.settle()

    assert states(env) == {"n1.hook": DeliveryState.FAILED_PERMANENTLY}
    assert "add it again" in health(env, "hook").last_error
    assert env.carriers.attempts == []


async def test_messages_that_lead_to_a_login_contain_a_new_link(env: Environment) -> None:
    """Each attempt has a new link, and no link is stored."""
    answers = iter([BAD])
    env.carriers.behaviours["hook"] = lambda _: next(answers, Sent())
    await store(env, "n1")
    await store(env, "s1", kind=SIGNAL)
    await wait(env, timedelta(minutes=1), 1.0)
    env.links.has_session.add(ALICE)
    await store(env, "n2")
    await env.clock.settle()
    env.links.is_down = True
    await store(env, "n3")
    await env.clock.settle()

    links = {message.id: message.login_link for _, message in env.carriers.arrived}
    assert links["n1.hook"].reveal() == "https://h.in/#canary-2"
    assert links["s1.hook"] is links["n2.hook"] is links["n3.hook"] is None
    assert "canary" not in repr(env.store.tables)
    assert "canary" not in repr(env.carriers.arrived)


async def test_a_test_notice_is_sent_on_a_paused_channel(env: Environment) -> None:
    """It uses the outbox like every notice, and three failures are its result."""
    env.carriers.behaviours["hook"] = lambda _: BAD
    await store(env, "n1")
    await wait(env, timedelta(minutes=30))
    tried = len(env.carriers.attempts)

    delivery_id = await env.channels.test(ALICE, "hook")
    await env.clock.settle()
    assert len(env.carriers.attempts) == tried + 1
    await wait(env, timedelta(minutes=2))

    [test] = [one for one in await env.channels.deliveries(ALICE) if one.id == delivery_id]
    assert (test.state, test.attempts, test.last_error) == (DeliveryState.FAILED_PERMANENTLY, 3, BAD.why)
    assert env.notices(ADMIN) == []
    assert await env.notifications.of_user(ALICE, unread_only=True) == [
        notice for notice in await env.notifications.of_user(ALICE) if notice.kind is ENDED
    ]


async def test_a_stop_waits_for_the_messages_under_way(env: Environment) -> None:
    """Their results are stored, so that the next start does not repeat them. No new message is sent."""
    finish = asyncio.Event()

    async def slow(_):
        await finish.wait()
        return Sent()

    env.carriers.behaviours["hook"] = slow
    await store(env, "n1")
    await env.clock.settle()
    stopping = asyncio.create_task(env.supervisor.stop(5))
    await env.clock.settle()
    await store(env, "n2")
    finish.set()
    await asyncio.wait_for(stopping, ANSWER_LIMIT_S)

    assert states(env) == {"n1.hook": DeliveryState.SENT, "n2.hook": DeliveryState.WAITING}
    assert [message.id for _, message in env.carriers.attempts] == ["n1.hook"]


async def test_a_channel_may_be_removed_during_an_attempt(env: Environment) -> None:
    """The result of this attempt has no row any more, and that is no error."""
    env.carriers.behaviours["hook"] = hang
    await store(env, "n1")
    await env.clock.settle()
    await env.channels.remove(ALICE, "hook")

    await wait(env, timedelta(minutes=5))

    assert states(env) == {}
    assert len(env.carriers.attempts) == 1
    assert env.supervisor.is_healthy("outbox")


async def test_old_rows_are_removed() -> None:
    """Sent deliveries are kept for 30 days and read notices for 90. More than one batch is removed."""
    env = Environment()
    await env.add_user(ALICE)
    await add_channel(env, "hook")
    await env.start(with_monitoring=False, with_outbox=True)
    await store(env, *(f"n{number}" for number in range(PURGE_BATCH + 20)))
    await wait(env, timedelta(minutes=1), 1.0)
    assert set(states(env).values()) == {DeliveryState.SENT}
    for notice in env.notices(ALICE):
        await env.notifications.mark_read(ALICE, notice.id)
    old = await env.kill()

    await old.clock.advance((KEEP_SENT - timedelta(minutes=2)).total_seconds())
    await old.outbox.purge()
    assert len(states(old)) == PURGE_BATCH + 20
    await old.clock.advance(120)
    await old.outbox.purge()
    assert states(old) == {}
    assert old.notices(ALICE)

    await old.clock.advance((KEEP_OTHERS - KEEP_SENT).total_seconds())
    await old.outbox.purge()
    assert old.notices(ALICE) == []
