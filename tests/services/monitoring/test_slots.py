"""Which candles the calendar expects, and what a missing one costs."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from hullwatch.app.options import ServiceOptions
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.lines import LineStatus
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.services.texts.times import in_ist
from services.environment import ALICE, FIVE, OPENING, SBIN, Environment
from services.monitoring.monitoring_environment import MARKET, environment, status
from services.monitoring.monitoring_environment import watching as watching_sbin

OTHER = Symbol("NSE:OTHER-EQ")
MINUTE = timedelta(minutes=1)


async def watching(env: Environment, candles: list[Candle], volume: int = 1000) -> None:
    """Watch a symbol with this history."""
    env.broker.serve_candles(OTHER, FIVE, candles)
    env.broker.serve_quotes([Quote(OTHER, 100.0, volume=volume)])
    await watching_sbin(env, ALICE)
    await env.watch(ALICE, symbol=OTHER)
    await env.clock.advance_to(OPENING + 34 * MINUTE)


async def play(env: Environment, until: datetime, *, trades: bool) -> int:
    """Let quotes come until a moment, and return the number of history calls for the symbol."""
    reached, volume = len(env.broker.calls), 1000
    while env.clock.now() < until:
        volume += trades
        env.broker.serve_quotes([Quote(OTHER, 100.0, volume=volume)])
        await env.clock.advance(10)
    return sum(call.name == "candles" and OTHER in call.symbols for call in env.broker.calls[reached:])


def until_now(candles: list[Candle]) -> list[Candle]:
    """Return the candles up to 09:45."""
    return [candle for candle in candles if candle.opened_at < OPENING + 30 * MINUTE]


async def test_a_missing_candle_of_a_traded_slot_is_an_incident(env: Environment) -> None:
    """Fyers stops to give candles while the volume grows (review of November 2026, case 3)."""
    await watching(env, until_now(MARKET))

    await play(env, OPENING + 50 * MINUTE, trades=True)

    watcher = env.monitoring._scheduler.account(ALICE).watcher
    [line] = [line for line in watcher.lines() if line.symbol == OTHER]
    assert (line.obstacle, line.since) == (Obstacle.NO_HISTORY, OPENING + 30 * MINUTE)
    assert [problem.obstacle for problem in watcher.problems()] == [Obstacle.NO_HISTORY]
    assert status(env) is WatchStatus.WATCHING

    env.broker.serve_candles(OTHER, FIVE, MARKET[len(until_now(MARKET)) :])
    await play(env, OPENING + 56 * MINUTE, trades=True)

    assert watcher.problems() == ()


@pytest.mark.parametrize("length", [5, 1])
async def test_a_candle_that_stays_missing_is_shown_and_stored(env: Environment, length: int) -> None:
    """Also when its slot is shorter than the wait for it; the watch shows it until the candle comes."""
    resolution = Resolution(str(length))
    candles = [Candle(OPENING + n * length * MINUTE, 100, 101, 99, 100 + n % 3, 1) for n in range(60)]
    lost = next(one for one in candles if one.opened_at == OPENING + 35 * MINUTE)
    env.broker.serve_candles(OTHER, resolution, [one for one in candles if one is not lost])
    env.broker.serve_quotes([Quote(OTHER, 100.0, volume=1000)])
    await watching_sbin(env, ALICE)
    watch = await env.watch(ALICE, symbol=OTHER, resolution=resolution)

    await play(env, OPENING + (36 + 2 * length) * MINUTE, trades=True)
    await env.symbol_outages.check()

    state = env.monitoring.line_states(ALICE)[watch.id]
    closed_at = in_ist(lost.opened_at + length * MINUTE, today=OPENING.date())
    assert state.status is LineStatus.CANDLES_MISSING
    assert f"lacks a candle of NSE:OTHER-EQ (close {closed_at}), although it traded" in (state.reason or "")
    day = await env.monitoring.days.of_day(ALICE)
    [stretch] = [one for one in day.symbols if one.obstacle is Obstacle.CANDLES_MISSING]
    assert (stretch.symbol, stretch.began_at) == (OTHER, lost.opened_at)
    assert stretch.ended_at == lost.opened_at + length * MINUTE

    env.broker.serve_candles(OTHER, resolution, [lost])
    await play(env, OPENING + (37 + 3 * length) * MINUTE, trades=True)

    assert env.monitoring.line_states(ALICE)[watch.id].status is LineStatus.WATCHING


async def test_a_slot_without_trades_costs_no_retry(env: Environment) -> None:
    """The volume is the same before and after the slot, so Fyers cannot have a candle of it."""
    await watching(env, until_now(MARKET))
    await play(env, OPENING + 41 * MINUTE, trades=False)

    calls = await play(env, OPENING + 56 * MINUTE, trades=False)

    assert calls <= 3 * 2
    watcher = env.monitoring._scheduler.account(ALICE).watcher
    assert watcher.problems() == ()
    assert watcher.missing_candles() == []


async def test_no_history_at_all_beside_volume_is_an_incident(env: Environment) -> None:
    """The symbol traded before hullwatch saw its first quote."""
    await watching(env, [])

    await play(env, OPENING + 50 * MINUTE, trades=False)

    [problem] = env.monitoring._scheduler.account(ALICE).watcher.problems()
    assert (problem.symbol, problem.obstacle, problem.since) == (OTHER, Obstacle.NO_HISTORY, OPENING)


@pytest.mark.parametrize(("resolution", "interval_s"), [("5", 30), ("5", 120), ("1", 5), ("1", 30)])
async def test_no_history_is_noticed_whatever_the_pace(resolution: str, interval_s: float) -> None:
    """Slots that end before the retries for their candle, and quotes that come seldom, hide no missing history."""
    env = await environment(options=ServiceOptions(monitor_interval_s=interval_s)).with_sessions(ALICE)
    env.broker.serve_quotes([Quote(OTHER, 100.0, volume=1000)])
    await watching_sbin(env, ALICE)
    await env.watch(ALICE, symbol=OTHER, resolution=Resolution(resolution))

    await play(env, OPENING + 50 * MINUTE, trades=True)

    [problem] = env.monitoring._scheduler.account(ALICE).watcher.problems()
    assert (problem.symbol, problem.obstacle, problem.since) == (OTHER, Obstacle.NO_HISTORY, OPENING)


async def test_a_late_candle_every_minute_is_no_missing_history(env: Environment) -> None:
    """Each comes 70 seconds after its close, so the newest one always lacks; after a time without any, too."""
    resolution = Resolution("1")
    env.broker.serve_quotes([Quote(OTHER, 100.0, volume=1000)])
    candles = [Candle(OPENING + n * MINUTE, 100, 101, 99, 100 + n % 3, 1) for n in range(60)]
    env.broker.serve_candles(OTHER, resolution, candles[:29])
    await watching_sbin(env, ALICE)
    watch = await env.watch(ALICE, symbol=OTHER, resolution=resolution)

    async def come(first: int, last: int) -> set[LineStatus]:
        """Let candles come late, and return the states of the watch."""
        found = set()
        for number in range(first, last):
            await play(env, candles[number].opened_at + timedelta(seconds=130), trades=True)
            env.broker.serve_candles(OTHER, resolution, [candles[number]])
            found.add(env.monitoring.line_states(ALICE)[watch.id].status)
        return found

    assert await come(29, 40) == {LineStatus.WATCHING}
    await play(env, OPENING + 45 * MINUTE, trades=True)
    assert env.monitoring.line_states(ALICE)[watch.id].status is LineStatus.NO_HISTORY
    env.broker.serve_candles(OTHER, resolution, candles[40:43])
    await come(43, 45)
    assert await come(45, 50) == {LineStatus.WATCHING}


async def test_candles_off_the_grid_are_named_and_cost_two_calls(env: Environment) -> None:
    """Each is read right after its own close."""
    shift = 2 * MINUTE
    shifted = [Candle(one.opened_at + shift, one.open, one.high, one.low, one.close, 1) for one in MARKET]
    await watching(env, shifted)
    await play(env, OPENING + 43 * MINUTE, trades=True)

    calls = await play(env, OPENING + 58 * MINUTE, trades=True)

    assert calls <= 3 * 2
    rows = await env.monitoring.overview(ALICE)
    [row] = [row for row in rows if row.watch.symbol == OTHER]
    state = env.monitoring.line_states(ALICE)[row.watch.id]
    assert state.status is LineStatus.OFF_GRID
    assert "do not begin with the market open" in (state.reason or "")
    assert row.watch.evaluated_through == OPENING + 57 * MINUTE


async def test_one_candle_off_the_grid_moves_no_other_candle(env: Environment) -> None:
    """A feed's grid changes when its two newest candles agree. The odd candle is read at its own close."""
    odd = OPENING + 35 * MINUTE
    once = [replace(one, opened_at=odd + 2 * MINUTE) if one.opened_at == odd else one for one in MARKET]
    await watching(env, once)
    [feed] = [
        feed
        for key, feed in env.monitoring._scheduler.account(ALICE).watcher._watchlist.feeds._feeds.items()
        if key[0] == OTHER
    ]
    reached = len(env.broker.calls)
    for minute in range(36, 57):
        await play(env, OPENING + minute * MINUTE, trades=True)
        assert feed.offset == timedelta()

    assert feed.candles.used.last_opened_at == OPENING + 50 * MINUTE
    made = [call for call in env.broker.calls[reached:] if call.name == "candles"]
    of_odd = sum(OTHER in call.symbols for call in made)
    assert of_odd <= sum(SBIN in call.symbols for call in made) + 1
