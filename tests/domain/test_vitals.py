"""When monitoring counts as alive; `hullwatch.domain.vitals`."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.vitals import LONGEST_STILLNESS, Vitals, is_alive

NOTHING = timedelta()


def vitals(*, still_for=NOTHING, is_trading=True, wanted=0, completed=0, overdue=0) -> Vitals:
    """Return vitals."""
    return Vitals(still_for, is_trading, wanted, completed, overdue)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (vitals(is_trading=False, wanted=3), True),
        (vitals(), True),
        (vitals(wanted=3, completed=3), True),
        (vitals(wanted=3, completed=1), True),
        (vitals(wanted=3), False),
        (vitals(wanted=3, completed=1, overdue=1), False),
        (vitals(wanted=9, completed=1, overdue=8), False),
        (vitals(wanted=9, completed=8, overdue=1), True),
    ],
    ids=[
        "night",
        "nobody wants to be watched",
        "all are watched",
        "two cannot be watched",
        "nobody is watched",
        "as many are overdue",
        "one is left of many",
        "one of many hangs",
    ],
)
def test_cycles_have_to_complete(found: Vitals, *, expected: bool) -> None:
    """In trading hours for one at least, and for more than are overdue."""
    assert is_alive(found) is expected


@given(
    is_trading=st.booleans(),
    wanted=st.integers(0, 9),
    completed=st.integers(0, 9),
    overdue=st.integers(0, 9),
)
def test_a_loop_that_stands_still_is_dead(is_trading, wanted, completed, overdue) -> None:
    """Whatever the counts say."""
    still = LONGEST_STILLNESS + timedelta(seconds=1)

    assert not is_alive(Vitals(still, is_trading, wanted, completed, overdue))
