"""The outbox's sender: every notice once, whatever its channel and the database do; `hullwatch.services.notifications.delivery`."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fakes.channels import hang

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
from hullwatch.services.notifications.delivery import CLAIM, KEPT_OTHERS, KEPT_SENT, POLL_S, PURGE_AT_ONCE
from hullwatch.services.notifications.retry_policy import LONGEST, MOST_REFUSALS, TOLD_AFTER
from services.building import ALICE, BOB, House

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
    house: House, name: str, user_id: str = ALICE, *, kind=ChannelKind.WEBHOOK, kinds=(ENDED, SIGNAL)
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
        created_at=house.clock.now(),
    )
    async with house.store.begin() as work:
        await work.channels.add(channel, Destination(kind, ChannelAddress(name)))
        await work.commit()


async def tell(house: House, *names: str, user_id: str = ALICE, kind=ENDED, incident_id=None) -> None:
    """Store notices."""
    async with house.store.begin() as work:
        for name in names:
            notice = Notification(
                name, user_id, kind, f"Title of {name}", "Text", house.clock.now(), incident_id
            )
            await work.notifications.add(notice)
        await work.commit()


def states(house: House) -> dict[str, DeliveryState]:
    """Return how every delivery stands."""
    return {one.id: one.state for one in house.store.tables.deliveries.values()}


def health(house: House, name: str):
    """Return how a channel does."""
    return house.store.tables.channels[name].health


async def wait(house: House, until: timedelta, step_s: float = 60.0) -> None:
    """Let time pass in steps: sends and database take turns within each."""
    ends_at = house.clock.now() + until
    while house.clock.now() < ends_at:
        await house.clock.advance(min(step_s, (ends_at - house.clock.now()).total_seconds()))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Two users and an admin; the first has a webhook; the outbox runs."""
    made = House(links=Links())
    for user_id in (ALICE, BOB):
        await made.add_user(user_id)
    await made.add_user(ADMIN, role=Role.ADMIN)
    await add_channel(made, "hook")
    await made.start(with_monitoring=False, with_outbox=True)
    yield made
    await made.kill()


async def test_a_notice_is_sent_at_once_and_once(house: House) -> None:
    """Whoever stores it wakes the outbox; nothing waits for the next look."""
    await tell(house, "n1")
    await house.clock.settle()

    assert house.carriers.ids("hook") == ["n1.hook"]
    assert states(house) == {"n1.hook": DeliveryState.SENT}
    assert health(house, "hook").last_sent_at == house.clock.now()
    await wait(house, timedelta(hours=1))
    assert len(house.carriers.attempts) == 1
    assert house.metrics.notifications == {("webhook", "sent"): 1}


async def test_what_another_process_put_in_is_found_at_the_next_look(house: House) -> None:
    """Nobody wakes this one."""
    house.store.on_deliveries(lambda: None)
    await tell(house, "n1")
    await house.clock.settle()
    assert house.carriers.attempts == []

    await house.clock.advance(POLL_S)

    assert house.carriers.ids("hook") == ["n1.hook"]


async def test_every_channel_that_carries_it_gets_it_under_an_id_of_its_own(house: House) -> None:
    """By which its receiver knows a repetition."""
    await add_channel(house, "mail", kind=ChannelKind.EMAIL)
    await add_channel(house, "slack", kind=ChannelKind.SLACK, kinds=(SIGNAL,))
    await tell(house, "n1")
    await house.clock.settle()

    assert sorted(message.id for _, message in house.carriers.arrived) == ["n1.hook", "n1.mail"]


async def test_a_failure_is_tried_again_under_the_same_id(house: House) -> None:
    """With growing pauses, until it goes."""
    answers = iter([BAD, BAD, BAD])
    house.carriers.behaviours["hook"] = lambda _: next(answers, Sent())
    await tell(house, "n1")

    await wait(house, timedelta(minutes=1), 1.0)

    assert [message.id for _, message in house.carriers.attempts] == ["n1.hook"] * 4
    assert house.carriers.ids("hook") == ["n1.hook"]
    assert health(house, "hook").failures == 0
    assert house.metrics.notifications == {("webhook", "later"): 3, ("webhook", "sent"): 1}


async def test_a_dead_channel_delays_no_other(house: House) -> None:
    """Those that hang use up their own room only, however many they are; mail has room of its own."""
    for number in range(100):
        await add_channel(house, f"dead{number}", BOB)
        house.carriers.behaviours[f"dead{number}"] = hang
    for number in range(4):
        await add_channel(house, f"stuck{number}", BOB, kind=ChannelKind.APPRISE)
        house.carriers.behaviours[f"stuck{number}"] = hang
    await add_channel(house, "mail", kind=ChannelKind.EMAIL)
    await add_channel(house, "chat", kind=ChannelKind.TELEGRAM)
    await tell(house, "first")
    await house.clock.settle()
    await tell(house, "b1", "b2", user_id=BOB)
    await house.clock.settle()
    assert len(house.carriers.attempts) > 60

    await tell(house, "n1")
    await house.clock.settle()

    assert {"n1.hook", "n1.mail", "n1.chat"} <= {message.id for _, message in house.carriers.arrived}


async def test_a_hanging_channel_is_given_up_in_time_and_asked_ever_less(house: House) -> None:
    """One attempt at a time, however much waits for it."""
    house.carriers.behaviours["hook"] = hang
    await tell(house, *(f"n{number}" for number in range(20)))
    await house.clock.settle()
    assert len(house.carriers.attempts) == 1

    await wait(house, timedelta(hours=1), 5.0)

    assert 5 < len(house.carriers.attempts) < 25
    assert health(house, "hook").last_error == "It did not answer in time."
    assert set(states(house).values()) == {DeliveryState.WAITING}


async def test_an_outage_is_caught_up_with(house: House) -> None:
    """Nothing is lost and nothing doubled; probing tries another message each time, so that one bad one does not stand in the way."""
    house.carriers.behaviours["hook"] = lambda _: BAD
    names = [f"n{number:02}" for number in range(30)]
    await tell(house, *names)
    await wait(house, timedelta(hours=2))
    assert len({message.id for _, message in house.carriers.attempts}) > 5
    del house.carriers.behaviours["hook"]

    await wait(house, timedelta(hours=1))

    assert sorted(house.carriers.ids("hook")) == [f"{name}.hook" for name in names]


async def test_a_refused_message_is_set_aside_and_holds_nobody_up(house: House) -> None:
    """Its admins are told in the page; the others go on at once."""
    refused = Refused("The server answered 422.", is_of_message=True)
    house.carriers.behaviours["hook"] = lambda message: refused if message.id == "n1.hook" else Sent()
    await tell(house, "n1", "n2", "n3")
    await house.clock.advance(1)
    assert sorted(house.carriers.ids("hook")) == ["n2.hook", "n3.hook"]

    await wait(house, timedelta(minutes=5))

    assert states(house)["n1.hook"] is DeliveryState.FAILED_PERMANENTLY
    assert len([one for _, one in house.carriers.attempts if one.id == "n1.hook"]) == MOST_REFUSALS
    [told] = house.notices(ADMIN)
    assert (told.kind, "422" in told.text) == (NotificationKind.DELIVERY_FAILED, True)
    assert house.notices(ALICE, NotificationKind.CHANNEL_FAILING) == []


async def test_a_failing_channel_tells_its_admin_once_and_breeds_no_further_notices(house: House) -> None:
    """However many of its messages are set aside, and although the admin's own channel carries everything and is dead too."""
    await add_channel(house, "admins", ADMIN, kinds=tuple(NotificationKind))
    for name in ("hook", "admins"):
        house.carriers.behaviours[name] = lambda _: Refused("The server answered 410.", is_permanent=True)
    await tell(house, *(f"n{number}" for number in range(5)))

    await wait(house, timedelta(hours=2))

    assert set(states(house).values()) == {DeliveryState.FAILED_PERMANENTLY}
    assert len(house.notices(ADMIN, NotificationKind.DELIVERY_FAILED)) == 1
    assert [one.id for one in house.store.tables.deliveries.values() if "admins" in one.id] == []


async def test_a_message_nobody_takes_for_a_day_is_set_aside(house: House) -> None:
    """Later it would tell nobody anything."""
    house.carriers.behaviours["hook"] = lambda _: BAD
    await tell(house, "n1")

    await wait(house, LONGEST + timedelta(hours=1), 300.0)

    assert states(house) == {"n1.hook": DeliveryState.FAILED_PERMANENTLY}
    async with house.store.begin(read_only=True) as work:
        [aside] = await work.outbox.dead_letters()
    assert aside.delivery.last_error == BAD.why


async def test_a_user_is_told_once_of_a_channel_that_fails_for_long_and_once_of_its_recovery(
    house: House,
) -> None:
    """In the page, by a pushed notice; a hiccup is not told."""
    async with house.hub.subscribe(ALICE) as pushed:
        house.carriers.behaviours["hook"] = lambda _: BAD
        await tell(house, "n1", "n2")
        await wait(house, TOLD_AFTER / 2)
        assert house.notices(ALICE, NotificationKind.CHANNEL_FAILING) == []
        await wait(house, TOLD_AFTER * 2)
        [failing] = house.notices(ALICE, NotificationKind.CHANNEL_FAILING)
        del house.carriers.behaviours["hook"]
        await wait(house, timedelta(hours=1))
        [recovered] = house.notices(ALICE, NotificationKind.CHANNEL_RECOVERED)

        heard = []
        async for delivery in pushed:
            heard.append(delivery.message)
            if len(heard) == 2:
                break
    assert heard == [NotificationStored(failing), NotificationStored(recovered)]
    assert failing.incident_id == recovered.incident_id
    assert BAD.why in failing.text

    house.carriers.behaviours["hook"] = lambda _: BAD
    await tell(house, "n3")
    await wait(house, timedelta(minutes=2))
    del house.carriers.behaviours["hook"]
    await wait(house, timedelta(minutes=10))
    assert len(house.notices(ALICE, NotificationKind.CHANNEL_RECOVERED)) == 1


async def test_an_adapter_that_breaks_breaks_nothing_else(house: House) -> None:
    """Its message is set aside like any poison; the outbox lives, and its log holds no address."""

    def broken(message):
        raise ValueError("https://canary.in/hook?key=canary")

    await add_channel(house, "other", BOB)
    house.carriers.behaviours["hook"] = broken
    await tell(house, "n1")
    await tell(house, "n2", user_id=BOB)
    await wait(house, timedelta(minutes=5))

    assert states(house) == {"n1.hook": DeliveryState.FAILED_PERMANENTLY, "n2.other": DeliveryState.SENT}
    assert house.supervisor.is_healthy("outbox")
    assert "canary" not in repr(house.store.tables.deliveries)


async def test_a_database_that_is_down_loses_and_repeats_nothing(house: House) -> None:
    """What was sent meanwhile is stored when it answers, not sent again."""

    async def take_and_fall(message):
        house.store.is_down = True
        return Sent()

    house.carriers.behaviours["hook"] = take_and_fall
    await tell(house, "n1")
    await wait(house, CLAIM * 2)
    assert states(house) == {"n1.hook": DeliveryState.WAITING}

    house.store.is_down = False
    del house.carriers.behaviours["hook"]
    await house.clock.advance(POLL_S)

    assert states(house) == {"n1.hook": DeliveryState.SENT}
    assert house.carriers.ids("hook") == ["n1.hook"]


async def test_a_channel_whose_address_cannot_be_read_says_what_to_do(house: House) -> None:
    """A lost key is not tried a hundred times."""
    del house.store.tables.destinations["hook"]
    await tell(house, "n1")
    await house.clock.settle()

    assert states(house) == {"n1.hook": DeliveryState.FAILED_PERMANENTLY}
    assert "add it again" in health(house, "hook").last_error
    assert house.carriers.attempts == []


async def test_messages_that_lead_to_a_login_carry_a_fresh_link(house: House) -> None:
    """Made for each attempt, where one makes sense, and stored nowhere."""
    answers = iter([BAD])
    house.carriers.behaviours["hook"] = lambda _: next(answers, Sent())
    await tell(house, "n1")
    await tell(house, "s1", kind=SIGNAL)
    await wait(house, timedelta(minutes=1), 1.0)
    house.links.has_session.add(ALICE)
    await tell(house, "n2")
    await house.clock.settle()
    house.links.is_down = True
    await tell(house, "n3")
    await house.clock.settle()

    links = {message.id: message.login_link for _, message in house.carriers.arrived}
    assert links["n1.hook"].reveal() == "https://h.in/#canary-2"
    assert links["s1.hook"] is links["n2.hook"] is links["n3.hook"] is None
    assert "canary" not in repr(house.store.tables)
    assert "canary" not in repr(house.carriers.arrived)


async def test_a_test_goes_out_on_a_paused_channel_and_tells_how_it_went(house: House) -> None:
    """It takes the way of every notice; three failures are an answer."""
    house.carriers.behaviours["hook"] = lambda _: BAD
    await tell(house, "n1")
    await wait(house, timedelta(minutes=30))
    tried = len(house.carriers.attempts)

    delivery_id = await house.channels.test(ALICE, "hook")
    await house.clock.settle()
    assert len(house.carriers.attempts) == tried + 1
    await wait(house, timedelta(minutes=2))

    [test] = [one for one in await house.channels.deliveries(ALICE) if one.id == delivery_id]
    assert (test.state, test.attempts, test.last_error) == (DeliveryState.FAILED_PERMANENTLY, 3, BAD.why)
    assert house.notices(ADMIN) == []
    assert await house.notifications.of_user(ALICE, unread_only=True) == [
        notice for notice in await house.notifications.of_user(ALICE) if notice.kind is ENDED
    ]


async def test_stopping_in_order_sees_through_what_is_under_way(house: House) -> None:
    """And stores it, so that the next start does not send it again; nothing new is begun."""
    gate = asyncio.Event()

    async def slow(_):
        await gate.wait()
        return Sent()

    house.carriers.behaviours["hook"] = slow
    await tell(house, "n1")
    await house.clock.settle()
    stopping = asyncio.create_task(house.supervisor.stop(5))
    await house.clock.settle()
    await tell(house, "n2")
    gate.set()
    await asyncio.wait_for(stopping, 5)

    assert states(house) == {"n1.hook": DeliveryState.SENT, "n2.hook": DeliveryState.WAITING}
    assert [message.id for _, message in house.carriers.attempts] == ["n1.hook"]


async def test_a_channel_that_is_removed_or_turned_off_is_left_alone(house: House) -> None:
    """Even in the middle of an attempt; what ends after that is no error."""
    house.carriers.behaviours["hook"] = hang
    await tell(house, "n1")
    await house.clock.settle()
    await house.channels.remove(ALICE, "hook")

    await wait(house, timedelta(minutes=5))

    assert states(house) == {}
    assert len(house.carriers.attempts) == 1
    assert house.supervisor.is_healthy("outbox")


async def test_what_is_old_is_removed() -> None:
    """Sent deliveries after a month, notices that were read after three; many of them too."""
    house = House()
    await house.add_user(ALICE)
    await add_channel(house, "hook")
    await house.start(with_monitoring=False, with_outbox=True)
    await tell(house, *(f"n{number}" for number in range(PURGE_AT_ONCE + 20)))
    await wait(house, timedelta(minutes=1), 1.0)
    assert set(states(house).values()) == {DeliveryState.SENT}
    for notice in house.notices(ALICE):
        await house.notifications.mark_read(ALICE, notice.id)
    old = await house.kill()

    await old.clock.advance((KEPT_SENT - timedelta(minutes=2)).total_seconds())
    await old.outbox.purge()
    assert len(states(old)) == PURGE_AT_ONCE + 20
    await old.clock.advance(120)
    await old.outbox.purge()
    assert states(old) == {}
    assert old.notices(ALICE)

    await old.clock.advance((KEPT_OTHERS - KEPT_SENT).total_seconds())
    await old.outbox.purge()
    assert old.notices(ALICE) == []
