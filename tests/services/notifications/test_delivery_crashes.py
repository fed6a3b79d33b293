"""Tests a crash between any two steps of sending.

No message is lost. A message is sent twice only if its result was not stored, and then with the same id.
"""

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import count

import pytest

from hullwatch.domain.notifications.channels import (
    AddressProof,
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
from hullwatch.services.notifications.delivery import CLAIM
from services.environment import ALICE, Environment, HookedStore

NOTICES, CHANNELS = 3, ("hook1", "hook2", "mail")
UNDER_WAY = 4 + 4 + 2
"""The largest number of messages under way on two webhooks and a mailbox."""
ENDED = NotificationKind.SESSION_DISCONNECTED
PARTS = 4
"""Several test processes can share the crash points."""


def kind_of(name: str) -> ChannelKind:
    """Return the kind of the channel with this name."""
    return ChannelKind.EMAIL if name == "mail" else ChannelKind.WEBHOOK


class Crash:
    """Stops the process before or after a commit, or before a receiver answers."""

    def __init__(self, at_point: int) -> None:
        self.at_point = at_point
        self.stored: HookedStore | None = None
        self.answers_lost = 0
        self._points = count()
        self._env: Environment | None = None

    def watch_receivers(self, env: Environment) -> None:
        """Count each message that a receiver of this environment accepts as a crash point."""
        self._env = env
        for name in CHANNELS:
            env.carriers.behaviours[name] = self._accept

    def count_commits(self) -> None:
        """Count commits as crash points too. A crash during the start would block the start for ever."""
        assert self._env is not None
        self._env.store.before_commit = self._env.store.after_commit = self._at_point

    @property
    def points(self) -> int:
        """The number of crash points that were passed."""
        return next(self._points)

    async def _accept(self, message: Message) -> SendOutcome:
        assert self._env is not None
        attempts = sum(one.id == message.id for _, one in self._env.carriers.attempts)
        if message.id.startswith("n2.") and attempts == 1:
            return TryLater("The server answered 503.")
        name = message.id.partition(".")[2]
        self._env.carriers.arrived.append((name, message))
        await self._at_point()
        # The fake adds the message again after the answer. A real receiver stores it before the answer.
        self._env.carriers.arrived.remove((name, message))
        return Sent()

    async def _at_point(self) -> None:
        if next(self._points) == self.at_point:
            assert self._env is not None
            self.stored = self._env.store.copied()
            await asyncio.get_running_loop().create_future()


async def run_scenario(crash: Crash) -> Environment:
    """Store the notices one by one. The outbox sends them before and after a crash."""
    env = Environment()
    await env.add_user(ALICE)
    async with env.store.begin() as work:
        for name in CHANNELS:
            kind = kind_of(name)
            channel = Channel(
                name,
                ALICE,
                kind,
                name,
                name,
                frozenset({ENDED}),
                is_on=True,
                created_at=env.clock.now(),
                proof=AddressProof.CODE,
            )
            await work.channels.add(channel, Destination(kind, ChannelAddress(name)))
        await work.commit()
    crash.watch_receivers(env)
    await env.start(with_monitoring=False, with_outbox=True)
    crash.count_commits()
    for number in range(NOTICES):
        while not (await store_notice(env, crash, f"n{number}")):
            env = await restart(env, crash)
        if crash.stored is not None:
            env = await restart(env, crash)
        await env.clock.advance(1)
    for _ in range(int(CLAIM / timedelta(seconds=5)) + 24):
        await env.clock.advance(5)
        if crash.stored is not None:
            env = await restart(env, crash)
    return env


async def store_notice(env: Environment, crash: Crash, name: str) -> bool:
    """Store a notice. Return False if the process crashed before the notice was stored."""

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
    """Start a new process on the stored data. The receivers keep the messages that they accepted."""
    assert crash.stored is not None
    stored, crash.stored = crash.stored, None
    restarted = await env.kill(stored)
    crash.watch_receivers(restarted)
    await restarted.start(with_monitoring=False, with_outbox=True)
    crash.count_commits()
    return restarted


async def check_and_count(env: Environment) -> Counter[str]:
    """Check that every message arrived and is stored as sent. Return how often each arrived."""
    arrived = Counter(message.id for _, message in env.carriers.arrived)
    expected = {f"n{number}.{name}" for number in range(NOTICES) for name in CHANNELS}
    assert set(arrived) == expected
    assert {one.state for one in env.store.tables.deliveries.values()} == {DeliveryState.SENT}
    assert {one.id for one in env.store.tables.deliveries.values()} == expected
    await env.kill()
    return arrived


async def test_without_a_crash_each_arrives_once() -> None:
    """One receiver answers 503 once, and the message is retried."""
    assert set((await check_and_count(await run_scenario(Crash(-1)))).values()) == {1}


async def count_points() -> int:
    """Return the number of crash points of the scenario."""
    crash = Crash(-1)
    await (await run_scenario(crash)).kill()
    return crash.points


@pytest.mark.parametrize("part", range(PARTS))
async def test_a_crash_at_any_point_loses_nothing(part: int) -> None:
    """At most the messages that were under way at the crash arrive twice."""
    points = await count_points()
    assert points > 30
    for point in range(part, points, PARTS):
        arrived = await check_and_count(await run_scenario(Crash(point)))
        assert max(arrived.values()) <= 2
        assert sum(arrived.values()) - len(arrived) <= UNDER_WAY
