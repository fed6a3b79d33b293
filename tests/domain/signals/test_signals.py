"""Tests crossings, turns and the series that finds them."""

import copy
import math
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.signals.hma import HullMovingAverage, hull_moving_average, warm_up
from hullwatch.domain.signals.signals import (
    LATE_AFTER,
    Direction,
    FeedResult,
    FeedStatus,
    Rule,
    SignalDetector,
    WatchSeries,
    is_late,
)

START = datetime(2026, 11, 20, 3, 45, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)
PROPERTY = settings(deadline=None)

# Few distinct prices make ties with the average common, which is where the rules differ.
lively = st.lists(st.integers(9_990, 10_010).map(lambda paise: paise / 100), max_size=60)
periods = st.integers(2, 12)


def candle(number: int, close: float) -> Candle:
    """Return the candle of that number in a series of 5-minute candles."""
    return Candle(START + number * FIVE_MINUTES, close, close, close, close, 10)


def directions(closes: list[float], period: int, rule: Rule) -> list[Direction | None]:
    """Return the directions that a series gives for these closes."""
    series = WatchSeries(period, rule)
    return [series.feed(candle(number, close)).direction for number, close in enumerate(closes)]


def exact_averages(closes: list[float], period: int) -> list[Fraction | None]:
    """Return the exact average after each close."""
    average = HullMovingAverage(period)
    return [(average.update(close), average.exact)[1] for close in closes]


@PROPERTY
@given(lively, periods)
def test_crossings_are_those_of_the_definition(closes, period):
    """Up means strictly above now and at or below before. Down is the opposite."""
    averages, expected = exact_averages(closes, period), []
    prices = [Fraction(repr(close)) for close in closes]
    for i, now in enumerate(averages):
        before = averages[i - 1] if i else None
        if now is None or before is None:
            expected.append(None)
        elif prices[i] > now and prices[i - 1] <= before:
            expected.append(Direction.UP)
        elif prices[i] < now and prices[i - 1] >= before:
            expected.append(Direction.DOWN)
        else:
            expected.append(None)

    assert directions(closes, period, Rule.CROSS) == expected


@PROPERTY
@given(lively, periods)
def test_turns_are_those_of_the_definition(closes, period):
    """The average may keep its value for any time between two opposite movements."""
    averages, expected, moved = exact_averages(closes, period), [], None
    for i, now in enumerate(averages):
        before = averages[i - 1] if i else None
        if now is None or before is None or now == before:
            expected.append(None)
            continue
        movement = Direction.UP if now > before else Direction.DOWN
        expected.append(movement if moved not in {None, movement} else None)
        moved = movement

    assert directions(closes, period, Rule.TURN) == expected


@PROPERTY
@given(lively, periods)
def test_turns_alternate(closes, period):
    """Two consecutive turns have opposite directions."""
    turns = [found for found in directions(closes, period, Rule.TURN) if found]

    assert all(earlier is not later for earlier, later in pairwise(turns))


@PROPERTY
@given(lively, periods, st.integers(2, 50))
def test_signals_do_not_depend_on_the_unit(closes, period, factor):
    """Prices in another unit give the same signals, ties included."""
    scaled = [round(close * 100) * factor / 100 for close in closes]

    for rule in Rule:
        assert directions(closes, period, rule) == directions(scaled, period, rule)


def test_a_rise_after_a_tie_is_a_crossing():
    """A close exactly on the average is not above it yet."""
    flat = [100.0] * warm_up(4)

    assert directions([*flat, 101.0], 4, Rule.CROSS)[-1] is Direction.UP
    assert directions([*flat, 99.0], 4, Rule.CROSS)[-1] is Direction.DOWN
    assert directions([*flat, 100.0], 4, Rule.CROSS)[-1] is None


def test_the_first_average_gives_no_crossing():
    """A jump on its candle gives none either."""
    for last in (200.0, 50.0):
        assert directions([*[100.0] * (warm_up(9) - 1), last], 9, Rule.CROSS) == [None] * warm_up(9)


def test_a_constant_price_never_signals():
    """Rounded floats would show noise here."""
    closes = [100.05] * 400

    assert directions(closes, 55, Rule.CROSS) == directions(closes, 55, Rule.TURN) == [None] * 400


def test_a_peak_is_one_turn_down():
    """Prices that rise and then fall turn the average once, downwards."""
    closes = [100.0 + i for i in range(20)] + [119.0 - i for i in range(20)]

    assert [found for found in directions(closes, 9, Rule.TURN) if found] == [Direction.DOWN]


def test_a_plateau_keeps_the_direction():
    """The average overshoots the rise and turns down. Only a later rise is a turn."""
    plateau = [100.0 + i for i in range(15)] + [114.0] * 30
    settled = directions(plateau, 4, Rule.TURN)

    assert settled[-20:] == [None] * 20
    assert [found for found in settled if found][-1] is Direction.DOWN
    assert directions([*plateau, 113.0], 4, Rule.TURN)[-1] is None
    assert directions([*plateau, 115.0], 4, Rule.TURN)[-1] is Direction.UP


@pytest.mark.parametrize("rule", list(Rule))
@PROPERTY
@given(lively, periods, st.randoms(use_true_random=False))
def test_repeated_and_old_candles_change_nothing(rule, closes, period, chance):
    """The signals are those of the clean series."""
    clean, noisy, found = directions(closes, period, rule), WatchSeries(period, rule), []
    for number, close in enumerate(closes):
        found.append(noisy.feed(candle(number, close)).direction)
        for _ in range(chance.randrange(3)):
            old = chance.randrange(number + 1)
            assert noisy.feed(candle(old, closes[old])).direction is None

    assert found == clean
    assert noisy.count == len(closes)


def test_the_feed_status_names_what_happened_to_a_candle():
    """New, repeated, revised and old candles differ, and only new ones count."""
    series = WatchSeries(4, Rule.CROSS)

    answers = [
        series.feed(c).status for c in (candle(1, 10.0), candle(1, 10.0), candle(1, 10.5), candle(0, 9.0))
    ]

    assert answers == [FeedStatus.ACCEPTED, FeedStatus.DUPLICATE, FeedStatus.REVISED, FeedStatus.OUT_OF_ORDER]
    assert (series.count, series.last_opened_at, series.last_close) == (1, START + FIVE_MINUTES, 10.0)
    assert series.missing == warm_up(4) - 1


def test_an_accepted_candle_returns_the_average():
    """It is the value of the series and of `hull_moving_average`."""
    closes = [100.0 + i % 5 for i in range(20)]
    series = WatchSeries(4, Rule.TURN)

    answers = [series.feed(candle(number, close)) for number, close in enumerate(closes)]

    assert [answer.hma for answer in answers] == hull_moving_average(closes, 4)
    assert series.hma == answers[-1].hma
    assert series.feed(candle(0, 1.0)) == FeedResult(FeedStatus.OUT_OF_ORDER, None, None)


@pytest.mark.parametrize("invalid_close", [math.nan, math.inf, 0.0, -1.0])
@pytest.mark.parametrize("rule", list(Rule))
def test_a_refused_close_leaves_the_series_unchanged(rule, invalid_close):
    """The same candle is accepted later with a valid close."""
    closes = [100.0, 101.0, 99.0, 102.0, 98.0, 103.0, 97.0]
    series, untouched = WatchSeries(4, rule), WatchSeries(4, rule)
    for number, close in enumerate(closes):
        series.feed(candle(number, close))
        untouched.feed(candle(number, close))

    with pytest.raises(InvalidInput):
        series.feed(replace(candle(7, 1.0), close=invalid_close))

    assert series.last_opened_at == untouched.last_opened_at
    for number, close in enumerate([104.0, 96.0, 105.0], start=7):
        assert series.feed(candle(number, close)) == untouched.feed(candle(number, close))


def test_preview_changes_nothing():
    """The next results are the same with and without it."""
    closes = [100.0, 101.0, 99.0, 102.0, 98.0, 103.0]
    series = WatchSeries(4, Rule.CROSS)
    for number, close in enumerate(closes):
        series.feed(candle(number, close))
    twin = copy.deepcopy(series)

    seen = series.preview(97.0)

    assert series.feed(candle(6, 97.0)) == twin.feed(candle(6, 97.0))
    assert series.hma == seen


def test_a_detector_has_its_rule_and_average():
    """Rule and average can be read from the detector and the series."""
    detector, series = SignalDetector(Rule.TURN, 9), WatchSeries(9, Rule.TURN)

    assert (detector.rule, detector.average.period) == (series.rule, series.period) == (Rule.TURN, 9)


@pytest.mark.parametrize(
    ("delay", "late"), [(0, False), (60, False), (60.001, True), (86_400, True), (-1, False)]
)
def test_a_signal_is_late_after_a_minute(delay, late):
    """Exactly 60 seconds after the close is in time."""
    assert is_late(START, START + timedelta(seconds=delay)) is late
    assert timedelta(seconds=60) == LATE_AFTER


def test_a_series_is_small():
    """With period 55 and distinct closes it is below 6 kB."""
    closes = [1_000 + (i * 7_919 % 4_001) / 100 for i in range(130)]
    tracemalloc.start()
    try:
        many = [WatchSeries(55, Rule.CROSS) for _ in range(50)]
        for number, close in enumerate(closes):
            newest = candle(number, close)
            for series in many:
                series.feed(newest)
        del newest
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert used / len(many) < 6_000
