"""Tests that a crash at any point loses and repeats no signal and no notice."""

import asyncio
from datetime import timedelta
from itertools import count

import pytest
from fakes.broker import AccountState, Call

from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.signals.signals import Rule
from services.environment import (
    ALICE,
    FIVE,
    SBIN,
    Environment,
    HookedStore,
    candles_of,
    expected_signals,
    found,
    fyers_id,
    quote,
)

MARKET = candles_of(seed=1)
REVOKED_AFTER, LOGIN_AFTER, ENDS_AFTER = timedelta(minutes=3), timedelta(minutes=8), timedelta(minutes=15)


class Crash:
    """Ends the process at one of the points at which it waits for Fyers or the database."""

    def __init__(self, at_point: int) -> None:
        self.at_point = at_point
        self.stored: HookedStore | None = None
        self._points = count()
        self._env: Environment | None = None

    def count_points(self, env: Environment) -> None:
        """Count the points of this environment: history calls, and before and after each commit."""
        self._env = env
        env.broker.before_answer = self._at_call
        env.store.before_commit = env.store.after_commit = self._at_point

    @property
    def points(self) -> int:
        """Number of points that were passed."""
        return next(self._points)

    async def _at_call(self, call: Call) -> None:
        if call.name != "quotes":
            await self._at_point()

    async def _at_point(self) -> None:
        if next(self._points) == self.at_point:
            assert self._env is not None
            self.stored = self._env.store.copied()
            await asyncio.get_running_loop().create_future()  # the process is stopped here


async def run_through(crash: Crash) -> Environment:
    """Monitor for a quarter of an hour with a revoked session in the middle, through a crash and a restart."""
    env = Environment()
    env.broker.serve_candles(SBIN, FIVE, MARKET)
    env.broker.serve_quotes([quote(SBIN)])
    await env.with_sessions(ALICE)
    await env.start()
    for rule in Rule:
        await env.watch(ALICE, rule=rule)
    await env.monitoring.start(ALICE)
    began = env.clock.now()
    crash.count_points(env)
    is_revoked = has_logged_in = False
    while (passed := env.clock.now() - began) < ENDS_AFTER:
        await env.clock.advance(5)
        if crash.stored is not None:
            env = await (await env.kill(crash.stored)).start()
            crash.stored = None
        if passed >= REVOKED_AFTER and not is_revoked:
            env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
            is_revoked = True
        is_down = not env.connections.connection(ALICE).has_session
        if passed >= LOGIN_AFTER and is_down and not has_logged_in:
            has_logged_in = True
            logging_in = asyncio.create_task(env.log_in(ALICE))
            await env.clock.settle()
            if crash.stored is not None:
                env = await (await env.kill(crash.stored)).start()
                crash.stored, has_logged_in = None, env.connections.connection(ALICE).has_session
            else:
                await logging_in
    env.broker.before_answer = env.store.before_commit = env.store.after_commit = None
    await env.clock.advance(30)
    return env


async def check(env: Environment) -> None:
    """Compare the signals with a replay, and expect one disconnect notice."""
    began, through = env.store.tables.wishes[ALICE].changed_at, env.clock.now()
    for rule in Rule:
        own = [signal for signal in env.signals(ALICE) if signal.rule is rule]
        assert found(own) == expected_signals(MARKET, rule, after=began, through=through)
    assert env.signals(ALICE)
    assert len(env.notices(ALICE, NotificationKind.SESSION_DISCONNECTED)) == 1
    assert env.connections.connection(ALICE).has_session
    assert env.stored(ALICE).generation == 2
    assert env.monitoring.state(ALICE).is_running
    await env.kill()


async def test_the_scenario_without_a_crash() -> None:
    """It shows that the scenario itself is right."""
    await check(await run_through(Crash(-1)))


async def points_of_the_scenario() -> int:
    """Return at how many points the scenario can be interrupted."""
    crash = Crash(-1)
    await (await run_through(crash)).kill()
    return crash.points


@pytest.mark.parametrize("part", range(4))
async def test_a_crash_at_any_point_loses_and_repeats_nothing(part: int) -> None:
    """The points are before, during and after a commit, and during a call to Fyers."""
    points = await points_of_the_scenario()
    assert points > 30
    for point in range(part, points, 4):
        await check(await run_through(Crash(point)))
