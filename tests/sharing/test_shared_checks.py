"""Tests the contract of `SharedChecks` with the fake in memory and with a real Redis."""

import asyncio
from dataclasses import dataclass

import pytest
from fakes.clock import FakeClock
from fakes.shared_checks import FakeSharedChecks, SharedMemory
from limits import ANSWER_LIMIT_S

from hullwatch.domain.sessions.shared_checks import Claim, Confirmed, SharingUnavailable, Unconfirmed
from hullwatch.services.ports import SharedChecks
from hullwatch.services.sessions.shared_validation import NotShared


@dataclass
class Pair:
    """Clients of two processes, and a third whose confirmations expire at once."""

    one: SharedChecks
    other: SharedChecks
    short_lived: SharedChecks
    clock: FakeClock | None

    async def until_outdated(self, user_id: str) -> None:
        """Wait until the short-lived confirmation is gone, by the clock of the store."""
        if self.clock is not None:
            await self.clock.advance(0.05)
        async with asyncio.timeout(ANSWER_LIMIT_S):
            while await self.short_lived.confirmation(user_id, 1) != Unconfirmed():  # noqa: ASYNC110 - a store has no event
                await asyncio.sleep(0)


@pytest.fixture(params=["memory", "redis"])
def pair(request, clock) -> Pair:
    """Return the clients of the fake, then of Redis."""
    if request.param == "redis":
        clients = request.getfixturevalue("clients")
        return Pair(
            clients.open("a"),
            clients.open("b"),
            clients.open("c", good_for_s=0.02),
            None,
        )
    memory = SharedMemory(clock)
    short_lived = FakeSharedChecks(memory, "c", good_for_s=0.02)
    return Pair(FakeSharedChecks(memory, "a"), FakeSharedChecks(memory, "b"), short_lived, clock)


async def test_another_process_reads_a_confirmation(pair: Pair) -> None:
    """It has an age and is valid for that user and generation only."""
    assert await pair.other.confirmation("asha", 1) == Unconfirmed()

    await pair.one.confirm("asha", 1)

    found = await pair.other.confirmation("asha", 1)
    assert isinstance(found, Confirmed)
    assert 0 <= found.age_s < 60
    assert await pair.other.confirmation("asha", 2) == Unconfirmed()
    assert await pair.other.confirmation("ravi", 1) == Unconfirmed()


async def test_a_confirmation_expires(pair: Pair) -> None:
    """An outdated confirmation is never returned."""
    await pair.short_lived.confirm("asha", 1)

    await pair.until_outdated("asha")

    assert await pair.short_lived.confirmation("asha", 1) == Unconfirmed()


async def test_a_removed_confirmation_is_removed_for_all_processes(pair: Pair) -> None:
    """Removing it twice changes nothing."""
    await pair.one.confirm("asha", 1)

    await pair.other.forget("asha", 1)
    await pair.other.forget("asha", 1)

    assert await pair.one.confirmation("asha", 1) == Unconfirmed()


async def test_one_process_at_a_time_has_the_claim(pair: Pair) -> None:
    """A process can repeat and release its own claim, and cannot release another one."""
    assert await pair.one.claim("asha", 1) is Claim.OURS
    assert await pair.one.claim("asha", 1) is Claim.OURS
    assert await pair.other.claim("asha", 1) is Claim.OTHERS
    assert await pair.other.claim("asha", 2) is Claim.OURS

    await pair.other.release("asha", 1)
    assert await pair.other.claim("asha", 1) is Claim.OTHERS

    await pair.one.release("asha", 1)
    assert await pair.other.claim("asha", 1) is Claim.OURS


async def test_the_report_shows_that_sharing_is_used(pair: Pair) -> None:
    """Operators see this on the token health page."""
    await pair.one.confirm("asha", 1)

    assert (pair.one.report().is_used, pair.one.report().is_answering) == (True, True)


async def test_a_process_without_sharing_calls_fyers_itself() -> None:
    """Nothing is stored and nothing is awaited."""
    alone = NotShared()
    await alone.confirm("asha", 1)
    await alone.forget("asha", 1)
    await alone.release("asha", 1)

    assert await alone.confirmation("asha", 1) == SharingUnavailable()
    assert await alone.claim("asha", 1) is Claim.UNKNOWN
    assert (alone.report().is_used, alone.report().is_answering) == (False, False)
