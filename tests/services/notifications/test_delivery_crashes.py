"""A process that dies between any two steps of sending: nothing lost, and twice only what was not stored yet, under the same id."""

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import count

import pytest

from hullwatch.domain.notifications.channels import (
    Channel,
    ChannelAddress,
    Destination,
    Message,
    SendOutcome,
    Sent,
    TryLater,
)
from hullwatch.domain.notifications.notifications import (
    ChannelKind,
    DeliveryState,
    Notification,
    NotificationKind,
)
from hullwatch.services.notifications.concurrency import LIMITS
from hullwatch.services.notifications.delivery import CLAIM
from services.environment import ALICE, Environment, HookedStore

NOTICES, CHANNELS = 3, ("hook1", "hook2", "mail")
UNDER_WAY = 4 + 4 + 2
"""What two webhooks and a mailbox may have under way at once."""
ENDED = NotificationKind.SESSION_DISCONNECTED
PARTS = 4
"""So that several processes share the work."""


def kind_of(name: str) -> ChannelKind:
    """Return what sort of channel this is."""
    return ChannelKind.EMAIL if name == "mail" else ChannelKind.WEBHOOK


MOST_UNDER_WAY = sum(
    limit.per_channel for name in CHANNELS for limit in LIMITS if kind_of(name) in limit.kinds
)
"""Sendings that can be under way, or have ended without being stored, in one moment."""


class Crash:
    """Ends the process before or after a commit, or between a receiver's taking a message and its answer."""

    def __init__(self, at_point: int) -> None:
        self.at_point = at_point
        self.stored: HookedStore | None = None
        self.answers_lost = 0
        self._points = count()
        self._house: Environment | None = None

    def lie_in_wait(self, env: Environment) -> None:
        """Let this environment's receivers be points, and its commits once it has started."""
        self._house = env
        for name in CHANNELS:
            env.carriers.behaviours[name] = self._take

    def count_commits(self) -> None:
        """Let commits be points too; those of a start that is under way would keep it from its end."""
        assert self._house is not None
        self._house.store.before_commit = self._house.store.after_commit = self._at_point

    @property
    def points(self) -> int:
        """How many points were passed."""
        return next(self._points)

    async def _take(self, message: Message) -> SendOutcome:
        assert self._house is not None
        attempts = sum(one.id == message.id for _, one in self._house.carriers.attempts)
        if message.id.startswith("n2.") and attempts == 1:
            return TryLater("The server answered 503.")
        name = message.id.partition(".")[2]
        self._house.carriers.arrived.append((name, message))
        await self._at_point()
        # The fake notes what is answered; here it was taken before the answer, as receivers do.
        self._house.carriers.arrived.remove((name, message))
        return Sent()

    async def _at_point(self) -> None:
        if next(self._points) == self.at_point:
            assert self._house is not None
            self.stored = self._house.store.copied()
            await asyncio.get_running_loop().create_future()


async def live_through(crash: Crash) -> Environment:
    """Store notices, one after the other, and let the outbox send them through a crash and a restart."""
    env = Environment()
    await env.add_user(ALICE)
    async with env.store.begin() as work:
        for name in CHANNELS:
            kind = kind_of(name)
            channel = Channel(
                name, ALICE, kind, name, name, frozenset({ENDED}), is_on=True, created_at=env.clock.now()
            )
            await work.channels.add(channel, Destination(kind, ChannelAddress(name)))
        await work.commit()
    crash.lie_in_wait(env)
    await env.start(with_monitoring=False, with_outbox=True)
    crash.count_commits()
    for number in range(NOTICES):
        while not (await tell(env, crash, f"n{number}")):
            env = await restart(env, crash)
        if crash.stored is not None:
            env = await restart(env, crash)
        await env.clock.advance(1)
    for _ in range(int(CLAIM / timedelta(seconds=5)) + 24):
        await env.clock.advance(5)
        if crash.stored is not None:
            env = await restart(env, crash)
    return env


async def tell(env: Environment, crash: Crash, name: str) -> bool:
    """Store a notice; False when the process died over it before it was stored."""

    async def store() -> None:
        async with env.store.begin() as work:
            notice = Notification(name, ALICE, ENDED, name, "Text", env.clock.now(), incident_id=name)
            await work.notifications.add(notice)
            await work.commit()

    storing = asyncio.create_task(store())
    while not storing.done() and crash.stored is None:
        await env.clock.settle()
    if crash.stored is None:
        await storing
        return True
    return name in crash.stored.tables.notifications


async def restart(env: Environment, crash: Crash) -> Environment:
    """Build a new process on what is stored; receivers remember what they took."""
    assert crash.stored is not None
    stored, crash.stored = crash.stored, None
    reborn = await env.kill(stored)
    crash.lie_in_wait(reborn)
    await reborn.start(with_monitoring=False, with_outbox=True)
    crash.count_commits()
    return reborn


async def judge(env: Environment) -> Counter[str]:
    """See that all arrived and all is stored; return how often each did."""
    arrived = Counter(message.id for _, message in env.carriers.arrived)
    wanted = {f"n{number}.{name}" for number in range(NOTICES) for name in CHANNELS}
    assert set(arrived) == wanted
    assert {one.state for one in env.store.tables.deliveries.values()} == {DeliveryState.SENT}
    assert {one.id for one in env.store.tables.deliveries.values()} == wanted
    await env.kill()
    return arrived


async def test_without_a_crash_each_arrives_once() -> None:
    """Nobody dies, and one receiver answers 503 once."""
    assert set((await judge(await live_through(Crash(-1)))).values()) == {1}


async def points_of_the_story() -> int:
    """Return at how many points the story can be cut."""
    crash = Crash(-1)
    await (await live_through(crash)).kill()
    return crash.points


@pytest.mark.parametrize("part", range(PARTS))
async def test_a_crash_at_any_point_loses_nothing(part: int) -> None:
    """What is repeated was taken by its receiver before its outcome was stored; never more than what was under way then."""
    points = await points_of_the_story()
    assert points > 30
    for point in range(part, points, PARTS):
        arrived = await judge(await live_through(Crash(point)))
        assert max(arrived.values()) <= 2
        assert sum(arrived.values()) - len(arrived) <= UNDER_WAY
