"""Fyers changes its history after hullwatch has used it."""

from dataclasses import replace
from datetime import timedelta

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.monitoring.lines import LineStatus
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.signals.signals import Rule
from services.environment import (
    ALICE,
    CLOSING,
    FIVE,
    OPENING,
    PERIOD,
    SBIN,
    Environment,
    expected_signals,
    found,
    quote,
)
from services.monitoring.monitoring_environment import MARKET, environment, watching

MINUTE = timedelta(minutes=1)
TUESDAY = OPENING + timedelta(days=1)


def holding(env: Environment) -> list[tuple[object, str]]:
    """Return the signals that hold."""
    return found(signal for signal in env.signals(ALICE) if signal.withdrawn_at is None)


def number_at(env: Environment, opened_at) -> int:
    """Return the index of the served candle that opened then."""
    served = env.broker.candles_by_key[SBIN, FIVE]
    return next(number for number, one in enumerate(served) if one.opened_at == opened_at)


async def test_a_corrected_candle_corrects_its_signals(env: Environment) -> None:
    """The next candle's call shows it, and the whole history follows."""
    await watching(env, ALICE, rule=Rule.TURN)
    began = env.clock.now()
    await env.clock.advance_to(OPENING + 61 * MINUTE)
    served = env.broker.candles_by_key[SBIN, FIVE]
    number = number_at(env, OPENING + 50 * MINUTE)
    served[number] = replace(served[number], close=80.0, low=80.0)

    await env.clock.advance_to(OPENING + 90 * MINUTE)

    expected = expected_signals(served, Rule.TURN, after=began, through=env.clock.now())
    assert holding(env) == expected
    assert expected != expected_signals(MARKET, Rule.TURN, after=began, through=env.clock.now())
    withdrawn = [signal for signal in env.signals(ALICE) if signal.withdrawn_at is not None]
    assert all(signal.withdrawn_reason is not None for signal in withdrawn)


async def test_what_a_page_sees_first_corrects_the_signals_too(env: Environment) -> None:
    """The chart's answer differs from the used candles, so that the watch's own average follows within a cycle."""
    await watching(env, ALICE)
    await env.clock.advance_to(OPENING + 62 * MINUTE)
    served = env.broker.candles_by_key[SBIN, FIVE]
    number = number_at(env, OPENING + 55 * MINUTE)
    served[number] = replace(served[number], close=80.0, low=80.0)

    chart = await env.chart.chart(ALICE, SBIN, resolution=FIVE, period=PERIOD, rule=Rule.CROSS)
    await env.clock.advance(1)

    [watch] = await env.monitoring.watches(ALICE)
    series = env.monitoring._scheduler.account(ALICE).watcher.series(watch.id)
    reading = await env.hma.hma(ALICE, SBIN, period=PERIOD, resolution=FIVE)
    assert series.hma == chart.candles[-1].hma == reading.current_hma


async def in_the_afternoon() -> Environment:
    """Return an environment an hour before the market closes."""
    return await environment(now=CLOSING - 60 * MINUTE).with_sessions(ALICE)


async def test_the_warm_up_is_compared_once_before_the_market_opens() -> None:
    """A correction in the night that no overlap can show is found, and its signal of Monday withdrawn."""
    env = await in_the_afternoon()
    await watching(env, ALICE, rule=Rule.TURN)
    began = env.clock.now()
    await env.clock.advance_to(CLOSING + 20 * MINUTE)
    served = env.broker.candles_by_key[SBIN, FIVE]
    number = number_at(env, CLOSING - 50 * MINUTE)
    served[number] = replace(served[number], close=80.0, low=80.0)
    await env.clock.advance_to(TUESDAY - 40 * MINUTE)
    await env.log_in(ALICE)
    await env.monitoring.warm(ALICE)
    await env.clock.advance(60)
    reached = len(env.broker.calls)
    await env.monitoring.warm(ALICE)
    await env.clock.advance_to(TUESDAY - MINUTE)

    assert holding(env) == expected_signals(served, Rule.TURN, after=began, through=CLOSING)
    assert [call for call in env.broker.calls[reached:] if call.name == "candles"] == []


def halved(candle: Candle) -> Candle:
    """Return a candle after a 1:2 split."""
    prices = {name: getattr(candle, name) / 2 for name in ("open", "high", "low", "close")}
    return replace(candle, **prices)


async def open_after_split(*, is_rescaled: bool) -> Environment:
    """Let Tuesday be the ex-date of a 1:2 split."""
    env = await in_the_afternoon()
    await watching(env, ALICE)
    await env.clock.advance_to(CLOSING + 20 * MINUTE)
    served = env.broker.candles_by_key[SBIN, FIVE]
    served[:] = [halved(one) if is_rescaled or one.opened_at >= TUESDAY else one for one in served]
    env.broker.serve_quotes([quote(SBIN, 50.0)])
    await env.clock.advance_to(TUESDAY - 40 * MINUTE)
    await env.log_in(ALICE)
    await env.clock.advance_to(TUESDAY + 6 * MINUTE)
    return env


async def test_a_split_in_rescaled_history_goes_on() -> None:
    """The average is that of the re-scaled closes, and no signal comes of the split."""
    env = await open_after_split(is_rescaled=True)
    began = TUESDAY

    await env.clock.advance_to(TUESDAY + 60 * MINUTE + timedelta(seconds=10))

    served = env.broker.candles_by_key[SBIN, FIVE]
    of_tuesday = [one for one in holding(env) if one[0] >= TUESDAY]
    assert of_tuesday == expected_signals(served, Rule.CROSS, after=began, through=env.clock.now())
    assert env.monitoring._scheduler.account(ALICE).watcher.problems() == ()


async def test_an_unexplained_jump_starts_the_average_anew() -> None:
    """The watch says so until its average has enough candles again."""
    env = await open_after_split(is_rescaled=False)
    [watch] = await env.monitoring.watches(ALICE)
    [problem] = env.monitoring._scheduler.account(ALICE).watcher.problems()
    assert (problem.obstacle, problem.since) == (Obstacle.PRICE_JUMP, TUESDAY)
    state = env.monitoring.line_states(ALICE)[watch.id]
    assert state.status is LineStatus.PRICE_JUMP
    assert "jumped" in (state.reason or "")

    await env.clock.advance_to(TUESDAY + 60 * MINUTE + timedelta(seconds=10))

    served = env.broker.candles_by_key[SBIN, FIVE]
    of_tuesday = [one for one in holding(env) if one[0] >= TUESDAY]
    assert of_tuesday == expected_signals(served, Rule.CROSS, after=TUESDAY, through=env.clock.now())
    assert of_tuesday == expected_signals(
        [one for one in served if one.opened_at >= TUESDAY],
        Rule.CROSS,
        after=TUESDAY,
        through=env.clock.now(),
    )
    assert env.monitoring._scheduler.account(ALICE).watcher.problems() == ()


async def test_an_unexplained_jump_has_a_notice_and_one_of_its_end() -> None:
    """No signal comes for a while, so the user has to know why, and that nothing needs to be done."""
    env = await open_after_split(is_rescaled=False)
    for _ in range(10):
        await env.clock.advance(60)
        await env.symbol_outages.check()

    [notice] = env.notices(ALICE, NotificationKind.SYMBOLS_UNMONITORED)
    assert notice.title == "SBIN is not monitored"
    assert notice.text == (
        "0 of 1 symbol is monitored; SBIN: The price of it jumped as after a split, and Fyers' history does not "
        "explain it. You do not need to do anything: the average starts anew, and signals follow when it has "
        "enough candles."
    )

    for _ in range(15):
        await env.clock.advance(60)
        await env.symbol_outages.check()

    [ended] = env.notices(ALICE, NotificationKind.SYMBOLS_MONITORED)
    assert ended.title == "SBIN is monitored again"
    assert ended.text == "The average has enough candles after the jump, and gives signals again."
    assert ended.incident_id == notice.incident_id


async def test_a_jump_that_history_explains_has_no_notice() -> None:
    """Fyers re-scaled its history, so that the average and its signals go on."""
    env = await open_after_split(is_rescaled=True)

    for _ in range(20):
        await env.clock.advance(60)
        await env.symbol_outages.check()

    assert env.notices(ALICE, NotificationKind.SYMBOLS_UNMONITORED) == []
