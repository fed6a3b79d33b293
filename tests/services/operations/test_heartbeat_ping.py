"""Pings go out only while monitoring works; `hullwatch.services.operations.heartbeat_ping`."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from fakes.broker import AccountState

from hullwatch.domain.monitoring.health import PingAccepted, PingFailed
from hullwatch.services.operations.heartbeat_ping import JOB, HeartbeatPing
from services.environment import (
    ALICE,
    BOB,
    CAROL,
    CLOSING,
    FIVE,
    OPENING,
    SBIN,
    Environment,
    candles_of,
    fyers_id,
    quote,
)


class Outside:
    """Counts the pings that arrive."""

    def __init__(self) -> None:
        self.pings = 0
        self.answer: PingAccepted | PingFailed = PingAccepted()

    async def ping(self) -> PingAccepted | PingFailed:
        """Take one."""
        self.pings += 1
        return self.answer


class Watched:
    """An environment in trading hours with three accounts that are watched, and the switch."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.outside = Outside()
        self.switch = HeartbeatPing(health=env.monitoring.health, port=self.outside)

    async def pings_in(self, seconds: float) -> int:
        """Let time pass; return how many pings it brought."""
        before = self.outside.pings
        await self.env.clock.advance(seconds)
        return self.outside.pings - before


PEOPLE = (ALICE, BOB, CAROL)


async def watching(now: datetime) -> Watched:
    """Return an environment in which three accounts have been watched for half a minute, and pings go out every minute."""
    env = await Environment(now=now).start()
    env.broker.candles_by_key[SBIN, FIVE] = candles_of()
    env.broker.quotes_by_symbol[SBIN] = quote()
    await env.with_sessions(*PEOPLE)
    for user_id in PEOPLE:
        await env.watch(user_id)
        await env.monitoring.start(user_id)
    await env.clock.advance(30)
    it = Watched(env)
    it.switch.start_job(env.supervisor, 60.0)
    return it


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    """It is a quarter to ten."""
    it = await watching(OPENING + timedelta(minutes=30))
    yield it
    await it.env.supervisor.stop(0)


@pytest.fixture
async def evening() -> AsyncIterator[Watched]:
    """It is just before the close."""
    it = await watching(CLOSING - timedelta(minutes=5))
    yield it
    await it.env.supervisor.stop(0)


async def test_it_pings_while_cycles_complete(watched: Watched) -> None:
    """Once an interval, and while a single account cannot be watched."""
    assert await watched.pings_in(600) == 10

    await watched.env.connections.sign_out(BOB, actor=BOB)
    assert await watched.pings_in(600) == 10


async def test_one_watched_among_many_who_lost_their_sessions_does_not_keep_it_pinging(
    watched: Watched,
) -> None:
    """Most are gone since the bell: whoever still is watched does not speak for them, until one more is back."""
    for user_id in (BOB, CAROL):
        watched.env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)
    await watched.pings_in(60)
    assert await watched.pings_in(600) == 0

    watched.env.broker.set_state(fyers_id(BOB), AccountState.ACTIVE)
    await watched.env.log_in(BOB)
    await watched.pings_in(60)
    assert await watched.pings_in(600) == 10


async def test_who_has_not_logged_in_by_the_bell_raises_no_alarm(evening: Watched) -> None:
    """It is told them, and nothing is wrong with monitoring; but where nobody is watched somebody should look."""
    env = await evening.env.kill()
    await env.clock.advance_to(OPENING + timedelta(days=1, hours=-1))
    await env.start()
    await env.clock.advance_to(OPENING + timedelta(days=1, minutes=1))
    it = Watched(env)
    it.switch.start_job(env.supervisor, 60.0)
    assert await it.pings_in(600) == 0

    await env.log_in(ALICE)
    await it.pings_in(60)
    assert await it.pings_in(600) == 10
    await env.supervisor.stop(0)


async def test_a_cycle_whose_findings_are_not_stored_has_not_completed(watched: Watched) -> None:
    """The database is gone: what candles close with is judged, and kept nowhere."""
    watched.env.store.is_down = True
    await watched.pings_in(360)
    assert await watched.pings_in(300) == 0

    watched.env.store.is_down = False
    await watched.pings_in(60)
    assert await watched.pings_in(300) == 5


async def test_one_that_hangs_for_ever_is_missed(watched: Watched) -> None:
    """A cycle has a deadline; one that outlasts it is nobody's trouble but our own."""
    account = watched.env.monitoring._scheduler.accounts[BOB]
    account.is_running = True  # as if its task had been lost
    await watched.pings_in(60)

    assert await watched.pings_in(600) == 0


async def test_it_is_silent_when_nobody_can_be_watched(watched: Watched) -> None:
    """Sessions gone or Fyers down in trading hours: whoever listens shall miss it, until most are watched again."""
    for user_id in PEOPLE:
        watched.env.broker.set_state(fyers_id(user_id), AccountState.UNAVAILABLE)
    await watched.pings_in(60)
    assert await watched.pings_in(600) == 0

    watched.env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)
    await watched.pings_in(120)
    assert await watched.pings_in(600) == 0

    watched.env.broker.set_state(fyers_id(BOB), AccountState.ACTIVE)
    await watched.pings_in(120)
    assert await watched.pings_in(600) == 10


async def test_it_is_silent_when_cycles_hang(watched: Watched) -> None:
    """Fyers takes every call and answers none."""
    watched.env.broker.before_answer = lambda _: asyncio.Event().wait()
    await watched.pings_in(90)

    assert await watched.pings_in(600) == 0


async def test_it_is_silent_when_the_loop_does_not_turn() -> None:
    """Nothing starts cycles while the supervisor, and so the switch, goes on; at night too."""
    env = await Environment(now=CLOSING + timedelta(hours=1)).start(with_monitoring=False)
    it = Watched(env)
    it.switch.start_job(env.supervisor, 60.0)

    assert await it.pings_in(60) == 1
    await it.pings_in(60)
    assert await it.pings_in(600) == 0
    await env.supervisor.stop(0)


async def test_nights_and_quiet_houses_raise_no_alarm(evening: Watched) -> None:
    """After the close, and in trading hours when nobody wants to be watched, the turning loop is enough."""
    await evening.env.clock.advance_to(CLOSING + timedelta(minutes=10))
    assert await evening.pings_in(3600) == 60

    for user_id in PEOPLE:
        await evening.env.monitoring.stop(user_id)
    await evening.env.clock.advance_to(OPENING + timedelta(days=1, hours=1))
    assert await evening.pings_in(600) == 10


async def test_the_opening_bell_is_no_alarm(evening: Watched) -> None:
    """Nobody's first cycle is missed before it can be through."""
    await evening.env.clock.advance_to(CLOSING + timedelta(minutes=10))
    await evening.env.clock.advance_to(OPENING + timedelta(hours=21))
    for user_id in PEOPLE:
        await evening.env.log_in(user_id)
    await evening.env.clock.advance_to(OPENING + timedelta(days=1) - timedelta(minutes=10))

    assert await evening.pings_in(1200) == 20


async def test_a_ping_that_fails_disturbs_nobody(watched: Watched) -> None:
    """It is tried again with the next one."""
    watched.outside.answer = PingFailed("timeout")

    assert await watched.pings_in(300) == 5

    [job] = [job for job in watched.env.supervisor.jobs() if job.name == JOB]
    assert job.is_healthy
    assert job.failures == 0
    assert not job.is_essential
