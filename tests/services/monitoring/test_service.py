"""Tests starting, stopping, watchlists and the events of open pages."""

import asyncio
from datetime import timedelta

import pytest
from fakes.broker import Call

from hullwatch.domain.events import CandleClosed, QuotesArrived, SignalFired, WatchStatusChanged
from hullwatch.domain.failures import (
    AlreadyExists,
    InvalidInput,
    LimitReached,
    NotFound,
    StorageUnavailable,
)
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.watches import MAX_WATCHES, WatchStatus
from hullwatch.domain.signals.signals import Rule
from services.environment import (
    ALICE,
    BOB,
    OPENING,
    SBIN,
    Environment,
    quote,
)
from services.monitoring.monitoring_environment import names, status, watching

# ---- start and stop


async def test_monitoring_stays_wanted_through_disconnects(env: Environment) -> None:
    """It stays on after an expired session and two restarts."""
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
    """A second click does not restart the evaluation."""
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


async def test_a_watch_knows_from_when_it_gives_signals(env: Environment) -> None:
    """From its addition, last change or last start, also after a restart; a second start changes nothing."""
    await env.start()
    watch, moments = await env.watch(ALICE), [env.clock.now()]
    await env.clock.advance(60)
    moments.append(env.clock.now())
    await env.monitoring.start(ALICE)
    (started,) = await env.monitoring.watches(ALICE)
    await env.clock.advance(60)
    await env.monitoring.start(ALICE)
    env = await (await env.kill()).start()
    (restarted,) = await env.monitoring.watches(ALICE)
    moments.append(env.clock.now())
    changed = await env.monitoring.change_watch(ALICE, watch.id, period=9)

    assert [watch.signals_from, started.signals_from, changed.signals_from] == moments
    assert restarted.signals_from == started.signals_from
    assert started.evaluated_through == moments[1]


async def test_a_watch_cannot_be_added_twice(env: Environment) -> None:
    """No other watch can be changed into it. Another rule is another watch."""
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
    """The period is out of range, or the segment has unknown hours."""
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


# ---- events of open pages


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
    """Open pages and the audit trail get the changes in order."""
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
    assert names(env).count("candles") <= 1 + 2 * 3  # the warm-up, and at most two readings of a candle


# ---- coverage


async def test_a_day_s_minutes_are_watched_or_blind(env: Environment) -> None:
    """An hour without a session is blind. The time before the start is neither."""
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
    """It lasts from the last heartbeat to the start of the next process."""
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
