"""Monitoring while this machine's clock is set by any amount, in trading hours."""

from datetime import timedelta

import pytest

from hullwatch.domain.market.calendar import MarketCalendar, nse_calendar
from hullwatch.domain.monitoring.coverage import BlindReason
from hullwatch.domain.monitoring.health import is_healthy
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.signals.signals import Rule
from services.environment import ALICE, FIVE, SBIN, Environment, candles_of, expected_signals, found, quote

INTERVAL_S = 5.0
YEARS = 86_400 * 3650
STEPS_S = [-YEARS, -86_400, -3600, -300, -7, 7, 300, 3600, 14 * 3600, YEARS]


async def watching(*, knows_fyers_time: bool, calendar: MarketCalendar | None = None) -> Environment:
    """Return an environment in which Alice is watched at 09:45:30 IST."""
    env = Environment() if calendar is None else Environment(calendar=calendar)
    await env.start(with_clock_monitor=True)
    env.broker.serve_candles(SBIN, FIVE, candles_of(days=1))
    env.broker.serve_quotes([quote(SBIN)])
    await env.with_sessions(ALICE)
    await env.watch(ALICE)
    await env.monitoring.start(ALICE)
    await env.clock.advance(60)
    assert env.monitoring.status(ALICE) is WatchStatus.WATCHING
    env.broker.keep_own_time(is_shown=knows_fyers_time)
    return env


def cycles(env: Environment) -> int:
    """Return how many cycles Alice has had."""
    return env.monitoring.state(ALICE).cycles


@pytest.mark.parametrize("knows_fyers_time", [True, False])
@pytest.mark.parametrize("seconds", STEPS_S)
async def test_cycles_go_on_within_two_intervals(seconds: float, *, knows_fyers_time: bool) -> None:
    """Whether or not Fyers' answers show that the step is wrong, and again after it is undone."""
    env = await watching(knows_fyers_time=knows_fyers_time, calendar=nse_calendar())

    for step_s in (seconds, -seconds):
        before = cycles(env)
        env.clock.step(step_s)
        await env.clock.advance(2 * INTERVAL_S)
        assert cycles(env) > before

    assert env.monitoring.status(ALICE) is WatchStatus.WATCHING
    assert is_healthy(env.monitoring.health())
    assert env.connections.connection(ALICE).has_session


@pytest.mark.parametrize("seconds", STEPS_S)
async def test_a_wrong_step_changes_nothing_that_users_see(seconds: float) -> None:
    """Fyers' time shows that it is wrong: the same signals at the same times, and no blind minute."""
    env = await watching(knows_fyers_time=True)
    began_at = env.clock.now()

    env.clock.step(seconds)
    await env.clock.advance(30 * 60)

    day = await env.monitoring.days.of_day(ALICE)
    closes = expected_signals(candles_of(days=1), Rule.CROSS, after=began_at, through=env.clock.now())
    assert found(env.signals(ALICE)) == closes
    assert closes
    assert not any(signal.is_late for signal in env.signals(ALICE))
    assert not [one for one in day.coverage.stretches if one.ended_at > began_at]
    assert [step.is_followed for step in day.clock_steps] == [False]


async def test_moments_that_did_not_occur_are_blind() -> None:
    """Without evidence a step forward is followed; nothing was watched in the hour that is left out."""
    env = await watching(knows_fyers_time=False)
    at = env.clock.now()

    env.clock.step(3600)
    await env.clock.advance(60)

    day = await env.monitoring.days.of_day(ALICE)
    [skipped] = [one for one in day.coverage.stretches if one.reason is BlindReason.CLOCK_SET]
    assert abs(skipped.began_at - at) <= timedelta(seconds=INTERVAL_S)
    assert abs(skipped.ended_at - at - timedelta(hours=1)) <= timedelta(seconds=2 * INTERVAL_S)
    assert [(step.seconds, step.is_followed) for step in day.clock_steps] == [(3600, True)]


async def test_a_cycle_in_the_future_is_not_in_time() -> None:
    """A clock that was set back must not make the last success look recent for hours."""
    env = await watching(knows_fyers_time=False)
    account = env.monitoring._scheduler.account(ALICE)
    assert not env.monitoring.health().overdue

    account.last_cycle_at += timedelta(hours=1)

    health = env.monitoring.health()
    assert (health.overdue, is_healthy(health)) == (1, False)


async def test_candles_are_read_after_the_clock_was_set_right() -> None:
    """The clock was an hour ahead, so the last closes were in the future; every signal still comes once."""
    env = await watching(knows_fyers_time=False)
    began_at = env.clock.now()
    env.clock.step(3600)
    await env.clock.advance(60)
    env.clock.step(-3600)
    await env.clock.advance(30 * 60)

    expected = expected_signals(candles_of(days=1), Rule.CROSS, after=began_at, through=env.clock.now())
    assert expected
    assert found(env.signals(ALICE)) == expected
