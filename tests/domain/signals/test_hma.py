"""The Hull Moving Average.

Golden numbers: TA-Lib 0.8.2 (C library 0.8.1), ``talib.HMA``, over the recipe series below; rows and averages worked out from
the definition with fractions stand beside them.
"""

import math
import random
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.signals.hma import HullMovingAverage, hull_moving_average, warm_up

RECIPE = [(100_000 + (i * i * 7_919 + i * 104_729) % 4_001) / 100 for i in range(70)]
TA_LIB_LAST_FIVE = {
    4: (1023.5378888888919, 1018.7510000000015, 1018.5278888888889, 1010.4209999999999, 1006.8778888888888),
    9: (1020.3282962962876, 1019.2460370370272, 1020.3565925925817, 1014.9170370370251, 1011.2257407407278),
    16: (1018.5834640522796, 1018.158957516332, 1018.7123651960707, 1016.5891789215609, 1014.6103651960709),
    55: (1020.7772516061983, 1020.5334200937956, 1020.4417641809256, 1019.8783390108575, 1019.2825452741711),
}
BAD_PRICES = [
    math.nan,
    math.inf,
    -math.inf,
    0,
    0.0,
    -0.0,
    -5.0,
    None,
    True,
    "100.0",
    b"1",
    [1.0],
    Decimal(1),
    10**400,
]

prices = st.integers(min_value=1, max_value=10_000_000).map(lambda paise: paise / 100)
rough_prices = st.floats(min_value=1e-6, max_value=1e9)
short_periods = st.integers(min_value=2, max_value=20)
PROPERTY = settings(deadline=None, max_examples=60)


def by_definition(closes: list[float], period: int) -> list[Fraction | None]:
    """Return the HMA as the textbook writes it, in fractions."""

    def weighted(values: list[Fraction]) -> Fraction:
        weights = range(1, len(values) + 1)
        return sum((w * v for w, v in zip(weights, values, strict=True)), Fraction(0)) / sum(weights)

    exact = [Fraction(repr(close)) for close in closes]
    raw: list[Fraction] = []
    values: list[Fraction | None] = []
    for end in range(1, len(exact) + 1):
        if end >= period:
            raw.append(2 * weighted(exact[end - period // 2 : end]) - weighted(exact[end - period : end]))
        root = math.isqrt(period)
        values.append(weighted(raw[-root:]) if len(raw) >= root else None)
    return values


def streamed(closes: list[float], period: int) -> list[float | None]:
    """Return the values of the streaming form."""
    average = HullMovingAverage(period)
    return [average.update(close) for close in closes]


def state_of(average: HullMovingAverage) -> tuple[object, ...]:
    """Return everything the average holds, as a value that can be compared."""
    values = (getattr(average, name) for name in HullMovingAverage.__slots__)
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


@pytest.mark.parametrize("period", sorted(TA_LIB_LAST_FIVE))
def test_agrees_with_ta_lib(period):
    """The last five values of a fixed series are TA-Lib's to eleven digits."""
    ours = hull_moving_average(RECIPE, period)[-5:]

    assert ours == pytest.approx(TA_LIB_LAST_FIVE[period], rel=1e-12)


def test_a_small_case_computed_by_hand():
    """HMA(4) of 1, 2, 4, 8, 16 has its first value at the fifth close: 1265/90."""
    # WMA(2): 5/3, 10/3, 20/3, 40/3; WMA(4) at the 4th and 5th close: 49/10, 98/10
    # raw: 40/3 - 49/10 = 253/30 and 80/3 - 98/10 = 506/30; WMA(2) of the raws: (253 + 2·506)/90
    assert hull_moving_average([1, 2, 4, 8, 16], 4) == [None, None, None, None, 1265 / 90]


@pytest.mark.parametrize(
    ("period", "needed"), [(2, 2), (3, 3), (4, 5), (9, 11), (16, 19), (55, 61), (1000, 1030)]
)
def test_warm_up_floors_the_root(period, needed):
    """The first value comes with close number n + floor(sqrt n) - 1, in both forms."""
    closes = [100.0] * (needed + 1)

    assert warm_up(period) == needed
    assert hull_moving_average(closes, period) == [None] * (needed - 1) + [100.0, 100.0]
    assert streamed(closes, period) == [None] * (needed - 1) + [100.0, 100.0]


def test_missing_counts_down_to_the_first_value():
    """Before each close the average says how many are missing, and 0 once it has a value."""
    average, seen = HullMovingAverage(9), []
    for close in RECIPE[:13]:
        seen.append(average.missing)
        average.update(close)

    assert seen == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert average.count == 13


@pytest.mark.parametrize("period", [2, 3, 4, 5, 8, 9, 10, 15, 16, 17, 55])
def test_matches_the_definition_exactly(period):
    """Both forms give the float nearest to the textbook's fraction, and the exact value is that fraction."""
    expected = by_definition(RECIPE, period)
    average = HullMovingAverage(period)

    for close, batch, fraction in zip(RECIPE, hull_moving_average(RECIPE, period), expected, strict=True):
        nearest = None if fraction is None else float(fraction)
        assert average.update(close) == batch == nearest
        assert average.exact == fraction


@PROPERTY
@given(closes=st.lists(prices, max_size=60), period=short_periods)
def test_streaming_equals_batch(closes, period):
    """Both forms return the same floats."""
    assert streamed(closes, period) == hull_moving_average(closes, period)


@PROPERTY
@given(
    closes=st.lists(st.one_of(prices, rough_prices, st.integers(1, 10**18)), max_size=40),
    period=short_periods,
)
def test_streaming_equals_batch_off_the_grid(closes, period):
    """Also for prices between two ticks, tiny, huge or whole, in any mix."""
    assert streamed(closes, period) == hull_moving_average(closes, period)


@PROPERTY
@given(st.lists(st.floats(min_value=1e-40, max_value=1e-15), min_size=5, max_size=20))
def test_absurdly_small_prices_are_exact_too(closes):
    """Also where a float cannot hold the number of steps any more."""
    average = HullMovingAverage(4)
    for close in closes:
        average.update(close)

    assert average.exact == by_definition(closes, 4)[-1]


def test_a_price_of_very_many_steps_is_exact():
    """Here half a step more would round to another whole number."""
    closes = [1.1484375, 536870912.5414501]

    assert streamed(closes, 2) == hull_moving_average(closes, 2)


def test_a_vanishing_price_does_not_spoil_the_series():
    """The smallest float there is can be followed by ordinary prices."""
    closes = [100.05, 5e-324, *[100.0 + i / 20 for i in range(10)]]

    assert streamed(closes, 4) == hull_moving_average(closes, 4)
    assert streamed(closes, 4)[-5:] == hull_moving_average(closes[-9:], 4)[-5:]


@PROPERTY
@given(price=prices, period=short_periods, extra=st.integers(0, 10))
def test_constant_stays_constant(price, period, extra):
    """The average of one repeated price is that price, to the last bit."""
    closes = [price] * (warm_up(period) + extra)

    assert hull_moving_average(closes, period)[warm_up(period) - 1 :] == [price] * (extra + 1)


@PROPERTY
@given(start=st.integers(100_000, 200_000), step=st.integers(1, 500), period=short_periods)
def test_straight_line_stays_straight(start, step, period):
    """On a straight line the average moves by the line's step exactly, at a fixed distance."""
    average, lags = HullMovingAverage(period), set()
    for i in range(warm_up(period) + 20):
        average.update((start + i * step) / 100)
        if average.exact is not None:
            lags.add(Fraction(start + i * step, 100) - average.exact)

    assert len(lags) == 1


@PROPERTY
@given(closes=st.lists(prices, min_size=25, max_size=40), period=short_periods, paise=st.integers(1, 10**7))
def test_shift_moves_the_average_along(closes, period, paise):
    """Adding one amount to every close adds exactly that amount to the average."""
    plain, moved = HullMovingAverage(period), HullMovingAverage(period)
    for close in closes:
        plain.update(close)
        moved.update(round(close * 100 + paise) / 100)

    assert moved.exact == plain.exact + Fraction(paise, 100)


@PROPERTY
@given(closes=st.lists(prices, min_size=25, max_size=40), period=short_periods, factor=st.integers(2, 1000))
def test_scale_stretches_the_average(closes, period, factor):
    """Multiplying every close multiplies the average exactly."""
    plain, stretched = HullMovingAverage(period), HullMovingAverage(period)
    for close in closes:
        plain.update(close)
        stretched.update(round(close * 100) * factor / 100)

    assert stretched.exact == plain.exact * factor


@PROPERTY
@given(
    closes=st.lists(st.one_of(prices, rough_prices), max_size=40),
    price=st.one_of(prices, rough_prices),
    period=short_periods,
)
def test_preview_is_the_next_update_and_changes_nothing(closes, price, period):
    """The same float as an update with this price, from any state."""
    average = HullMovingAverage(period)
    for close in closes:
        average.update(close)
    before = state_of(average)

    seen = average.preview(price)

    assert state_of(average) == before
    assert average.update(price) == seen


@PROPERTY
@given(closes=st.lists(prices, min_size=20, max_size=40), period=short_periods)
def test_compare_and_slope_are_exact(closes, period):
    """They follow the fractions, where rounded floats could not show a tie."""
    average, fractions = HullMovingAverage(period), by_definition(closes, period)
    for i, close in enumerate(closes):
        average.update(close)
        now, before = fractions[i], fractions[i - 1] if i else None
        if now is not None:
            exact = Fraction(repr(close))
            assert average.compare(close) == (exact > now) - (exact < now)
        if now is not None and before is not None:
            assert average.slope == (now > before) - (now < before)


@pytest.mark.parametrize("bad", BAD_PRICES, ids=repr)
def test_an_invalid_price_is_refused_everywhere(bad):
    """Anything but a finite positive number; the state is unchanged."""
    average = HullMovingAverage(4)
    for close in RECIPE[:8]:
        average.update(close)
    before = state_of(average)

    for attempt in (average.update, average.preview, average.compare):
        with pytest.raises(InvalidInput):
            attempt(bad)
    with pytest.raises(InvalidInput):
        hull_moving_average([*RECIPE[:8], bad], 4)

    assert state_of(average) == before


@pytest.mark.parametrize("period", [True, False, 1, 0, -5, 1001, 55.0, "55", None, 10**30])
def test_unusable_periods_are_refused(period):
    """A period is a whole number from 2 to 1000; a boolean is none."""
    for attempt in (warm_up, HullMovingAverage, lambda n: hull_moving_average([], n)):
        with pytest.raises(InvalidInput):
            attempt(period)


@pytest.mark.parametrize(
    "tick", [0, -0.05, True, None, "0.05", math.nan, math.inf, Decimal("NaN"), Decimal("1e-13")]
)
def test_unusable_tick_sizes_are_refused(tick):
    """A tick size is a positive number with at most twelve decimals."""
    with pytest.raises(InvalidInput):
        HullMovingAverage(9, tick)


@pytest.mark.parametrize("tick", [Decimal("0.0025"), 0.0025, Decimal("0.05"), 1, Decimal("1E+1")])
def test_the_tick_size_does_not_change_the_values(tick):
    """It changes the speed only."""
    closes = [83.0 + i % 7 * 0.0025 for i in range(40)]
    average = HullMovingAverage(9, tick)

    assert [average.update(close) for close in closes] == hull_moving_average(closes, 9)


def test_ties_survive_a_long_illiquid_series():
    """A price equal to its average compares as equal, also 20,000 candles later."""
    chance, average = random.Random(5), HullMovingAverage(55)
    for _ in range(20_000):
        average.update(chance.randrange(9_995, 10_005) / 100)
    for _ in range(warm_up(55)):
        average.update(100.05)

    assert average.value == 100.05
    assert average.compare(100.05) == 0
    assert (average.compare(100.06), average.compare(100.04)) == (1, -1)


def test_off_grid_state_does_not_drift():
    """After 60,000 closes with float32 noise the value is still the definition's, to the last bit.

    The state is whole numbers, so a longer run could not behave otherwise than this one.
    """
    chance, average = random.Random(9), HullMovingAverage(55)
    closes = [1000 + chance.randrange(2**20) / 2**13 for _ in range(60_000)]
    for close in closes:
        average.update(close)

    assert average.exact == by_definition(closes[-warm_up(55) :], 55)[-1]


def test_a_refined_grid_keeps_the_slope():
    """Across the close that refines the grid, slopes are those of the definition."""
    closes = [10.0, 10.05, 10.1, 10.0, 9.9, 10.2, 10.200001, 10.2, 9.8, 9.8, 9.8000000001, 10.0]
    fractions, average, checked = by_definition(closes, 4), HullMovingAverage(4), 0
    for i, close in enumerate(closes):
        average.update(close)
        if average.slope is not None:
            checked += 1
            assert average.slope == (fractions[i] > fractions[i - 1]) - (fractions[i] < fractions[i - 1])

    assert checked == len(closes) - warm_up(4)


def test_decimal_context_of_the_caller_does_not_matter():
    """A caller whose context has three digits gets the same averages."""
    closes = [1234.5678901234 + i for i in range(30)]
    expected = hull_moving_average(closes, 9)

    with localcontext() as context:
        context.prec = 3
        assert hull_moving_average(closes, 9) == streamed(closes, 9) == expected


def test_empty_and_short_series_have_no_values():
    """No closes give no values, too few give one `None` each."""
    assert hull_moving_average([], 55) == []
    assert hull_moving_average([1.0, 2.0], 55) == [None, None]
    assert HullMovingAverage(55).value is None
    assert HullMovingAverage(55).preview(100.0) is None
    assert HullMovingAverage(55).compare(100.0) is None
    assert HullMovingAverage(55).slope is None
