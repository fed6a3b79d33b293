"""What is known of a supervised job: its record, its report, and when it counts as healthy.

Running, restarting and stopping jobs is the supervisor's work.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

JobFunction = Callable[[], Awaitable[None]]

UNHEALTHY_AFTER_FAILURES = 3
UNHEALTHY_AFTER_INTERVALS = 3

RETURNED = "returned"
"""What stands for an error's name when a job meant to run for ever simply ended."""


class JobKind(StrEnum):
    """How a job is run."""

    LONG_RUNNING = "long_running"  # for ever; restarted when it ends
    PERIODIC = "periodic"  # again and again, an interval apart
    ONCE = "once"  # to its end, watched


class JobState(StrEnum):
    """What a job is doing."""

    STARTING = "starting"  # known, its first run has not begun
    RUNNING = "running"  # a run is under way
    WAITING = "waiting"  # a periodic job between two runs
    BACKING_OFF = "backing_off"  # died, and waits to be restarted
    STOPPED = "stopped"  # will not run again


@dataclass(frozen=True, slots=True)
class JobReport:
    """A job as it is now, fit to be shown to an admin.

    Attributes:
        restarts: how often a long-running job was started again.
        failures: how many of its runs have failed since it was made.
        missed_ticks: how many runs of a periodic job were skipped because one overlasted its interval.
        last_success_at: the last good run or reported progress, UTC.
        last_error: the class name of the last failure's exception; never its text, which may hold a secret.
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
    """The supervisor's own record of one job; everyone else sees its report.

    Attributes:
        born_s: monotonic seconds at which it was made.
        succeeded_s: monotonic seconds of the last success or progress.
        streak: failures in a row since it last ran well.
        has_progressed: whether it has succeeded or reported progress since its last failure.
        asked_to_stop: set when the supervisor stops, this job's turn having come.
        became_ready: set by the first success or progress.
    """

    name: str
    kind: JobKind
    is_essential: bool
    born_s: float
    interval_s: float | None = None
    first_run_within_s: float = 0.0
    heeds_stop: bool = True
    state: JobState = JobState.STARTING
    restarts: int = 0
    failures: int = 0
    missed_ticks: int = 0
    streak: int = 0
    has_progressed: bool = False
    is_overrunning: bool = False
    succeeded_s: float | None = None
    last_started_at: datetime | None = None
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_error: str | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    asked_to_stop: asyncio.Event = field(default_factory=asyncio.Event)
    became_ready: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_idle(self) -> bool:
        """Whether it can be cancelled without interrupting any work."""
        return self.kind is not JobKind.ONCE and self.state is not JobState.RUNNING

    def started(self, now: datetime) -> None:
        """Note that a run begins."""
        self.state = JobState.RUNNING
        self.last_started_at = now

    def succeeded(self, now: datetime, monotonic_s: float) -> None:
        """Note a good run, or progress within one."""
        self.last_success_at = now
        self.succeeded_s = monotonic_s
        self.has_progressed = True
        self.became_ready.set()

    def failed(self, now: datetime, error: str) -> bool:
        """Note a failed run; return whether that is news: the first of a streak, or of another kind."""
        is_news = self.streak == 0 or self.last_error != error
        self.failures += 1
        self.streak += 1
        self.has_progressed = False
        self.last_failure_at = now
        self.last_error = error
        return is_news

    def is_healthy(self, monotonic_s: float) -> bool:
        """Tell whether the job does what it is there for.

        A long-running job is unhealthy from its third failure in a row until, running again, it reports
        progress or has run well for a while. A periodic one is unhealthy when three intervals have gone by
        since its last success, or since its first run was due. A side task is unhealthy when it has failed.
        Whatever should be running and is stopped is unhealthy.
        """
        if self.kind is JobKind.ONCE:
            return self.streak == 0
        if self.state is JobState.STOPPED:
            return False
        if self.kind is JobKind.LONG_RUNNING:
            is_back = self.state is JobState.RUNNING and self.has_progressed
            return self.streak < UNHEALTHY_AFTER_FAILURES or is_back
        since_s = self.born_s + self.first_run_within_s if self.succeeded_s is None else self.succeeded_s
        return monotonic_s - since_s <= UNHEALTHY_AFTER_INTERVALS * (self.interval_s or 0.0)

    def report(self, monotonic_s: float) -> JobReport:
        """Return the job as it is now."""
        return JobReport(
            name=self.name,
            kind=self.kind,
            state=self.state,
            is_essential=self.is_essential,
            is_healthy=self.is_healthy(monotonic_s),
            restarts=self.restarts,
            failures=self.failures,
            missed_ticks=self.missed_ticks,
            last_started_at=self.last_started_at,
            last_success_at=self.last_success_at,
            last_failure_at=self.last_failure_at,
            last_error=self.last_error,
            interval_s=self.interval_s,
        )
