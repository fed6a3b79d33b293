import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.runtime.broadcast import Broadcast


def read_all(subscription):
    """Return what the subscription has queued, as messages, without waiting."""

    async def read():
        return [(await anext(subscription)).message for _ in range(subscription.pending)]

    return read()


async def test_followers_of_a_topic_get_its_messages_in_order():
    """Each follower sees every message of its topics, numbered in the order of publishing, and no others."""
    hub = Broadcast[str]()

    async with hub.subscribe("a", "b") as both, hub.subscribe("a") as one:
        hub.publish("a", "first")
        hub.publish("c", "unheard")
        hub.publish("b", "third")

        deliveries = [await anext(both), await anext(both)]
        assert [(d.sequence, d.topic, d.message) for d in deliveries] == [
            (1, "a", "first"),
            (3, "b", "third"),
        ]
        assert await read_all(one) == ["first"]


async def test_a_waiting_reader_is_woken():
    """A reader that waits gets the message when it is published."""
    hub = Broadcast[str]()
    async with hub.subscribe("a") as subscription:
        reader = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)

        hub.publish("a", "now")

        assert (await reader).message == "now"


async def test_a_cancelled_reader_loses_nothing():
    """A read that was cancelled leaves the next message to the next read."""
    hub = Broadcast[str]()
    async with hub.subscribe("a") as subscription:
        reader = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
        reader.cancel()
        hub.publish("a", "kept")

        assert (await anext(subscription)).message == "kept"


async def test_a_newer_quote_takes_the_place_of_an_unread_one():
    """Of replaceable messages with one key a slow reader finds the newest only, in its place in the order."""
    hub = Broadcast[str]()
    async with hub.subscribe("quotes") as subscription:
        hub.publish("quotes", "SBIN 1", replaceable_key="SBIN")
        hub.publish("quotes", "TCS 1", replaceable_key="TCS")
        hub.publish("quotes", "halted")
        hub.publish("quotes", "SBIN 2", replaceable_key="SBIN")

        assert await read_all(subscription) == ["TCS 1", "halted", "SBIN 2"]
        assert subscription.dropped == 1


async def test_a_full_queue_drops_old_quotes_first():
    """What must arrive pushes out the oldest replaceable messages."""
    hub = Broadcast[str](queue_bound=2)
    async with hub.subscribe("t") as subscription:
        hub.publish("t", "quote 1", replaceable_key=1)
        hub.publish("t", "quote 2", replaceable_key=2)
        hub.publish("t", "signal 1")
        hub.publish("t", "signal 2")
        hub.publish("t", "quote 3", replaceable_key=3)

        assert await read_all(subscription) == ["signal 1", "signal 2"]
        assert (subscription.dropped, subscription.overrun) == (3, False)


async def test_a_reader_too_slow_for_what_must_arrive_is_told():
    """More undroppable messages than the bound end the subscription, saying so, and free its memory."""
    hub = Broadcast[str](queue_bound=2)
    async with hub.subscribe("t") as subscription:
        for number in range(3):
            hub.publish("t", str(number))

        assert [delivery async for delivery in subscription] == []
        assert subscription.overrun
        assert hub.listeners("t") == 0


async def test_an_overrun_reader_can_come_back():
    """After an overrun a new subscription after the last seen number brings what was lost."""
    hub = Broadcast[str](queue_bound=2)
    async with hub.subscribe("t") as subscription:
        hub.publish("t", "0")
        seen = (await anext(subscription)).sequence
        for number in range(1, 5):
            hub.publish("t", str(number))

    async with hub.subscribe("t", after=seen) as again:
        assert await read_all(again) == ["1", "2", "3", "4"]


async def test_a_reconnecting_reader_gets_what_it_missed_across_topics():
    """A replay holds the undroppable messages of all its topics after the given number, in order, then new ones."""
    hub = Broadcast[str]()
    seen = hub.publish("a", "seen")
    hub.publish("b", "b2")
    hub.publish("a", "quote", replaceable_key="SBIN")
    hub.publish("c", "not followed")
    hub.publish("a", "a5")

    async with hub.subscribe("a", "b", after=seen) as subscription:
        hub.publish("b", "new")

        assert not subscription.missed
        assert await read_all(subscription) == ["b2", "a5", "new"]


async def test_a_reader_who_was_away_too_long_is_told():
    """When the memory does not reach back far enough nothing is replayed and the reader is told."""
    hub = Broadcast[str](replay_bound=2)
    for number in range(4):
        hub.publish("t", str(number))

    async with hub.subscribe("t", after=1) as late, hub.subscribe("t", after=2) as in_time:
        assert late.missed
        assert await read_all(late) == []
        assert not in_time.missed
        assert await read_all(in_time) == ["2", "3"]


@pytest.mark.parametrize("after", [5, 99, 1001])
async def test_a_reader_of_another_life_is_told(after):
    """Numbers from before this broadcast began, or from beyond its last, cannot be replayed from."""
    hub = Broadcast[str](first_sequence=100)
    hub.publish("t", "only")

    async with hub.subscribe("t", after=after) as subscription:
        assert subscription.missed == (after != 99)


async def test_topics_can_change_while_reading():
    """A subscription can follow further topics and leave others."""
    hub = Broadcast[str]()
    async with hub.subscribe("a") as subscription:
        subscription.follow("b")
        subscription.unfollow("a")
        hub.publish("a", "left")
        hub.publish("b", "followed")

        assert await read_all(subscription) == ["followed"]
        assert subscription.topics == {"b"}


async def test_a_subscription_that_was_left_costs_nothing():
    """After the block the hub has forgotten the reader and, if nothing is kept of it, the topic."""
    hub = Broadcast[str]()
    async with hub.subscribe("a"):
        assert hub.listeners("a") == 1

    assert hub.listeners("a") == 0
    assert not hub._topics


async def test_closing_ends_readers_after_what_is_queued():
    """On close readers finish what they have, and nobody can publish or follow any more."""
    hub = Broadcast[str]()
    async with hub.subscribe("a") as subscription, hub.subscribe("a") as waiting:
        reader = asyncio.create_task(anext(waiting, None))
        await asyncio.sleep(0)
        hub.publish("a", "last")
        hub.close()
        hub.publish("a", "too late")

        assert [delivery.message async for delivery in subscription] == ["last"]
        assert (await reader).message == "last"
        assert subscription.is_closed
        assert hub.subscribe("a").is_closed
        assert hub.last_sequence == 1


async def test_a_subscription_has_one_reader():
    """A second reader would take half of the messages, so it is refused."""
    hub = Broadcast[str]()
    async with hub.subscribe("a") as subscription:
        reader = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)

        with pytest.raises(RuntimeError, match="one reader"):
            await anext(subscription)
        reader.cancel()


def test_a_queue_without_room_is_refused():
    """A bound below one message is a wrong setting."""
    with pytest.raises(ValueError, match="at least one"):
        Broadcast(queue_bound=0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("state"), st.sampled_from("ab"), st.just(0)),
        st.tuples(st.just("quote"), st.sampled_from("ab"), st.integers(0, 2)),
        st.tuples(st.just("read"), st.just(""), st.integers(1, 4)),
        st.tuples(st.just("reconnect"), st.just(""), st.just(0)),
    ),
    max_size=80,
)


class ObedientReader:
    """A slow reader that comes back after an overrun, and starts afresh when it is told that it missed something."""

    def __init__(self, hub):
        self.hub = hub
        self.subscription = hub.subscribe("a", "b")
        self.last_seen = 0
        self.expected, self.got = [], []
        self.newest_quote = {}

    async def read(self, most):
        """Read up to so many deliveries, checking their order and that quotes are the newest."""
        for _ in range(min(most, self.subscription.pending)):
            delivery = await anext(self.subscription)
            assert delivery.sequence > self.last_seen
            self.last_seen = delivery.sequence
            if delivery.message == "state":
                self.got.append(delivery.sequence)
            else:
                assert self.newest_quote.pop(delivery.message) == delivery.sequence

    def reconnect(self):
        """Subscribe again after what was seen last; take a snapshot when that is too long ago."""
        self.subscription.close()
        self.newest_quote.clear()
        self.subscription = self.hub.subscribe("a", "b", after=self.last_seen)
        if self.subscription.missed:
            self.expected, self.got, self.last_seen = [], [], self.hub.last_sequence


@given(STEPS, st.integers(1, 4), st.integers(0, 4))
def test_nothing_that_must_arrive_is_lost_without_a_word(steps, queue_bound, replay_bound):
    """A reader that obeys `overrun` and `missed` has every state message in order, or was told to start afresh."""

    async def play():
        hub = Broadcast[str](queue_bound=queue_bound, replay_bound=replay_bound)
        reader = ObedientReader(hub)
        for step, topic, number in steps:
            if step == "state":
                reader.expected.append(hub.publish(topic, "state"))
            elif step == "quote":
                key = f"{topic}{number}"
                reader.newest_quote[key] = hub.publish(topic, key, replaceable_key=number)
            elif step == "read":
                await reader.read(number)
            if reader.subscription.overrun or step == "reconnect":
                reader.reconnect()
            queued = len(reader.subscription._must_arrive) + len(reader.subscription._replaceable)
            assert queued <= queue_bound
        await reader.read(10_000)
        assert reader.got == reader.expected

    asyncio.run(play())
