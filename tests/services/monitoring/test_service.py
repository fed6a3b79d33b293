"""Watching every account that wants it, each on its own; `hullwatch.services.monitoring`."""

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
from hullwatch.domain.monitoring.watches import MOST_WATCHES, WatchStatus
from hullwatch.domain.signals.signals import Rule
from hullwatch.services.monitoring.feeds import ASK_AGAIN_AFTER_S
from services.building import (
    ALICE,
    BOB,
    CAROL,
    CLOSING,
    FIVE,
    INFY,
    OPENING,
    SBIN,
    House,
    candles_of,
    expected_signals,
    found,
    fyers_id,
    quote,
)

MARKET = candles_of(days=2)
DATA, TRADING = BrokerService.DATA, BrokerService.TRADING


@pytest.fixture
async def house() -> House:
    """Alice and Bob have sessions at 09:45 on a Monday; Fyers knows the market; all jobs run."""
    return await built().with_sessions(ALICE, BOB)


def built(**arguments) -> House:
    """Return a house whose market moves."""
    house = House(**arguments)
    house.broker.serve_candles(SBIN, FIVE, MARKET)
    house.broker.serve_candles(INFY, FIVE, candles_of(seed=2, days=2))
    house.broker.serve_quotes([quote(SBIN), quote(INFY)])
    return house


async def watching(house: House, *user_ids: str, rule: Rule = Rule.CROSS) -> House:
    """Start the jobs and have these users watch SBIN."""
    await house.start()
    for user_id in user_ids:
        await house.watch(user_id, rule=rule)
        await house.monitoring.start(user_id)
    await house.clock.settle()
    return house


def status(house: House, user_id: str = ALICE) -> WatchStatus:
    """Return what monitoring does for a user."""
    return house.monitoring.state(user_id).status


def names(house: House, user_id: str = ALICE) -> list[str]:
    """Return the calls made for a user."""
    return [call.name for call in house.broker.calls_of(user_id)]


# ---- cycles


async def test_a_cycle_every_five_seconds_for_everybody_who_wants_it(house: House) -> None:
    """In trading hours quotes come twelve times a minute for each account, and a candle is asked for once."""
    await watching(house, ALICE, BOB)
    await house.clock.advance(7)
    reached = len(house.broker.calls)

    await house.clock.advance(60)

    made = house.broker.calls[reached:]
    for user_id in (ALICE, BOB):
        assert 12 <= sum(call.user_id == user_id and call.name == "quotes" for call in made) <= 13
    assert status(house) is status(house, BOB) is WatchStatus.WATCHING
    assert house.monitoring.state(ALICE).missed_cycles == 0


async def test_a_closed_candle_is_read_right_after_its_close(house: House) -> None:
    """One history call a second after the close, none before and none after."""
    await watching(house, ALICE)
    await house.clock.advance_to(OPENING + timedelta(minutes=34, seconds=59))
    reached = len(house.broker.calls)

    await house.clock.advance(60)

    calls = [call for call in house.broker.calls[reached:] if call.name == "candles"]
    assert [call.at for call in calls] == [OPENING + timedelta(minutes=35, seconds=1)]


async def test_nothing_is_asked_outside_trading_hours(house: House) -> None:
    """From the last candle to the next opening no call is made; then watching goes on by itself."""
    await watching(house, ALICE)
    await house.clock.advance_to(CLOSING + timedelta(seconds=10))
    last = [call for call in house.broker.calls if call.name == "candles"][-1]
    assert last.at == CLOSING + timedelta(seconds=1)
    assert status(house) is WatchStatus.MARKET_CLOSED
    assert house.monitoring.state(ALICE).is_running
    reached = len(house.broker.calls)

    await house.clock.advance(3600)

    assert len(house.broker.calls) == reached


async def test_watching_goes_on_at_the_next_opening() -> None:
    """Begun in the evening, the first cycle is within five seconds of the opening."""
    house = await built(now=OPENING - timedelta(minutes=5)).with_sessions(ALICE)
    await watching(house, ALICE)
    assert status(house) is WatchStatus.MARKET_CLOSED
    reached = len(house.broker.calls)

    await house.clock.advance_to(OPENING + timedelta(seconds=6))

    assert [call.name for call in house.broker.calls[reached:]][:1] == ["quotes"]
    assert status(house) is WatchStatus.WATCHING


async def test_cycles_of_one_account_never_overlap(house: House) -> None:
    """A cycle that hangs is neither doubled nor queued up; what fell out is counted, and the account's status tells."""
    await watching(house, ALICE)
    await house.clock.advance(10)
    under_way, most = 0, 0

    async def hang(call: Call) -> None:
        nonlocal under_way, most
        under_way += call.user_id == ALICE
        most = max(most, under_way)
        try:
            await house.clock.sleep(17)
        finally:
            under_way -= call.user_id == ALICE

    house.broker.before_answer = hang
    await house.clock.advance(100)

    assert most == 1
    assert house.monitoring.state(ALICE).missed_cycles > 5


async def test_one_hanging_account_delays_nobody(house: House) -> None:
    """Bob's rhythm does not change while Alice's calls hang; her cycle ends at its deadline and is tried again."""
    await watching(house, ALICE, BOB)
    await house.clock.advance(10)
    house.broker.set_state(fyers_id(ALICE), AccountState.HANGING)
    house.broker.timeout_s = 1000
    reached = len(house.broker.calls)

    await house.clock.advance(60)

    made = house.broker.calls[reached:]
    assert 12 <= sum(call.user_id == BOB and call.name == "quotes" for call in made) <= 13
    assert 2 <= sum(call.user_id == ALICE for call in made) <= 3
    assert status(house) is WatchStatus.FYERS_UNAVAILABLE
    assert status(house, BOB) is WatchStatus.WATCHING


async def test_one_account_s_error_ends_nobody_s_cycle(house: House) -> None:
    """An unforeseen exception is that account's own; its next cycle is tried like any other."""
    await watching(house, ALICE, BOB)
    await house.clock.advance(10)

    async def breaks(call: Call) -> None:
        if call.user_id == ALICE:
            raise LookupError("broken broker")

    house.broker.before_answer = breaks
    await house.clock.advance(30)
    assert (status(house), status(house, BOB)) == (WatchStatus.FYERS_UNAVAILABLE, WatchStatus.WATCHING)
    house.broker.before_answer = None

    await house.clock.advance(10)

    assert status(house) is WatchStatus.WATCHING
    assert found(house.signals(ALICE)) == found(house.signals(BOB))


async def test_a_restart_of_the_job_leaves_no_account_behind(house: House) -> None:
    """Cycles that were under way when the job broke are taken up again."""
    await watching(house, ALICE)
    await house.clock.advance(10)
    house.broker.set_state(fyers_id(ALICE), AccountState.HANGING)
    await house.clock.advance(6)
    job = next(task for task in asyncio.all_tasks() if task.get_name() == f"cycle {ALICE}")
    job.cancel()
    house.broker.set_state(fyers_id(ALICE), AccountState.ALIVE)

    await house.clock.advance(20)

    assert status(house) is WatchStatus.WATCHING


# ---- who is skipped, and why


async def test_each_reason_for_not_watching_can_be_read(house: House) -> None:
    """Whoever looks finds a sentence that fits."""
    await house.start()
    assert status(house) is WatchStatus.NOT_WANTED
    await house.monitoring.start(ALICE)
    await house.clock.settle()
    assert status(house) is WatchStatus.NO_WATCHES
    await house.watch(ALICE)
    await house.clock.settle()
    assert status(house) is WatchStatus.WATCHING
    await house.connections.sign_out(ALICE, actor=ALICE)
    state = house.monitoring.state(ALICE)
    assert (state.status, state.is_wanted, state.is_running) == (WatchStatus.NO_SESSION, True, False)
    assert "log in to Fyers" in state.reason_text
    assert status(house, CAROL) is WatchStatus.NOT_WANTED


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (AccountState.UNAVAILABLE, WatchStatus.FYERS_UNAVAILABLE),
        (AccountState.RATE_LIMITED, WatchStatus.RATE_LIMITED),
        (AccountState.REVOKED, WatchStatus.NO_SESSION),
        (AccountState.EXPIRED, WatchStatus.NO_SESSION),
    ],
)
async def test_what_fyers_does_shows_in_the_status(
    house: House, state: AccountState, expected: WatchStatus
) -> None:
    """Trouble and limits pass by themselves; a dead session waits for a login."""
    await watching(house, ALICE)
    await house.clock.advance(10)
    house.broker.set_state(fyers_id(ALICE), state)
    await house.clock.advance(6)
    assert status(house) is expected
    assert not house.monitoring.state(ALICE).is_running
    house.broker.set_state(fyers_id(ALICE), AccountState.ALIVE)
    if expected is WatchStatus.NO_SESSION:
        await house.log_in(ALICE)

    await house.clock.advance(6)

    assert status(house) is WatchStatus.WATCHING


async def test_a_session_in_doubt_is_told_as_such(house: House) -> None:
    """While Fyers is asked a second time the user reads that, and no ordinary call is made."""
    await watching(house, ALICE)
    await house.clock.advance(10)
    house.broker.set_state(fyers_id(ALICE), AccountState.UNAVAILABLE)
    house.broker.queue(fyers_id(ALICE), refusal(DATA))
    await house.clock.advance(6)

    assert status(house) is WatchStatus.CHECKING_LOGIN


async def test_a_mass_refusal_is_told_as_fyers_trouble(house: House) -> None:
    """Whose verdict is held is not told that the login is being checked for ever."""
    await house.with_sessions(CAROL)
    await watching(house, ALICE, BOB, CAROL)
    await house.clock.advance(10)
    for user_id in (ALICE, BOB, CAROL):
        house.broker.set_state(fyers_id(user_id), AccountState.REVOKED)

    await house.clock.advance(30)

    assert {status(house, user_id) for user_id in (ALICE, BOB, CAROL)} == {WatchStatus.FYERS_UNAVAILABLE}
    assert house.connections.sessions_alive() == 3


async def test_a_dead_session_makes_no_call(house: House) -> None:
    """After the end nothing is sent for the account, for as long as nobody logs in, and the others go on."""
    await watching(house, ALICE, BOB)
    await house.clock.advance(10)
    house.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await house.clock.advance(6)
    reached, others = len(names(house)), len(names(house, BOB))

    await house.clock.advance(600)

    assert len(names(house)) == reached
    assert len(names(house, BOB)) > others + 100


async def test_history_calls_that_wait_are_not_sent_after_the_end(house: House) -> None:
    """Of twenty symbols that are due together four are asked at once; when the session ends the rest is not."""
    await house.start()
    for number in range(20):
        await house.watch(ALICE, symbol=Symbol(f"NSE:STOCK{number}-EQ"))

    async def end_it(call: Call) -> None:
        if len(names(house)) == 4:
            await house.connections.sign_out(ALICE, actor=ALICE)
        await asyncio.sleep(0)

    house.broker.before_answer = end_it
    await house.monitoring.start(ALICE)
    await house.clock.advance(30)

    assert names(house) == ["candles"] * 4


async def test_a_symbol_that_fyers_refuses_spoils_no_other(house: House) -> None:
    """It is named, asked again at the next candle only, and struck from the list with its watch."""
    unknown = Symbol("NSE:NOSUCH-EQ")
    house.broker.unknown_symbols.add(unknown)
    await watching(house, ALICE)
    watch = await house.watch(ALICE, symbol=unknown)
    await house.clock.advance(60)
    assert house.monitoring.state(ALICE).refused_symbols == (unknown,)
    assert status(house) is WatchStatus.WATCHING
    assert sum(call.symbols == (unknown,) for call in house.broker.calls) == 1

    await house.monitoring.remove_watch(ALICE, watch.id)

    assert house.monitoring.state(ALICE).refused_symbols == ()


async def test_a_candle_without_trades_is_not_asked_for_for_ever(house: House) -> None:
    """An instrument that seldom trades costs a few calls a candle, in growing steps."""
    quiet = Symbol("NSE:QUIET-EQ")
    await house.start()
    await house.watch(ALICE, symbol=quiet)
    await house.monitoring.start(ALICE)
    await house.clock.advance_to(OPENING + timedelta(minutes=35, seconds=0.5))
    reached = len(house.broker.calls)

    await house.clock.advance_to(OPENING + timedelta(minutes=40))

    calls = [call for call in house.broker.calls[reached:] if call.name == "candles"]
    assert len(calls) == len(ASK_AGAIN_AFTER_S) + 1
    assert status(house) is WatchStatus.WATCHING


# ---- the wish


async def test_the_wish_survives_whatever_happens_to_the_session(house: House) -> None:
    """Wanted stays wanted through an end, a restart, and another one."""
    await watching(house, ALICE)
    await house.connections.sign_out(ALICE, actor=ALICE)
    for _ in range(2):
        house = await (await house.kill()).start()
        await house.clock.advance(6)
        state = house.monitoring.state(ALICE)
        assert (state.is_wanted, state.is_running, state.status) == (True, False, WatchStatus.NO_SESSION)
        assert not house.monitoring.state(BOB).is_wanted

    await house.log_in(ALICE)
    await house.clock.advance(6)

    assert house.monitoring.state(ALICE).is_running


async def test_a_stop_ends_the_calls_and_survives_a_restart(house: House) -> None:
    """Nothing is asked for who does not want it, today or after a restart."""
    await watching(house, ALICE)
    await house.clock.advance(10)
    await house.monitoring.stop(ALICE)
    reached = len(house.broker.calls)
    await house.clock.advance(60)

    house = await (await house.kill()).start()
    await house.clock.advance(60)

    assert len(house.broker.calls) == reached
    assert status(house) is WatchStatus.NOT_WANTED


async def test_starting_and_stopping_twice_is_starting_and_stopping_once(house: House) -> None:
    """A second click changes nothing, and does not begin the watching anew."""
    await watching(house, ALICE)
    await house.clock.advance(10)
    before = house.store.tables.watches.copy()
    await house.clock.advance(10)

    assert (await house.monitoring.start(ALICE)).status is WatchStatus.WATCHING
    assert house.store.tables.watches == before
    await house.monitoring.stop(ALICE)
    await house.monitoring.stop(ALICE)
    assert not house.monitoring.state(ALICE).is_wanted


async def test_a_wish_that_cannot_be_stored_is_refused(house: House) -> None:
    """The user is told, and nothing changes."""
    await house.start()
    await house.watch(ALICE)
    house.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await house.monitoring.start(ALICE)

    assert not house.monitoring.state(ALICE).is_wanted
    await house.clock.advance(10)
    assert house.broker.calls == []


# ---- the watchlist


async def test_a_watchlist_belongs_to_its_user(house: House) -> None:
    """Others neither see, change nor remove its lines."""
    await house.start()
    watch = await house.watch(ALICE)

    assert await house.monitoring.watches(BOB) == []
    with pytest.raises(NotFound):
        await house.monitoring.change_watch(BOB, watch.id, period=9)
    with pytest.raises(NotFound):
        await house.monitoring.remove_watch(BOB, watch.id)
    assert await house.monitoring.watches(ALICE) == [watch]


async def test_the_same_is_not_watched_twice(house: House) -> None:
    """Neither added nor changed into; another rule is another watch."""
    await house.start()
    await house.watch(ALICE)
    other = await house.watch(ALICE, rule=Rule.TURN)

    with pytest.raises(AlreadyExists):
        await house.watch(ALICE)
    with pytest.raises(AlreadyExists):
        await house.monitoring.change_watch(ALICE, other.id, rule=Rule.CROSS)
    assert await house.watch(BOB) is not None


async def test_a_watchlist_is_limited_whoever_adds_at_once(house: House) -> None:
    """Requests at the same moment do not get past the limit."""
    await house.start()
    results = await asyncio.gather(
        *(house.watch(ALICE, symbol=Symbol(f"NSE:STOCK{number}-EQ")) for number in range(MOST_WATCHES + 5)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, LimitReached) for result in results) == 5
    assert len(await house.monitoring.watches(ALICE)) == MOST_WATCHES


async def test_what_cannot_be_watched_is_refused(house: House) -> None:
    """A period that no average has; an exchange whose hours are not known."""
    await house.start()
    watch = await house.watch(ALICE)
    with pytest.raises(InvalidInput):
        await house.watch(ALICE, period=1)
    with pytest.raises(InvalidInput):
        await house.monitoring.change_watch(ALICE, watch.id, period=100_000)
    with pytest.raises(InvalidInput):
        await house.watch(ALICE, symbol=Symbol("MCX:GOLD26DECFUT"))

    assert await house.monitoring.watches(ALICE) == [watch]


async def test_a_watch_removed_in_the_middle_of_a_cycle_harms_nothing(house: House) -> None:
    """Neither the call that waits for its turn nor the answer that comes too late finds a surprise."""
    await house.start()
    watches = [await house.watch(ALICE, symbol=Symbol(f"NSE:STOCK{number}-EQ")) for number in range(8)]

    async def remove_all(call: Call) -> None:
        house.broker.before_answer = None
        for watch in watches:
            await house.monitoring.remove_watch(ALICE, watch.id)

    house.broker.before_answer = remove_all
    await house.monitoring.start(ALICE)
    await house.clock.advance(20)

    assert house.metrics.cycles["broke"] == 0
    assert status(house) is WatchStatus.NO_WATCHES


async def test_a_removed_user_is_forgotten(house: House) -> None:
    """No cycle runs any more, not even the one under way is repeated."""
    await watching(house, ALICE)
    await house.clock.advance(10)
    house.monitoring.forget(ALICE)
    await house.connections.forget(ALICE)
    reached = len(house.broker.calls)

    await house.clock.advance(60)

    assert len(house.broker.calls) == reached


# ---- what tabs are told


async def test_open_tabs_see_quotes_with_previews_that_are_no_signals(house: House) -> None:
    """A price far beyond the average previews another one, and no signal comes of it."""
    tab = house.hub.subscribe(ALICE)
    await watching(house, ALICE)
    await house.clock.advance(10)
    house.broker.serve_quotes([quote(SBIN, 500.0)])
    await house.clock.advance(6)
    house.broker.serve_quotes([quote(SBIN, 1.0)])
    await house.clock.advance(6)
    tab.close()

    messages = [delivery.message async for delivery in tab]
    previews = [message.previews for message in messages if isinstance(message, QuotesArrived)]
    assert previews[-1]
    assert house.signals(ALICE) == []
    assert not any(isinstance(message, SignalFired) for message in messages)


async def test_a_quote_that_is_no_price_previews_nothing(house: House) -> None:
    """Zero and NaN break no cycle."""
    tab = house.hub.subscribe(ALICE)
    await watching(house, ALICE)
    for price in (0.0, float("nan"), None, -1.0):
        house.broker.serve_quotes([quote(SBIN, price)])
        await house.clock.advance(6)
        assert status(house) is WatchStatus.WATCHING
    tab.close()
    last = [delivery.message async for delivery in tab if isinstance(delivery.message, QuotesArrived)][-1]
    assert last.previews == {}


async def test_each_change_of_status_is_told_once(house: House) -> None:
    """In order, to the tabs and to the audit trail."""
    tab = house.hub.subscribe(ALICE)
    await watching(house, ALICE)
    await house.clock.advance(10)
    await house.connections.sign_out(ALICE, actor=ALICE)
    await house.clock.advance(30)
    await house.monitoring.stop(ALICE)
    await house.clock.advance(30)
    tab.close()

    told = [
        delivery.message.status async for delivery in tab if isinstance(delivery.message, WatchStatusChanged)
    ]
    assert told == [
        WatchStatus.STARTING,
        WatchStatus.WATCHING,
        WatchStatus.NO_SESSION,
        WatchStatus.NOT_WANTED,
    ]
    trail = [entry for entry in house.store.tables.audit if entry.kind == "monitoring.status"]
    assert [entry.to_state for entry in trail] == [status.value for status in told]
    assert trail[2].incident_id == house.connections.connection(ALICE).incident_id


async def test_a_closed_candle_is_told_once_whoever_watches_it(house: House) -> None:
    """Two rules on one symbol share its candles, and its calls."""
    await house.start()
    tab = house.hub.subscribe(ALICE)
    await house.watch(ALICE, rule=Rule.CROSS)
    await house.watch(ALICE, rule=Rule.TURN)
    await house.monitoring.start(ALICE)
    await house.clock.advance_to(OPENING + timedelta(minutes=46))
    tab.close()

    candles = [
        delivery.message.candle.opened_at
        async for delivery in tab
        if isinstance(delivery.message, CandleClosed)
    ]
    assert candles == [OPENING + timedelta(minutes=minute) for minute in (30, 35, 40)]
    assert names(house).count("candles") == 4  # once for the warm-up


# ---- signals


async def test_signals_are_those_of_a_replay_over_closed_candles(house: House) -> None:
    """For both rules, over the rest of the day; none comes before its candle has closed, and each at once."""
    await watching(house, ALICE, rule=Rule.CROSS)
    await watching_also(house, BOB, rule=Rule.TURN)
    began = house.clock.now()

    await house.clock.advance_to(CLOSING + timedelta(seconds=5))

    for user_id, rule in ((ALICE, Rule.CROSS), (BOB, Rule.TURN)):
        expected = expected_signals(MARKET, rule, after=began, through=CLOSING)
        assert len(expected) > 5
        assert found(house.signals(user_id)) == expected
        for signal in house.signals(user_id):
            delay = signal.detected_at - signal.candle_closed_at
            assert timedelta(seconds=1) <= delay <= timedelta(seconds=2)
            assert not signal.is_late
    assert house.metrics.signals == len(house.signals(ALICE)) + len(house.signals(BOB))


async def watching_also(house: House, user_id: str, *, rule: Rule) -> None:
    """Have one more user watch."""
    await house.watch(user_id, rule=rule)
    await house.monitoring.start(user_id)


async def test_a_forming_candle_gives_no_signal(house: House) -> None:
    """What looks like a crossing until the last second, and is none at the close, never was one."""
    index = next(i for i, candle in enumerate(MARKET) if candle.opened_at == OPENING + timedelta(minutes=30))
    final = MARKET[index]
    served = house.broker.candles_by_key[SBIN, FIVE]
    expected = expected_signals(
        MARKET, Rule.CROSS, after=house.clock.now(), through=OPENING + timedelta(minutes=35)
    )
    await watching(house, ALICE)
    for minute, price in ((31, 400.0), (32, 1.0), (33, 400.0)):
        await house.clock.advance_to(OPENING + timedelta(minutes=minute, seconds=20))
        served[index] = Candle(final.opened_at, price, price, price, price, 1)
        await house.monitoring.stop(ALICE)  # a fresh start fetches anew, the forming candle included
        await house.monitoring.start(ALICE)
        await house.clock.settle()
    served[index] = final

    await house.clock.advance_to(OPENING + timedelta(minutes=35, seconds=10))

    assert found(house.signals(ALICE)) == expected


async def test_signals_of_a_gap_are_found_after_the_next_login_and_marked_late(house: House) -> None:
    """No closed candle is missed while nobody was connected; what was found in time before is not repeated."""
    await watching(house, ALICE)
    began = house.clock.now()
    await house.clock.advance_to(OPENING + timedelta(hours=1, seconds=30))
    house.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await house.clock.advance_to(OPENING + timedelta(hours=3, seconds=30))
    before = house.signals(ALICE)
    back_at = house.clock.now()
    await house.log_in(ALICE)

    await house.clock.advance_to(OPENING + timedelta(hours=4, seconds=30))

    signals = house.signals(ALICE)
    assert found(signals) == expected_signals(MARKET, Rule.CROSS, after=began, through=house.clock.now())
    gap = [signal for signal in signals if OPENING + timedelta(hours=1) < signal.candle_closed_at <= back_at]
    assert gap
    assert {signal.is_late for signal in gap} == {True}
    assert all(not signal.is_late for signal in signals if signal not in gap)
    assert signals[: len(before)] == before


async def test_signals_of_an_outage_of_fyers_are_found_after_it(house: House) -> None:
    """An hour of broken pages loses nothing."""
    await watching(house, ALICE)
    began = house.clock.now()
    await house.clock.advance_to(OPENING + timedelta(hours=1))
    house.broker.is_down = True
    await house.clock.advance(3600)
    house.broker.is_down = False
    await house.clock.advance(60)

    through = house.clock.now()
    assert found(house.signals(ALICE)) == expected_signals(MARKET, Rule.CROSS, after=began, through=through)
    assert house.connections.connection(ALICE).has_session


async def test_what_was_not_wanted_gives_no_signal(house: House) -> None:
    """A watch that is stopped and started again is silent about the time between, not about what follows."""
    await watching(house, ALICE)
    began = house.clock.now()
    await house.clock.advance_to(OPENING + timedelta(hours=1, seconds=30))
    stopped = house.clock.now()
    await house.monitoring.stop(ALICE)
    await house.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))
    started = house.clock.now()
    await house.monitoring.start(ALICE)

    await house.clock.advance_to(OPENING + timedelta(hours=4, seconds=30))

    assert found(house.signals(ALICE)) == [
        *expected_signals(MARKET, Rule.CROSS, after=began, through=stopped),
        *expected_signals(MARKET, Rule.CROSS, after=started, through=house.clock.now()),
    ]
    assert expected_signals(MARKET, Rule.CROSS, after=stopped, through=started)


async def test_a_new_watch_says_nothing_about_the_past(house: House) -> None:
    """Only candles that close after it was made can give a signal; the same holds for one that was changed."""
    await watching(house, ALICE)
    await house.clock.advance_to(OPENING + timedelta(hours=1, seconds=30))
    made = house.clock.now()
    turn = await house.watch(ALICE, rule=Rule.TURN)
    await house.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))
    changed = house.clock.now()
    await house.monitoring.change_watch(ALICE, turn.id, period=9)

    await house.clock.advance_to(OPENING + timedelta(hours=4, seconds=30))

    own = [signal for signal in house.signals(ALICE) if signal.watch_id == turn.id]
    assert found(own) == [
        *expected_signals(MARKET, Rule.TURN, after=made, through=changed),
        *expected_signals(MARKET, Rule.TURN, after=changed, through=house.clock.now(), period=9),
    ]


async def test_a_watch_added_while_its_candles_are_fetched_for_another_misses_nothing(house: House) -> None:
    """The answer on its way covers only what the older watch needed; the new one gets its own warm-up."""
    await watching(house, ALICE)
    added = []

    async def add(call: Call) -> None:
        if call.name == "candles" and call.at > OPENING + timedelta(minutes=50) and not added:
            added.append(await house.watch(ALICE, rule=Rule.TURN, period=20))

    house.broker.before_answer = add
    await house.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))

    own = [signal for signal in house.signals(ALICE) if signal.watch_id == added[0].id]
    now, made_at = house.clock.now(), added[0].created_at
    expected = expected_signals(MARKET, Rule.TURN, after=made_at, through=now, period=20)
    assert expected
    assert found(own) == expected


async def test_a_candle_is_not_read_in_the_second_of_its_close(house: House) -> None:
    """Its last trades may be missing then: a cycle that runs at that moment leaves it to the next."""
    served = house.broker.candles_by_key[SBIN, FIVE]
    index = next(
        place for place, candle in enumerate(served) if candle.opened_at == OPENING + timedelta(minutes=30)
    )
    final = served[index]
    served[index] = Candle(final.opened_at, 100, 400, 100, 400.0, 1)
    await house.clock.advance_to(OPENING + timedelta(minutes=35, seconds=0.3))
    await watching(house, ALICE)
    began = house.clock.now()
    served[index] = final

    await house.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=house.clock.now())
    assert found(house.signals(ALICE)) == expected


async def test_a_candle_that_fyers_gives_late_is_judged_when_it_comes(house: House) -> None:
    """Given up for now, it is taken in order together with the next one."""
    served = house.broker.candles_by_key[SBIN, FIVE]
    late = next(candle for candle in MARKET if candle.opened_at == OPENING + timedelta(minutes=40))
    await watching(house, ALICE)
    began = house.clock.now()
    served.remove(late)
    await house.clock.advance_to(OPENING + timedelta(minutes=49))
    served.append(late)

    await house.clock.advance_to(OPENING + timedelta(minutes=61))

    through = house.clock.now()
    assert found(house.signals(ALICE)) == expected_signals(MARKET, Rule.CROSS, after=began, through=through)


async def test_a_database_outage_in_the_middle_of_a_cycle_loses_no_signal_and_doubles_none(
    house: House,
) -> None:
    """What was found while nothing could be stored is stored and announced once, when it can be."""
    tab = house.hub.subscribe(ALICE)
    await watching(house, ALICE)
    began = house.clock.now()
    await house.clock.advance_to(OPENING + timedelta(hours=1))
    house.store.is_down = True
    await house.clock.advance(3600)
    house.store.is_down = False
    await house.clock.advance(60)
    tab.close()

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=house.clock.now())
    assert found(house.signals(ALICE)) == expected
    told = [delivery.message.signal async for delivery in tab if isinstance(delivery.message, SignalFired)]
    assert found(told) == expected


@pytest.mark.parametrize("then", ["sign_out", "stop", "market_closes"])
async def test_signals_found_during_an_outage_are_stored_whatever_follows(house: House, then: str) -> None:
    """The end of the session, of the wish or of trading does not strand what waits for the database."""
    await watching(house, ALICE)
    began = house.clock.now()
    if then == "market_closes":
        await house.clock.advance_to(CLOSING - timedelta(minutes=30))
    house.store.is_down = True
    await house.clock.advance(1800)
    through = house.clock.now()
    if then == "sign_out":
        await house.connections.sign_out(ALICE, actor=ALICE)
    await house.clock.advance(60)
    house.store.is_down = False
    if then == "stop":
        await house.monitoring.stop(ALICE)
    await house.clock.advance(60)

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=through)
    assert expected
    assert found(house.signals(ALICE)) == expected


async def test_a_cycle_that_runs_out_of_time_while_storing_loses_no_signal(house: House) -> None:
    """A commit that hangs beyond the deadline leaves the signals to the next cycle, and none is told twice."""
    tab = house.hub.subscribe(ALICE)
    await watching(house, ALICE)
    began = house.clock.now()
    await house.clock.advance_to(OPENING + timedelta(hours=1))

    async def hang() -> None:
        await house.clock.sleep(40)
        raise StorageUnavailable("The database does not answer at the moment.")

    house.store.before_commit = hang
    await house.clock.advance(1800)
    house.store.before_commit = None
    await house.clock.advance(120)
    tab.close()

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=house.clock.now())
    assert found(house.signals(ALICE)) == expected
    told = [delivery.message.signal async for delivery in tab if isinstance(delivery.message, SignalFired)]
    assert found(told) == expected


async def test_signals_are_read_newest_first_and_by_symbol(house: House) -> None:
    """Only the user's own, within the range that is asked for."""
    await watching(house, ALICE, BOB)
    await house.watch(ALICE, symbol=INFY)
    await house.clock.advance_to(CLOSING)

    everything = await house.monitoring.signals(ALICE)
    of_infy = await house.monitoring.signals(ALICE, symbol=INFY)

    assert {signal.user_id for signal in everything} == {ALICE}
    opened = [signal.candle_opened_at for signal in everything]
    assert opened == sorted(opened, reverse=True)
    assert {signal.symbol for signal in of_infy} == {INFY}
    assert len(of_infy) < len(everything)


# ---- coverage


async def test_a_day_s_minutes_are_watched_or_blind(house: House) -> None:
    """An hour without a session shows as blind, with its reason; before the start nothing is counted."""
    await watching(house, ALICE)
    await house.clock.advance(1800)
    await house.connections.sign_out(ALICE, actor=ALICE)
    await house.clock.advance(3600)
    await house.log_in(ALICE)
    await house.clock.advance(1800)

    day = await house.monitoring.coverage(ALICE)

    assert day.blind_minutes == pytest.approx(60, abs=0.2)
    assert day.watched_minutes == pytest.approx(60, abs=0.2)
    assert [stretch.reason for stretch in day.stretches] == ["no_session"]


async def test_a_crash_in_trading_hours_shows_as_blind(house: House) -> None:
    """From the last sign of life to the start of the next process."""
    await watching(house, ALICE)
    await house.clock.advance_to(OPENING + timedelta(hours=1))
    house = await house.kill()
    await house.clock.advance(1800)
    await house.start()
    await house.clock.advance(600)

    day = await house.monitoring.coverage(ALICE)

    assert day.blind_minutes == pytest.approx(30, abs=1.5)
    assert day.watched_minutes == pytest.approx(40, abs=1.5)
    assert "server_down" in [stretch.reason for stretch in day.stretches]


async def test_an_orderly_stop_loses_no_note(house: House) -> None:
    """What was only noted is stored before the process ends."""
    await watching(house, ALICE)
    await house.clock.advance(10)
    await house.connections.sign_out(ALICE, actor=ALICE)

    await house.stop()

    assert house.audit(None, "server.")[-1] == "server.stopped"
    assert "connection.signed_out" in house.audit(ALICE)
