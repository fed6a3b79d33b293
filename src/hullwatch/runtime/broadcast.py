"""Publishes messages to the subscribers of a topic. A slow reader delays nobody."""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Delivery(Generic[T]):
    """A published message with its number in the order of all messages of one broadcast."""

    sequence: int
    topic: Hashable
    message: T


class _Topic(Generic[T]):
    __slots__ = ("followers", "forgotten", "kept")

    def __init__(self, forgotten: int) -> None:
        self.followers: set[Subscription[T]] = set()
        self.kept: list[Delivery[T]] = []  # an empty deque takes ten times the memory of an empty list
        self.forgotten = forgotten  # the newest sequence that can no longer be replayed


class Subscription(Generic[T]):
    """The deliveries for one reader. Iterate over it inside `async with`; leaving the block closes it.

    Deliveries come in the order of their sequence numbers. After `close` of the subscription or the
    broadcast, the iteration ends once the queued deliveries are read. After an overrun it ends at once.

    Attributes:
        missed: the requested replay is impossible, because older messages are gone. Read everything anew.
        overrun: closed because more messages that must not be dropped were queued than fit.
        dropped: replaceable messages that were dropped or replaced by a newer one before they were read.
    """

    __slots__ = (
        "_bound", "_broadcast", "_closed", "_must_arrive", "_replaceable", "_replay", "_topics", "_waiter",
        "dropped", "missed", "overrun",
    )  # fmt: skip

    def __init__(
        self, broadcast: "Broadcast[T]", bound: int, replay: list[Delivery[T]], *, missed: bool
    ) -> None:
        self._broadcast = broadcast
        self._bound = bound
        self._replay = replay[::-1]
        self._must_arrive: list[Delivery[T]] = []
        self._replaceable: OrderedDict[tuple[Hashable, Hashable], Delivery[T]] = OrderedDict()
        self._topics: set[Hashable] = set()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self.missed = missed
        self.overrun = False
        self.dropped = 0

    @property
    def topics(self) -> frozenset[Hashable]:
        """The topics that are followed."""
        return frozenset(self._topics)

    @property
    def is_closed(self) -> bool:
        """Whether nothing further will be queued."""
        return self._closed

    @property
    def pending(self) -> int:
        """Deliveries that are not read yet."""
        return len(self._replay) + len(self._must_arrive) + len(self._replaceable)

    def follow(self, *topics: Hashable) -> None:
        """Follow further topics from now on."""
        if not self._closed:
            self._topics.update(topics)
            self._broadcast._add(self, topics)  # noqa: SLF001 - the two halves of one hub

    def unfollow(self, *topics: Hashable) -> None:
        """Stop following topics; their queued messages are still delivered."""
        self._topics.difference_update(topics)
        self._broadcast._remove(self, topics)  # noqa: SLF001 - the two halves of one hub

    def close(self) -> None:
        """End the subscription; queued messages can still be read."""
        if not self._closed:
            self._closed = True
            self.unfollow(*self._topics)
            self._wake()

    async def __aenter__(self) -> "Subscription[T]":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> "Subscription[T]":
        return self

    async def __anext__(self) -> Delivery[T]:
        while True:
            delivery = self._next()
            if delivery is not None:
                return delivery
            if self._closed:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("a subscription has one reader")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _next(self) -> Delivery[T] | None:
        if self._replay:
            return self._replay.pop()
        if not self._replaceable:
            return self._must_arrive.pop(0) if self._must_arrive else None
        key = next(iter(self._replaceable))
        if self._must_arrive and self._must_arrive[0].sequence < self._replaceable[key].sequence:
            return self._must_arrive.pop(0)
        return self._replaceable.pop(key)

    def _put(self, delivery: Delivery[T], replaceable_key: Hashable | None) -> None:
        if replaceable_key is not None:
            self._put_replaceable((delivery.topic, replaceable_key), delivery)
        elif len(self._must_arrive) >= self._bound:
            self._overrun()
        else:
            self._must_arrive.append(delivery)
            self._drop_replaceable(self._bound)
        self._wake()

    def _put_replaceable(self, key: tuple[Hashable, Hashable], delivery: Delivery[T]) -> None:
        # The new one goes to the end and not to the old one's position: a reader reports the last sequence
        # that it saw, and must have received everything before it.
        if self._replaceable.pop(key, None) is not None:
            self.dropped += 1
        self._drop_replaceable(self._bound - 1)
        if len(self._must_arrive) < self._bound:
            self._replaceable[key] = delivery
        else:
            self.dropped += 1

    def _drop_replaceable(self, most: int) -> None:
        while self._replaceable and len(self._must_arrive) + len(self._replaceable) > most:
            self._replaceable.popitem(last=False)
            self.dropped += 1

    def _overrun(self) -> None:
        self.overrun = True
        self._replay.clear()
        self._must_arrive.clear()
        self._replaceable.clear()
        self.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Broadcast(Generic[T]):
    """Topics with their subscribers and recent messages. All but reading is synchronous.

    Args:
        queue_bound: most unread deliveries of a reader.
        replay_bound: messages kept per topic for a replay; replaceable messages are not kept.
        first_sequence: the number of the first message. A new process starts above the numbers of the last
            one (as with microseconds since 1970), so that a reader of the old process sees `missed`.
    """

    def __init__(self, *, queue_bound: int = 256, replay_bound: int = 256, first_sequence: int = 1) -> None:
        if queue_bound < 1 or replay_bound < 0:
            raise ValueError("a queue holds at least one message")
        self._queue_bound = queue_bound
        self._replay_bound = replay_bound
        self._forgotten = first_sequence - 1
        self._sequence = first_sequence - 1
        self._topics: dict[Hashable, _Topic[T]] = {}
        self._closed = False

    @property
    def last_sequence(self) -> int:
        """The number of the newest message; one below the first number before any message."""
        return self._sequence

    def listeners(self, topic: Hashable) -> int:
        """Return the number of subscriptions that follow the topic."""
        found = self._topics.get(topic)
        return len(found.followers) if found else 0

    def publish(self, topic: Hashable, message: T, *, replaceable_key: Hashable | None = None) -> int:
        """Deliver the message to all followers of the topic and return its sequence number.

        All readers share the message, so it must not change. `replaceable_key` is for messages of which only
        the newest matters, such as the quote of one symbol: a newer one of the same topic and key replaces an
        unread one, and a full queue drops such messages first. A message without a key is never dropped
        silently: the reader is overrun. After `close` nothing is published.
        """
        if self._closed:
            return self._sequence
        self._sequence += 1
        delivery = Delivery(self._sequence, topic, message)
        found = self._topics.get(topic)
        if replaceable_key is None:
            found = found or self._topic(topic)
            self._remember(found, delivery)
        if found:
            for subscription in tuple(found.followers):  # an overrun subscription leaves the set
                subscription._put(delivery, replaceable_key)  # noqa: SLF001 - the two halves of one hub
        return self._sequence

    def subscribe(self, *topics: Hashable, after: int | None = None) -> Subscription[T]:
        """Follow topics from this call on. Use it in `async with` or close it: an open one keeps filling.

        Messages without a replaceable key that are later than the sequence `after` are replayed first. When
        some of them are gone, nothing is replayed and `missed` is set.
        """
        missed, replay = False, list[Delivery[T]]()
        if after is not None:
            known = [self._topics[topic] for topic in dict.fromkeys(topics) if topic in self._topics]
            forgotten = max((topic.forgotten for topic in known), default=self._forgotten)
            missed = not forgotten <= after <= self._sequence
            if not missed:
                merged = heapq.merge(*(topic.kept for topic in known), key=lambda delivery: delivery.sequence)
                replay.extend(delivery for delivery in merged if delivery.sequence > after)
        subscription = Subscription(self, self._queue_bound, replay, missed=missed)
        if self._closed:
            subscription.close()
        subscription.follow(*topics)
        return subscription

    def close(self) -> None:
        """Close every subscription; nothing can be published or followed any more."""
        self._closed = True
        for topic in tuple(self._topics.values()):
            for subscription in tuple(topic.followers):
                subscription.close()
        self._topics.clear()

    def _topic(self, topic: Hashable) -> _Topic[T]:
        return self._topics.setdefault(topic, _Topic(self._forgotten))

    def _remember(self, topic: _Topic[T], delivery: Delivery[T]) -> None:
        topic.kept.append(delivery)
        if len(topic.kept) > self._replay_bound:
            topic.forgotten = topic.kept.pop(0).sequence

    def _add(self, subscription: Subscription[T], topics: tuple[Hashable, ...]) -> None:
        for topic in topics:
            self._topic(topic).followers.add(subscription)

    def _remove(self, subscription: Subscription[T], topics: tuple[Hashable, ...]) -> None:
        for topic in topics:
            found = self._topics.get(topic)
            if found is None:
                continue
            found.followers.discard(subscription)
            if not found.followers and not found.kept and found.forgotten == self._forgotten:
                del self._topics[topic]
