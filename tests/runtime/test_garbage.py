import gc

import pytest

from hullwatch.runtime.garbage import THRESHOLDS, reduce_garbage_collection


@pytest.fixture
def collector():
    """Restore the collector's settings after the test."""
    before = gc.get_threshold()
    yield gc
    gc.unfreeze()
    gc.set_threshold(*before)


def test_existing_objects_are_not_searched_again(collector):
    """New objects are searched less often."""
    kept = [[] for _ in range(100)]

    reduce_garbage_collection()

    assert collector.get_threshold() == THRESHOLDS
    assert collector.get_freeze_count() >= len(kept)
    assert collector.isenabled()
