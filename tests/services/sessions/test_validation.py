"""Asking Fyers whether sessions are good, gently and for everybody; `hullwatch.services.sessions.validation`."""

import asyncio
from datetime import timedelta

import pytest
from fakes.broker import AccountState, Call, refusal

from hullwatch.domain.failures import Answered, BrokerService, InvalidInput, NotPermitted, Unavailable
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState
from hullwatch.domain.sessions.tokens import next_daily_end
from hullwatch.services.sessions.validation import ValidationTotals, ValidationVerdict
from services.building import ALICE, BOB, House, fyers_id

VALID, INVALID, UNVERIFIED = ValidationVerdict.VALID, ValidationVerdict.INVALID, ValidationVerdict.UNVERIFIED
DATA, TRADING, PROFILE = BrokerService.DATA, BrokerService.TRADING, BrokerService.PROFILE


@pytest.fixture
async def house() -> House:
    """Alice has a session; the connections' jobs run, sweeps do not."""
    built = await House().start(with_monitoring=False)
    return await built.with_sessions(ALICE)


async def verdict(house: House, user_id: str = ALICE, *, fresh: bool = False) -> ValidationVerdict:
    """Return what validating says."""
    return (await house.validation.validate_fyers_token(user_id, fresh=fresh)).verdict


# ---- one account


async def test_a_good_session_costs_one_light_call(house: House) -> None:
    """The call is one that the data service checks the token for, never /profile, which proves nothing."""
    assert await verdict(house) is VALID
    assert [call.name for call in house.broker.calls] == ["check_data"]
    assert house.connections.connection(ALICE).is_verified


async def test_nobody_is_asked_about_a_session_that_is_over(house: House) -> None:
    """Never linked or signed out: the answer is known, and no call is made."""
    await house.connections.sign_out(ALICE, actor=ALICE)

    assert await verdict(house, ALICE) is INVALID
    assert await verdict(house, BOB, fresh=True) is INVALID
    assert house.broker.calls == []


@pytest.mark.parametrize("state", [AccountState.EXPIRED, AccountState.REVOKED])
async def test_a_refused_session_is_invalid_once_it_is_seen_twice(house: House, state: AccountState) -> None:
    """The answer waits for the second look."""
    house.broker.set_state(fyers_id(ALICE), state)

    validation = await house.validation.validate_fyers_token(ALICE)

    assert (validation.verdict, validation.connection.state) == (INVALID, LoginState.DISCONNECTED)
    assert [call.name for call in house.broker.calls] == ["check_data", "profile_id"]


async def test_a_false_refusal_is_valid_after_the_second_look(house: House) -> None:
    """The other service's answer is a confirmation."""
    house.broker.queue(fyers_id(ALICE), refusal(DATA))

    assert await verdict(house) is VALID


@pytest.mark.parametrize("state", [AccountState.UNAVAILABLE, AccountState.RATE_LIMITED])
async def test_trouble_is_unverified_and_not_kept(house: House, state: AccountState) -> None:
    """Outages and limits are no answer: the session goes on, and the next question goes to Fyers again."""
    house.broker.set_state(fyers_id(ALICE), state)

    assert await verdict(house) is UNVERIFIED
    assert await verdict(house) is UNVERIFIED

    assert len(house.broker.calls) == 2
    assert house.validation.get_cache_stats().size == 0
    assert house.connections.connection(ALICE).has_session
    house.broker.set_state(fyers_id(ALICE), AccountState.ALIVE)
    assert await verdict(house) is VALID


async def test_a_confirmation_of_long_ago_does_not_make_a_silent_fyers_valid(house: House) -> None:
    """An account that was confirmed before and now hangs is unverified, and that is not kept as valid."""
    await verdict(house)
    await house.clock.advance(301)

    async def hang(call: Call) -> None:
        await house.clock.sleep(3600)

    house.broker.before_answer = hang
    asking = asyncio.create_task(house.validation.validate_fyers_token(ALICE))
    await house.clock.advance(16)

    assert asking.done()
    assert (await asking).verdict is UNVERIFIED
    assert house.validation.get_cache_stats().size == 0


async def test_a_permission_that_is_missing_is_no_confirmation(house: House) -> None:
    """An answer that says nothing about the token leaves the verdict open, whatever was known before."""
    await verdict(house)
    await house.clock.advance(1)
    failure = NotPermitted(DATA, code=-403, http_status=403, message="no permission")
    house.broker.always(fyers_id(ALICE), DATA, failure)

    assert await verdict(house, fresh=True) is UNVERIFIED
    assert house.connections.connection(ALICE).has_session


async def test_a_session_in_doubt_is_not_asked_about_by_ordinary_calls(house: House) -> None:
    """While the second look cannot decide, validating waits for its first result and says that it is open."""
    house.broker.queue(fyers_id(ALICE), refusal(DATA))
    for service in (PROFILE, TRADING):
        house.broker.always(fyers_id(ALICE), service, Unavailable(service, cause="timeout"))
    house.broker.queue(fyers_id(ALICE), Unavailable(DATA, cause="timeout"))
    assert await verdict(house) is UNVERIFIED
    reached = len(house.broker.calls)

    assert await verdict(house, fresh=True) is UNVERIFIED
    assert len(house.broker.calls) == reached


# ---- the cache


async def test_a_result_is_kept_for_five_minutes(house: House) -> None:
    """Within them nobody is asked, after them Fyers is."""
    await verdict(house)
    await house.clock.advance(299)
    kept = await house.validation.validate_fyers_token(ALICE)
    assert (kept.verdict, kept.from_cache, len(house.broker.calls)) == (VALID, True, 1)
    assert kept.checked_at == house.clock.now() - timedelta(seconds=299)
    await house.clock.advance(1)

    again = await house.validation.validate_fyers_token(ALICE)

    assert (again.from_cache, len(house.broker.calls)) == (False, 2)


async def test_fresh_skips_the_cache(house: House) -> None:
    """Who wants to know now gets to know, and what was found is kept for the others."""
    await verdict(house)
    await house.clock.advance(200)
    await verdict(house, fresh=True)
    await house.clock.advance(200)

    assert (await house.validation.validate_fyers_token(ALICE)).from_cache
    assert len(house.broker.calls) == 2


async def test_callers_at_once_share_one_call(house: House) -> None:
    """A hundred open tabs ask once."""
    validations = await asyncio.gather(
        *(house.validation.validate_fyers_token(ALICE, fresh=number % 2 == 0) for number in range(100))
    )

    assert {validation.verdict for validation in validations} == {VALID}
    assert len(house.broker.calls) == 1


async def test_a_caller_who_leaves_does_not_end_the_call_of_the_others(house: House) -> None:
    """A closed tab is not everybody's."""
    house.broker.set_state(fyers_id(ALICE), AccountState.HANGING)
    leaving, staying = (asyncio.create_task(house.validation.validate_fyers_token(ALICE)) for _ in range(2))
    await house.clock.settle()

    leaving.cancel()
    await house.clock.advance(11)

    assert (await staying).verdict is UNVERIFIED
    assert len(house.broker.calls) == 1


async def test_a_new_login_never_meets_an_old_result(house: House) -> None:
    """Results are cleared at once on reconnecting: the new session is asked about."""
    await verdict(house)
    await house.log_in(ALICE)

    assert house.validation.get_cache_stats().size == 0
    assert house.validation.status_from_cache(ALICE) is None
    assert await verdict(house) is VALID
    assert [call.generation for call in house.broker.calls] == [1, 2]


async def test_an_end_clears_the_result(house: House) -> None:
    """A session that is over is not listed as valid, and its status is known without asking."""
    await verdict(house)

    await house.connections.sign_out(ALICE, actor=ALICE)

    assert house.validation.get_cache_stats().entries == ()
    status = house.validation.status_from_cache(ALICE)
    assert status is not None
    assert status.verdict is INVALID


async def test_a_slow_answer_about_the_old_token_says_nothing_about_the_new_one(house: House) -> None:
    """The check that began before a login neither ends nor confirms the session that began meanwhile."""
    for answer in (AccountState.REVOKED, AccountState.ALIVE):
        release = asyncio.Event()
        house.broker.before_answer = lambda call, gate=release: gate.wait()
        house.broker.set_state(fyers_id(ALICE), answer)
        slow = asyncio.create_task(house.validation.validate_fyers_token(ALICE, fresh=True))
        await house.clock.settle()
        await house.log_in(ALICE)
        release.set()
        late = await slow
        await house.clock.settle()

        assert late.verdict is UNVERIFIED
        assert late.connection.generation == house.connections.connection(ALICE).generation
        assert house.connections.connection(ALICE).is_usable
        assert house.validation.get_cache_stats().size == 0
        house.broker.before_answer = None


async def test_the_cache_counts_for_each_user(house: House) -> None:
    """A user sees own numbers only; everybody's are for operators. Nothing of a token is in them."""
    await house.with_sessions(BOB)
    await verdict(house, ALICE)
    await verdict(house, ALICE)
    await verdict(house, BOB)
    await house.clock.advance(10)

    own, all_of_them = house.validation.get_cache_stats(ALICE), house.validation.get_cache_stats()

    assert (own.size, own.hits, own.misses) == (1, 1, 1)
    assert [(entry.user_id, entry.is_valid, entry.age_s) for entry in own.entries] == [(ALICE, True, 10.0)]
    assert (all_of_them.size, all_of_them.hits, all_of_them.misses) == (2, 1, 2)
    assert house.credential(ALICE).token.reveal() not in repr(all_of_them)


async def test_a_user_can_clear_the_own_result(house: House) -> None:
    """The next question goes to Fyers; other users' results stay."""
    await house.with_sessions(BOB)
    await verdict(house, ALICE)
    await verdict(house, BOB)

    await house.validation.clear_user_cache(ALICE)

    assert house.validation.status_from_cache(ALICE) is None
    assert house.validation.status_from_cache(BOB) is not None


# ---- everybody


async def crowd(house: House, size: int = 40) -> list[str]:
    """Give so many more people a session."""
    names = [f"usr_{number:03}" for number in range(size)]
    await house.with_sessions(*names)
    return names


async def sweep(house: House, *, within_s: float = 60) -> ValidationTotals:
    """Run a sweep to its end."""
    sweeping = asyncio.create_task(house.validation.validate_all_active_users())
    for _ in range(round(within_s)):
        await house.clock.advance(1)
        if sweeping.done():
            break
    return sweeping.result()


async def test_a_sweep_counts_everybody_once(house: House) -> None:
    """Good, dead, silent and broken accounts each land in their own total."""
    names = await crowd(house)
    house.broker.set_state(fyers_id(names[0]), AccountState.REVOKED)
    house.broker.set_state(fyers_id(names[1]), AccountState.UNAVAILABLE)

    async def breaks(call: Call) -> None:
        if call.user_id == names[2]:
            raise LookupError("broken broker")

    house.broker.before_answer = breaks
    totals = await sweep(house)

    assert (totals.total, totals.valid, totals.invalid) == (41, 38, 1)
    assert (totals.unverified, totals.errors) == (1, 1)
    assert not house.connections.connection(names[0]).has_session


async def test_one_hanging_account_delays_nobody(house: House) -> None:
    """All others are validated before its time limit, and the sweep ends soon after that limit."""
    names = await crowd(house)
    house.broker.set_state(fyers_id(names[5]), AccountState.HANGING)
    done: dict[str, float] = {}
    began = house.clock.monotonic()
    sweeping = asyncio.create_task(
        house.validation.validate_all_active_users(
            on_progress=lambda validation: done.setdefault(validation.user_id, house.clock.monotonic())
        )
    )
    for _ in range(40):
        await house.clock.advance(0.5)

    totals = await sweeping
    assert (totals.valid, totals.unverified) == (40, 1)
    assert max(at for user, at in done.items() if user != names[5]) - began <= 1
    assert 10 <= done[names[5]] - began <= 16


async def test_a_sweep_is_spread(house: House) -> None:
    """Calls of many accounts do not start in the same moment, nor in the order of a list."""
    names = await crowd(house, 160)

    await sweep(house)

    at = [call.at for call in house.broker.calls]
    assert timedelta(seconds=1) < max(at) - min(at) < timedelta(seconds=4)
    assert len(set(at)) > 100
    order = [call.user_id for call in house.broker.calls if call.user_id in names]
    assert order != sorted(order)


async def test_sweeps_run_at_the_start_and_every_half_hour() -> None:
    """Sessions that are over are left alone."""
    house = await House().start(with_monitoring=False, with_sweeps=True)
    await house.with_sessions(ALICE, BOB)
    await house.connections.sign_out(BOB, actor=BOB)

    await house.clock.advance(31)
    assert len(house.broker.calls) == 1
    await house.clock.advance(3 * 1800)

    assert len(house.broker.calls_of(ALICE)) == 4
    assert house.broker.calls_of(BOB) == []
    assert not any(call.at >= next_daily_end(call.at) for call in house.broker.calls)


async def test_progress_that_breaks_is_counted_and_harms_nobody(house: House) -> None:
    """A listener's error is its own account's error."""
    await house.with_sessions(BOB)

    def breaks(validation: object) -> None:
        raise LookupError("broken page")

    totals = await house.validation.validate_all_active_users(on_progress=breaks)

    assert (totals.total, totals.errors) == (2, 2)
    assert house.connections.sessions_alive() == 2


# ---- ending by hand


async def test_people_end_sessions_only_for_reasons_of_their_own(house: House) -> None:
    """Signed out and by admin can be claimed, expired and rejected cannot."""
    for reason in (DisconnectReason.EXPIRED, DisconnectReason.REJECTED):
        with pytest.raises(InvalidInput):
            await house.validation.mark_user_as_disconnected(ALICE, reason, actor=ALICE)
    assert house.connections.connection(ALICE).has_session

    after = await house.validation.mark_user_as_disconnected(ALICE, DisconnectReason.SIGNED_OUT, actor=ALICE)
    assert after.reason is DisconnectReason.SIGNED_OUT
    await house.log_in(ALICE)
    after = await house.validation.mark_user_as_disconnected(
        ALICE, DisconnectReason.BY_ADMIN, actor="usr_admin"
    )
    assert after.reason is DisconnectReason.BY_ADMIN


async def test_answers_of_other_calls_do_not_fill_the_cache(house: House) -> None:
    """Only a validation is kept as one; what a quote confirmed shows in the connection."""
    house.connections.record_result(house.credential(ALICE), Answered(None))

    assert house.validation.status_from_cache(ALICE) is None
    assert house.connections.connection(ALICE).is_verified
