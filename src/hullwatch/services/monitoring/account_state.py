"""What the scheduler keeps of one account."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from hullwatch.domain.monitoring.coverage import State
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.services.monitoring.cycle import Watcher


@dataclass(slots=True)
class AccountState:
    """One account's status, and the times and counts of its cycles."""

    watcher: Watcher
    phase: float = 0.0
    """Where in the interval its ticks lie, in [0, 1), counted from the market open."""
    status: WatchStatus = WatchStatus.NOT_WANTED
    status_since: datetime | None = None
    began_at: datetime | None = None
    """When its latest cycle began."""
    last_cycle_at: datetime | None = None
    """When its latest cycle ended."""
    cycles: int = 0
    missed_cycles: int = 0
    """Cycles that were skipped because the one before had not ended."""
    due_at: datetime | None = None
    """When its next cycle is due; `None` outside trading hours."""
    ended_s: float | None = None
    """When its latest cycle ended, on the real clock."""
    began_late: bool = False
    """Whether its latest cycle began so late that others were skipped."""
    good_until: datetime | None = None
    """When its latest cycle ended; `None` if that one was not good."""
    logged_state: State | None = None
    """The newest state of the account in the audit trail."""
    is_running: bool = False
    task: asyncio.Task[None] | None = None
    """Its latest cycle."""
    must_run_again: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Serializes starts, stops and additions to the watchlist."""
