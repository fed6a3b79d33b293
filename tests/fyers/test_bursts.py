"""A second's calls sent evenly; `hullwatch.fyers.rate_limit`."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.fyers.rate_limit import Pacer, PacingLimits

NOON = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
FYERS_PER_SECOND = 10
LONG_DELAY_S = 0.249


def most_within_a_second(instants):
    """Return the most instants that lie within any second."""
    ordered = sorted(instants)
    return max(sum(first <= other < first + 1.0 for other in ordered) for first in ordered)


def test_after_a_small_burst_calls_follow_evenly():
    """Two at once, then two every quarter of a second."""
    pacer = Pacer(PacingLimits(per_second=8, burst=2))

    assert [pacer.reserve(0.0, NOON) for _ in range(7)] == [0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 0.75]


@given(st.lists(st.floats(0, LONG_DELAY_S), min_size=30, max_size=60))
def test_delays_on_the_way_do_not_break_fyers_limit(delays):
    """However calls are delayed, by up to a quarter of a second each, no more than ten arrive within any second."""
    pacer = Pacer(PacingLimits(per_second=8, burst=2))
    arrivals = [pacer.reserve(0.0, NOON, longest_wait_s=60.0) + delay for delay in delays]

    assert most_within_a_second(arrivals) <= FYERS_PER_SECOND


def test_a_late_burst_of_a_whole_second_would_break_it():
    """Why: when the first second's calls are late by a tenth, they arrive with the next second's."""
    pacer = Pacer(PacingLimits(per_second=8))
    arrivals = [pacer.reserve(0.0, NOON) + (0.1 if number < 8 else 0.0) for number in range(16)]

    assert most_within_a_second(arrivals) > FYERS_PER_SECOND


@pytest.mark.parametrize("burst", [0, 9])
def test_a_burst_lies_within_the_second(burst):
    """A burst of nothing, or of more than a second's calls, is a mistake."""
    with pytest.raises(ValueError, match="impossible pacing"):
        PacingLimits(per_second=8, burst=burst)
