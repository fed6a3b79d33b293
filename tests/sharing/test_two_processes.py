"""Tests two processes that share validations in a Redis that fails and recovers."""

import asyncio
from datetime import timedelta

import pytest
from fakes.clock import FakeClock
from limits import ANSWER_LIMIT_S
from services.environment import ALICE, BOB, CAROL, OPENING, Environment

from hullwatch.runtime.clock import SystemClock
from hullwatch.services.sessions.validation import TokenValidationService, ValidationResult
from sharing.conftest import RedisClients
from sharing.redis_process import RedisProcess

EVERYBODY = (ALICE, BOB, CAROL)


class Process:
    """The validation of one server process. Sessions use a fake clock, the network real time."""

    def __init__(self, name: str, env: Environment, clients: RedisClients) -> None:
        self.env = env
        self.shared = clients.open(name, answer_within_s=5)
        self.validation = TokenValidationService(
            env.context,
            connections=env.connections,
            broker=env.broker,
            metrics=env.metrics,
            shared=self.shared,
        )


@pytest.fixture
async def processes(clients: RedisClients) -> list[Process]:
    """Return two processes on one database and one broker, with three valid sessions."""
    first = Environment(clock=FakeClock(OPENING + timedelta(minutes=30), real=SystemClock()))
    await (await first.start(with_monitoring=False)).with_sessions(*EVERYBODY)
    second = Environment(clock=first.clock, store=first.store, broker=first.broker)
    await second.start(with_monitoring=False)
    return [Process("one", first, clients), Process("other", second, clients)]


async def validate_all(processes: list[Process], *, fresh: bool = False) -> set[ValidationResult]:
    """Validate all three accounts in both processes, ten times each, at once; return the results."""
    found = await asyncio.gather(
        *(
            process.validation.validate_fyers_token(user_id, fresh=fresh)
            for process in processes
            for user_id in EVERYBODY
            for _ in range(10)
        )
    )
    return {validation.result for validation in found}


async def test_sixty_validations_make_three_calls(processes: list[Process]) -> None:
    """The first process makes the call of an account, and the other one reads its result."""
    assert await validate_all(processes) == {ValidationResult.VALID}

    assert len(processes[0].env.broker.calls) == 3


async def test_a_failing_redis_costs_only_calls(processes: list[Process], redis_server: RedisProcess) -> None:
    """All accounts stay valid and connected, and sharing resumes by itself."""
    env = processes[0].env
    assert await validate_all(processes) == {ValidationResult.VALID}

    for fail, repair in (
        (redis_server.kill, redis_server.start),
        (redis_server.freeze, redis_server.thaw),
        (lambda: (redis_server.freeze(), redis_server.kill()), redis_server.start),
    ):
        validating = asyncio.create_task(validate_all(processes, fresh=True))
        await asyncio.sleep(0)
        fail()
        assert await validating == {ValidationResult.VALID}
        assert await validate_all(processes, fresh=True) == {ValidationResult.VALID}
        repair()
        async with asyncio.timeout(ANSWER_LIMIT_S):
            while not all([await process.shared.ping() for process in processes]):  # noqa: ASYNC110 - a process outside has no event
                await asyncio.sleep(0)
        for process in processes:
            assert process.validation.get_cache_stats().shared.is_answering

    before = len(env.broker.calls)
    await env.clock.advance(301)
    for process in processes:
        for user_id in EVERYBODY:
            await process.validation.clear_user_cache(user_id)
    assert await validate_all(processes) == {ValidationResult.VALID}
    assert len(env.broker.calls) == before + 3
    assert all(
        process.env.connections.connection(user_id).is_verified
        for process in processes
        for user_id in EVERYBODY
    )
    assert env.metrics.validations.keys() == {"valid"}
