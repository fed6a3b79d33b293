"""How seldom a large house is searched for cyclic garbage. What is in it belongs to the other rooms."""

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""Python's own, (700, 10, 10), are made for small programs: with 2,000 watched accounts, nearly a million objects that live on, each full
search stops everything for half a second, every few seconds, and takes half of all CPU. Reference counting frees almost everything here; what
is left for the collector are a few cycles a minute, such as those of connections that broke."""


def collect_seldom() -> None:
    """Search for garbage seldom from now on, and never again among what is in memory at this moment; for the whole process."""
    gc.set_threshold(*THRESHOLDS)
    gc.collect()
    gc.freeze()
