"""Where the next close becomes a signal, known before the candle has closed."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.signals.signals import Rule, WatchSeries

OPENED = datetime(2026, 11, 23, 3, 45, tzinfo=UTC)
prices = st.integers(9_000, 11_000).map(lambda paise: paise / 100)


def series_of(closes: list[float], period: int, rule: Rule) -> WatchSeries:
    """Return a series over 5-minute candles with these closes."""
    series = WatchSeries(period, rule)
    for number, close in enumerate(closes):
        series.feed(candle(number, close))
    return series


def candle(number: int, close: float) -> Candle:
    """Return the candle with this number."""
    return Candle(OPENED + number * timedelta(minutes=5), close, close, close, close, 1)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(prices, min_size=10, max_size=25),
    prices,
    st.sampled_from([2, 3, 4, 9]),
    st.sampled_from(list(Rule)),
)
def test_the_next_direction_is_that_of_the_next_candle(
    closes: list[float], close: float, period: int, rule: Rule
) -> None:
    """Both are exact, so they agree on ties too."""
    series = series_of(closes, period, rule)
    expected = series.next_direction(close)
    assert series.feed(candle(len(closes), close)).direction == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(prices, min_size=12, max_size=25), st.sampled_from([4, 9]), st.sampled_from(list(Rule)))
def test_one_price_separates_signals_from_other_closes(closes: list[float], period: int, rule: Rule) -> None:
    """Beyond it every close is a signal, before it none is; the distance is 0 beyond it."""
    series = series_of(closes, period, rule)
    trigger = series.trigger
    if trigger is None or trigger < 1:
        return
    below, above = trigger * 0.99, trigger * 1.01
    found = [series.next_direction(price) is not None for price in (below, below / 2, above, above * 2)]
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert found[0] or found[2]
    for price, is_signal in zip((below, above), found[::2], strict=True):
        distance = series.distance(price)
        assert distance is not None
        assert (distance == 0) is is_signal
        assert is_signal or abs(distance - 0.01) < 0.001


def test_there_is_no_trigger_while_the_average_warms_up() -> None:
    """The first candle with an average gives no signal either."""
    series = series_of([100.0, 101.0, 102.0, 103.0], 4, Rule.CROSS)
    assert (series.trigger, series.distance(100.0), series.next_direction(1.0)) == (None, None, None)
