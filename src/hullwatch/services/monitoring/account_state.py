"""What the scheduler keeps of one account."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

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

    def move_times(self, by: timedelta) -> None:
        """Keep the ages of what was observed when this server's clock is set."""
        self.due_at = None
        self.status_since = _moved(self.status_since, by)
        self.began_at = _moved(self.began_at, by)
        self.last_cycle_at = _moved(self.last_cycle_at, by)
        self.good_until = _moved(self.good_until, by)
        gap = self.watcher.gap
        gap.since, gap.covered_until = _moved(gap.since, by), _moved(gap.covered_until, by)
        self.watcher.forget_waits()


def _moved(moment: datetime | None, by: timedelta) -> datetime | None:
    return None if moment is None else moment + by
