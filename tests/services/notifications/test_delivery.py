"""The outbox's sender: every notice once, whatever its channel and the database do; `hullwatch.services.notifications.delivery`."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fakes.channels import hang
from limits import ANSWER_LIMIT_S

from hullwatch.domain.events import NotificationStored
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.notifications.channels import (
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
    """Makes links that can be told apart; None for whom none makes sense."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.has_session: set[str] = set()
        self.is_down = False

    async def link_for(self, user_id: str, *, requested_by: str = "hullwatch") -> SecretText | None:
        """Return a link."""
        if self.is_down:
            raise StorageUnavailable("down")
        self.asked.append(user_id)
        return None if user_id in self.has_session else SecretText(f"https://h.in/#canary-{len(self.asked)}")


async def add_channel(
    env: Environment, name: str, user_id: str = ALICE, *, kind=ChannelKind.WEBHOOK, kinds=(ENDED, SIGNAL)
) -> None:
    """Store a channel that leads to an address of its own name."""
    channel = Channel(
        name,
        user_id,
        kind,
        f"label of {name}",
        "hint",
        frozenset(kinds),
        is_on=True,
        created_at=env.clock.now(),
    )
    async with env.store.begin() as work:
        await work.channels.add(channel, Destination(kind, ChannelAddress(name)))
        await work.commit()


async def tell(env: Environment, *names: str, user_id: str = ALICE, kind=ENDED, incident_id=None) -> None:
    """Store notices."""
    async with env.store.begin() as work:
        for name in names:
            notice = Notification(
                name, user_id, kind, f"Title of {name}", "Text", env.clock.now(), incident_id
            )
            await work.notifications.add(notice)
        await work.commit()


def states(env: Environment) -> dict[str, DeliveryState]:
    """Return how every delivery stands."""
    return {one.id: one.state for one in env.store.tables.deliveries.values()}


def health(env: Environment, name: str):
    """Return how a channel does."""
    return env.store.tables.channels[name].health


async def wait(env: Environment, until: timedelta, step_s: float = 60.0) -> None:
    """Let time pass in steps: sends and database take turns within each."""
    ends_at = env.clock.now() + until
    while env.clock.now() < ends_at:
        await env.clock.advance(min(step_s, (ends_at - env.clock.now()).total_seconds()))


@pytest.fixture
async def env() -> AsyncIterator[Environment]:
    """Two users and an admin; the first has a webhook; the outbox runs."""
    made = Environment(links=Links())
    for user_id in (ALICE, BOB):
        await made.add_user(user_id)
    await made.add_user(ADMIN, role=Role.ADMIN)
    await add_channel(made, "hook")
    await made.start(with_monitoring=False, with_outbox=True)
    yield made
    await made.kill()


async def test_a_notice_is_sent_at_once_and_once(env: Environment) -> None:
    """Whoever stores it wakes the outbox; nothing waits for the next look."""
    await tell(env, "n1")
    await env.clock.settle()

    assert env.carriers.ids("hook") == ["n1.hook"]
    assert states(env) == {"n1.hook": DeliveryState.SENT}
    assert health(env, "hook").last_sent_at == env.clock.now()
    await wait(env, timedelta(hours=1))
    assert len(env.carriers.attempts) == 1
    assert env.metrics.notifications == {("webhook", "sent"): 1}


async def test_what_another_process_put_in_is_found_at_the_next_look(env: Environment) -> None:
    """Nobody wakes this one."""
    env.store.on_deliveries(lambda: None)
    await tell(env, "n1")
    await env.clock.settle()
    assert env.carriers.attempts == []

    await env.clock.advance(POLL_S)

    assert env.carriers.ids("hook") == ["n1.hook"]


async def test_every_channel_that_carries_it_gets_it_under_an_id_of_its_own(env: Environment) -> None:
    """By which its receiver knows a repetition."""
    await add_channel(env, "mail", kind=ChannelKind.EMAIL)
    await add_channel(env, "slack", kind=ChannelKind.SLACK, kinds=(SIGNAL,))
    await tell(env, "n1")
    await env.clock.settle()

    assert sorted(message.id for _, message in env.carriers.arrived) == ["n1.hook", "n1.mail"]


async def test_a_failure_is_tried_again_under_the_same_id(env: Environment) -> None:
    """With growing pauses, until it goes."""
    answers = iter([BAD, BAD, BAD])
    env.carriers.behaviours["hook"] = lambda _: next(answers, Sent())
    await tell(env, "n1")

    await wait(env, timedelta(minutes=1), 1.0)

    assert [message.id for _, message in env.carriers.attempts] == ["n1.hook"] * 4
    assert env.carriers.ids("hook") == ["n1.hook"]
    assert health(env, "hook").failures == 0
    assert env.metrics.notifications == {("webhook", "later"): 3, ("webhook", "sent"): 1}


async def test_a_dead_channel_delays_no_other(env: Environment) -> None:
    """Those that hang use up their own room only, however many they are; mail has room of its own."""
    for number in range(100):
        await add_channel(env, f"dead{number}", BOB)
        env.carriers.behaviours[f"dead{number}"] = hang
    for number in range(4):
        await add_channel(env, f"stuck{number}", BOB, kind=ChannelKind.APPRISE)
        env.carriers.behaviours[f"stuck{number}"] = hang
    await add_channel(env, "mail", kind=ChannelKind.EMAIL)
    await add_channel(env, "chat", kind=ChannelKind.TELEGRAM)
    await tell(env, "first")
    await env.clock.settle()
    await tell(env, "b1", "b2", user_id=BOB)
    await env.clock.settle()
    assert len(env.carriers.attempts) > 60

    await tell(env, "n1")
    await env.clock.settle()

    assert {"n1.hook", "n1.mail", "n1.chat"} <= {message.id for _, message in env.carriers.arrived}


async def test_a_hanging_channel_is_given_up_in_time_and_asked_ever_less(env: Environment) -> None:
    """One attempt at a time, however much waits for it."""
    env.carriers.behaviours["hook"] = hang
    await tell(env, *(f"n{number}" for number in range(20)))
    await env.clock.settle()
    assert len(env.carriers.attempts) == 1

    await wait(env, timedelta(hours=1), 5.0)

    assert 5 < len(env.carriers.attempts) < 25
    assert health(env, "hook").last_error == "It did not respond in time."
    assert set(states(env).values()) == {DeliveryState.WAITING}


async def test_an_outage_is_caught_up_with(env: Environment) -> None:
    """Nothing is lost and nothing doubled; probing tries another message each time, so that one bad one does not stand in the way."""
    env.carriers.behaviours["hook"] = lambda _: BAD
    names = [f"n{number:02}" for number in range(30)]
    await tell(env, *names)
    await wait(env, timedelta(hours=2))
    assert len({message.id for _, message in env.carriers.attempts}) > 5
    del env.carriers.behaviours["hook"]

    await wait(env, timedelta(hours=1))

    assert sorted(env.carriers.ids("hook")) == [f"{name}.hook" for name in names]


async def test_a_refused_message_is_set_aside_and_holds_nobody_up(env: Environment) -> None:
    """Its admins are told in the page; the others go on at once."""
    refused = Refused("The server answered 422.", is_of_message=True)
    env.carriers.behaviours["hook"] = lambda message: refused if message.id == "n1.hook" else Sent()
    await tell(env, "n1", "n2", "n3")
    await env.clock.advance(1)
    assert sorted(env.carriers.ids("hook")) == ["n2.hook", "n3.hook"]

    await wait(env, timedelta(minutes=5))

    assert states(env)["n1.hook"] is DeliveryState.FAILED_PERMANENTLY
    assert len([one for _, one in env.carriers.attempts if one.id == "n1.hook"]) == MAX_REFUSALS
    [told] = env.notices(ADMIN)
    assert (told.kind, "422" in told.text) == (NotificationKind.DELIVERY_FAILED, True)
    assert env.notices(ALICE, NotificationKind.CHANNEL_FAILING) == []


async def test_a_failing_channel_tells_its_admin_once_and_breeds_no_further_notices(env: Environment) -> None:
    """However many of its messages are set aside, and although the admin's own channel carries everything and is dead too."""
    await add_channel(env, "admins", ADMIN, kinds=tuple(NotificationKind))
    for name in ("hook", "admins"):
        env.carriers.behaviours[name] = lambda _: Refused("The server answered 410.", is_permanent=True)
    await tell(env, *(f"n{number}" for number in range(5)))

    await wait(env, timedelta(hours=2))

    assert set(states(env).values()) == {DeliveryState.FAILED_PERMANENTLY}
    assert len(env.notices(ADMIN, NotificationKind.DELIVERY_FAILED)) == 1
    assert [one.id for one in env.store.tables.deliveries.values() if "admins" in one.id] == []


async def test_a_message_nobody_takes_for_a_day_is_set_aside(env: Environment) -> None:
    """Later it would tell nobody anything."""
    env.carriers.behaviours["hook"] = lambda _: BAD
    await tell(env, "n1")

    await wait(env, MAX_AGE + timedelta(hours=1), 300.0)

    assert states(env) == {"n1.hook": DeliveryState.FAILED_PERMANENTLY}
    async with env.store.begin(read_only=True) as work:
        [aside] = await work.outbox.dead_letters()
    assert aside.delivery.last_error == BAD.why


async def test_a_user_is_told_once_of_a_channel_that_fails_for_long_and_once_of_its_recovery(
    env: Environment,
) -> None:
    """In the page, by a pushed notice; a hiccup is not told."""
    async with env.hub.subscribe(ALICE) as pushed:
        env.carriers.behaviours["hook"] = lambda _: BAD
        await tell(env, "n1", "n2")
        await wait(env, NOTIFY_AFTER / 2)
        assert env.notices(ALICE, NotificationKind.CHANNEL_FAILING) == []
        await wait(env, NOTIFY_AFTER * 2)
        [failing] = env.notices(ALICE, NotificationKind.CHANNEL_FAILING)
        del env.carriers.behaviours["hook"]
        await wait(env, timedelta(hours=1))
        [recovered] = env.notices(ALICE, NotificationKind.CHANNEL_RECOVERED)

        heard = []
        async for delivery in pushed:
            heard.append(delivery.message)
            if len(heard) == 2:
                break
    assert heard == [NotificationStored(failing), NotificationStored(recovered)]
    assert failing.incident_id == recovered.incident_id
    assert BAD.why in failing.text

    env.carriers.behaviours["hook"] = lambda _: BAD
    await tell(env, "n3")
    await wait(env, timedelta(minutes=2))
    del env.carriers.behaviours["hook"]
    await wait(env, timedelta(minutes=10))
    assert len(env.notices(ALICE, NotificationKind.CHANNEL_RECOVERED)) == 1


async def test_an_adapter_that_breaks_breaks_nothing_else(env: Environment) -> None:
    """Its message is set aside like any poison; the outbox lives, and its log holds no address."""

    def broken(message):
        raise ValueError("https://canary.in/hook?key=canary")

    await add_channel(env, "other", BOB)
    env.carriers.behaviours["hook"] = broken
    await tell(env, "n1")
    await tell(env, "n2", user_id=BOB)
    await wait(env, timedelta(minutes=5))

    assert states(env) == {"n1.hook": DeliveryState.FAILED_PERMANENTLY, "n2.other": DeliveryState.SENT}
    assert env.supervisor.is_healthy("outbox")
    assert "canary" not in repr(env.store.tables.deliveries)


async def test_a_database_that_is_down_loses_and_repeats_nothing(env: Environment) -> None:
    """What was sent meanwhile is stored when it answers, not sent again."""

    async def take_and_fall(message):
        env.store.is_down = True
        return Sent()

    env.carriers.behaviours["hook"] = take_and_fall
    await tell(env, "n1")
    await wait(env, CLAIM * 2)
    assert states(env) == {"n1.hook": DeliveryState.WAITING}

    env.store.is_down = False
    del env.carriers.behaviours["hook"]
    await env.clock.advance(POLL_S)

    assert states(env) == {"n1.hook": DeliveryState.SENT}
    assert env.carriers.ids("hook") == ["n1.hook"]


async def test_a_channel_whose_address_cannot_be_read_says_what_to_do(env: Environment) -> None:
    """A lost key is not tried a hundred times."""
    del env.store.tables.destinations["hook"]
    await tell(env, "n1")
    await env.clock.settle()

    assert states(env) == {"n1.hook": DeliveryState.FAILED_PERMANENTLY}
    assert "add it again" in health(env, "hook").last_error
    assert env.carriers.attempts == []


async def test_messages_that_lead_to_a_login_carry_a_fresh_link(env: Environment) -> None:
    """Made for each attempt, where one makes sense, and stored nowhere."""
    answers = iter([BAD])
    env.carriers.behaviours["hook"] = lambda _: next(answers, Sent())
    await tell(env, "n1")
    await tell(env, "s1", kind=SIGNAL)
    await wait(env, timedelta(minutes=1), 1.0)
    env.links.has_session.add(ALICE)
    await tell(env, "n2")
    await env.clock.settle()
    env.links.is_down = True
    await tell(env, "n3")
    await env.clock.settle()

    links = {message.id: message.login_link for _, message in env.carriers.arrived}
    assert links["n1.hook"].reveal() == "https://h.in/#canary-2"
    assert links["s1.hook"] is links["n2.hook"] is links["n3.hook"] is None
    assert "canary" not in repr(env.store.tables)
    assert "canary" not in repr(env.carriers.arrived)


async def test_a_test_goes_out_on_a_paused_channel_and_tells_how_it_went(env: Environment) -> None:
    """It takes the way of every notice; three failures are an answer."""
    env.carriers.behaviours["hook"] = lambda _: BAD
    await tell(env, "n1")
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


async def test_stopping_in_order_sees_through_what_is_under_way(env: Environment) -> None:
    """And stores it, so that the next start does not send it again; nothing new is begun."""
    gate = asyncio.Event()

    async def slow(_):
        await gate.wait()
        return Sent()

    env.carriers.behaviours["hook"] = slow
    await tell(env, "n1")
    await env.clock.settle()
    stopping = asyncio.create_task(env.supervisor.stop(5))
    await env.clock.settle()
    await tell(env, "n2")
    gate.set()
    await asyncio.wait_for(stopping, ANSWER_LIMIT_S)

    assert states(env) == {"n1.hook": DeliveryState.SENT, "n2.hook": DeliveryState.WAITING}
    assert [message.id for _, message in env.carriers.attempts] == ["n1.hook"]


async def test_a_channel_that_is_removed_or_turned_off_is_left_alone(env: Environment) -> None:
    """Even in the middle of an attempt; what ends after that is no error."""
    env.carriers.behaviours["hook"] = hang
    await tell(env, "n1")
    await env.clock.settle()
    await env.channels.remove(ALICE, "hook")

    await wait(env, timedelta(minutes=5))

    assert states(env) == {}
    assert len(env.carriers.attempts) == 1
    assert env.supervisor.is_healthy("outbox")


async def test_what_is_old_is_removed() -> None:
    """Sent deliveries after a month, notices that were read after three; many of them too."""
    env = Environment()
    await env.add_user(ALICE)
    await add_channel(env, "hook")
    await env.start(with_monitoring=False, with_outbox=True)
    await tell(env, *(f"n{number}" for number in range(PURGE_BATCH + 20)))
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
