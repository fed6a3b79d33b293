"""Two validating services over one real Redis that is killed, frozen and revived in the middle."""

import asyncio
from datetime import timedelta
from random import Random

import pytest
from fakes.clock import FakeClock
from services.building import ALICE, BOB, CAROL, OPENING, House

from hullwatch.runtime.clock import SystemClock
from hullwatch.services.sessions.validation import TokenValidationService, ValidationVerdict
from sharing.conftest import Doors
from sharing.redis_process import RedisProcess

EVERYBODY = (ALICE, BOB, CAROL)


class Process:
    """One server process' validating; sessions live in a fake clock's time, the wire in real time."""

    def __init__(self, name: str, house: House, doors: Doors) -> None:
        self.house = house
        self.door = doors.open(name)
        self.validation = TokenValidationService(
            connections=house.connections,
            broker=house.broker,
            clock=house.clock,
            random=Random(1),
            metrics=house.metrics,
            wire_clock=SystemClock(),
            shared=self.door,
        )


@pytest.fixture
async def processes(doors: Doors) -> list[Process]:
    """Two of them on one database and one Fyers, with three live sessions."""
    first = House(clock=FakeClock(OPENING + timedelta(minutes=30)))
    await (await first.start(with_monitoring=False)).with_sessions(*EVERYBODY)
    second = House(clock=first.clock, store=first.store, broker=first.broker)
    await second.start(with_monitoring=False)
    return [Process("one", first, doors), Process("other", second, doors)]


async def ask_everybody(processes: list[Process], *, fresh: bool = False) -> set[ValidationVerdict]:
    """Let both processes ask about all three, ten tabs each, at once; return the verdicts."""
    found = await asyncio.gather(
        *(
            process.validation.validate_fyers_token(user_id, fresh=fresh)
            for process in processes
            for user_id in EVERYBODY
            for _ in range(10)
        )
    )
    return {validation.verdict for validation in found}


async def test_sixty_askers_are_three_questions(processes: list[Process]) -> None:
    """One for each account, whichever process it is asked by."""
    assert await ask_everybody(processes) == {ValidationVerdict.VALID}

    assert len(processes[0].house.broker.calls) == 3


async def test_the_loss_of_redis_in_the_middle_costs_questions_and_nothing_else(
    processes: list[Process], redis_server: RedisProcess
) -> None:
    """Killed, hung and back with nothing in it: everybody stays valid and connected, and sharing goes on by itself."""
    house = processes[0].house
    assert await ask_everybody(processes) == {ValidationVerdict.VALID}

    for harm, mend in (
        (redis_server.kill, redis_server.start),
        (redis_server.freeze, redis_server.thaw),
        (lambda: (redis_server.freeze(), redis_server.kill()), redis_server.start),
    ):
        asking = asyncio.create_task(ask_everybody(processes, fresh=True))
        await asyncio.sleep(0)
        harm()
        assert await asking == {ValidationVerdict.VALID}
        assert await ask_everybody(processes, fresh=True) == {ValidationVerdict.VALID}
        mend()
        async with asyncio.timeout(60):
            while not all([await process.door.ping() for process in processes]):  # noqa: ASYNC110 - a process outside has no event
                await asyncio.sleep(0)
        for process in processes:
            assert process.validation.get_cache_stats().shared.is_answering

    before = len(house.broker.calls)
    await house.clock.advance(301)
    for process in processes:
        for user_id in EVERYBODY:
            await process.validation.clear_user_cache(user_id)
    assert await ask_everybody(processes) == {ValidationVerdict.VALID}
    assert len(house.broker.calls) == before + 3
    assert all(
        process.house.connections.connection(user_id).is_verified
        for process in processes
        for user_id in EVERYBODY
    )
    assert house.metrics.validations.keys() == {"valid"}
