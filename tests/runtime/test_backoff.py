from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.runtime.backoff import Backoff


def test_delays_grow_to_the_limit():
    """Without jitter each delay is `factor` times the last, up to `max_s`."""
    backoff = Backoff(first_s=1, factor=2, max_s=10, jitter=0)

    assert [backoff.delay(attempt, Random(1)) for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]


@given(st.integers(1, 10**6), st.floats(0, 1), st.integers())
def test_a_delay_stays_within_its_bounds(attempt, jitter, seed):
    """A delay is at most `max_s` and loses at most its jittered part, also after a long outage."""
    backoff = Backoff(first_s=1, factor=2, max_s=60, jitter=jitter)

    delay = backoff.delay(attempt, Random(seed))

    longest = min(60, 2 ** min(attempt - 1, 10))
    assert longest * (1 - jitter) - 1e-9 <= delay <= longest


@pytest.mark.parametrize("backoff", [Backoff(factor=1), Backoff(first_s=0)])
def test_a_constant_backoff_is_quick_to_compute(backoff):
    """A late attempt must not cost a long loop."""
    assert backoff.delay(10**12, Random(1)) <= 1


def test_jitter_spreads_delays():
    """Two callers with different random numbers do not return together."""
    backoff = Backoff()

    assert backoff.delay(5, Random(1)) != backoff.delay(5, Random(2))


@pytest.mark.parametrize("wrong", [{"factor": 0.5}, {"jitter": 1.5}, {"first_s": 61}, {"first_s": -1}])
def test_an_impossible_backoff_is_refused(wrong):
    """A delay neither shrinks nor becomes negative."""
    with pytest.raises(ValueError, match="impossible backoff"):
        Backoff(**wrong)


def test_attempts_count_from_one():
    """Attempt 0 is a mistake of the caller."""
    with pytest.raises(ValueError, match="count from 1"):
        Backoff().delay(0, Random(1))
