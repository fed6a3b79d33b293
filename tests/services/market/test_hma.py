"""Tests the present Hull Moving Average of an instrument for one account."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from fakes.broker import AccountState, refusal
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.failures import BrokerService, InvalidInput, NotPermitted, RateLimited, Unavailable
from hullwatch.domain.market.candles import Candle, closes_between, history_start
from hullwatch.domain.market.instruments import WATCHED_MINUTES, Resolution
from hullwatch.domain.signals.hma import HullMovingAverage, hull_moving_average, warm_up
from hullwatch.services.market.hma import HmaReading, HmaStatus
from hullwatch.services.sessions.verification import CONFIRM_AGAIN_S
from services.environment import (
    ALICE,
    BOB,
    CALENDAR,
    CLOSING,
    FIVE,
    MONDAY,
    OPENING,
    SBIN,
    Environment,
    candles_of,
    fyers_id,
    quote,
)

HISTORY = BrokerService.HISTORY
MARKET = candles_of(days_before=4)


@pytest.fixture
async def env() -> Environment:
    """Alice has a session, it is 09:47 on a Monday, and Fyers has five days of candles."""
    env = await Environment(now=OPENING + timedelta(minutes=32)).start(with_monitoring=False)
    env.broker.serve_candles(SBIN, FIVE, MARKET)
    return await env.with_sessions(ALICE)


async def read(env: Environment, user_id: str = ALICE, *, period: int = 55) -> HmaReading:
    """Read the average."""
    return await env.hma.hma(user_id, SBIN, period=period, resolution=FIVE)


def closed(through: datetime) -> list[float]:
    """Return the closes of the candles that closed by then."""
    return [candle.close for candle in MARKET if candle.opened_at + timedelta(minutes=5) <= through]


async def test_the_average_uses_closed_candles_only(env: Environment) -> None:
    """It equals the definition over the list, without the forming candle."""
    reading = await read(env)

    assert reading.status is HmaStatus.ACTIVE
    assert reading.current_hma == hull_moving_average(closed(env.clock.now()), 55)[-1]
    assert reading.last_update == OPENING + timedelta(minutes=30)
    assert (reading.missing, reading.reason) == (0, None)
    assert reading.candles >= warm_up(55)


async def test_below_the_warm_up_there_is_no_value(env: Environment) -> None:
    """The reading counts the missing closed candles without the forming one."""
    env.broker.candles_by_key[SBIN, FIVE] = MARKET[
        : MARKET.index(_candle_at(OPENING + timedelta(minutes=30))) + 1
    ][-warm_up(55) :]

    reading = await read(env)

    assert (reading.status, reading.current_hma) == (HmaStatus.INSUFFICIENT_DATA, None)
    assert (reading.missing, reading.candles) == (1, warm_up(55) - 1)
    assert "1 more" in reading.reason


@pytest.mark.parametrize(("traded_slots", "period"), [("011", 55), ("100", 30), ("10000000", 9)])
async def test_an_instrument_that_skips_candles_still_has_an_average(
    env: Environment, traded_slots: str, period: int
) -> None:
    """A share misses some candles, an option most of them; enough history is fetched."""
    traded = [candle for index, candle in enumerate(MARKET) if traded_slots[index % len(traded_slots)] == "1"]
    env.broker.candles_by_key[SBIN, FIVE] = list(traded)

    reading = await read(env, period=period)

    through = env.clock.now() - FIVE.length
    closes = [candle.close for candle in traded if candle.opened_at <= through]
    assert reading.status is HmaStatus.ACTIVE
    assert reading.current_hma == hull_moving_average(closes, period)[-1]


async def test_an_instrument_without_candles_has_no_average(env: Environment) -> None:
    """The whole warm-up is missing."""
    env.broker.candles_by_key[SBIN, FIVE] = []

    reading = await read(env)

    assert (reading.status, reading.missing) == (HmaStatus.INSUFFICIENT_DATA, warm_up(55))


async def test_a_disconnected_account_reads_so_without_a_call(env: Environment) -> None:
    """The cases are an account that was never linked, signed out or refused."""
    assert (await read(env, BOB)).status is HmaStatus.DISCONNECTED
    await read(env)
    await env.connections.sign_out(ALICE, actor=ALICE)
    reached = len(env.broker.calls)

    reading = await read(env)

    assert (reading.status, reading.current_hma) == (HmaStatus.DISCONNECTED, None)
    assert reading.reason
    assert len(env.broker.calls) == reached


async def test_a_refused_session_is_unavailable_then_disconnected(env: Environment) -> None:
    """It is unavailable during verification, and never has a value."""
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)

    first = await read(env)
    await env.clock.advance(CONFIRM_AGAIN_S)
    then = await read(env)

    assert (first.status, first.current_hma) == (HmaStatus.UNAVAILABLE, None)
    assert (then.status, then.current_hma) == (HmaStatus.DISCONNECTED, None)


@pytest.mark.parametrize(
    "failure",
    [
        RateLimited(HISTORY, retry_after_s=5),
        Unavailable(HISTORY, cause="timeout"),
        NotPermitted(HISTORY, code=-403, http_status=403, message="no"),
        refusal(HISTORY),
    ],
)
async def test_a_failure_has_no_value_and_is_not_cached(env: Environment, failure) -> None:
    """Each has its own text, and the next reading succeeds."""
    env.broker.queue(fyers_id(ALICE), failure)

    reading = await read(env)

    assert (reading.status, reading.current_hma) == (HmaStatus.UNAVAILABLE, None)
    assert reading.reason
    await env.clock.settle()
    assert (await read(env)).status is HmaStatus.ACTIVE


async def test_a_reading_is_cached_until_the_next_close(env: Environment) -> None:
    """Each candle costs one call, and the reading after a close uses the new candle."""
    first = await read(env)
    await env.clock.advance_to(OPENING + timedelta(minutes=34, seconds=59))
    assert await read(env) == first
    assert len(env.broker.calls) == 1
    await env.clock.advance(4)

    then = await read(env)

    assert len(env.broker.calls) == 2
    assert then.last_update == OPENING + timedelta(minutes=35)
    assert then.current_hma == hull_moving_average(closed(env.clock.now()), 55)[-1]


async def test_a_reading_is_not_cached_across_sessions(env: Environment) -> None:
    """Each account and each session fetches its own."""
    await env.with_sessions(BOB)
    for user_id in (ALICE, BOB):
        await read(env, user_id)
    await env.log_in(ALICE)
    await read(env)

    assert [(call.user_id, call.generation) for call in env.broker.calls] == [
        (ALICE, 1),
        (BOB, 1),
        (ALICE, 2),
    ]


async def test_a_missing_candle_is_fetched_again_soon(env: Environment) -> None:
    """The reading is replaced when the candle arrives, not at the next close."""
    late = _candle_at(OPENING + timedelta(minutes=25))
    env.broker.candles_by_key[SBIN, FIVE].remove(late)
    assert (await read(env)).last_update == OPENING + timedelta(minutes=25)
    env.broker.serve_candles(SBIN, FIVE, [late])

    await env.clock.advance(3)

    assert (await read(env)).last_update == OPENING + timedelta(minutes=30)


async def test_a_candle_that_has_just_closed_is_fetched_again(env: Environment) -> None:
    """Its last trades may be missing in the first seconds."""
    closing = OPENING + timedelta(minutes=35)
    served = env.broker.candles_by_key[SBIN, FIVE]
    final = _candle_at(OPENING + timedelta(minutes=30))
    early = Candle(final.opened_at, 100, 100, 100, 100.0, 1)
    served[served.index(final)] = early
    await env.clock.advance_to(closing)
    first = await read(env)
    served[served.index(early)] = final

    await env.clock.advance(3)
    then = await read(env)

    assert first.last_update == then.last_update == closing
    assert then.current_hma == hull_moving_average(closed(closing), 55)[-1]


async def test_a_period_that_no_average_has_is_refused(env: Environment) -> None:
    """A disconnected account gets the same error, because the request itself is wrong."""
    for user_id in (ALICE, BOB):
        with pytest.raises(InvalidInput):
            await read(env, user_id, period=1)
    assert env.broker.calls == []


# ---- the preview


async def test_the_preview_is_the_average_with_the_forming_candle(env: Environment) -> None:
    """It follows the last traded price and leaves the reading unchanged."""
    before = await read(env)
    average = HullMovingAverage(55)
    for close in closed(env.clock.now()):
        average.update(close)
    for ltp in (90.0, 120.0):
        env.broker.serve_quotes([quote(SBIN, ltp)])
        assert await env.hma.preview(ALICE, SBIN, period=55, resolution=FIVE) == average.preview(ltp)
        await env.clock.advance(2)

    assert await read(env) == before


@pytest.mark.parametrize("ltp", [None, 0.0, -1.0, float("nan")])
async def test_without_a_price_there_is_no_preview(env: Environment, ltp: float | None) -> None:
    """The prices are zero, NaN or far too large."""
    env.broker.serve_quotes([quote(SBIN, ltp)])

    assert await env.hma.preview(ALICE, SBIN, period=55, resolution=FIVE) is None


async def test_without_a_forming_candle_there_is_no_preview(env: Environment) -> None:
    """The cases are closed hours, a missing warm-up and a missing session."""
    env.broker.serve_quotes([quote(SBIN, 100.0)])
    assert await env.hma.preview(BOB, SBIN, period=55, resolution=FIVE) is None
    assert await env.hma.preview(ALICE, SBIN, period=1000, resolution=FIVE) is None
    await env.clock.advance_to(CLOSING)

    assert await env.hma.preview(ALICE, SBIN, period=55, resolution=FIVE) is None


# ---- defective candles

blemishes = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(["gap", "twice", "swap", "zero", "nan", "negative"])),
    max_size=15,
)


@given(blemishes)
@settings(deadline=None, max_examples=30)
def test_defective_candles_never_enter_the_average(marks: list[tuple[int, str]]) -> None:
    """The defects are gaps, repetitions, disorder, zeros and NaN."""
    candles = [candle for candle in MARKET if candle.opened_at < OPENING + timedelta(minutes=30)]
    for index, kind in marks:
        at = index % (len(candles) - 1)
        candle = candles[at]
        if kind == "gap":
            del candles[at]
        elif kind == "twice":
            candles.insert(at, candle)
        elif kind == "swap":
            candles[at], candles[at + 1] = candles[at + 1], candle
        else:
            invalid_close = {"zero": 0.0, "nan": float("nan"), "negative": -1.0}[kind]
            candles[at] = Candle(candle.opened_at, 1.0, 1.0, 1.0, invalid_close, 1)

    reading = asyncio.run(_read_once(candles))

    usable = {candle.opened_at: candle.close for candle in candles if candle.close > 0}
    start = min(reading_start(), default=None)
    closes = [usable[opened_at] for opened_at in sorted(usable) if start is None or opened_at >= start]
    assert reading.current_hma == hull_moving_average(closes, 20)[-1]


def reading_start() -> list[datetime]:
    """Return from when the service fetches candles."""
    needed = round(warm_up(20) * 1.5) + 1
    return [history_start(needed, FIVE, OPENING + timedelta(minutes=32), CALENDAR)]


async def _read_once(candles: list[Candle]) -> HmaReading:
    env = Environment(now=OPENING + timedelta(minutes=32))
    env.broker.serve_candles(SBIN, FIVE, candles)
    await env.with_sessions(ALICE)
    return await read(env, period=20)


def _candle_at(opened_at: datetime) -> Candle:
    return next(candle for candle in MARKET if candle.opened_at == opened_at)


# ---- start of the history

moments = st.integers(0, 14 * 24 * 60).map(
    lambda minutes: datetime(MONDAY.year, MONDAY.month, MONDAY.day, tzinfo=UTC) + timedelta(minutes=minutes)
)


@given(st.sampled_from([*map(str, WATCHED_MINUTES), "1D"]), st.integers(1, 400), moments)
@settings(deadline=None, max_examples=60)
def test_history_starts_at_the_latest_sufficient_session(code: str, count: int, before: datetime) -> None:
    """One trading day later there would be too few candles."""
    resolution = Resolution(code)

    start = history_start(count, resolution, before, CALENDAR)

    assert closes_between(start, before, resolution, CALENDAR) >= count
    day_after = CALENDAR.next_session(start + timedelta(hours=4)).opens_at
    assert closes_between(day_after, before, resolution, CALENDAR) < count
