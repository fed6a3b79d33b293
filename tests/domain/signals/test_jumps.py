"""Steps between two closes that cannot be taken for trading."""

from datetime import UTC, datetime, timedelta

import pytest

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.signals.jumps import is_like_corporate_action
from hullwatch.domain.signals.signals import Rule, WatchSeries

EVENING = datetime(2026, 11, 23, 9, 55, tzinfo=UTC)
MORNING = datetime(2026, 11, 24, 3, 45, tzinfo=UTC)
SHARE = "NSE:SBIN-EQ"
FUTURE = "NSE:SBIN26NOVFUT"


@pytest.mark.parametrize(
    ("symbol", "before", "after", "expected"),
    [
        (SHARE, 1000.0, 503.0, True),  # 1:2 split and a rise of 0.6 %
        (SHARE, 1000.0, 2000.0, True),  # consolidation
        (SHARE, 1000.0, 790.0, True),  # no usual ratio, more than 20 %
        (SHARE, 1000.0, 830.0, True),  # one free share for five
        (SHARE, 1000.0, 880.0, False),
        (SHARE, 1000.0, 1150.0, False),
        (FUTURE, 1000.0, 503.0, True),
        (FUTURE, 1000.0, 700.0, False),  # a future has no circuit limits, and no ratio is near
        ("NSE:NIFTY50-INDEX", 1000.0, 500.0, False),
        ("NSE:SBIN26NOV800CE", 10.0, 5.0, False),
    ],
)
def test_ratios_of_corporate_actions_are_recognised(
    symbol: str, before: float, after: float, *, expected: bool
) -> None:
    """Indices have none, and options move as far by themselves."""
    assert is_like_corporate_action(Symbol(symbol), EVENING, before, MORNING, after) is expected


def test_a_fall_within_a_day_is_no_corporate_action() -> None:
    """They take effect between two trading days."""
    later = EVENING + timedelta(minutes=5)
    assert not is_like_corporate_action(Symbol(SHARE), EVENING, 1000.0, later, 500.0)


def test_an_average_starts_anew_after_a_jump() -> None:
    """It warms up again with the candle of the jump, and gives no signal before."""
    series = WatchSeries(4, Rule.CROSS, Symbol(SHARE))
    for number in range(8):
        series.feed(candle(EVENING - (8 - number) * timedelta(minutes=5), 1000.0 + number % 3))
    results = [series.feed(candle(MORNING + number * timedelta(minutes=5), 500.0)) for number in range(5)]

    assert [result.direction for result in results] == [None] * 5
    assert [result.hma is None for result in results] == [True] * 4 + [False]
    assert series.started_anew_at == MORNING


def candle(opened_at: datetime, close: float) -> Candle:
    """Return a candle with one price."""
    return Candle(opened_at, close, close, close, close, 1)
