"""What every keeper of shared confirmations promises: the fake in memory and the real Redis alike."""

import asyncio
from dataclasses import dataclass

import pytest
from fakes.clock import FakeClock
from fakes.shared_checks import FakeSharedChecks, SharedMemory

from hullwatch.domain.sessions.shared_checks import Confirmed, NotAnswering, Turn, Unconfirmed
from hullwatch.services.ports import SharedChecks
from hullwatch.services.sessions.shared_validation import NotShared


@dataclass
class Pair:
    """Two processes' doors to the same keeper, and a third whose confirmations are good for a moment only."""

    one: SharedChecks
    other: SharedChecks
    hasty: SharedChecks
    clock: FakeClock | None

    async def until_outdated(self, user_id: str) -> None:
        """Wait until the hasty one's confirmation is gone, by the clock of its keeper."""
        if self.clock is not None:
            await self.clock.advance(0.05)
        async with asyncio.timeout(30):
            while await self.hasty.look(user_id, 1) != Unconfirmed():  # noqa: ASYNC110 - a keeper has no event
                await asyncio.sleep(0)


@pytest.fixture(params=["memory", "redis"])
def pair(request, clock) -> Pair:
    """Two processes."""
    if request.param == "redis":
        doors = request.getfixturevalue("doors")
        patient = {"answer_within_s": 10}  # nothing here is about time, and this machine may be busy
        return Pair(
            doors.open("a", **patient),
            doors.open("b", **patient),
            doors.open("c", good_for_s=0.02, **patient),
            None,
        )
    memory = SharedMemory(clock)
    hasty = FakeSharedChecks(memory, "c", good_for_s=0.02)
    return Pair(FakeSharedChecks(memory, "a"), FakeSharedChecks(memory, "b"), hasty, clock)


async def test_what_one_writes_down_the_other_reads(pair: Pair) -> None:
    """With its age, for exactly that user and generation."""
    assert await pair.other.look("asha", 1) == Unconfirmed()

    await pair.one.confirm("asha", 1)

    found = await pair.other.look("asha", 1)
    assert isinstance(found, Confirmed)
    assert 0 <= found.age_s < 60
    assert await pair.other.look("asha", 2) == Unconfirmed()
    assert await pair.other.look("ravi", 1) == Unconfirmed()


async def test_a_confirmation_grows_old_and_is_gone(pair: Pair) -> None:
    """Nobody is told of one that is outdated."""
    await pair.hasty.confirm("asha", 1)

    await pair.until_outdated("asha")

    assert await pair.hasty.look("asha", 1) == Unconfirmed()


async def test_what_is_forgotten_is_gone_for_everybody(pair: Pair) -> None:
    """Forgetting twice changes nothing."""
    await pair.one.confirm("asha", 1)

    await pair.other.forget("asha", 1)
    await pair.other.forget("asha", 1)

    assert await pair.one.look("asha", 1) == Unconfirmed()


async def test_one_at_a_time_has_the_turn(pair: Pair) -> None:
    """Taking it again is harmless, another's turn cannot be ended, an own one can."""
    assert await pair.one.take_turn("asha", 1) is Turn.OURS
    assert await pair.one.take_turn("asha", 1) is Turn.OURS
    assert await pair.other.take_turn("asha", 1) is Turn.OTHERS
    assert await pair.other.take_turn("asha", 2) is Turn.OURS

    await pair.other.end_turn("asha", 1)
    assert await pair.other.take_turn("asha", 1) is Turn.OTHERS

    await pair.one.end_turn("asha", 1)
    assert await pair.other.take_turn("asha", 1) is Turn.OURS


async def test_it_says_that_it_is_in_use(pair: Pair) -> None:
    """For operators."""
    await pair.one.confirm("asha", 1)

    assert (pair.one.report().is_used, pair.one.report().is_answering) == (True, True)


async def test_a_process_that_is_alone_asks_for_itself() -> None:
    """Nothing is kept, nobody is waited for."""
    alone = NotShared()
    await alone.confirm("asha", 1)
    await alone.forget("asha", 1)
    await alone.end_turn("asha", 1)

    assert await alone.look("asha", 1) == NotAnswering()
    assert await alone.take_turn("asha", 1) is Turn.UNKNOWN
    assert (alone.report().is_used, alone.report().is_answering) == (False, False)
