import gc

import pytest

from hullwatch.runtime.garbage import THRESHOLDS, collect_seldom


@pytest.fixture
def collector():
    """The collector as it was, whatever a test does to it."""
    before = gc.get_threshold()
    yield gc
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_in_memory_is_searched_no_more(collector):
    """Objects that live already are set aside, and new ones are looked at seldom."""
    kept = [[] for _ in range(100)]

    collect_seldom()

    assert collector.get_threshold() == THRESHOLDS
    assert collector.get_freeze_count() >= len(kept)
    assert collector.isenabled()
