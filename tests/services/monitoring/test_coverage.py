"""Tests coverage and late signals of the real services, one interruption at a time."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta

import pytest
from fakes.broker import AccountState, Call

from hullwatch.domain.events import SignalFired
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.monitoring.coverage import BlindReason
from hullwatch.domain.monitoring.watches import MonitoringWish
from hullwatch.domain.signals.signals import Rule
from hullwatch.web.event_payloads import render
from services.environment import (
    ALICE,
    BOB,
    CAROL,
    CLOSING,
    DAVE,
    FIVE,
    MONDAY,
    OPENING,
    Environment,
    expected_signals,
    fyers_id,
)
from services.monitoring.monitoring_environment import MARKET, environment, stretches
from services.monitoring.monitoring_environment import watching as start_watching

FRIDAY = date(2026, 11, 20)
TURN_AT = next(
    opened_at + FIVE.length
    for opened_at, _ in expected_signals(
        MARKET, Rule.TURN, after=OPENING + timedelta(hours=1), through=OPENING + timedelta(hours=5)
    )
)
"""A candle that closes then gives a signal."""
BEFORE = timedelta(seconds=12)
SECOND = timedelta(seconds=1)


async def watching(*user_ids: str, now: datetime = TURN_AT - timedelta(minutes=2)) -> Environment:
    """Return an environment in which these users watch SBIN."""
    env = await environment(now=now).with_sessions(*user_ids)
    return await start_watching(env, *user_ids, rule=Rule.TURN)


# ---- signals in blind stretches


async def signed_out(env: Environment) -> Environment:
    """Let Alice sign out and log in again."""
    await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance(20)
    await env.log_in(ALICE)
    return env


async def rejected(env: Environment) -> Environment:
    """Let Fyers revoke the session, and Alice log in again."""
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await env.clock.advance(20)
    env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)
    await env.log_in(ALICE)
    return env


async def outage(env: Environment) -> Environment:
    """Let Fyers be unavailable for a while."""
    env.broker.is_down = True
    await env.clock.advance(20)
    env.broker.is_down = False
    return env


async def rate_limited(env: Environment) -> Environment:
    """Let Fyers limit the calls for a while."""
    env.broker.retry_after_s = 5.0
    env.broker.set_state(fyers_id(ALICE), AccountState.RATE_LIMITED)
    await env.clock.advance(20)
    env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)
    return env


async def held(env: Environment) -> Environment:
    """Let Fyers refuse all accounts, hold their verification, and recover."""
    for user_id in (ALICE, BOB, CAROL, DAVE):
        env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)
    await env.clock.advance(20)
    assert env.connections.broker_outage is not None
    for user_id in (ALICE, BOB, CAROL, DAVE):
        env.broker.set_state(fyers_id(user_id), AccountState.ACTIVE)
    await env.clock.advance(600)
    return env


async def killed(env: Environment) -> Environment:
    """Kill the server and start it again."""
    env = await env.kill()
    await env.clock.advance(20)
    return await env.start()


async def stalled(env: Environment) -> Environment:
    """Stop the process for a while without ending it."""
    await env.clock.stall(30)
    return env


async def slow(env: Environment) -> Environment:
    """Let Fyers delay some answers, one after the other."""

    async def dawdle(_: Call) -> None:
        await env.clock.sleep(11)

    env.broker.before_answer = dawdle
    await env.clock.advance(40)
    env.broker.before_answer = None
    return env


INTERRUPTIONS: dict[Callable[[Environment], Awaitable[Environment]], set[BlindReason]] = {
    signed_out: {BlindReason.NO_SESSION},
    rejected: {BlindReason.CHECKING_LOGIN, BlindReason.NO_SESSION},
    outage: {BlindReason.FYERS_UNAVAILABLE},
    rate_limited: {BlindReason.RATE_LIMITED},
    held: {BlindReason.CHECKING_LOGIN, BlindReason.FYERS_UNAVAILABLE},
    killed: {BlindReason.SERVER_DOWN, BlindReason.STARTING},
    stalled: {BlindReason.SERVER_BUSY},
    slow: {BlindReason.SLOW_CYCLE},
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS, ids=lambda interruption: interruption.__name__)
async def test_a_signal_in_a_blind_stretch_is_always_late(
    interruption: Callable[[Environment], Awaitable[Environment]],
) -> None:
    """It is stored, published and grouped as late, even within a minute of its candle's close."""
    env = await watching(ALICE, *((BOB, CAROL, DAVE) if interruption is held else ()))
    await env.clock.advance_to(TURN_AT - BEFORE)
    env = await interruption(env)
    tab = env.hub.subscribe(ALICE)
    await env.clock.advance(30)

    (signal,) = [one for one in env.signals(ALICE) if one.candle_closed_at == TURN_AT]
    day = await env.monitoring.days.of_day(ALICE)
    env.hub.close()
    pushed = [render(delivery.message) async for delivery in tab if isinstance(delivery.message, SignalFired)]
    parts, elsewhere = day.late_by_stretch()
    (stretch,) = [one for one, late in zip(day.coverage.stretches, parts, strict=True) if signal in late]
    assert elsewhere == []
    assert signal.is_late
    assert signal in day.late
    assert {one.reason for one in day.coverage.stretches} <= INTERRUPTIONS[interruption]
    assert stretch.began_at <= TURN_AT <= stretch.ended_at
    assert all(
        data["isLate"] for _, data in pushed if data["candleClosedAt"] == f"{TURN_AT:%Y-%m-%dT%H:%M:%SZ}"
    )


async def test_a_candle_missed_by_the_first_good_cycle_is_late() -> None:
    """The first good cycle began before the candle closed, and the next one finds the signal."""
    env = await watching(ALICE)
    await env.clock.advance_to(TURN_AT - BEFORE)
    env.broker.is_down = True
    await env.clock.advance_to(TURN_AT - timedelta(seconds=6))
    env.broker.is_down = False

    async def dawdle(_: Call) -> None:
        await env.clock.sleep_until(TURN_AT + timedelta(seconds=0.5))

    env.broker.before_answer = dawdle
    await env.clock.advance_to(TURN_AT + timedelta(seconds=5))

    (signal,) = [one for one in env.signals(ALICE) if one.candle_closed_at == TURN_AT]
    (stretch,) = (await env.monitoring.coverage(ALICE)).stretches
    assert stretch.ended_at == TURN_AT + timedelta(seconds=0.5)
    assert signal.is_late
    assert timedelta(seconds=3) <= signal.detected_at - TURN_AT <= timedelta(seconds=4.5)


async def test_a_candle_that_closed_just_before_a_gap_belongs_to_it() -> None:
    """The last good cycle was under way at its close and could not fetch it."""
    env = await watching(ALICE)
    await env.clock.advance_to(TURN_AT - 2 * SECOND)

    async def dawdle(_: Call) -> None:
        await env.clock.sleep_until(TURN_AT + timedelta(seconds=0.5))

    env.broker.before_answer = dawdle
    await env.monitoring.warm(ALICE)
    env.monitoring._scheduler.wake(ALICE)
    await env.clock.advance_to(TURN_AT + timedelta(seconds=0.6))
    env.broker.before_answer = None
    env.broker.is_down = True
    await env.clock.advance(20)
    env.broker.is_down = False
    await env.clock.advance(20)

    day = await env.monitoring.days.of_day(ALICE)
    (signal,) = [one for one in env.signals(ALICE) if one.candle_closed_at == TURN_AT]
    (stretch,) = day.coverage.stretches
    assert stretch.began_at == TURN_AT + timedelta(seconds=0.5)
    assert signal.is_late
    assert day.late_by_stretch() == ([[signal]], [])


async def test_a_candle_that_closed_during_the_last_good_cycle_is_late() -> None:
    """A cycle that began before the close cannot read the candle, which is then found only after the outage."""
    env = await watching(ALICE)

    async def take_a_moment(call: Call) -> None:
        if call.name == "quotes":
            await env.clock.sleep(0.4)

    env.broker.before_answer = take_a_moment
    await env.clock.advance_to(TURN_AT - timedelta(seconds=0.2))
    await env.log_in(ALICE)  # wakes her cycle, which ends after the close and is good
    await env.clock.advance_to(TURN_AT + timedelta(seconds=0.5))
    env.broker.set_state(fyers_id(ALICE), AccountState.UNAVAILABLE)
    await env.clock.advance(30)
    env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)
    await env.clock.advance(10)

    (found,) = [signal for signal in env.signals(ALICE) if signal.candle_closed_at == TURN_AT]
    assert found.detected_at - TURN_AT < timedelta(seconds=60)
    assert found.is_late


async def test_a_candle_that_closed_between_two_sessions_is_late() -> None:
    """A second between sign-out and login is enough, because no notification could be sent in it."""
    env = await watching(ALICE, now=TURN_AT - timedelta(minutes=2, seconds=2.5))
    await env.clock.advance_to(TURN_AT - timedelta(seconds=0.4))
    await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance_to(TURN_AT + timedelta(seconds=0.4))
    await env.log_in(ALICE)
    await env.clock.advance(10)

    (signal,) = [one for one in env.signals(ALICE) if one.candle_closed_at == TURN_AT]
    assert signal.is_late


async def test_a_signal_after_the_recovery_is_not_late() -> None:
    """Only candles that closed in the gap are late."""
    env = await watching(ALICE)
    env.broker.is_down = True
    await env.clock.advance(60)
    env.broker.is_down = False
    await env.clock.advance_to(TURN_AT + timedelta(seconds=10))

    (signal,) = [one for one in env.signals(ALICE) if one.candle_closed_at == TURN_AT]
    assert not signal.is_late
    assert timedelta(seconds=3) <= signal.detected_at - TURN_AT <= timedelta(seconds=4.5)


async def test_a_signal_stored_after_a_database_outage_is_late() -> None:
    """It was found in time and could not be sent for two minutes."""
    env = await watching(ALICE)
    await env.clock.advance_to(TURN_AT - BEFORE)
    env.store.is_down = True
    await env.clock.advance(120)
    env.store.is_down = False
    await env.clock.advance(30)

    (signal,) = [one for one in env.signals(ALICE) if one.candle_closed_at == TURN_AT]
    assert signal.is_late
    assert timedelta(seconds=3) <= signal.detected_at - TURN_AT <= timedelta(seconds=4.5)


# ---- exact moments


async def test_an_outage_is_blind_between_the_good_cycles_around_it() -> None:
    """It is blind from the last good cycle, because nothing after that was monitored."""
    env = await watching(ALICE)
    await env.clock.advance(30)
    good = env.monitoring.state(ALICE).last_cycle_at
    env.broker.is_down = True
    await env.clock.advance(23)
    env.broker.is_down = False
    await env.clock.advance(5)
    back = env.monitoring.state(ALICE).last_cycle_at

    assert await stretches(env) == [("fyers_unavailable", good, back)]


async def test_blindness_begins_at_the_expiry_of_a_session() -> None:
    """The time from the last cycle to the expiry was still monitored."""
    env = await watching(ALICE)
    connection = await env.log_in(ALICE, lifetime=timedelta(seconds=33.3))
    await env.clock.advance(60)
    await env.log_in(ALICE)
    await env.clock.advance(1)

    assert await stretches(env) == [
        ("no_session", connection.expires_at, connection.connected_at + timedelta(seconds=60))
    ]


async def test_an_expiry_at_night_is_blind_from_the_market_open() -> None:
    """The night does not count, and the time to the first cycle is not watched."""
    env = await watching(ALICE, now=OPENING - timedelta(hours=5))
    await env.clock.advance_to(OPENING + timedelta(minutes=10))
    await env.log_in(ALICE)
    await env.clock.advance(1)

    assert await stretches(env) == [("no_session", OPENING, OPENING + timedelta(minutes=10))]


async def test_an_ordinary_day_is_watched_from_open_to_close() -> None:
    """All 375 minutes are watched, and the day has three audit entries."""
    env = await watching(ALICE, now=OPENING - timedelta(minutes=5))
    await env.clock.advance_to(CLOSING + timedelta(minutes=5))
    day = await env.monitoring.coverage(ALICE)

    assert (day.watched_minutes, day.blind_minutes, day.percent) == (375, 0, 100)
    assert [entry.to_state for entry in env.store.tables.audit if entry.kind == "monitoring.status"] == [
        "starting",
        "market_closed",
        "watching",
        "market_closed",
    ]


async def test_a_killed_server_is_down_from_its_last_heartbeat() -> None:
    """That is less than a cycle before the kill, and one stored moment for all accounts."""
    env = await watching(ALICE, BOB)
    await env.clock.advance(63.2)
    killed_at, lines = env.clock.now(), len(env.store.tables.audit)
    await env.clock.advance(20)
    assert len(env.store.tables.audit) == lines  # heartbeats are not audit entries
    last_beat = env.store.tables.beats["server"]
    env = await killed(env)
    started_at = env.clock.now()
    await env.clock.advance(30)

    for user_id in (ALICE, BOB):
        down, starting = await stretches(env, user_id)
        assert down == ("server_down", last_beat, started_at)
        assert starting[:2] == ("starting", started_at)
    assert killed_at + timedelta(seconds=15) < last_beat <= killed_at + timedelta(seconds=20)


async def test_a_machine_that_was_suspended_overnight_was_down() -> None:
    """The suspended day is recorded although the process is the same."""
    env = await watching(ALICE)
    await env.clock.advance(30)
    await env.clock.stall(24 * 3600)
    await env.clock.advance(60)

    yesterday = await env.monitoring.coverage(ALICE, MONDAY)

    assert next(iter(yesterday.blind_by_reason)) is BlindReason.SERVER_DOWN
    assert yesterday.stretches[-1].ended_at == CLOSING
    assert yesterday.watched_minutes < 1


async def test_a_cycle_that_hung_when_the_server_was_killed_is_blind() -> None:
    """A cycle that had not ended for so long does not count as monitoring."""
    env = await watching(ALICE)
    await env.clock.advance(30)
    good = env.monitoring.state(ALICE).last_cycle_at

    async def hang(_: Call) -> None:
        await env.clock.sleep(1000)

    env.broker.before_answer = hang
    await env.clock.advance(21)
    day = await env.monitoring.coverage(ALICE)
    assert [(one.reason, one.began_at) for one in day.stretches] == [(BlindReason.SLOW_CYCLE, good)]
    env = await killed(env)
    await env.clock.advance(10)

    assert (await stretches(env))[0][:2] == ("slow_cycle", good)


@pytest.mark.parametrize("is_wanted", [True, False])
async def test_a_start_without_its_audit_entry_counts_after_a_crash(*, is_wanted: bool) -> None:
    """The start is stored at once and its audit entry a second later."""
    env = await watching(ALICE)
    if is_wanted:
        await env.monitoring.stop(ALICE)
    await env.clock.advance(30)
    changed_at = env.clock.now()
    async with env.store.begin() as work:  # as `start` and `stop` do before they note the line
        await work.watches.put_wish(MonitoringWish(ALICE, is_wanted=is_wanted, changed_at=changed_at))
        await work.commit()
    env = await killed(env)
    await env.clock.advance(600)

    day = await env.monitoring.coverage(ALICE)
    assert day.percent is not None
    if is_wanted:
        assert day.stretches[0].began_at == changed_at
    else:
        assert (day.blind_minutes, day.watched_minutes) == (0, 0.5)


# ---- many days, many accounts


async def test_a_range_of_days_equals_its_single_days() -> None:
    """Trading days up to now, newest first. A state that began on one day continues on the next."""
    env = await watching(ALICE, now=CLOSING - timedelta(hours=1))
    await env.clock.advance(600)
    await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance_to(OPENING + timedelta(days=1, hours=1))
    await env.log_in(ALICE)
    await env.clock.advance(900)

    days = await env.monitoring.days.of_days(ALICE, FRIDAY, MONDAY + timedelta(days=20))

    assert [day.day for day in days] == [MONDAY + timedelta(days=1), MONDAY, FRIDAY]
    assert days == [await env.monitoring.coverage(ALICE, day.day) for day in days]
    assert [day.blind_minutes for day in days] == [60, 50, 0]
    assert [day.percent for day in days] == [20, pytest.approx(16.67), None]


@pytest.mark.parametrize(("first", "last"), [(0, -1), (0, 31)])
async def test_a_range_is_at_most_a_month_and_ordered(first: int, last: int) -> None:
    """A longer or reversed range is refused."""
    env = await watching(ALICE)

    with pytest.raises(InvalidInput):
        await env.monitoring.days.of_days(
            ALICE, MONDAY + timedelta(days=first), MONDAY + timedelta(days=last)
        )


async def test_the_day_of_all_accounts_equals_the_single_days() -> None:
    """One query for all accounts gives the same coverage, most blind time first."""
    env = await watching(ALICE, BOB, CAROL)
    await env.clock.advance(60)
    await env.connections.sign_out(BOB, actor=BOB)
    await env.clock.advance(60)
    await env.connections.sign_out(CAROL, actor=CAROL)
    await env.monitoring.stop(ALICE)
    await env.clock.advance(60)

    day, accounts = await env.monitoring.days.of_all()

    assert day == MONDAY
    assert [one.user.id for one in accounts] == [BOB, CAROL, ALICE]
    assert [one.coverage for one in accounts] == [
        await env.monitoring.coverage(one.user.id) for one in accounts
    ]
