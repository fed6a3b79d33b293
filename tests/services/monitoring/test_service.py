"""Watching every account that wants it, each on its own."""

import asyncio
from datetime import timedelta

import pytest
from fakes.broker import AccountState, Call, refusal

from hullwatch.domain.events import CandleClosed, QuotesArrived, SignalFired, WatchStatusChanged
from hullwatch.domain.failures import (
    AlreadyExists,
    BrokerService,
    InvalidInput,
    LimitReached,
    NotFound,
    StorageUnavailable,
)
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.watches import MAX_WATCHES, WatchStatus
from hullwatch.domain.signals.signals import Rule
from hullwatch.services.monitoring.feeds import RETRY_WAITS_S
from services.environment import (
    ALICE,
    BOB,
    CAROL,
    CLOSING,
    FIVE,
    INFY,
    OPENING,
    SBIN,
    Environment,
    candles_of,
    expected_signals,
    found,
    fyers_id,
    quote,
)

MARKET = candles_of(days=2)
DATA, TRADING = BrokerService.DATA, BrokerService.TRADING


@pytest.fixture
async def env() -> Environment:
    """Alice and Bob have sessions at 09:45 on a Monday; Fyers knows the market; all jobs run."""
    return await built().with_sessions(ALICE, BOB)


def built(**arguments) -> Environment:
    """Return an environment whose market moves."""
    env = Environment(**arguments)
    env.broker.serve_candles(SBIN, FIVE, MARKET)
    env.broker.serve_candles(INFY, FIVE, candles_of(seed=2, days=2))
    env.broker.serve_quotes([quote(SBIN), quote(INFY)])
    return env


async def watching(env: Environment, *user_ids: str, rule: Rule = Rule.CROSS) -> Environment:
    """Start the jobs and have these users watch SBIN."""
    await env.start()
    for user_id in user_ids:
        await env.watch(user_id, rule=rule)
        await env.monitoring.start(user_id)
    await env.clock.settle()
    return env


def status(env: Environment, user_id: str = ALICE) -> WatchStatus:
    """Return the monitoring status of a user."""
    return env.monitoring.state(user_id).status


def names(env: Environment, user_id: str = ALICE) -> list[str]:
    """Return the names of the calls of a user."""
    return [call.name for call in env.broker.calls_of(user_id)]


# ---- cycles


async def test_each_account_has_a_cycle_every_five_seconds(env: Environment) -> None:
    """In trading hours: twelve quotes calls a minute for each account, and one history call for each candle."""
    await watching(env, ALICE, BOB)
    await env.clock.advance(7)
    reached = len(env.broker.calls)

    await env.clock.advance(60)

    made = env.broker.calls[reached:]
    for user_id in (ALICE, BOB):
        assert 12 <= sum(call.user_id == user_id and call.name == "quotes" for call in made) <= 13
    assert status(env) is status(env, BOB) is WatchStatus.WATCHING
    assert env.monitoring.state(ALICE).missed_cycles == 0


async def test_a_closed_candle_is_read_right_after_its_close(env: Environment) -> None:
    """One history call a second after the close, none before and none after it."""
    await watching(env, ALICE)
    await env.clock.advance_to(OPENING + timedelta(minutes=34, seconds=59))
    reached = len(env.broker.calls)

    await env.clock.advance(60)

    calls = [call for call in env.broker.calls[reached:] if call.name == "candles"]
    assert [call.at for call in calls] == [OPENING + timedelta(minutes=35, seconds=1)]


async def test_no_calls_are_made_outside_trading_hours(env: Environment) -> None:
    """None from the last candle to the next market open; monitoring resumes then."""
    await watching(env, ALICE)
    await env.clock.advance_to(CLOSING + timedelta(seconds=10))
    last = [call for call in env.broker.calls if call.name == "candles"][-1]
    assert last.at == CLOSING + timedelta(seconds=1)
    assert status(env) is WatchStatus.MARKET_CLOSED
    assert env.monitoring.state(ALICE).is_running
    reached = len(env.broker.calls)

    await env.clock.advance(3600)

    assert len(env.broker.calls) == reached


async def test_monitoring_resumes_at_the_next_market_open() -> None:
    """The first cycle is within five seconds of it."""
    env = await built(now=OPENING - timedelta(minutes=5)).with_sessions(ALICE)
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
        under_way += call.user_id == ALICE
        most = max(most, under_way)
        try:
            await env.clock.sleep(17)
        finally:
            under_way -= call.user_id == ALICE

    env.broker.before_answer = hang
    await env.clock.advance(100)

    assert most == 1
    assert env.monitoring.state(ALICE).missed_cycles > 5


async def test_a_hanging_account_delays_no_other(env: Environment) -> None:
    """Bob's ticks do not change while Alice's calls hang; her cycle ends at its deadline."""
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


# ---- who is skipped, and why


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
    assert "log in to Fyers" in state.reason_text
    assert status(env, CAROL) is WatchStatus.NOT_WANTED


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (AccountState.UNAVAILABLE, WatchStatus.FYERS_UNAVAILABLE),
        (AccountState.RATE_LIMITED, WatchStatus.RATE_LIMITED),
        (AccountState.REVOKED, WatchStatus.NO_SESSION),
        (AccountState.EXPIRED, WatchStatus.NO_SESSION),
    ],
)
async def test_failures_of_fyers_show_in_the_status(
    env: Environment, state: AccountState, expected: WatchStatus
) -> None:
    """Outages and limits end by themselves; a disconnected session needs a login."""
    await watching(env, ALICE)
    await env.clock.advance(10)
    env.broker.set_state(fyers_id(ALICE), state)
    await env.clock.advance(6)
    assert status(env) is expected
    assert not env.monitoring.state(ALICE).is_running
    env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)
    if expected is WatchStatus.NO_SESSION:
        await env.log_in(ALICE)

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
    """A held session must not look as if its login were checked for ever."""
    await env.with_sessions(CAROL)
    await watching(env, ALICE, BOB, CAROL)
    await env.clock.advance(10)
    for user_id in (ALICE, BOB, CAROL):
        env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)

    await env.clock.advance(30)

    assert {status(env, user_id) for user_id in (ALICE, BOB, CAROL)} == {WatchStatus.FYERS_UNAVAILABLE}
    assert env.connections.session_count() == 3


async def test_a_disconnected_session_makes_no_calls(env: Environment) -> None:
    """None until the next login, while other accounts continue."""
    await watching(env, ALICE, BOB)
    await env.clock.advance(10)
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await env.clock.advance(6)
    reached, others = len(names(env)), len(names(env, BOB))

    await env.clock.advance(600)

    assert len(names(env)) == reached
    assert len(names(env, BOB)) > others + 100


async def test_waiting_history_calls_are_dropped_at_a_disconnect(env: Environment) -> None:
    """Twenty symbols are due and four are called at once; after the disconnect the rest is not."""
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


# ---- the wish


async def test_monitoring_stays_wanted_through_disconnects(env: Environment) -> None:
    """It survives an expired session and two restarts."""
    await watching(env, ALICE)
    await env.connections.sign_out(ALICE, actor=ALICE)
    for _ in range(2):
        env = await (await env.kill()).start()
        await env.clock.advance(6)
        state = env.monitoring.state(ALICE)
        assert (state.is_wanted, state.is_running, state.status) == (True, False, WatchStatus.NO_SESSION)
        assert not env.monitoring.state(BOB).is_wanted

    await env.log_in(ALICE)
    await env.clock.advance(6)

    assert env.monitoring.state(ALICE).is_running


async def test_a_stop_ends_the_calls_and_survives_a_restart(env: Environment) -> None:
    """A stopped account makes no calls before or after it."""
    await watching(env, ALICE)
    await env.clock.advance(10)
    await env.monitoring.stop(ALICE)
    reached = len(env.broker.calls)
    await env.clock.advance(60)

    env = await (await env.kill()).start()
    await env.clock.advance(60)

    assert len(env.broker.calls) == reached
    assert status(env) is WatchStatus.NOT_WANTED


async def test_starting_or_stopping_twice_changes_nothing(env: Environment) -> None:
    """A second click does not begin the evaluation anew."""
    await watching(env, ALICE)
    await env.clock.advance(10)
    before = env.store.tables.watches.copy()
    await env.clock.advance(10)

    assert (await env.monitoring.start(ALICE)).status is WatchStatus.WATCHING
    assert env.store.tables.watches == before
    await env.monitoring.stop(ALICE)
    await env.monitoring.stop(ALICE)
    assert not env.monitoring.state(ALICE).is_wanted


async def test_a_start_that_cannot_be_stored_is_refused(env: Environment) -> None:
    """The caller gets the error, and nothing changes."""
    await env.start()
    await env.watch(ALICE)
    env.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await env.monitoring.start(ALICE)

    assert not env.monitoring.state(ALICE).is_wanted
    await env.clock.advance(10)
    assert env.broker.calls == []


# ---- the watchlist


async def test_a_watchlist_belongs_to_its_user(env: Environment) -> None:
    """Others can neither read, change nor remove its watches."""
    await env.start()
    watch = await env.watch(ALICE)

    assert await env.monitoring.watches(BOB) == []
    with pytest.raises(NotFound):
        await env.monitoring.change_watch(BOB, watch.id, period=9)
    with pytest.raises(NotFound):
        await env.monitoring.remove_watch(BOB, watch.id)
    assert await env.monitoring.watches(ALICE) == [watch]


async def test_a_watch_cannot_be_added_twice(env: Environment) -> None:
    """Nor can another be changed into it; another rule is another watch."""
    await env.start()
    await env.watch(ALICE)
    other = await env.watch(ALICE, rule=Rule.TURN)

    with pytest.raises(AlreadyExists):
        await env.watch(ALICE)
    with pytest.raises(AlreadyExists):
        await env.monitoring.change_watch(ALICE, other.id, rule=Rule.CROSS)
    assert await env.watch(BOB) is not None


async def test_concurrent_additions_respect_the_limit(env: Environment) -> None:
    """Requests at the same moment are serialized."""
    await env.start()
    results = await asyncio.gather(
        *(env.watch(ALICE, symbol=Symbol(f"NSE:STOCK{number}-EQ")) for number in range(MAX_WATCHES + 5)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, LimitReached) for result in results) == 5
    assert len(await env.monitoring.watches(ALICE)) == MAX_WATCHES


async def test_unsupported_watches_are_refused(env: Environment) -> None:
    """A period that no average has, and a segment with unknown hours."""
    await env.start()
    watch = await env.watch(ALICE)
    with pytest.raises(InvalidInput):
        await env.watch(ALICE, period=1)
    with pytest.raises(InvalidInput):
        await env.monitoring.change_watch(ALICE, watch.id, period=100_000)
    with pytest.raises(InvalidInput):
        await env.watch(ALICE, symbol=Symbol("MCX:GOLD26DECFUT"))

    assert await env.monitoring.watches(ALICE) == [watch]


async def test_a_watch_may_be_removed_during_a_cycle(env: Environment) -> None:
    """Neither a waiting call nor a late answer fails."""
    await env.start()
    watches = [await env.watch(ALICE, symbol=Symbol(f"NSE:STOCK{number}-EQ")) for number in range(8)]

    async def remove_all(call: Call) -> None:
        env.broker.before_answer = None
        for watch in watches:
            await env.monitoring.remove_watch(ALICE, watch.id)

    env.broker.before_answer = remove_all
    await env.monitoring.start(ALICE)
    await env.clock.advance(20)

    assert env.metrics.cycles["failed"] == 0
    assert status(env) is WatchStatus.NO_WATCHES


async def test_a_removed_user_leaves_no_state(env: Environment) -> None:
    """No further cycle runs, and a cycle under way is not repeated."""
    await watching(env, ALICE)
    await env.clock.advance(10)
    await env.monitoring.forget(ALICE)
    await env.connections.forget(ALICE)
    reached = len(env.broker.calls)

    await env.clock.advance(60)

    assert len(env.broker.calls) == reached


# ---- what open pages receive


async def test_open_pages_get_quotes_with_previews(env: Environment) -> None:
    """A preview far from the average gives no signal."""
    tab = env.hub.subscribe(ALICE)
    await watching(env, ALICE)
    await env.clock.advance(10)
    env.broker.serve_quotes([quote(SBIN, 500.0)])
    await env.clock.advance(6)
    env.broker.serve_quotes([quote(SBIN, 1.0)])
    await env.clock.advance(6)
    tab.close()

    messages = [delivery.message async for delivery in tab]
    previews = [message.previews for message in messages if isinstance(message, QuotesArrived)]
    assert previews[-1]
    assert env.signals(ALICE) == []
    assert not any(isinstance(message, SignalFired) for message in messages)


async def test_a_quote_that_is_no_price_has_no_preview(env: Environment) -> None:
    """Zero and NaN do not fail the cycle."""
    tab = env.hub.subscribe(ALICE)
    await watching(env, ALICE)
    for price in (0.0, float("nan"), None, -1.0):
        env.broker.serve_quotes([quote(SBIN, price)])
        await env.clock.advance(6)
        assert status(env) is WatchStatus.WATCHING
    tab.close()
    last = [delivery.message async for delivery in tab if isinstance(delivery.message, QuotesArrived)][-1]
    assert last.previews == {}


async def test_each_status_change_is_recorded_once(env: Environment) -> None:
    """In order, for open pages and in the audit trail."""
    tab = env.hub.subscribe(ALICE)
    await watching(env, ALICE)
    await env.clock.advance(10)
    await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance(30)
    await env.monitoring.stop(ALICE)
    await env.clock.advance(30)
    tab.close()

    statuses = [
        delivery.message.status async for delivery in tab if isinstance(delivery.message, WatchStatusChanged)
    ]
    assert statuses == [
        WatchStatus.STARTING,
        WatchStatus.WATCHING,
        WatchStatus.NO_SESSION,
        WatchStatus.NOT_WANTED,
    ]
    entries = [entry for entry in env.store.tables.audit if entry.kind == "monitoring.status"]
    assert [entry.to_state for entry in entries] == [status.value for status in statuses]
    assert entries[2].incident_id == env.connections.connection(ALICE).incident_id


async def test_a_closed_candle_is_published_once(env: Environment) -> None:
    """Two rules on one symbol share its candles and its calls."""
    await env.start()
    tab = env.hub.subscribe(ALICE)
    await env.watch(ALICE, rule=Rule.CROSS)
    await env.watch(ALICE, rule=Rule.TURN)
    await env.monitoring.start(ALICE)
    await env.clock.advance_to(OPENING + timedelta(minutes=46))
    tab.close()

    candles = [
        delivery.message.candle.opened_at
        async for delivery in tab
        if isinstance(delivery.message, CandleClosed)
    ]
    assert candles == [OPENING + timedelta(minutes=minute) for minute in (30, 35, 40)]
    assert names(env).count("candles") == 4  # once for the warm-up


# ---- signals


async def test_signals_equal_a_replay_of_the_closed_candles(env: Environment) -> None:
    """For both rules until the close; each is found right after its candle has closed."""
    await watching(env, ALICE, rule=Rule.CROSS)
    await watching_also(env, BOB, rule=Rule.TURN)
    began = env.clock.now()

    await env.clock.advance_to(CLOSING + timedelta(seconds=5))

    for user_id, rule in ((ALICE, Rule.CROSS), (BOB, Rule.TURN)):
        expected = expected_signals(MARKET, rule, after=began, through=CLOSING)
        assert len(expected) > 5
        assert found(env.signals(user_id)) == expected
        for signal in env.signals(user_id):
            delay = signal.detected_at - signal.candle_closed_at
            assert timedelta(seconds=1) <= delay <= timedelta(seconds=2)
            assert not signal.is_late
    assert env.metrics.signals == len(env.signals(ALICE)) + len(env.signals(BOB))


async def watching_also(env: Environment, user_id: str, *, rule: Rule) -> None:
    """Add a user who watches too."""
    await env.watch(user_id, rule=rule)
    await env.monitoring.start(user_id)


async def test_a_forming_candle_gives_no_signal(env: Environment) -> None:
    """A crossing that is gone at the close never was one."""
    index = next(i for i, candle in enumerate(MARKET) if candle.opened_at == OPENING + timedelta(minutes=30))
    final = MARKET[index]
    served = env.broker.candles_by_key[SBIN, FIVE]
    expected = expected_signals(
        MARKET, Rule.CROSS, after=env.clock.now(), through=OPENING + timedelta(minutes=35)
    )
    await watching(env, ALICE)
    for minute, price in ((31, 400.0), (32, 1.0), (33, 400.0)):
        await env.clock.advance_to(OPENING + timedelta(minutes=minute, seconds=20))
        served[index] = Candle(final.opened_at, price, price, price, price, 1)
        await env.monitoring.stop(ALICE)  # a fresh start fetches anew, the forming candle included
        await env.monitoring.start(ALICE)
        await env.clock.settle()
    served[index] = final

    await env.clock.advance_to(OPENING + timedelta(minutes=35, seconds=10))

    assert found(env.signals(ALICE)) == expected


async def test_signals_of_a_disconnect_are_found_late(env: Environment) -> None:
    """After the next login no closed candle is missed and no earlier signal is repeated."""
    await watching(env, ALICE)
    began = env.clock.now()
    await env.clock.advance_to(OPENING + timedelta(hours=1, seconds=30))
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await env.clock.advance_to(OPENING + timedelta(hours=3, seconds=30))
    before = env.signals(ALICE)
    back_at = env.clock.now()
    await env.log_in(ALICE)

    await env.clock.advance_to(OPENING + timedelta(hours=4, seconds=30))

    signals = env.signals(ALICE)
    assert found(signals) == expected_signals(MARKET, Rule.CROSS, after=began, through=env.clock.now())
    gap = [signal for signal in signals if OPENING + timedelta(hours=1) < signal.candle_closed_at <= back_at]
    assert gap
    assert {signal.is_late for signal in gap} == {True}
    assert all(not signal.is_late for signal in signals if signal not in gap)
    assert signals[: len(before)] == before


async def test_signals_of_an_outage_are_found_after_it(env: Environment) -> None:
    """An hour of error pages loses none."""
    await watching(env, ALICE)
    began = env.clock.now()
    await env.clock.advance_to(OPENING + timedelta(hours=1))
    env.broker.is_down = True
    await env.clock.advance(3600)
    env.broker.is_down = False
    await env.clock.advance(60)

    through = env.clock.now()
    assert found(env.signals(ALICE)) == expected_signals(MARKET, Rule.CROSS, after=began, through=through)
    assert env.connections.connection(ALICE).has_session


async def test_candles_while_stopped_give_no_signal(env: Environment) -> None:
    """A stopped and restarted watch gives signals only for later candles."""
    await watching(env, ALICE)
    began = env.clock.now()
    await env.clock.advance_to(OPENING + timedelta(hours=1, seconds=30))
    stopped = env.clock.now()
    await env.monitoring.stop(ALICE)
    await env.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))
    started = env.clock.now()
    await env.monitoring.start(ALICE)

    await env.clock.advance_to(OPENING + timedelta(hours=4, seconds=30))

    assert found(env.signals(ALICE)) == [
        *expected_signals(MARKET, Rule.CROSS, after=began, through=stopped),
        *expected_signals(MARKET, Rule.CROSS, after=started, through=env.clock.now()),
    ]
    assert expected_signals(MARKET, Rule.CROSS, after=stopped, through=started)


async def test_a_new_watch_gives_no_signal_for_the_past(env: Environment) -> None:
    """Only candles that close after its creation or change count."""
    await watching(env, ALICE)
    await env.clock.advance_to(OPENING + timedelta(hours=1, seconds=30))
    made = env.clock.now()
    turn_watch = await env.watch(ALICE, rule=Rule.TURN)
    await env.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))
    changed = env.clock.now()
    await env.monitoring.change_watch(ALICE, turn_watch.id, period=9)

    await env.clock.advance_to(OPENING + timedelta(hours=4, seconds=30))

    own = [signal for signal in env.signals(ALICE) if signal.watch_id == turn_watch.id]
    assert found(own) == [
        *expected_signals(MARKET, Rule.TURN, after=made, through=changed),
        *expected_signals(MARKET, Rule.TURN, after=changed, through=env.clock.now(), period=9),
    ]


async def test_a_watch_added_during_a_fetch_misses_nothing(
    env: Environment,
) -> None:
    """The fetch covers only the older watch; the new one gets its own warm-up."""
    await watching(env, ALICE)
    added = []

    async def add(call: Call) -> None:
        if call.name == "candles" and call.at > OPENING + timedelta(minutes=50) and not added:
            added.append(await env.watch(ALICE, rule=Rule.TURN, period=20))

    env.broker.before_answer = add
    await env.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))

    own = [signal for signal in env.signals(ALICE) if signal.watch_id == added[0].id]
    now, made_at = env.clock.now(), added[0].created_at
    expected = expected_signals(MARKET, Rule.TURN, after=made_at, through=now, period=20)
    assert expected
    assert found(own) == expected


async def test_a_candle_is_not_read_in_the_second_of_its_close(env: Environment) -> None:
    """Its last trades may be missing; the next cycle reads it."""
    served = env.broker.candles_by_key[SBIN, FIVE]
    index = next(
        place for place, candle in enumerate(served) if candle.opened_at == OPENING + timedelta(minutes=30)
    )
    final = served[index]
    served[index] = Candle(final.opened_at, 100, 400, 100, 400.0, 1)
    await env.clock.advance_to(OPENING + timedelta(minutes=35, seconds=0.3))
    await watching(env, ALICE)
    began = env.clock.now()
    served[index] = final

    await env.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=env.clock.now())
    assert found(env.signals(ALICE)) == expected


async def test_a_candle_that_arrives_late_is_evaluated_in_order(env: Environment) -> None:
    """It was given up, and comes together with the next one."""
    served = env.broker.candles_by_key[SBIN, FIVE]
    late = next(candle for candle in MARKET if candle.opened_at == OPENING + timedelta(minutes=40))
    await watching(env, ALICE)
    began = env.clock.now()
    served.remove(late)
    await env.clock.advance_to(OPENING + timedelta(minutes=49))
    served.append(late)

    await env.clock.advance_to(OPENING + timedelta(minutes=61))

    through = env.clock.now()
    assert found(env.signals(ALICE)) == expected_signals(MARKET, Rule.CROSS, after=began, through=through)


async def test_a_database_outage_loses_and_repeats_no_signal(
    env: Environment,
) -> None:
    """Signals found during it are stored and published once, after it."""
    tab = env.hub.subscribe(ALICE)
    await watching(env, ALICE)
    began = env.clock.now()
    await env.clock.advance_to(OPENING + timedelta(hours=1))
    env.store.is_down = True
    await env.clock.advance(3600)
    env.store.is_down = False
    await env.clock.advance(60)
    tab.close()

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=env.clock.now())
    assert found(env.signals(ALICE)) == expected
    pushed = [delivery.message.signal async for delivery in tab if isinstance(delivery.message, SignalFired)]
    assert found(pushed) == expected


@pytest.mark.parametrize("then", ["sign_out", "stop", "market_closes"])
async def test_unsaved_signals_are_stored_without_further_cycles(env: Environment, then: str) -> None:
    """Also after a disconnect, a stop and the market close."""
    await watching(env, ALICE)
    began = env.clock.now()
    if then == "market_closes":
        await env.clock.advance_to(CLOSING - timedelta(minutes=30))
    env.store.is_down = True
    await env.clock.advance(1800)
    through = env.clock.now()
    if then == "sign_out":
        await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance(60)
    env.store.is_down = False
    if then == "stop":
        await env.monitoring.stop(ALICE)
    await env.clock.advance(60)

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=through)
    assert expected
    assert found(env.signals(ALICE)) == expected


async def test_a_deadline_during_a_commit_loses_no_signal(env: Environment) -> None:
    """The next cycle stores them, and none is published twice."""
    tab = env.hub.subscribe(ALICE)
    await watching(env, ALICE)
    began = env.clock.now()
    await env.clock.advance_to(OPENING + timedelta(hours=1))

    async def hang() -> None:
        await env.clock.sleep(40)
        raise StorageUnavailable("The database does not answer at the moment.")

    env.store.before_commit = hang
    await env.clock.advance(1800)
    env.store.before_commit = None
    await env.clock.advance(120)
    tab.close()

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=env.clock.now())
    assert found(env.signals(ALICE)) == expected
    pushed = [delivery.message.signal async for delivery in tab if isinstance(delivery.message, SignalFired)]
    assert found(pushed) == expected


async def test_signals_are_read_newest_first_and_by_symbol(env: Environment) -> None:
    """Only the user's own, within the requested range."""
    await watching(env, ALICE, BOB)
    await env.watch(ALICE, symbol=INFY)
    await env.clock.advance_to(CLOSING)

    everything = await env.monitoring.signals(ALICE)
    of_infy = await env.monitoring.signals(ALICE, symbol=INFY)

    assert {signal.user_id for signal in everything} == {ALICE}
    opened = [signal.candle_opened_at for signal in everything]
    assert opened == sorted(opened, reverse=True)
    assert {signal.symbol for signal in of_infy} == {INFY}
    assert len(of_infy) < len(everything)


# ---- coverage


async def test_a_day_s_minutes_are_watched_or_blind(env: Environment) -> None:
    """An hour without a session is blind with its reason; the time before the start is neither."""
    await watching(env, ALICE)
    await env.clock.advance(1800)
    await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance(3600)
    await env.log_in(ALICE)
    await env.clock.advance(1800)

    day = await env.monitoring.coverage(ALICE)

    assert day.blind_minutes == pytest.approx(60, abs=0.2)
    assert day.watched_minutes == pytest.approx(60, abs=0.2)
    assert [stretch.reason for stretch in day.stretches] == ["no_session"]


async def test_a_crash_in_trading_hours_shows_as_blind(env: Environment) -> None:
    """From the last heartbeat to the start of the next process."""
    await watching(env, ALICE)
    await env.clock.advance_to(OPENING + timedelta(hours=1))
    env = await env.kill()
    await env.clock.advance(1800)
    await env.start()
    await env.clock.advance(600)

    day = await env.monitoring.coverage(ALICE)

    assert day.blind_minutes == pytest.approx(30, abs=1.5)
    assert day.watched_minutes == pytest.approx(40, abs=1.5)
    assert "server_down" in [stretch.reason for stretch in day.stretches]


async def test_an_orderly_stop_stores_queued_entries(env: Environment) -> None:
    """Nothing is queued when the process ends."""
    await watching(env, ALICE)
    await env.clock.advance(10)
    await env.connections.sign_out(ALICE, actor=ALICE)

    await env.stop()

    assert env.audit(None, "server.")[-1] == "server.stopped"
    assert "connection.signed_out" in env.audit(ALICE)
