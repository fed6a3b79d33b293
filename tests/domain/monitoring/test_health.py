"""Tests when monitoring is healthy."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.monitoring.health import MAX_STALL, MonitoringHealth, is_healthy

NOTHING = timedelta()


def health(
    *, stalled_for=NOTHING, is_trading=True, wanted=0, expected=None, completed=0, overdue=0
) -> MonitoringHealth:
    """Return health in which all wanted accounts are expected by default."""
    return MonitoringHealth(
        stalled_for, is_trading, wanted, wanted if expected is None else expected, completed, overdue
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (health(is_trading=False, wanted=3), True),
        (health(), True),
        (health(wanted=3, completed=3), True),
        (health(wanted=3, completed=2), True),
        (health(wanted=4, completed=2), False),
        (health(wanted=1000, completed=1), False),
        (health(wanted=1000, expected=1, completed=1), True),
        (health(wanted=3), False),
        (health(wanted=3, expected=0), False),
        (health(wanted=9, completed=8, overdue=1), False),
        (health(wanted=9, completed=1, overdue=8), False),
    ],
    ids=[
        "night",
        "no account wants monitoring",
        "all are watched",
        "most are watched",
        "half are watched",
        "one of many is watched",
        "the others have been away for days",
        "no account is monitored",
        "all have been away for days",
        "one of many hangs",
        "one is left of many",
    ],
)
def test_most_cycles_must_complete(found: MonitoringHealth, *, expected: bool) -> None:
    """In trading hours more than half of the expected ones complete, and none is overdue."""
    assert is_healthy(found) is expected


@given(
    is_trading=st.booleans(),
    wanted=st.integers(0, 9),
    expected=st.integers(0, 9),
    completed=st.integers(0, 9),
    overdue=st.integers(0, 9),
)
def test_a_stalled_loop_is_unhealthy(is_trading, wanted, expected, completed, overdue) -> None:
    """Good counts of the last cycles do not change that."""
    still = MAX_STALL + timedelta(seconds=1)

    assert not is_healthy(MonitoringHealth(still, is_trading, wanted, expected, completed, overdue))


@given(wanted=st.integers(1, 9), data=st.data())
def test_in_trading_hours_a_cycle_must_complete(wanted: int, data) -> None:
    """One completed cycle is required even if no account is expected."""
    expected = data.draw(st.integers(0, wanted))

    assert not is_healthy(health(wanted=wanted, expected=expected, completed=0))
