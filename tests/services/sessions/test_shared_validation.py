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
from hullwatch.services.sessions.validation import ValidationResult
from services.environment import ALICE, OPENING, Environment, fyers_id

VALID, INVALID, UNVERIFIED = ValidationResult.VALID, ValidationResult.INVALID, ValidationResult.UNVERIFIED


class TwoServers:
    """Two processes on one database, one Fyers and one store of confirmations."""

    def __init__(self) -> None:
        self.clock = FakeClock(OPENING + timedelta(minutes=30))
        self.memory = SharedMemory(self.clock)
        self.one = Environment(clock=self.clock, shared=FakeSharedChecks(self.memory, "one"))
        self.broker = self.one.broker
        self.other_door = FakeSharedChecks(self.memory, "other")
        self.other: Environment

    async def open(self) -> "TwoServers":
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
    def calls(self) -> int:
        """How many calls Fyers got that check the session."""
        return sum(call.name == "check_data" for call in self.broker.calls)


@pytest.fixture
async def servers() -> TwoServers:
    """Two processes."""
    return await TwoServers().open()


async def test_a_confirmation_is_shared_between_processes(servers: TwoServers) -> None:
    """The other process returns it with its time and makes no call."""
    await servers.one.validation.validate_fyers_token(ALICE)
    confirmed_at = servers.clock.now()
    await servers.clock.advance(100)

    found = await servers.other.validation.validate_fyers_token(ALICE)

    assert (found.result, found.from_cache, servers.calls) == (VALID, True, 1)
    assert found.checked_at == confirmed_at
    assert servers.other.connections.connection(ALICE).is_verified
    assert servers.other.connections.connection(ALICE).last_validated_at == confirmed_at
    assert servers.other.metrics.shared_checks == {"found": 1}


async def test_a_shared_confirmation_keeps_its_age(servers: TwoServers) -> None:
    """It counts for five minutes in all, in however many processes it is cached."""
    await servers.one.validation.validate_fyers_token(ALICE)
    await servers.clock.advance(200)
    await servers.other.validation.validate_fyers_token(ALICE)
    await servers.clock.advance(99)
    assert servers.other.validation.status_from_cache(ALICE) is not None
    await servers.clock.advance(1)
    assert servers.other.validation.status_from_cache(ALICE) is None

    again = await servers.other.validation.validate_fyers_token(ALICE)

    assert (again.from_cache, servers.calls) == (False, 2)


async def test_a_fresh_validation_ignores_earlier_confirmations(servers: TwoServers) -> None:
    """A sweep needs a result of its own time."""
    await servers.one.validation.validate_fyers_token(ALICE)
    await servers.clock.advance(1)

    found = await servers.other.validation.validate_fyers_token(ALICE, fresh=True)

    assert (found.result, found.from_cache, servers.calls) == (VALID, False, 2)


async def test_a_slow_call_with_an_old_session_confirms_nothing(servers: TwoServers) -> None:
    """A login came during the call, here and in the other process."""
    old = servers.one.connections.connection(ALICE).generation
    may_answer = asyncio.Event()
    servers.broker.before_answer = lambda _: may_answer.wait()
    slow = asyncio.create_task(servers.one.validation.validate_fyers_token(ALICE, fresh=True))
    await servers.clock.settle()
    servers.broker.before_answer = None
    await servers.one.log_in(ALICE)
    new = await servers.one.validation.validate_fyers_token(ALICE, fresh=True)

    may_answer.set()
    await slow

    assert (new.result, new.connection.generation) == (VALID, old + 1)
    assert isinstance(await servers.other_door.confirmation(ALICE, old + 1), Confirmed)
    assert await servers.other_door.confirmation(ALICE, old) == Unconfirmed()


@pytest.mark.parametrize("fresh", [True, False])
async def test_callers_in_two_processes_share_one_call(servers: TwoServers, *, fresh: bool) -> None:
    """A caller waits for the call of the other process."""
    may_answer = asyncio.Event()
    servers.broker.before_answer = lambda _: may_answer.wait()
    requests = [
        asyncio.create_task(env.validation.validate_fyers_token(ALICE, fresh=fresh))
        for env in (servers.one, servers.other)
        for _ in range(50)
    ]
    await servers.clock.advance(0.5)
    may_answer.set()
    await servers.clock.advance(0.5)

    assert {(await one).result for one in requests} == {VALID}
    assert servers.calls == 1


@pytest.mark.parametrize("fresh", [True, False])
async def test_a_claim_released_with_a_confirmation_makes_no_call(
    servers: TwoServers, *, fresh: bool
) -> None:
    """The other process confirmed and released between our read and our claim."""
    door = servers.other_door
    door.before_claim = lambda: servers.one.validation.validate_fyers_token(ALICE)

    found = await servers.other.validation.validate_fyers_token(ALICE, fresh=fresh)

    assert (found.result, found.from_cache, servers.calls) == (VALID, True, 1)
    assert servers.memory.claims == {}


async def test_many_tabs_make_one_call_with_a_slow_shared_store(servers: TwoServers) -> None:
    """A slow read lets no second caller start a call."""
    reads = []

    async def drags_on(user_id: str) -> None:
        reads.append(user_id)
        await servers.clock.sleep(len(reads))

    servers.other_door.before_confirmation = drags_on
    tabs = [asyncio.create_task(servers.other.validation.validate_fyers_token(ALICE)) for _ in range(20)]
    await servers.clock.advance(30)

    assert {(await tab).result for tab in tabs} == {VALID}
    assert (servers.calls, len(reads)) == (1, 2)  # before and after the claim


async def test_a_crashed_process_delays_the_other_by_seconds(servers: TwoServers) -> None:
    """After that the other process calls Fyers, and the claim has expired."""
    servers.broker.before_answer = lambda _: asyncio.Event().wait()
    dying = asyncio.create_task(servers.one.validation.validate_fyers_token(ALICE))
    await servers.clock.settle()
    servers.memory.claims[ALICE, 1] = ("one", servers.clock.monotonic() + 20)
    servers.broker.before_answer = None
    waiting = asyncio.create_task(servers.other.validation.validate_fyers_token(ALICE))

    await servers.clock.advance(LONGEST_WAIT_S + 1)

    assert (await waiting).result is VALID
    assert servers.calls == 2
    dying.cancel()
    await asyncio.wait([dying])


async def test_a_cancelled_caller_releases_its_claim(servers: TwoServers) -> None:
    """A closed tab delays no other caller."""
    servers.broker.before_answer = lambda _: asyncio.Event().wait()
    leaving = asyncio.create_task(servers.one.validation.validate_fyers_token(ALICE))
    await servers.clock.settle()
    leaving.cancel()
    await servers.clock.settle()
    servers.broker.before_answer = None

    assert (await servers.other.validation.validate_fyers_token(ALICE)).result is VALID
    assert servers.memory.claims == {}


async def test_an_outage_is_not_shared(servers: TwoServers) -> None:
    """Only confirmations are shared, so the other process makes its own call."""
    servers.broker.set_state(fyers_id(ALICE), AccountState.UNAVAILABLE)
    assert (await servers.one.validation.validate_fyers_token(ALICE)).result is UNVERIFIED
    servers.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)

    assert (await servers.other.validation.validate_fyers_token(ALICE)).result is VALID
    assert servers.calls == 2


async def test_a_shared_confirmation_clears_no_verification(servers: TwoServers) -> None:
    """This process was refused, so it verifies the session itself."""
    await servers.one.validation.validate_fyers_token(ALICE)
    credential = servers.other.credential(ALICE)
    servers.broker.before_answer = lambda _: asyncio.Event().wait()
    servers.other.connections.record_result(credential, refusal(BrokerService.DATA))
    assert (
        servers.other.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION
    )

    assert not servers.other.connections.record_confirmation(ALICE, 1, at=servers.clock.now())
    assert (
        servers.other.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION
    )


async def test_a_shared_confirmation_counts_for_its_login_only(servers: TwoServers) -> None:
    """An old confirmation moves no time back."""
    await servers.one.validation.validate_fyers_token(ALICE)
    await servers.one.log_in(ALICE)

    assert not servers.one.connections.record_confirmation(ALICE, 1, at=servers.clock.now())
    assert not (await servers.one.validation.validate_fyers_token(ALICE)).from_cache
    known_at = servers.one.connections.connection(ALICE).last_validated_at
    assert servers.one.connections.record_confirmation(ALICE, 2, at=known_at - timedelta(seconds=9))
    assert servers.one.connections.connection(ALICE).last_validated_at == known_at


async def test_clearing_the_cache_clears_it_in_all_processes(servers: TwoServers) -> None:
    """The next validation in any process calls Fyers."""
    await servers.one.validation.validate_fyers_token(ALICE)
    await servers.one.validation.clear_user_cache(ALICE)

    assert not (await servers.other.validation.validate_fyers_token(ALICE)).from_cache


async def test_the_statistics_show_the_state_of_sharing(servers: TwoServers) -> None:
    """Used and answering, used and unavailable, not used."""
    assert servers.one.validation.get_cache_stats().shared.is_answering
    servers.memory.is_down = True
    assert not servers.one.validation.get_cache_stats().shared.is_answering
    assert not Environment().validation.get_cache_stats().shared.is_used


_STEPS = st.lists(
    st.sampled_from(["ask one", "ask other", "down", "up", "outage", "working", "later", "forget all"]),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(steps=_STEPS)
async def test_a_failing_shared_store_never_makes_a_session_invalid(steps: list[str]) -> None:
    """Results are those of a single process, or confirmations that were really given."""
    servers = await TwoServers().open()
    confirmed_s = None
    is_well = True
    for step in steps:
        match step:
            case "ask one" | "ask other":
                env = servers.one if step == "ask one" else servers.other
                before = servers.calls
                found = await env.validation.validate_fyers_token(ALICE)
                assert found.result in (VALID, UNVERIFIED)
                if servers.calls > before:
                    assert found.result is (VALID if is_well else UNVERIFIED)
                    confirmed_s = servers.clock.monotonic() if is_well else confirmed_s
                else:
                    assert servers.clock.monotonic() - confirmed_s < 300
                assert env.connections.connection(ALICE).has_session
            case "down" | "up":
                servers.memory.is_down = step == "down"
            case "outage" | "working":
                is_well = step == "working"
                servers.broker.set_state(
                    fyers_id(ALICE), AccountState.ACTIVE if is_well else AccountState.UNAVAILABLE
                )
            case "later":
                await servers.clock.advance(130)
            case _:
                servers.memory.confirmations.clear()
                servers.memory.claims.clear()
