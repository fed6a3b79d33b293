"""What is known of one account's cycles, by whoever runs, times and tells of them."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from hullwatch.domain.monitoring.coverage import State
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.services.monitoring.cycle import Watcher


@dataclass(slots=True)
class Run:
    """What is known of one account's cycles."""

    watcher: Watcher
    phase: float = 0.0
    """Where in the interval its ticks lie, in [0, 1), counted from the session's opening."""
    status: WatchStatus = WatchStatus.NOT_WANTED
    since: datetime | None = None
    began_at: datetime | None = None
    """When its latest cycle began."""
    last_cycle_at: datetime | None = None
    """When its latest cycle ended."""
    cycles: int = 0
    missed: int = 0
    """Cycles that fell out because the one before had not ended."""
    due_at: datetime | None = None
    """When its next cycle is to begin, where it has a rhythm to keep."""
    ended_s: float | None = None
    """When its latest cycle ended on the clock of the network."""
    began_late: bool = False
    """Whether its latest cycle began so late that others had fallen out."""
    good_until: datetime | None = None
    """When its latest cycle ended, if that was a good one."""
    told: State | None = None
    """What the audit trail says of it at present."""
    is_running: bool = False
    task: asyncio.Task[None] | None = None
    """Its latest cycle."""
    must_run_again: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Changes of the watchlist and of the wish come one after the other."""
