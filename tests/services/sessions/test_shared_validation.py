"""Validations shared by server processes; `hullwatch.services.sessions.shared_validation`."""

import asyncio
from datetime import timedelta

import pytest
from fakes.broker import AccountState, refusal
from fakes.clock import FakeClock
from fakes.shared_checks import FakeSharedChecks, SharedMemory
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.failures import BrokerService
from hullwatch.domain.sessions.connection import VerificationState
from hullwatch.domain.sessions.shared_checks import Confirmed, Unconfirmed
from hullwatch.services.sessions.shared_validation import LONGEST_WAIT_S
from hullwatch.services.sessions.validation import ValidationVerdict
from services.environment import ALICE, OPENING, Environment, fyers_id

VALID, INVALID, UNVERIFIED = ValidationVerdict.VALID, ValidationVerdict.INVALID, ValidationVerdict.UNVERIFIED


class Town:
    """Two processes on one database, one Fyers and one keeper of confirmations."""

    def __init__(self) -> None:
        self.clock = FakeClock(OPENING + timedelta(minutes=30))
        self.memory = SharedMemory(self.clock)
        self.one = Environment(clock=self.clock, shared=FakeSharedChecks(self.memory, "one"))
        self.broker = self.one.broker
        self.other_door = FakeSharedChecks(self.memory, "other")
        self.other: Environment

    async def open(self) -> "Town":
        """Start both; Alice has a session that both know."""
        await (await self.one.start(with_monitoring=False)).with_sessions(ALICE)
        self.other = Environment(
            clock=self.clock,
            store=self.one.store,
            broker=self.broker,
            shared=self.other_door,
        )
        await self.other.start(with_monitoring=False)
        return self

    @property
    def asked(self) -> int:
        """How often Fyers was asked whether the session is good."""
        return sum(call.name == "check_data" for call in self.broker.calls)


@pytest.fixture
async def town() -> Town:
    """Two processes."""
    return await Town().open()


async def test_a_confirmation_is_shared_between_processes(town: Town) -> None:
    """The other process returns it with its time and makes no call."""
    await town.one.validation.validate_fyers_token(ALICE)
    confirmed_at = town.clock.now()
    await town.clock.advance(100)

    found = await town.other.validation.validate_fyers_token(ALICE)

    assert (found.verdict, found.from_cache, town.asked) == (VALID, True, 1)
    assert found.checked_at == confirmed_at
    assert town.other.connections.connection(ALICE).is_verified
    assert town.other.connections.connection(ALICE).last_validated_at == confirmed_at
    assert town.other.metrics.shared_checks == {"found": 1}


async def test_a_shared_confirmation_keeps_its_age(town: Town) -> None:
    """It counts for five minutes in all, in however many processes it is cached."""
    await town.one.validation.validate_fyers_token(ALICE)
    await town.clock.advance(200)
    await town.other.validation.validate_fyers_token(ALICE)
    await town.clock.advance(99)
    assert town.other.validation.status_from_cache(ALICE) is not None
    await town.clock.advance(1)
    assert town.other.validation.status_from_cache(ALICE) is None

    again = await town.other.validation.validate_fyers_token(ALICE)

    assert (again.from_cache, town.asked) == (False, 2)


async def test_a_fresh_validation_ignores_earlier_confirmations(town: Town) -> None:
    """A sweep needs a result of its own time."""
    await town.one.validation.validate_fyers_token(ALICE)
    await town.clock.advance(1)

    found = await town.other.validation.validate_fyers_token(ALICE, fresh=True)

    assert (found.verdict, found.from_cache, town.asked) == (VALID, False, 2)


async def test_a_slow_call_with_an_old_session_confirms_nothing(town: Town) -> None:
    """A login came during the call, here and in the other process."""
    old = town.one.connections.connection(ALICE).generation
    may_answer = asyncio.Event()
    town.broker.before_answer = lambda _: may_answer.wait()
    slow = asyncio.create_task(town.one.validation.validate_fyers_token(ALICE, fresh=True))
    await town.clock.settle()
    town.broker.before_answer = None
    await town.one.log_in(ALICE)
    new = await town.one.validation.validate_fyers_token(ALICE, fresh=True)

    may_answer.set()
    await slow

    assert (new.verdict, new.connection.generation) == (VALID, old + 1)
    assert isinstance(await town.other_door.confirmation(ALICE, old + 1), Confirmed)
    assert await town.other_door.confirmation(ALICE, old) == Unconfirmed()


@pytest.mark.parametrize("fresh", [True, False])
async def test_callers_in_two_processes_share_one_call(town: Town, *, fresh: bool) -> None:
    """A caller waits for the call of the other process."""
    may_answer = asyncio.Event()
    town.broker.before_answer = lambda _: may_answer.wait()
    asking = [
        asyncio.create_task(env.validation.validate_fyers_token(ALICE, fresh=fresh))
        for env in (town.one, town.other)
        for _ in range(50)
    ]
    await town.clock.advance(0.5)
    may_answer.set()
    await town.clock.advance(0.5)

    assert {(await one).verdict for one in asking} == {VALID}
    assert town.asked == 1


@pytest.mark.parametrize("fresh", [True, False])
async def test_a_claim_released_with_a_confirmation_makes_no_call(town: Town, *, fresh: bool) -> None:
    """The other process confirmed and released between our read and our claim."""
    door = town.other_door
    door.before_claim = lambda: town.one.validation.validate_fyers_token(ALICE)

    found = await town.other.validation.validate_fyers_token(ALICE, fresh=fresh)

    assert (found.verdict, found.from_cache, town.asked) == (VALID, True, 1)
    assert town.memory.claims == {}


async def test_many_tabs_make_one_call_with_a_slow_shared_store(town: Town) -> None:
    """A slow read lets no second caller start a call."""
    looked = []

    async def drags_on(user_id: str) -> None:
        looked.append(user_id)
        await town.clock.sleep(len(looked))

    town.other_door.before_confirmation = drags_on
    tabs = [asyncio.create_task(town.other.validation.validate_fyers_token(ALICE)) for _ in range(20)]
    await town.clock.advance(30)

    assert {(await tab).verdict for tab in tabs} == {VALID}
    assert (town.asked, len(looked)) == (1, 2)  # before and after taking the turn


async def test_a_crashed_process_delays_the_other_by_seconds(town: Town) -> None:
    """After that the other process calls Fyers, and the claim has expired."""
    town.broker.before_answer = lambda _: asyncio.Event().wait()
    dying = asyncio.create_task(town.one.validation.validate_fyers_token(ALICE))
    await town.clock.settle()
    town.memory.claims[ALICE, 1] = ("one", town.clock.monotonic() + 20)
    town.broker.before_answer = None
    waiting = asyncio.create_task(town.other.validation.validate_fyers_token(ALICE))

    await town.clock.advance(LONGEST_WAIT_S + 1)

    assert (await waiting).verdict is VALID
    assert town.asked == 2
    dying.cancel()
    await asyncio.wait([dying])


async def test_a_cancelled_caller_releases_its_claim(town: Town) -> None:
    """A closed tab delays no other caller."""
    town.broker.before_answer = lambda _: asyncio.Event().wait()
    leaving = asyncio.create_task(town.one.validation.validate_fyers_token(ALICE))
    await town.clock.settle()
    leaving.cancel()
    await town.clock.settle()
    town.broker.before_answer = None

    assert (await town.other.validation.validate_fyers_token(ALICE)).verdict is VALID
    assert town.memory.claims == {}


async def test_an_outage_is_not_shared(town: Town) -> None:
    """Only confirmations are shared, so the other process makes its own call."""
    town.broker.set_state(fyers_id(ALICE), AccountState.UNAVAILABLE)
    assert (await town.one.validation.validate_fyers_token(ALICE)).verdict is UNVERIFIED
    town.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)

    assert (await town.other.validation.validate_fyers_token(ALICE)).verdict is VALID
    assert town.asked == 2


async def test_a_shared_confirmation_clears_no_verification(town: Town) -> None:
    """This process was refused, so it verifies the session itself."""
    await town.one.validation.validate_fyers_token(ALICE)
    credential = town.other.credential(ALICE)
    town.broker.before_answer = lambda _: asyncio.Event().wait()
    town.other.connections.record_result(credential, refusal(BrokerService.DATA))
    assert town.other.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION

    assert not town.other.connections.record_confirmation(ALICE, 1, at=town.clock.now())
    assert town.other.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION


async def test_a_shared_confirmation_counts_for_its_login_only(town: Town) -> None:
    """An old confirmation moves no time back."""
    await town.one.validation.validate_fyers_token(ALICE)
    await town.one.log_in(ALICE)

    assert not town.one.connections.record_confirmation(ALICE, 1, at=town.clock.now())
    assert not (await town.one.validation.validate_fyers_token(ALICE)).from_cache
    known_at = town.one.connections.connection(ALICE).last_validated_at
    assert town.one.connections.record_confirmation(ALICE, 2, at=known_at - timedelta(seconds=9))
    assert town.one.connections.connection(ALICE).last_validated_at == known_at


async def test_clearing_the_cache_clears_it_in_all_processes(town: Town) -> None:
    """The next validation in any process calls Fyers."""
    await town.one.validation.validate_fyers_token(ALICE)
    await town.one.validation.clear_user_cache(ALICE)

    assert not (await town.other.validation.validate_fyers_token(ALICE)).from_cache


async def test_the_statistics_show_the_state_of_sharing(town: Town) -> None:
    """Used and answering, used and unavailable, not used."""
    assert town.one.validation.get_cache_stats().shared.is_answering
    town.memory.is_down = True
    assert not town.one.validation.get_cache_stats().shared.is_answering
    assert not Environment().validation.get_cache_stats().shared.is_used


_STEPS = st.lists(
    st.sampled_from(["ask one", "ask other", "down", "up", "trouble", "well", "later", "forget all"]),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(steps=_STEPS)
async def test_a_failing_shared_store_never_makes_a_session_invalid(steps: list[str]) -> None:
    """Results are those of a single process, or confirmations that were really given."""
    town = await Town().open()
    confirmed_s = None
    is_well = True
    for step in steps:
        match step:
            case "ask one" | "ask other":
                env = town.one if step == "ask one" else town.other
                before = town.asked
                found = await env.validation.validate_fyers_token(ALICE)
                assert found.verdict in (VALID, UNVERIFIED)
                if town.asked > before:
                    assert found.verdict is (VALID if is_well else UNVERIFIED)
                    confirmed_s = town.clock.monotonic() if is_well else confirmed_s
                else:
                    assert town.clock.monotonic() - confirmed_s < 300
                assert env.connections.connection(ALICE).has_session
            case "down" | "up":
                town.memory.is_down = step == "down"
            case "trouble" | "well":
                is_well = step == "well"
                town.broker.set_state(
                    fyers_id(ALICE), AccountState.ACTIVE if is_well else AccountState.UNAVAILABLE
                )
            case "later":
                await town.clock.advance(130)
            case _:
                town.memory.confirmations.clear()
                town.memory.claims.clear()
