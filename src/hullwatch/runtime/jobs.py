"""The record of a supervised job, and the rules for its health."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

JobFunction = Callable[[], Awaitable[None]]

UNHEALTHY_AFTER_FAILURES = 3
UNHEALTHY_AFTER_INTERVALS = 3
OVERDUE_REAL_S = 30.0
"""With a clock that runs faster than real time or jumps, a periodic job counts as stuck after so many real seconds."""

RETURNED = "returned"
"""Reported instead of an error name when a long-running job returned."""


class JobKind(StrEnum):
    """How often a job runs."""

    LONG_RUNNING = "long_running"  # until the supervisor stops; restarted when it ends
    PERIODIC = "periodic"  # at an interval
    ONCE = "once"  # once, to its end


class JobState(StrEnum):
    """What a job is doing."""

    STARTING = "starting"  # its first run has not begun
    RUNNING = "running"  # a run is under way
    WAITING = "waiting"  # a periodic job between two runs
    BACKING_OFF = "backing_off"  # failed, and waits for its restart
    STOPPED = "stopped"  # will not run again


@dataclass(frozen=True, slots=True)
class JobReport:
    """The present state of a job, safe to show to an admin.

    Attributes:
        restarts: restarts of a long-running job.
        failures: failed runs since the job was added.
        missed_ticks: skipped runs of a periodic job whose earlier run took longer than the interval.
        last_success_at: the last successful run or heartbeat, UTC.
        last_error: the class name of the last exception; never its text, which may hold a secret.
        interval_s: seconds from start to start of a periodic job, else None.
        is_healthy: see `Job.is_healthy`.
    """

    name: str
    kind: JobKind
    state: JobState
    is_essential: bool
    is_healthy: bool
    restarts: int
    failures: int
    missed_ticks: int
    last_started_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None
    interval_s: float | None


@dataclass(slots=True, eq=False)
class Job:
    """The supervisor's record of one job; other code sees the report.

    Attributes:
        added_s: monotonic seconds at which it was added.
        succeeded_s: monotonic seconds of the last success or heartbeat.
        overdue_since_s: when it was first found overdue, in seconds of the real clock.
        streak: failures in a row since it last ran well.
        has_progressed: whether it succeeded or sent a heartbeat since its last failure.
        stop_requested: set when the supervisor stops this job.
    """

    name: str
    kind: JobKind
    is_essential: bool
    added_s: float
    interval_s: float | None = None
    first_run_within_s: float = 0.0
    stops_itself: bool = True
    state: JobState = JobState.STARTING
    restarts: int = 0
    failures: int = 0
    missed_ticks: int = 0
    streak: int = 0
    has_progressed: bool = False
    is_overrunning: bool = False
    succeeded_s: float | None = None
    overdue_since_s: float | None = None
    last_started_at: datetime | None = None
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_error: str | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    stop_requested: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_idle(self) -> bool:
        """Whether a cancellation interrupts no work."""
        return self.kind is not JobKind.ONCE and self.state is not JobState.RUNNING

    def started(self, now: datetime) -> None:
        """Record that a run begins."""
        self.state = JobState.RUNNING
        self.last_started_at = now

    def succeeded(self, now: datetime, monotonic_s: float) -> None:
        """Record a successful run or a heartbeat."""
        self.last_success_at = now
        self.succeeded_s = monotonic_s
        self.has_progressed = True

    def failed(self, now: datetime, error: str) -> bool:
        """Record a failed run; return whether it begins a streak or has another error than the last."""
        is_change = self.streak == 0 or self.last_error != error
        self.failures += 1
        self.streak += 1
        self.has_progressed = False
        self.last_failure_at = now
        self.last_error = error
        return is_change

    def is_healthy(self, monotonic_s: float, real_s: float | None = None) -> bool:
        """Return whether the job works; `real_s` is given if the job's clock is not the real one.

        A long-running job is unhealthy from its third failure in a row until it runs again and sends a
        heartbeat or has run well for a while. A periodic job is unhealthy when three intervals have passed
        since its last success or since its first run was due. A side task is unhealthy when it has failed.
        A stopped job that is no side task is unhealthy.
        """
        if self.kind is JobKind.ONCE:
            return self.streak == 0
        if self.state is JobState.STOPPED:
            return False
        if self.kind is JobKind.LONG_RUNNING:
            is_back = self.state is JobState.RUNNING and self.has_progressed
            return self.streak < UNHEALTHY_AFTER_FAILURES or is_back
        since_s = self.added_s + self.first_run_within_s if self.succeeded_s is None else self.succeeded_s
        if monotonic_s - since_s <= UNHEALTHY_AFTER_INTERVALS * (self.interval_s or 0.0):
            self.overdue_since_s = None
            return True
        if real_s is None:
            return False
        if self.overdue_since_s is None:
            self.overdue_since_s = real_s
        return real_s - self.overdue_since_s < OVERDUE_REAL_S

    def report(self, monotonic_s: float, real_s: float | None = None) -> JobReport:
        """Return the present state."""
        names = {one.name for one in fields(JobReport)} - {"is_healthy"}
        shared: dict[str, Any] = {name: getattr(self, name) for name in names}
        return JobReport(**shared, is_healthy=self.is_healthy(monotonic_s, real_s))
