"""Makes Python search for cyclic garbage less often."""

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""Python's defaults, (700, 10, 10), suit small programs. With 2,000 watched accounts nearly a million
objects stay in memory: each full search stops everything for half a second, every few seconds, and takes
half of the CPU time. Reference counting frees almost everything here. A few cycles a minute are left, such
as those of broken connections."""


def reduce_garbage_collection() -> None:
    """Search less often, and never among the objects that exist now. This holds for the whole process."""
    gc.set_threshold(*THRESHOLDS)
    gc.collect()
    gc.freeze()
