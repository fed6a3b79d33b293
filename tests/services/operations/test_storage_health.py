"""Tests when the server counts as unready because of its database."""

from collections.abc import AsyncIterator

import pytest

from hullwatch.domain.storage import MAX_AGE_S, StorageFault
from hullwatch.services.operations.storage_health import CHECK_EVERY_S, JOB
from hullwatch.services.texts.storage import storage_sentence
from services.environment import Environment

READY_WITHIN_S = 10.0
"""The promise of `/readyz`."""


@pytest.fixture
async def env() -> AsyncIterator[Environment]:
    """The checks run."""
    built = Environment()
    built.storage_health.start_job(built.supervisor)
    await built.clock.settle()
    yield built
    await built.supervisor.stop(0)


async def database(env: Environment):
    """Return what `/readyz` shows of the database."""
    return next(one for one in await env.server_health.check() if one.name == "database")


async def test_a_database_that_works_is_ready(env: Environment) -> None:
    """For as long as it works."""
    for _ in range(100):
        await env.clock.advance(1)
        assert (await database(env)).is_ready

    assert (await database(env)).detail == ""
    assert env.metrics.is_storage_ready is True


@pytest.mark.parametrize("begins_after_s", [0.0, 1.0, 2.9])
async def test_an_outage_shows_within_ten_seconds(env: Environment, begins_after_s: float) -> None:
    """At whatever moment between two checks it begins."""
    await env.clock.advance(60 + begins_after_s)
    env.store.is_down, env.store.fault = True, StorageFault.FULL
    await env.clock.advance(READY_WITHIN_S)

    found = await database(env)
    assert not found.is_ready
    assert found.is_essential
    assert found.detail.startswith("The disk with the database is full. The last successful check was ")
    assert env.metrics.is_storage_ready is False

    env.store.is_down = False
    await env.clock.advance(CHECK_EVERY_S)
    assert (await database(env)).is_ready
    assert env.metrics.is_storage_ready is True


async def test_a_short_lock_is_no_outage(env: Environment) -> None:
    """A backup or another server holds the lock at the moment of one check."""
    await env.clock.advance(60)
    env.store.is_down, env.store.fault = True, StorageFault.LOCKED
    await env.clock.advance(CHECK_EVERY_S)
    found = await database(env)
    assert found.is_ready
    assert found.detail.startswith("Another program has locked the database.")

    env.store.is_down = False
    await env.clock.advance(60)
    assert (await database(env)).detail == ""


async def test_a_missing_check_makes_the_server_unready(env: Environment) -> None:
    """Nobody knows then whether anything can be stored, but it is no outage to notify operators of."""
    await env.supervisor.stop(0)
    await env.clock.advance(MAX_AGE_S + 1)

    assert not (await database(env)).is_ready
    assert not env.storage_health.state().is_outage


async def test_the_job_succeeds_only_when_it_stored(env: Environment) -> None:
    """Its last success is the last successful check."""
    await env.clock.advance(60)
    [before] = [job for job in env.supervisor.jobs() if job.name == JOB]
    env.store.is_down = True
    await env.clock.advance(60)
    [after] = [job for job in env.supervisor.jobs() if job.name == JOB]

    assert before.last_success_at == after.last_success_at
    assert after.is_essential


@pytest.mark.parametrize("fault", StorageFault)
async def test_every_fault_has_a_sentence(env: Environment, fault: StorageFault) -> None:
    """Anybody may read it in `/readyz`, so it names no address and no file."""
    env.store.is_down, env.store.fault = True, fault
    await env.storage_health.check()

    assert storage_sentence(env.storage_health.state()).endswith(". The last successful check was 0 s ago.")
