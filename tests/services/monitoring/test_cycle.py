import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from fakes.broker import AccountState, Call, refusal

from hullwatch.domain.market.clock_offset import ClockOffset
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import CircuitLimits, Implausibility, Quote
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.services.monitoring.feeds import RETRY_WAITS_S
from hullwatch.services.sessions.verification import CONFIRM_AGAIN_S
from services.environment import (
    ALICE,
    BOB,
    CAROL,
    CLOSING,
    FIVE,
    OPENING,
    SBIN,
    Environment,
    found,
    fyers_id,
    quote,
)
from services.monitoring.monitoring_environment import DATA, MARKET, environment, names, status, watching

# ---- cycles


async def test_each_account_has_a_cycle_every_five_seconds(env: Environment) -> None:
    """An account makes twelve quotes calls a minute and one history call for each candle."""
    await watching(env, ALICE, BOB)
    await env.clock.advance(7)
    reached = len(env.broker.calls)

    await env.clock.advance(60)

    made = env.broker.calls[reached:]
    for user_id in (ALICE, BOB):
        assert 12 <= sum(call.user_id == user_id and call.name == "quotes" for call in made) <= 13
    assert status(env) is status(env, BOB) is WatchStatus.WATCHING
    assert env.monitoring.state(ALICE).missed_cycles == 0


@pytest.mark.parametrize(("fyers_ahead_s", "first_s", "second_s"), [(0, 1, 3), (-2, 3, 5), (1.5, -0.5, 1.5)])
async def test_a_line_near_its_trigger_is_read_twice(
    env: Environment, fyers_ahead_s: float, first_s: float, second_s: float
) -> None:
    """One second after the close, and again at the settle time, both on Fyers' clock."""
    env.broker.offset = ClockOffset(fyers_ahead_s, fyers_ahead_s)
    await watching(env, ALICE)
    await env.clock.advance_to(OPENING + timedelta(minutes=34, seconds=50))
    trigger = env.monitoring._scheduler.account(ALICE).watcher.series("wch_1").trigger
    index = next(i for i, one in enumerate(MARKET) if one.opened_at == OPENING + timedelta(minutes=30))
    served = env.broker.candles_by_key[SBIN, FIVE]
    served[index] = replace(served[index], close=round(trigger, 2), high=1000.0, low=1.0)
    env.broker.serve_quotes([quote(SBIN, round(trigger, 2))])
    await env.clock.advance(9)
    reached = len(env.broker.calls)

    await env.clock.advance(60)

    closes_at = OPENING + timedelta(minutes=35)
    assert candle_calls(env, reached) == [closes_at + timedelta(seconds=one) for one in (first_s, second_s)]


async def test_a_line_far_from_its_trigger_is_read_once(env: Environment) -> None:
    """Its only reading is at the settle time, when the close counts."""
    await watching(env, ALICE)
    env.broker.serve_quotes([quote(SBIN, 500.0)])
    await env.clock.advance_to(OPENING + timedelta(minutes=34, seconds=59))
    side = env.monitoring._scheduler.account(ALICE).watcher.series("wch_1").next_direction(500.0)
    env.broker.serve_quotes([quote(SBIN, 500.0 if side is None else 1.0)])
    index = next(i for i, one in enumerate(MARKET) if one.opened_at == OPENING + timedelta(minutes=30))
    served = env.broker.candles_by_key[SBIN, FIVE]
    served[index] = replace(served[index], close=1000.0 if side is None else 1.0, high=1000.0, low=1.0)
    await env.clock.advance_to(OPENING + timedelta(minutes=35, seconds=0.5))
    reached = len(env.broker.calls)

    await env.clock.advance(60)

    assert candle_calls(env, reached) == [OPENING + timedelta(minutes=35, seconds=3)]


def candle_calls(env: Environment, reached: int) -> list[datetime]:
    """Return the times of the history calls from a call on."""
    return [call.at for call in env.broker.calls[reached:] if call.name == "candles"]


async def test_no_calls_are_made_outside_trading_hours(env: Environment) -> None:
    """There are none from the last reading of the session's last candle to the next market open."""
    await watching(env, ALICE)
    await env.clock.advance_to(CLOSING + timedelta(minutes=15, seconds=10))
    later = [at - CLOSING for at in candle_calls(env, 0)][-2:]
    assert timedelta(minutes=2) <= later[0] <= timedelta(minutes=2, seconds=30)
    assert timedelta(minutes=15) <= later[1] <= timedelta(minutes=15, seconds=5)
    assert status(env) is WatchStatus.MARKET_CLOSED
    assert env.monitoring.state(ALICE).is_running
    reached = len(env.broker.calls)

    await env.clock.advance(3600)

    assert len(env.broker.calls) == reached


async def test_monitoring_resumes_at_the_next_market_open() -> None:
    """The first cycle is within five seconds of it."""
    env = await environment(now=OPENING - timedelta(minutes=5)).with_sessions(ALICE)
    await watching(env, ALICE)
    assert status(env) is WatchStatus.MARKET_CLOSED
    reached = len(env.broker.calls)

    await env.clock.advance_to(OPENING + timedelta(seconds=6))

    assert [call.name for call in env.broker.calls[reached:]][:1] == ["quotes"]
    assert status(env) is WatchStatus.WATCHING


async def test_cycles_of_one_account_never_overlap(env: Environment) -> None:
    """Cycles that a slow one covers are skipped and counted."""
    await watching(env, ALICE)
    await env.clock.advance(10)
    under_way, most = 0, 0

    async def hang(call: Call) -> None:
        nonlocal under_way, most
        under_way += call.user_id == ALICE and call.name == "quotes"
        most = max(most, under_way)
        try:
            await env.clock.sleep(17)
        finally:
            under_way -= call.user_id == ALICE and call.name == "quotes"

    env.broker.before_answer = hang
    await env.clock.advance(100)

    assert most == 1
    assert env.monitoring.state(ALICE).missed_cycles > 5


async def test_a_hanging_account_delays_no_other(env: Environment) -> None:
    """Bob's ticks do not change, and Alice's cycle ends at its deadline."""
    await watching(env, ALICE, BOB)
    await env.clock.advance(10)
    env.broker.set_state(fyers_id(ALICE), AccountState.HANGING)
    env.broker.timeout_s = 1000
    reached = len(env.broker.calls)

    await env.clock.advance(60)

    made = env.broker.calls[reached:]
    assert 12 <= sum(call.user_id == BOB and call.name == "quotes" for call in made) <= 13
    assert 2 <= sum(call.user_id == ALICE for call in made) <= 3
    assert status(env) is WatchStatus.FYERS_UNAVAILABLE
    assert status(env, BOB) is WatchStatus.WATCHING


async def test_quotes_that_pause_for_a_close_make_no_cycle_slow(env: Environment) -> None:
    """The calls wait in this server's queue, and Fyers answers: nothing is blind, and no second call is made."""
    await watching(env, ALICE)
    await env.clock.advance(10)
    env.broker.waiting_at_close.add(fyers_id(ALICE))
    paused = asyncio.Event()

    async def wait(call: Call) -> None:
        if call.name == "quotes":
            await paused.wait()

    env.broker.before_answer = wait
    reached = len(env.broker.calls)
    await env.clock.advance(40)
    quotes_calls = [call for call in env.broker.calls[reached:] if call.name == "quotes"]

    assert status(env) is WatchStatus.WATCHING
    assert env.monitoring.state(ALICE).missed_cycles == 0
    assert len(quotes_calls) == 1

    env.broker.waiting_at_close.clear()
    paused.set()
    await env.clock.advance(10)
    assert len([call for call in env.broker.calls[reached:] if call.name == "quotes"]) >= 2


async def test_an_error_of_one_account_affects_no_other(env: Environment) -> None:
    """An unexpected exception fails one cycle, and the account's next one runs."""
    await watching(env, ALICE, BOB)
    await env.clock.advance(10)

    async def breaks(call: Call) -> None:
        if call.user_id == ALICE:
            raise LookupError("broken broker")

    env.broker.before_answer = breaks
    await env.clock.advance(30)
    assert (status(env), status(env, BOB)) == (WatchStatus.FYERS_UNAVAILABLE, WatchStatus.WATCHING)
    env.broker.before_answer = None

    await env.clock.advance(10)

    assert status(env) is WatchStatus.WATCHING
    assert found(env.signals(ALICE)) == found(env.signals(BOB))


async def test_a_restarted_job_resumes_all_accounts(env: Environment) -> None:
    """Cycles that the restart cancelled run again."""
    await watching(env, ALICE)
    await env.clock.advance(10)
    env.broker.set_state(fyers_id(ALICE), AccountState.HANGING)
    await env.clock.advance(6)
    job = next(task for task in asyncio.all_tasks() if task.get_name() == f"cycle {ALICE}")
    job.cancel()
    env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)

    await env.clock.advance(20)

    assert status(env) is WatchStatus.WATCHING


# ---- accounts without calls


async def test_each_reason_for_not_monitoring_has_a_text(env: Environment) -> None:
    """The user reads what to do."""
    await env.start()
    assert status(env) is WatchStatus.NOT_WANTED
    await env.monitoring.start(ALICE)
    await env.clock.settle()
    assert status(env) is WatchStatus.NO_WATCHES
    await env.watch(ALICE)
    await env.clock.settle()
    assert status(env) is WatchStatus.WATCHING
    await env.connections.sign_out(ALICE, actor=ALICE)
    state = env.monitoring.state(ALICE)
    assert (state.status, state.is_wanted, state.is_running) == (WatchStatus.NO_SESSION, True, False)
    assert "Log in to Fyers" in state.reason_text
    assert status(env, CAROL) is WatchStatus.NOT_WANTED


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (AccountState.UNAVAILABLE, WatchStatus.FYERS_UNAVAILABLE),
        (AccountState.RATE_LIMITED, WatchStatus.RATE_LIMITED),
        (AccountState.REVOKED, WatchStatus.CHECKING_LOGIN),
        (AccountState.EXPIRED, WatchStatus.CHECKING_LOGIN),
    ],
)
async def test_failures_of_fyers_show_in_the_status(
    env: Environment, state: AccountState, expected: WatchStatus
) -> None:
    """Outages and limits need no action, and a session that stays refused needs a login."""
    await watching(env, ALICE)
    await env.clock.advance(10)
    env.broker.set_state(fyers_id(ALICE), state)
    await env.clock.advance(6)
    assert status(env) is expected
    assert not env.monitoring.state(ALICE).is_running
    if expected is WatchStatus.CHECKING_LOGIN:
        await env.clock.advance(CONFIRM_AGAIN_S)
        assert status(env) is WatchStatus.NO_SESSION
        await env.log_in(ALICE)
    env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)

    await env.clock.advance(6)

    assert status(env) is WatchStatus.WATCHING


async def test_a_session_under_verification_has_its_own_status(env: Environment) -> None:
    """During verification no ordinary call is made."""
    await watching(env, ALICE)
    await env.clock.advance(10)
    env.broker.set_state(fyers_id(ALICE), AccountState.UNAVAILABLE)
    env.broker.queue(fyers_id(ALICE), refusal(DATA))
    await env.clock.advance(6)

    assert status(env) is WatchStatus.CHECKING_LOGIN


async def test_a_mass_refusal_is_shown_as_an_outage(env: Environment) -> None:
    """A held session is not shown as a login under verification."""
    await env.with_sessions(CAROL)
    await watching(env, ALICE, BOB, CAROL)
    await env.clock.advance(10)
    for user_id in (ALICE, BOB, CAROL):
        env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)

    await env.clock.advance(30)

    assert {status(env, user_id) for user_id in (ALICE, BOB, CAROL)} == {WatchStatus.FYERS_UNAVAILABLE}
    assert env.connections.session_count() == 3


async def test_a_disconnected_session_makes_no_calls(env: Environment) -> None:
    """Other accounts continue, and its calls resume after the next login."""
    await watching(env, ALICE, BOB)
    await env.clock.advance(10)
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await env.clock.advance(6 + CONFIRM_AGAIN_S)
    reached, others = len(names(env)), len(names(env, BOB))

    await env.clock.advance(600)

    assert len(names(env)) == reached
    assert len(names(env, BOB)) > others + 100


async def test_waiting_history_calls_are_dropped_at_a_disconnect(env: Environment) -> None:
    """Of twenty due symbols four are called at once, and the rest is not called."""
    await env.start()
    for number in range(20):
        await env.watch(ALICE, symbol=Symbol(f"NSE:STOCK{number}-EQ"))

    async def end_it(call: Call) -> None:
        if len(names(env)) == 4:
            await env.connections.sign_out(ALICE, actor=ALICE)
        await asyncio.sleep(0)

    env.broker.before_answer = end_it
    await env.monitoring.start(ALICE)
    await env.clock.advance(30)

    assert names(env) == ["candles"] * 4


async def test_a_refused_symbol_affects_no_other(env: Environment) -> None:
    """It is listed as refused and called again at the next candle only."""
    unknown = Symbol("NSE:NOSUCH-EQ")
    env.broker.unknown_symbols.add(unknown)
    await watching(env, ALICE)
    watch = await env.watch(ALICE, symbol=unknown)
    await env.clock.advance(60)
    assert env.monitoring.state(ALICE).refused_symbols == (unknown,)
    assert status(env) is WatchStatus.WATCHING
    assert sum(call.symbols == (unknown,) for call in env.broker.calls) == 1

    await env.monitoring.remove_watch(ALICE, watch.id)

    assert env.monitoring.state(ALICE).refused_symbols == ()


async def test_a_candle_without_trades_is_retried_a_few_times(env: Environment) -> None:
    """An instrument that seldom trades costs a few calls for each candle, with growing waits."""
    quiet = Symbol("NSE:QUIET-EQ")
    await env.start()
    await env.watch(ALICE, symbol=quiet)
    await env.monitoring.start(ALICE)
    await env.clock.advance_to(OPENING + timedelta(minutes=35, seconds=0.5))
    reached = len(env.broker.calls)

    await env.clock.advance_to(OPENING + timedelta(minutes=40))

    calls = [call for call in env.broker.calls[reached:] if call.name == "candles"]
    assert len(calls) == len(RETRY_WAITS_S) + 1
    assert status(env) is WatchStatus.WATCHING


async def test_circuit_limits_are_read_beside_the_quotes(env: Environment) -> None:
    """A depth call that hangs delays no quote, and the limits count from the next cycle on."""
    env.broker.serve_quotes([Quote(SBIN, 100.0, previous_close=80.0)])
    env.broker.limits_by_symbol[SBIN] = CircuitLimits(72.0, 88.0)

    async def hang(call: Call) -> None:
        if call.name == "circuit_limits":
            await env.clock.sleep(30)

    env.broker.before_answer = hang
    await watching(env, ALICE)
    await env.clock.advance(25)
    watcher = env.monitoring._scheduler.account(ALICE).watcher
    assert [one.implausibility for one in watcher.quotes] == [None]
    assert names(env).count("quotes") >= 4

    await env.clock.advance(20)

    assert [one.implausibility for one in watcher.quotes] == [Implausibility.OUTSIDE_LIMITS]
    assert names(env).count("circuit_limits") == 1
