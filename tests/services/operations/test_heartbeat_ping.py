"""Tests that pings are sent only while monitoring works."""

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


class Receiver:
    """A receiver that counts the pings."""

    def __init__(self) -> None:
        self.pings = 0
        self.answer: PingAccepted | PingFailed = PingAccepted()

    async def ping(self) -> PingAccepted | PingFailed:
        """Count one ping."""
        self.pings += 1
        return self.answer


class Watched:
    """An environment with the heartbeat ping and its receiver."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.receiver = Receiver()
        self.heartbeat = HeartbeatPing(
            health=env.monitoring.health, storage=env.storage_health.state, port=self.receiver
        )
        env.storage_health.start_job(env.supervisor)

    async def pings_in(self, seconds: float) -> int:
        """Let time pass and return the number of pings."""
        before = self.receiver.pings
        await self.env.clock.advance(seconds)
        return self.receiver.pings - before


ACCOUNTS = (ALICE, BOB, CAROL)


async def watching(now: datetime) -> Watched:
    """Return an environment that watches three accounts and sends a ping every minute."""
    env = await Environment(now=now).start()
    env.broker.candles_by_key[SBIN, FIVE] = candles_of()
    env.broker.quotes_by_symbol[SBIN] = quote()
    await env.with_sessions(*ACCOUNTS)
    for user_id in ACCOUNTS:
        await env.watch(user_id)
        await env.monitoring.start(user_id)
    await env.clock.advance(30)
    built = Watched(env)
    built.heartbeat.start_job(env.supervisor, 60.0)
    return built


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    """The time is 09:45 IST."""
    built = await watching(OPENING + timedelta(minutes=30))
    yield built
    await built.env.supervisor.stop(0)


@pytest.fixture
async def evening() -> AsyncIterator[Watched]:
    """The time is five minutes before the market close."""
    built = await watching(CLOSING - timedelta(minutes=5))
    yield built
    await built.env.supervisor.stop(0)


async def test_pings_are_sent_while_cycles_complete(watched: Watched) -> None:
    """One account that cannot be watched does not stop the pings."""
    assert await watched.pings_in(600) == 10

    await watched.env.connections.sign_out(BOB, actor=BOB)
    assert await watched.pings_in(600) == 10


async def test_no_ping_is_sent_when_most_sessions_are_disconnected(watched: Watched) -> None:
    """One of three accounts is not enough, and two are."""
    for user_id in (BOB, CAROL):
        watched.env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)
    await watched.pings_in(60)
    assert await watched.pings_in(600) == 0

    watched.env.broker.set_state(fyers_id(BOB), AccountState.ACTIVE)
    await watched.env.log_in(BOB)
    await watched.pings_in(60)
    assert await watched.pings_in(600) == 10


async def test_accounts_without_a_login_at_market_open_do_not_count(evening: Watched) -> None:
    """Their users get a notice instead. No ping is sent while no account at all is watched."""
    env = await evening.env.kill()
    await env.clock.advance_to(OPENING + timedelta(days=1, hours=-1))
    await env.start()
    await env.clock.advance_to(OPENING + timedelta(days=1, minutes=1))
    built = Watched(env)
    built.heartbeat.start_job(env.supervisor, 60.0)
    assert await built.pings_in(600) == 0

    await env.log_in(ALICE)
    await built.pings_in(60)
    assert await built.pings_in(600) == 10
    await env.supervisor.stop(0)


async def test_a_cycle_without_a_stored_result_is_not_complete(watched: Watched) -> None:
    """During a database outage candles are evaluated, but their results are not stored."""
    watched.env.store.is_down = True
    await watched.pings_in(360)
    assert await watched.pings_in(300) == 0

    watched.env.store.is_down = False
    await watched.pings_in(60)
    assert await watched.pings_in(300) == 5


async def test_no_ping_is_sent_at_night_when_nothing_can_be_stored(evening: Watched) -> None:
    """No cycle is due then, and its results are no sign."""
    await evening.env.clock.advance_to(CLOSING + timedelta(hours=3))
    evening.env.store.is_down = True
    await evening.pings_in(60)
    assert await evening.pings_in(600) == 0

    evening.env.store.is_down = False
    await evening.pings_in(60)
    assert await evening.pings_in(600) == 10


async def test_no_ping_is_sent_when_a_cycle_hangs_for_ever(watched: Watched) -> None:
    """A cycle has a deadline, so only an error in hullwatch can exceed it."""
    account = watched.env.monitoring._scheduler.accounts[BOB]
    account.is_running = True  # as if its task had been lost
    await watched.pings_in(60)

    assert await watched.pings_in(600) == 0


async def test_no_ping_is_sent_during_an_outage_of_fyers(watched: Watched) -> None:
    """Pings resume when most accounts are watched again."""
    for user_id in ACCOUNTS:
        watched.env.broker.set_state(fyers_id(user_id), AccountState.UNAVAILABLE)
    await watched.pings_in(60)
    assert await watched.pings_in(600) == 0

    watched.env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)
    await watched.pings_in(120)
    assert await watched.pings_in(600) == 0

    watched.env.broker.set_state(fyers_id(BOB), AccountState.ACTIVE)
    await watched.pings_in(120)
    assert await watched.pings_in(600) == 10


async def test_no_ping_is_sent_when_all_cycles_hang(watched: Watched) -> None:
    """Fyers accepts every call and answers none."""
    watched.env.broker.before_answer = lambda _: asyncio.Event().wait()
    await watched.pings_in(90)

    assert await watched.pings_in(600) == 0


async def test_no_ping_is_sent_when_the_scheduler_does_not_run() -> None:
    """The supervisor still runs the heartbeat job. The rule holds at night too."""
    env = await Environment(now=CLOSING + timedelta(hours=1)).start(with_monitoring=False)
    built = Watched(env)
    built.heartbeat.start_job(env.supervisor, 60.0)

    assert await built.pings_in(60) == 1
    await built.pings_in(60)
    assert await built.pings_in(600) == 0
    await env.supervisor.stop(0)


async def test_pings_are_sent_at_night_and_without_accounts(evening: Watched) -> None:
    """Without accounts to watch, a running scheduler is enough."""
    await evening.env.clock.advance_to(CLOSING + timedelta(minutes=10))
    assert await evening.pings_in(3600) == 60

    for user_id in ACCOUNTS:
        await evening.env.monitoring.stop(user_id)
    await evening.env.clock.advance_to(OPENING + timedelta(days=1, hours=1))
    assert await evening.pings_in(600) == 10


async def test_pings_continue_over_the_market_open(evening: Watched) -> None:
    """A first cycle is not missed before it had time to complete."""
    await evening.env.clock.advance_to(CLOSING + timedelta(minutes=10))
    await evening.env.clock.advance_to(OPENING + timedelta(hours=21))
    for user_id in ACCOUNTS:
        await evening.env.log_in(user_id)
    await evening.env.clock.advance_to(OPENING + timedelta(days=1) - timedelta(minutes=10))

    assert await evening.pings_in(1200) == 20


async def test_a_failed_ping_does_not_fail_the_job(watched: Watched) -> None:
    """The next ping is sent after the usual interval."""
    watched.receiver.answer = PingFailed("timeout")

    assert await watched.pings_in(300) == 5

    [job] = [job for job in watched.env.supervisor.jobs() if job.name == JOB]
    assert job.is_healthy
    assert job.failures == 0
    assert not job.is_essential
