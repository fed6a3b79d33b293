"""Tests that each symbol is watched in the hours of its segment."""

from datetime import timedelta

import pytest

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Segment, Symbol
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.signals.signals import Rule
from hullwatch.services.monitoring.feeds import AUCTION_RETRIES
from services.environment import ALICE, BOB, CLOSING, FIVE, OPENING, SBIN, Environment, quote

CALENDAR = nse_calendar()
FUTURE = Symbol("NSE:NIFTY26NOVFUT")
LAST_CLOSE = CLOSING + timedelta(minutes=10)
"""15:40 IST, when derivatives close."""
DAILY = Resolution("1D")


def candles_of_segment(symbol: Symbol) -> list[Candle]:
    """Return 5-minute candles of three trading days in the symbol's hours, with closes in waves."""
    calendar = CALENDAR.for_symbol(symbol)
    moment, candles = OPENING - timedelta(days=5), []
    while moment < OPENING + timedelta(days=1):
        session = calendar.next_session(moment)
        opened_at = session.opens_at
        while opened_at < session.closes_at:
            price = 100.0 + abs(len(candles) % 14 - 7)
            candles.append(Candle(opened_at, price, price, price, price, 10))
            opened_at += FIVE.length
        moment = session.closes_at
    return candles


def environment(now=CLOSING - timedelta(minutes=20, seconds=30), **arguments) -> Environment:
    """Return an environment on the exchange's calendar, on a Monday at 15:09:30 IST by default."""
    env = Environment(calendar=CALENDAR, now=now, **arguments)
    for symbol in (SBIN, FUTURE):
        env.broker.serve_candles(symbol, FIVE, candles_of_segment(symbol))
    env.broker.serve_quotes([quote(SBIN), quote(FUTURE)])
    return env


async def watching(env: Environment, user_id: str, *symbols: Symbol) -> None:
    """Add watches of these symbols and start monitoring."""
    for symbol in symbols:
        await env.watch(user_id, symbol=symbol)
    await env.monitoring.start(user_id)
    await env.clock.settle()


def requested(env: Environment, user_id: str, symbol: Symbol, since) -> list[str]:
    """Return the times of day, UTC, of the history calls for a symbol."""
    return [
        f"{call.at:%H:%M:%S}"
        for call in env.broker.calls_of(user_id)
        if call.name == "candles" and call.symbols == (symbol,) and call.at > since
    ]


def minutes(env: Environment, user_id: str, symbol: Symbol, since) -> list[str]:
    """Return the minutes, UTC, of the history calls for a symbol."""
    return [at[:5] for at in requested(env, user_id, symbol, since)]


async def test_an_account_is_monitored_while_any_segment_trades() -> None:
    """Shares alone are monitored until 15:30, and with a future until 15:40."""
    env = await environment().with_sessions(ALICE, BOB)
    await env.start()
    await watching(env, ALICE, SBIN)
    await watching(env, BOB, SBIN, FUTURE)

    await env.clock.advance_to(CLOSING + timedelta(minutes=2))
    assert env.monitoring.state(ALICE).status is WatchStatus.MARKET_CLOSED
    assert env.monitoring.state(BOB).status is WatchStatus.WATCHING

    await env.clock.advance_to(LAST_CLOSE + timedelta(seconds=30))
    assert env.monitoring.state(BOB).status is WatchStatus.MARKET_CLOSED
    after_close = CLOSING + timedelta(seconds=30)
    assert set(minutes(env, BOB, FUTURE, after_close)) == {"10:05", "10:10"}
    # Only to see whether the session's last close is corrected.
    assert minutes(env, BOB, SBIN, after_close) == ["10:02"]
    assert minutes(env, ALICE, SBIN, after_close) == ["10:02"]
    quotes = [call.at for call in env.broker.calls_of(BOB) if call.name == "quotes"]
    assert LAST_CLOSE - timedelta(seconds=10) < max(quotes) < LAST_CLOSE

    await env.clock.advance_to(LAST_CLOSE + timedelta(minutes=16))
    reached = len(env.broker.calls)
    await env.clock.advance(3600)
    assert len(env.broker.calls) == reached


async def test_a_share_added_to_a_future_keeps_its_own_hours() -> None:
    """Each symbol's last candle closes with its own segment."""
    env = await environment().with_sessions(ALICE)
    await env.start()
    await watching(env, ALICE, FUTURE)
    await env.clock.advance_to(LAST_CLOSE - timedelta(seconds=1))
    assert env.monitoring.state(ALICE).status is WatchStatus.WATCHING

    await env.clock.advance_to(LAST_CLOSE + timedelta(minutes=1))

    coverage = await env.monitoring.coverage(ALICE)
    assert env.monitoring.state(ALICE).status is WatchStatus.MARKET_CLOSED
    assert coverage.watched_minutes == pytest.approx(30.5, abs=0.1)
    assert coverage.blind_minutes == 0


async def test_signals_of_the_last_candles_of_a_future_are_found_in_time() -> None:
    """The last candles close at 15:35 and 15:40, and their signals are not late."""
    env = await environment().with_sessions(ALICE)
    await env.start()
    await env.watch(ALICE, symbol=FUTURE, rule=Rule.TURN)
    await watching(env, ALICE, FUTURE)

    await env.clock.advance_to(LAST_CLOSE + timedelta(minutes=1))

    late = [signal for signal in env.signals(ALICE) if signal.is_late]
    assert env.signals(ALICE)
    assert late == []
    assert {signal.candle_closed_at for signal in env.signals(ALICE)} <= {
        CLOSING - timedelta(minutes=20) + number * FIVE.length for number in range(1, 7)
    }
    watches = await env.monitoring.watches(ALICE)
    assert {watch.evaluated_through for watch in watches} == {LAST_CLOSE}


async def test_a_daily_candle_is_read_after_the_closing_auction() -> None:
    """It is read a second after 15:35, because the closing price can change until then."""
    env = await environment().with_sessions(ALICE)
    await env.start()
    await env.monitoring.add_watch(ALICE, symbol=SBIN, resolution=DAILY, period=4, rule=Rule.CROSS)
    await env.monitoring.start(ALICE)
    await env.clock.advance(120)  # by then the missing candle of the last trading day is not retried any more
    since = env.clock.now()

    await env.clock.advance_to(CLOSING + timedelta(minutes=5, seconds=3))

    assert requested(env, ALICE, SBIN, since) == ["10:05:01"]


async def test_candles_missing_in_the_auction_are_retried_once() -> None:
    """A share costs two calls at 15:20 and at 15:25, and its candle is found at 15:30."""
    env = environment()
    traded = [
        candle
        for candle in candles_of_segment(SBIN)
        if not CLOSING - timedelta(minutes=15) <= candle.opened_at < CLOSING - timedelta(minutes=5)
    ]
    env.broker.candles_by_key[SBIN, FIVE].clear()
    env.broker.serve_candles(SBIN, FIVE, traded)
    await env.with_sessions(ALICE)
    await env.start()
    await watching(env, ALICE, SBIN)
    await env.clock.advance_to(CLOSING - timedelta(minutes=14))
    since = env.clock.now()

    await env.clock.advance_to(CLOSING + timedelta(minutes=3))

    assert AUCTION_RETRIES == 1
    found = minutes(env, ALICE, SBIN, since)
    assert found[:5] == ["09:50", "09:50", "09:55", "09:55", "10:00"]
    assert set(found[5:]) <= {"10:00", "10:02"}  # the second reading, and one for a correction
    (watch,) = await env.monitoring.watches(ALICE)
    assert watch.evaluated_through == CLOSING


async def test_readings_charts_and_candles_follow_the_segment() -> None:
    """At 15:36 the future has a forming candle, and the share has none."""
    env = await environment(now=CLOSING + timedelta(minutes=6)).with_sessions(ALICE)

    for symbol, last_close, has_forming in (
        (SBIN, CLOSING, False),
        (FUTURE, CLOSING + timedelta(minutes=5), True),
    ):
        reading = await env.hma.hma(ALICE, symbol, period=4, resolution=FIVE)
        preview = await env.hma.preview(ALICE, symbol, period=4, resolution=FIVE)
        drawn = await env.chart.chart(ALICE, symbol, resolution=FIVE, period=4, rule=Rule.CROSS)
        assert reading.last_update == last_close
        assert (preview is not None) is has_forming
        assert (drawn.forming is not None) is has_forming
        assert drawn.next_close_at == (
            LAST_CLOSE if has_forming else CALENDAR.next_session(CLOSING).opens_at + FIVE.length
        )


async def test_market_status_by_segment() -> None:
    """At 15:36 the cash market is closed and derivatives trade."""
    env = environment(now=CLOSING + timedelta(minutes=6))

    assert not env.market.market_status().is_open
    derivatives = env.market.market_status(Segment.EQUITY_DERIVATIVES)
    assert derivatives.is_open
    assert derivatives.next_close_at == LAST_CLOSE


async def test_segments_with_unknown_hours_are_refused() -> None:
    """They are commodities and currencies. Contracts on shares and indices are accepted."""
    env = await environment().with_sessions(ALICE)
    await env.start()
    for text in ("MCX:GOLD26DECFUT", "NSE:USDINR26DECFUT"):
        with pytest.raises(InvalidInput):
            await env.watch(ALICE, symbol=Symbol(text))

    await env.watch(ALICE, symbol=Symbol("NSE:NIFTY26N2424500CE"))

    assert len(await env.monitoring.watches(ALICE)) == 1
