"""Tests the figures that judge a rule. Signals are found by the rule; expected figures are counted by hand."""

from datetime import UTC, datetime, timedelta

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.replay import replay
from hullwatch.domain.signals.replay_summary import summarise
from hullwatch.domain.signals.signals import Rule

START = datetime(2026, 6, 17, 3, 45, tzinfo=UTC)


def summary_of(closes, step=timedelta(minutes=5)):
    """Return the summary of the crossings of HMA(2) over these closes."""
    candles = [Candle(START + index * step, c, c, c, c, 1) for index, c in enumerate(closes)]
    report = replay(candles, Symbol("NSE:SBIN-EQ"), 2, Resolution("5"), (Rule.CROSS,))
    (summary,) = summarise(report, (Rule.CROSS,))
    return [(signal.direction.value, signal.close) for signal in report.signals], summary


def test_a_quick_reversal_is_a_whipsaw():
    """HMA(2) overshoots each move, so the close crosses against it."""
    rises_then_falls_late = [100.0] * 3 + [110.0] * 5 + [100.0] * 5 + [110.0]
    rises_then_falls_soon = [100.0] * 3 + [110.0] * 3 + [100.0] * 2

    for closes, whipsaws in ((rises_then_falls_late, 0), (rises_then_falls_soon, 1)):
        found, summary = summary_of(closes)

        assert found[:2] == [("down", 110.0), ("up", 100.0)]
        assert (summary.signals, summary.whipsaws) == (len(found), whipsaws)


def test_moves_count_in_the_direction_of_the_signal():
    """A fall after a down signal is a gain; signals without enough later candles do not count."""
    found, summary = summary_of([100.0] * 3 + [110.0, *[99.0 + index / 8 for index in range(12)]])

    assert found[0] == ("down", 110.0)
    assert summary.median_moves[1] is not None
    assert summary.median_moves[1] > 8
    assert summary_of([100.0] * 4 + [110.0])[1].median_moves == (None, None)


def test_days_without_an_average_do_not_count():
    """Signals per day would be too low by the days of the warm-up."""
    _, summary = summary_of([100.0, 100.0, 100.0, 110.0, 100.0], timedelta(days=1))
    _, empty = summary_of([])

    assert (summary.days, summary.signals_per_day) == (4, summary.signals / 4)
    assert (empty.days, empty.signals_per_day) == (0, 0.0)
