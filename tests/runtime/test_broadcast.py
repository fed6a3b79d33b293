import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.runtime.broadcast import Broadcast


def read_all(subscription):
    """Return the queued messages of the subscription without waiting."""

    async def read():
        return [(await anext(subscription)).message for _ in range(subscription.pending)]

    return read()


async def test_followers_of_a_topic_get_its_messages_in_order():
    """The numbers follow the order of publishing; messages of other topics do not come."""
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
    """A reader may wait before the first message is published."""
    hub = Broadcast[str]()
    async with hub.subscribe("a") as subscription:
        reader = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)

        hub.publish("a", "now")

        assert (await reader).message == "now"


async def test_a_cancelled_reader_loses_nothing():
    """A cancelled read leaves the next message to the next read."""
    hub = Broadcast[str]()
    async with hub.subscribe("a") as subscription:
        reader = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
        reader.cancel()
        hub.publish("a", "kept")

        assert (await anext(subscription)).message == "kept"


async def test_a_newer_quote_replaces_an_unread_one():
    """A slow reader gets the newest message of a key only, at its own number in the order."""
    hub = Broadcast[str]()
    async with hub.subscribe("quotes") as subscription:
        hub.publish("quotes", "SBIN 1", replaceable_key="SBIN")
        hub.publish("quotes", "TCS 1", replaceable_key="TCS")
        hub.publish("quotes", "halted")
        hub.publish("quotes", "SBIN 2", replaceable_key="SBIN")

        assert await read_all(subscription) == ["TCS 1", "halted", "SBIN 2"]
        assert subscription.dropped == 1


async def test_a_full_queue_drops_old_quotes_first():
    """Messages that must arrive push out the oldest replaceable ones."""
    hub = Broadcast[str](queue_bound=2)
    async with hub.subscribe("t") as subscription:
        hub.publish("t", "quote 1", replaceable_key=1)
        hub.publish("t", "quote 2", replaceable_key=2)
        hub.publish("t", "signal 1")
        hub.publish("t", "signal 2")
        hub.publish("t", "quote 3", replaceable_key=3)

        assert await read_all(subscription) == ["signal 1", "signal 2"]
        assert (subscription.dropped, subscription.overrun) == (3, False)


async def test_a_reader_that_is_too_slow_is_overrun():
    """More messages than the bound close the subscription and free its memory."""
    hub = Broadcast[str](queue_bound=2)
    async with hub.subscribe("t") as subscription:
        for number in range(3):
            hub.publish("t", str(number))

        assert [delivery async for delivery in subscription] == []
        assert subscription.overrun
        assert hub.listeners("t") == 0


async def test_an_overrun_reader_can_subscribe_again():
    """A new subscription after the last seen number replays the lost messages."""
    hub = Broadcast[str](queue_bound=2)
    async with hub.subscribe("t") as subscription:
        hub.publish("t", "0")
        seen = (await anext(subscription)).sequence
        for number in range(1, 5):
            hub.publish("t", str(number))

    async with hub.subscribe("t", after=seen) as again:
        assert await read_all(again) == ["1", "2", "3", "4"]


async def test_a_replay_covers_all_topics_in_order():
    """The messages after the given number come first, then new ones."""
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


async def test_a_replay_that_is_too_old_is_refused():
    """Without the oldest messages nothing is replayed, and `missed` is set."""
    hub = Broadcast[str](replay_bound=2)
    for number in range(4):
        hub.publish("t", str(number))

    async with hub.subscribe("t", after=1) as late, hub.subscribe("t", after=2) as in_time:
        assert late.missed
        assert await read_all(late) == []
        assert not in_time.missed
        assert await read_all(in_time) == ["2", "3"]


@pytest.mark.parametrize("after", [5, 99, 1001])
async def test_a_number_of_another_process_is_refused(after):
    """A number below the first or above the last one belongs to another broadcast."""
    hub = Broadcast[str](first_sequence=100)
    hub.publish("t", "only")

    async with hub.subscribe("t", after=after) as subscription:
        assert subscription.missed == (after != 99)


async def test_topics_can_change_while_reading():
    """A dashboard follows other symbols without a new subscription."""
    hub = Broadcast[str]()
    async with hub.subscribe("a") as subscription:
        subscription.follow("b")
        subscription.unfollow("a")
        hub.publish("a", "left")
        hub.publish("b", "followed")

        assert await read_all(subscription) == ["followed"]
        assert subscription.topics == {"b"}


async def test_a_closed_subscription_uses_no_memory():
    """The hub drops the reader and, when it has no kept messages, the topic."""
    hub = Broadcast[str]()
    async with hub.subscribe("a"):
        assert hub.listeners("a") == 1

    assert hub.listeners("a") == 0
    assert not hub._topics


async def test_readers_end_after_the_queued_messages():
    """After `close` of the hub nothing can be published or followed."""
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
    """A second reader would take half of the messages."""
    hub = Broadcast[str]()
    async with hub.subscribe("a") as subscription:
        reader = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)

        with pytest.raises(RuntimeError, match="one reader"):
            await anext(subscription)
        reader.cancel()


def test_a_queue_without_capacity_is_refused():
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


class CarefulReader:
    """A slow reader that subscribes again after an overrun and starts anew when `missed` is set."""

    def __init__(self, hub):
        self.hub = hub
        self.subscription = hub.subscribe("a", "b")
        self.last_seen = 0
        self.expected, self.got = [], []
        self.newest_quote = {}

    async def read(self, most):
        """Read up to so many deliveries; check their order and that each quote is the newest."""
        for _ in range(min(most, self.subscription.pending)):
            delivery = await anext(self.subscription)
            assert delivery.sequence > self.last_seen
            self.last_seen = delivery.sequence
            if delivery.message == "state":
                self.got.append(delivery.sequence)
            else:
                assert self.newest_quote.pop(delivery.message) == delivery.sequence

    def reconnect(self):
        """Subscribe again after the last seen number; start anew when that is too long ago."""
        self.subscription.close()
        self.newest_quote.clear()
        self.subscription = self.hub.subscribe("a", "b", after=self.last_seen)
        if self.subscription.missed:
            self.expected, self.got, self.last_seen = [], [], self.hub.last_sequence


@given(STEPS, st.integers(1, 4), st.integers(0, 4))
def test_no_message_is_lost_silently(steps, queue_bound, replay_bound):
    """A reader that obeys `overrun` and `missed` has all state messages in order, or started anew."""

    async def play():
        hub = Broadcast[str](queue_bound=queue_bound, replay_bound=replay_bound)
        reader = CarefulReader(hub)
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
