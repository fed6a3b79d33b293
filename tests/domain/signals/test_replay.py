"""Tests replaying candles."""

from datetime import UTC, datetime, timedelta

import pytest

from hullwatch.candle_files import read_candle_file
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import IST, nse_calendar
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import hull_moving_average, warm_up
from hullwatch.domain.signals.replay import replay
from hullwatch.domain.signals.signals import Direction, FeedStatus, Rule, WatchSeries

SBIN, FIVE = Symbol("NSE:SBIN-EQ"), Resolution("5")
START = datetime(2026, 11, 20, 3, 45, tzinfo=UTC)


def wave(count: int) -> list[Candle]:
    """Return candles whose closes go up and down, on consecutive 5-minute openings."""
    closes = [100 + abs(i % 40 - 20) / 4 + (i * 7_919 % 13) / 100 for i in range(count)]
    return [Candle(START + i * timedelta(minutes=5), c, c, c, c, 1) for i, c in enumerate(closes)]


def test_a_replay_equals_the_live_series():
    """Signals and averages are compared candle by candle."""
    candles = wave(300)
    report = replay(candles, SBIN, 9, FIVE)

    expected = []
    series = {rule: WatchSeries(9, rule) for rule in Rule}
    for candle in candles:
        for rule, one in series.items():
            fed = one.feed(candle)
            assert fed.status is FeedStatus.ACCEPTED
            if fed.direction:
                expected.append((rule, fed.direction, candle.opened_at, candle.close, fed.hma))
    assert [(s.rule, s.direction, s.candle_opened_at, s.close, s.hma) for s in report.signals] == expected
    assert [row.hma for row in report.rows] == hull_moving_average([c.close for c in candles], 9)
    assert {s.direction for s in report.signals} == set(Direction)


def test_one_rule_can_be_requested():
    """The result is the part of this rule in a replay of both rules."""
    candles = wave(200)
    both = replay(candles, SBIN, 9, FIVE).signals

    for rule in Rule:
        assert replay(candles, SBIN, 9, FIVE, (rule,)).signals == tuple(s for s in both if s.rule is rule)
    with pytest.raises(InvalidInput):
        replay(candles, SBIN, 9, FIVE, ())


def test_replaying_twice_or_with_repetitions_gives_the_same():
    """Repeated and old candles add neither a signal nor a row."""
    candles = wave(120)
    doubled = [c for candle in candles for c in (candle, candle)] + candles[:5]

    assert replay(candles, SBIN, 9, FIVE) == replay(candles, SBIN, 9, FIVE)
    assert replay(doubled, SBIN, 9, FIVE).signals == replay(candles, SBIN, 9, FIVE).signals
    assert replay(doubled, SBIN, 9, FIVE).rows == replay(candles, SBIN, 9, FIVE).rows


def test_a_signal_is_dated_by_its_candles_close():
    """The last hour of a day is shorter, and its close counts."""
    opened_at = datetime(2026, 11, 20, 15, 15, tzinfo=IST)
    before = [opened_at - timedelta(minutes=60 * i) for i in range(warm_up(2), 0, -1)]
    candles = [Candle(at, 100.0, 100.0, 100.0, 100.0, 1) for at in before]
    candles.append(Candle(opened_at, 100.0, 101.0, 100.0, 101.0, 1))

    (signal,) = replay(candles, SBIN, 2, Resolution("60"), (Rule.TURN, Rule.CROSS)).signals

    # at period 2 the average overshoots a rise, so the close falls below it
    assert (signal.rule, signal.direction) == (Rule.CROSS, Direction.DOWN)
    assert signal.candle_closed_at == datetime(2026, 11, 20, 15, 30, tzinfo=IST)


def test_a_note_counts_the_candles_that_are_missing():
    """Without it, an empty result would look like a quiet market."""
    assert replay(wave(5), SBIN, 9, FIVE).notes == ("6 more candles are needed before the first average.",)
    assert replay(wave(60), SBIN, 9, FIVE).notes == ()


def test_an_unusable_period_is_refused():
    """The period is checked even when there is no candle."""
    with pytest.raises(InvalidInput):
        replay([], SBIN, 1, FIVE)


def test_real_candles_of_each_stock_are_replayed(market_data):
    """A month of real 5-minute candles has no refused rows, and all signals are in trading hours."""
    files = sorted((market_data / "5min").glob("*.csv"))
    for path in files:
        found = read_candle_file(path, FIVE.length)
        report = replay(found.candles, SBIN, 55, FIVE)

        assert found.refused == report.notes == ()
        assert len(report.rows) == 1_650
        assert [row.hma for row in report.rows[:61]].count(None) == 60
        assert {signal.rule for signal in report.signals} == set(Rule)
        calendar = nse_calendar()
        assert all(calendar.session_at(signal.candle_opened_at) for signal in report.signals)
    assert len(files) == 12
