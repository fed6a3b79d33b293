"""Validations on demand and in sweeps; `hullwatch.services.sessions.validation`."""

import asyncio
from datetime import timedelta

import pytest
from fakes.broker import AccountState, Call, refusal

from hullwatch.domain.failures import Answered, BrokerService, InvalidInput, NotPermitted, Unavailable
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState
from hullwatch.domain.sessions.tokens import next_daily_expiry
from hullwatch.services.sessions.validation import ValidationResult, ValidationTotals
from hullwatch.services.sessions.verification import CONFIRM_AGAIN_S
from services.environment import ALICE, BOB, Environment, fyers_id

VALID, INVALID, UNVERIFIED = ValidationResult.VALID, ValidationResult.INVALID, ValidationResult.UNVERIFIED
DATA, TRADING, PROFILE = BrokerService.DATA, BrokerService.TRADING, BrokerService.PROFILE


@pytest.fixture
async def env() -> Environment:
    """Alice has a session; the connections' jobs run, sweeps do not."""
    built = await Environment().start(with_monitoring=False)
    return await built.with_sessions(ALICE)


async def result(env: Environment, user_id: str = ALICE, *, fresh: bool = False) -> ValidationResult:
    """Return the result of a validation."""
    return (await env.validation.validate_fyers_token(user_id, fresh=fresh)).result


# ---- one account


async def test_a_valid_session_costs_one_light_call(env: Environment) -> None:
    """The data service checks the token; /profile would prove nothing."""
    assert await result(env) is VALID
    assert [call.name for call in env.broker.calls] == ["check_data"]
    assert env.connections.connection(ALICE).is_verified


async def test_a_disconnected_session_costs_no_call(env: Environment) -> None:
    """It was never linked or signed out."""
    await env.connections.sign_out(ALICE, actor=ALICE)

    assert await result(env, ALICE) is INVALID
    assert await result(env, BOB, fresh=True) is INVALID
    assert env.broker.calls == []


@pytest.mark.parametrize("state", [AccountState.EXPIRED, AccountState.REVOKED])
async def test_a_refused_session_is_invalid_after_the_verification(
    env: Environment, state: AccountState
) -> None:
    """A caller can wait for the decision; others get *unverified* while it is under verification."""
    env.broker.set_state(fyers_id(ALICE), state)

    first = await env.validation.validate_fyers_token(ALICE)
    waiting = asyncio.create_task(env.validation.validate_fyers_token(ALICE, fresh=True, until_decided=True))
    await env.clock.advance(CONFIRM_AGAIN_S)
    validation = await waiting

    assert (first.result, first.connection.state) == (UNVERIFIED, LoginState.CONNECTED)
    assert (validation.result, validation.connection.state) == (INVALID, LoginState.DISCONNECTED)
    probes = ["profile_id", "check_trading", "check_data"]
    assert [call.name for call in env.broker.calls] == ["check_data", *probes, *probes]


async def test_a_false_refusal_is_valid_after_the_verification(env: Environment) -> None:
    """The answer of the other service is a confirmation."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))

    assert await result(env) is VALID


@pytest.mark.parametrize("state", [AccountState.UNAVAILABLE, AccountState.RATE_LIMITED])
async def test_an_outage_is_unverified_and_not_cached(env: Environment, state: AccountState) -> None:
    """The session stays, and the next validation calls Fyers again."""
    env.broker.set_state(fyers_id(ALICE), state)

    assert await result(env) is UNVERIFIED
    assert await result(env) is UNVERIFIED

    assert len(env.broker.calls) == 2
    assert env.validation.get_cache_stats().size == 0
    assert env.connections.connection(ALICE).has_session
    env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)
    assert await result(env) is VALID


async def test_an_old_confirmation_does_not_count_during_an_outage(env: Environment) -> None:
    """An account that was confirmed before and now hangs is unverified."""
    await result(env)
    await env.clock.advance(301)

    async def hang(call: Call) -> None:
        await env.clock.sleep(3600)

    env.broker.before_answer = hang
    request = asyncio.create_task(env.validation.validate_fyers_token(ALICE))
    await env.clock.advance(16)

    assert request.done()
    assert (await request).result is UNVERIFIED
    assert env.validation.get_cache_stats().size == 0


async def test_a_missing_permission_is_no_confirmation(env: Environment) -> None:
    """Such an answer says nothing about the token."""
    await result(env)
    await env.clock.advance(1)
    failure = NotPermitted(DATA, code=-403, http_status=403, message="no permission")
    env.broker.always(fyers_id(ALICE), DATA, failure)

    assert await result(env, fresh=True) is UNVERIFIED
    assert env.connections.connection(ALICE).has_session


async def test_a_session_under_verification_gets_no_ordinary_call(env: Environment) -> None:
    """The validation waits for the first round of probes and returns unverified."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))
    for service in (PROFILE, TRADING):
        env.broker.always(fyers_id(ALICE), service, Unavailable(service, cause="timeout"))
    env.broker.queue(fyers_id(ALICE), Unavailable(DATA, cause="timeout"))
    assert await result(env) is UNVERIFIED
    reached = len(env.broker.calls)

    assert await result(env, fresh=True) is UNVERIFIED
    assert len(env.broker.calls) == reached


# ---- the cache


async def test_a_confirmation_is_cached_for_five_minutes(env: Environment) -> None:
    """After that Fyers is called again."""
    await result(env)
    await env.clock.advance(299)
    kept = await env.validation.validate_fyers_token(ALICE)
    assert (kept.result, kept.from_cache, len(env.broker.calls)) == (VALID, True, 1)
    assert kept.checked_at == env.clock.now() - timedelta(seconds=299)
    await env.clock.advance(1)

    again = await env.validation.validate_fyers_token(ALICE)

    assert (again.from_cache, len(env.broker.calls)) == (False, 2)


async def test_fresh_skips_the_cache(env: Environment) -> None:
    """Its result is cached for other callers."""
    await result(env)
    await env.clock.advance(200)
    await result(env, fresh=True)
    await env.clock.advance(200)

    assert (await env.validation.validate_fyers_token(ALICE)).from_cache
    assert len(env.broker.calls) == 2


async def test_concurrent_callers_share_one_call(env: Environment) -> None:
    """A hundred open tabs make one call."""
    validations = await asyncio.gather(
        *(env.validation.validate_fyers_token(ALICE, fresh=number % 2 == 0) for number in range(100))
    )

    assert {validation.result for validation in validations} == {VALID}
    assert len(env.broker.calls) == 1


async def test_a_cancelled_caller_does_not_cancel_the_shared_call(env: Environment) -> None:
    """A closed tab has no effect on the other callers."""
    env.broker.set_state(fyers_id(ALICE), AccountState.HANGING)
    leaving, staying = (asyncio.create_task(env.validation.validate_fyers_token(ALICE)) for _ in range(2))
    await env.clock.settle()

    leaving.cancel()
    await env.clock.advance(11)

    assert (await staying).result is UNVERIFIED
    assert len(env.broker.calls) == 1


async def test_a_new_login_gets_no_old_result(env: Environment) -> None:
    """The cached result is cleared at the login."""
    await result(env)
    await env.log_in(ALICE)

    assert env.validation.get_cache_stats().size == 0
    assert env.validation.status_from_cache(ALICE) is None
    assert await result(env) is VALID
    assert [call.generation for call in env.broker.calls] == [1, 2]


async def test_a_disconnect_clears_the_cached_result(env: Environment) -> None:
    """The status of a disconnected session needs no call."""
    await result(env)

    await env.connections.sign_out(ALICE, actor=ALICE)

    assert env.validation.get_cache_stats().entries == ()
    status = env.validation.status_from_cache(ALICE)
    assert status is not None
    assert status.result is INVALID


async def test_a_slow_answer_to_an_old_token_does_not_affect_the_new_one(env: Environment) -> None:
    """The call began before the login."""
    for answer in (AccountState.REVOKED, AccountState.ACTIVE):
        release = asyncio.Event()
        env.broker.before_answer = lambda call, released=release: released.wait()
        env.broker.set_state(fyers_id(ALICE), answer)
        slow = asyncio.create_task(env.validation.validate_fyers_token(ALICE, fresh=True))
        await env.clock.settle()
        await env.log_in(ALICE)
        release.set()
        late = await slow
        await env.clock.settle()

        assert late.result is UNVERIFIED
        assert late.connection.generation == env.connections.connection(ALICE).generation
        assert env.connections.connection(ALICE).is_usable
        assert env.validation.get_cache_stats().size == 0
        env.broker.before_answer = None


async def test_the_cache_counts_per_user(env: Environment) -> None:
    """Operators see the counts of all users, without tokens."""
    await env.with_sessions(BOB)
    await result(env, ALICE)
    await result(env, ALICE)
    await result(env, BOB)
    await env.clock.advance(10)

    own, all_of_them = env.validation.get_cache_stats(ALICE), env.validation.get_cache_stats()

    assert (own.size, own.hits, own.misses) == (1, 1, 1)
    assert [(entry.user_id, entry.is_valid, entry.age_s) for entry in own.entries] == [(ALICE, True, 10.0)]
    assert (all_of_them.size, all_of_them.hits, all_of_them.misses) == (2, 1, 2)
    assert env.credential(ALICE).token.reveal() not in repr(all_of_them)


async def test_a_user_can_clear_the_own_result(env: Environment) -> None:
    """Results of other users stay."""
    await env.with_sessions(BOB)
    await result(env, ALICE)
    await result(env, BOB)

    await env.validation.clear_user_cache(ALICE)

    assert env.validation.status_from_cache(ALICE) is None
    assert env.validation.status_from_cache(BOB) is not None


# ---- everybody


async def crowd(env: Environment, size: int = 40) -> list[str]:
    """Give so many more people a session."""
    names = [f"usr_{number:03}" for number in range(size)]
    await env.with_sessions(*names)
    return names


async def sweep(env: Environment, *, within_s: float = 60) -> ValidationTotals:
    """Run a sweep to its end."""
    sweeping = asyncio.create_task(env.validation.validate_all_active_users())
    for _ in range(round(within_s)):
        await env.clock.advance(1)
        if sweeping.done():
            break
    return sweeping.result()


async def test_a_sweep_counts_each_account_once(env: Environment) -> None:
    """Valid, invalid, hanging and failing accounts have their own totals."""
    names = await crowd(env)
    env.broker.set_state(fyers_id(names[0]), AccountState.REVOKED)
    env.broker.set_state(fyers_id(names[1]), AccountState.UNAVAILABLE)

    async def breaks(call: Call) -> None:
        if call.user_id == names[2]:
            raise LookupError("broken broker")

    env.broker.before_answer = breaks
    totals = await sweep(env)

    assert (totals.total, totals.valid, totals.invalid) == (41, 38, 1)
    assert (totals.unverified, totals.errors) == (1, 1)
    assert not env.connections.connection(names[0]).has_session


async def test_a_hanging_account_delays_no_other(env: Environment) -> None:
    """The sweep ends soon after the time limit of one account."""
    names = await crowd(env)
    env.broker.set_state(fyers_id(names[5]), AccountState.HANGING)
    done: dict[str, float] = {}
    began = env.clock.monotonic()
    sweeping = asyncio.create_task(
        env.validation.validate_all_active_users(
            on_progress=lambda validation: done.setdefault(validation.user_id, env.clock.monotonic())
        )
    )
    for _ in range(40):
        await env.clock.advance(0.5)

    totals = await sweeping
    assert (totals.valid, totals.unverified) == (40, 1)
    assert max(at for user, at in done.items() if user != names[5]) - began <= 1
    assert 10 <= done[names[5]] - began <= 16


async def test_a_sweep_is_spread(env: Environment) -> None:
    """Calls start at different moments, in a random order."""
    names = await crowd(env, 160)

    await sweep(env)

    at = [call.at for call in env.broker.calls]
    assert timedelta(seconds=1) < max(at) - min(at) < timedelta(seconds=4)
    assert len(set(at)) > 100
    order = [call.user_id for call in env.broker.calls if call.user_id in names]
    assert order != sorted(order)


async def test_sweeps_run_at_the_start_and_every_half_hour() -> None:
    """Disconnected sessions are skipped."""
    env = await Environment().start(with_monitoring=False, with_sweeps=True)
    await env.with_sessions(ALICE, BOB)
    await env.connections.sign_out(BOB, actor=BOB)

    await env.clock.advance(31)
    assert len(env.broker.calls) == 1
    await env.clock.advance(3 * 1800)

    assert len(env.broker.calls_of(ALICE)) == 4
    assert env.broker.calls_of(BOB) == []
    assert not any(call.at >= next_daily_expiry(call.at) for call in env.broker.calls)


async def test_a_failing_progress_listener_is_counted_as_an_error(env: Environment) -> None:
    """The other accounts are validated."""
    await env.with_sessions(BOB)

    def breaks(validation: object) -> None:
        raise LookupError("broken page")

    totals = await env.validation.validate_all_active_users(on_progress=breaks)

    assert (totals.total, totals.errors) == (2, 2)
    assert env.connections.session_count() == 2


# ---- ending by hand


async def test_a_person_can_only_sign_out_or_disconnect_as_admin(env: Environment) -> None:
    """Only Fyers or the clock can expire or reject a session."""
    for reason in (DisconnectReason.EXPIRED, DisconnectReason.REJECTED):
        with pytest.raises(InvalidInput):
            await env.validation.mark_user_as_disconnected(ALICE, reason, actor=ALICE)
    assert env.connections.connection(ALICE).has_session

    after = await env.validation.mark_user_as_disconnected(ALICE, DisconnectReason.SIGNED_OUT, actor=ALICE)
    assert after.reason is DisconnectReason.SIGNED_OUT
    await env.log_in(ALICE)
    after = await env.validation.mark_user_as_disconnected(
        ALICE, DisconnectReason.BY_ADMIN, actor="usr_admin"
    )
    assert after.reason is DisconnectReason.BY_ADMIN


async def test_answers_of_other_calls_do_not_fill_the_cache(env: Environment) -> None:
    """A quote confirms the connection, but it is no validation."""
    env.connections.record_result(env.credential(ALICE), Answered(None))

    assert env.validation.status_from_cache(ALICE) is None
    assert env.connections.connection(ALICE).is_verified
