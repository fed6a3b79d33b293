"""The readings of many accounts after a close: which are made at once, and how the others are spread."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.feed_series import Answer, FeedSeries
from hullwatch.domain.signals.signals import Rule
from hullwatch.services.monitoring.feeds import Feed
from hullwatch.services.monitoring.reading_plan import (
    LONGEST_SPREAD,
    STARTED_PER_CALL,
    LastPrices,
    PlannedReading,
    ReadingPlan,
    ReadingTimes,
)

FIVE, ONE = Resolution("5"), Resolution("1")
OPENING = datetime(2026, 11, 23, 3, 45, tzinfo=UTC)
CALENDAR = MarketCalendar()
SECOND, NO_TIME = timedelta(seconds=1), timedelta()
SETTLE = 3 * SECOND
CALLS_PER_SECOND = 10.0


def symbol(number: int) -> Symbol:
    """Return one of many shares."""
    return Symbol(f"NSE:SHARE{number}-EQ")


def rising_feed(share: Symbol, resolution: Resolution = FIVE) -> tuple[Feed, datetime]:
    """Return a feed far above its average, and the next close."""
    series = FeedSeries(share, resolution, CALENDAR, SETTLE)
    series.put("watch", 4, Rule.CROSS)
    closes = [100.0 * (1 + n * n / 1000) for n in range(12)]
    candles = [
        Candle(OPENING + n * resolution.length, close, close, close, close, 1)
        for n, close in enumerate(closes)
    ]
    through = OPENING + 12 * resolution.length
    series.record(Answer(candles, OPENING, through, through, is_whole=True), through)
    return Feed(CALENDAR, series), through + resolution.length


def plan_of(calls_per_second: float = CALLS_PER_SECOND) -> ReadingPlan:
    """Return a plan of a server that may make so many calls."""
    return ReadingPlan(ReadingTimes(5 * SECOND, SETTLE, calls_per_second), Random(7))


def account(
    plan: ReadingPlan,
    count: int,
    *,
    price: float = 114.0,
    resolution: Resolution = FIVE,
    after: timedelta = SECOND,
    ahead: timedelta = NO_TIME,
    closes_later: int = 0,
) -> list[PlannedReading]:
    """Plan an account with so many lines, whose last price before the close was `price`."""
    due = []
    prices = LastPrices()
    for number in range(count):
        feed, close = rising_feed(symbol(number), resolution)
        due.append(((symbol(number), resolution), feed, close + closes_later * resolution.length))
    close = due[0][2]
    prices.record({symbol(number): price + number / 10 for number in range(count)}, close - SECOND)
    return plan.readings(due, prices, now=close + after, ahead=ahead)


def test_lines_near_their_trigger_are_read_at_once():
    """Their second reading can be made at the settle time then."""
    feed, close = rising_feed(symbol(1))
    trigger = feed.candles.series["watch"].trigger
    assert trigger is not None
    prices = LastPrices()
    prices.record({symbol(1): trigger * 1.0005, symbol(2): trigger * 1.05}, close - SECOND)
    due = [((symbol(2), FIVE), rising_feed(symbol(2))[0], close), ((symbol(1), FIVE), feed, close)]

    near, far = plan_of().readings(due, prices, now=close + SECOND, ahead=NO_TIME)

    assert (near.key[0], near.starts_at) == (symbol(1), None)
    assert far.key[0] == symbol(2)
    assert far.starts_at is not None
    assert far.starts_at >= close + SETTLE


def test_a_line_without_series_or_after_the_spread_is_read_at_once():
    """Such history is due already, and no second reading waits behind it."""
    feed, close = rising_feed(symbol(1))
    feed.candles.put("another", 9, Rule.TURN)
    (incomplete,) = plan_of().readings(
        [((symbol(1), FIVE), feed, close)], LastPrices(), now=close, ahead=NO_TIME
    )
    late = account(plan_of(), 5, after=SETTLE)

    assert incomplete.starts_at is None
    assert {one.starts_at for one in late} == {None}


def test_an_account_reads_its_nearest_lines_first():
    """The close of a line can differ from its last price, and that is most likely where the trigger is near."""
    readings = account(plan_of(), 20, price=116.0)

    assert [one.distance for one in readings] == sorted(one.distance for one in readings)
    assert [one.starts_at for one in readings] == sorted(one.starts_at for one in readings if one.starts_at)
    assert readings[0].distance < readings[-1].distance


def test_all_accounts_share_the_time_that_their_calls_need():
    """At the second close the number of lines is known: each account's readings last as long as those of all."""
    plan = plan_of()
    for _ in range(30):
        account(plan, 8, price=116.0)
    lasts = 240 / (CALLS_PER_SECOND * STARTED_PER_CALL)

    starts = []
    for _ in range(30):
        readings = account(plan, 8, price=116.0, closes_later=1)
        found = [one.starts_at for one in readings if one.starts_at is not None]
        assert (found[-1] - found[0]).total_seconds() == pytest.approx(lasts * 7 / 8, abs=0.01)
        starts += found
    settles_at = rising_feed(symbol(1))[1] + FIVE.length + SETTLE
    after_s = sorted((moment - settles_at).total_seconds() for moment in starts)

    assert after_s[0] >= 0
    assert after_s[-1] <= lasts
    # No tenth of the time has more than a third more than its share.
    tenths = [sum(part * lasts <= 10 * one < (part + 1) * lasts for one in after_s) for part in range(10)]
    assert max(tenths) <= 240 / 10 * 4 / 3


def test_few_lines_are_all_read_at_the_settle_time():
    """The calls of less than a second suffice for them."""
    plan = plan_of(500.0)
    for later in range(3):
        readings = account(plan, 20, price=116.0, closes_later=later)

        assert {one.starts_at for one in readings} == {readings[0].expected + SETTLE}


def test_more_lines_than_calls_are_spread_within_their_candle():
    """Each is read before its next candle closes, as far as the calls suffice."""
    plan = plan_of(0.1)
    readings = account(plan, 20, price=116.0, resolution=ONE)
    close = readings[0].expected

    assert all(
        one.starts_at is not None and one.starts_at <= close + SETTLE + ONE.length * LONGEST_SPREAD
        for one in readings
    )


def test_a_clock_that_is_set_back_does_not_add_up_lines():
    """The lines of two closes are never counted as those of one."""
    plan = plan_of()
    for later in (5, 4, 3, 5, 4):
        readings = account(plan, 20, price=116.0, closes_later=later)
    starts = [one.starts_at for one in readings if one.starts_at is not None]

    assert max(starts) - min(starts) <= timedelta(seconds=20 / (CALLS_PER_SECOND * STARTED_PER_CALL))


def test_the_settle_time_follows_fyers_clock():
    """Fyers' clock is two seconds ahead, so that the close has settled two seconds earlier here."""
    plain = account(plan_of(), 3, price=116.0)
    ahead = account(plan_of(), 3, price=116.0, ahead=2 * SECOND, after=-SECOND)

    for one, other in zip(plain, ahead, strict=True):
        assert one.starts_at is not None
        assert one.starts_at - 2 * SECOND == other.starts_at


def test_prices_around_a_close_are_the_last_before_and_the_newest():
    """The close is most likely between them; older prices count no more."""
    prices = LastPrices()
    close = OPENING
    assert prices.around(symbol(1), close) is None
    for seconds, price in ((-9, 90.0), (-4, 100.0), (1, 103.0)):
        prices.record({symbol(1): price}, close + seconds * SECOND)

    assert prices.around(symbol(1), close) == (100.0, 103.0)
    assert prices.around(symbol(1), close + 5 * SECOND) == (103.0, 103.0)
    assert prices.around(symbol(2), close) is None
    assert prices.newest == {symbol(1): 103.0}


def test_a_trigger_between_the_two_prices_is_near():
    """The price crossed it in the seconds around the close, by more than the margin."""
    feed, close = rising_feed(symbol(1))
    trigger = feed.candles.series["watch"].trigger
    assert trigger is not None
    prices = LastPrices()
    prices.record({symbol(1): trigger * 0.98}, close - SECOND)
    prices.record({symbol(1): trigger * 1.02}, close + SECOND)

    (reading,) = plan_of().readings(
        [((symbol(1), FIVE), feed, close)], prices, now=close + SECOND, ahead=NO_TIME
    )

    assert (reading.starts_at, reading.distance) == (None, 0.0)
