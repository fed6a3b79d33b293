"""Runs all background work as named jobs.

A failed job is logged at the change, counted and restarted with backoff. A failed run does not end a periodic
job. The failure of a side task is never lost.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Self

from structlog.typing import FilteringBoundLogger

from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.clock import Clock, clock_timeout
from hullwatch.runtime.jobs import RETURNED, Job, JobFunction, JobKind, JobReport, JobState

__all__ = ["JobKind", "JobReport", "JobState", "StopReport", "Supervisor", "SupervisorStopped"]

REMEMBERED_SIDE_TASKS = 100
"""Finished side tasks that are still reported."""

CANCEL_GRACE_S = 2.0
"""Seconds that a cancelled job may take to clean up before it counts as ignoring its cancellation."""
SHORTEST_GRACE_S = 0.1
"""What it has when no time is left."""


class SupervisorStopped(RuntimeError):  # noqa: N818 - a fact, like every failure here
    """No job can be started: the supervisor is stopping or has stopped."""


@dataclass(frozen=True, slots=True)
class StopReport:
    """The jobs that did not end in time: `cancelled` ones, and those that `ignored` their cancellation."""

    cancelled: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class Supervisor:
    """Runs jobs until it is stopped, or until its `async with` block ends.

    A failed job waits for its restart by `backoff`. A restarted one that ran for `ran_well_after_s` seconds
    has recovered. `on_restart` is called with the name of each long-running job that is restarted.
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        log: FilteringBoundLogger,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        on_restart: Callable[[str], None] | None = None,
        *,
        ran_well_after_s: float = 60.0,
    ) -> None:
        self._clock = clock
        self._random = random
        self._log = log.bind(component="Supervisor")
        self._backoff = backoff
        self._on_restart = on_restart
        self._ran_well_after_s = ran_well_after_s
        self._jobs: dict[str, Job] = {}
        self._is_stopping = False
        self._stop_lock = asyncio.Lock()
        self._stop_report: StopReport | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def spawn(
        self,
        name: str,
        coroutine_function: JobFunction,
        *,
        essential: bool = True,
        stops_itself: bool = False,
    ) -> None:
        """Start a long-running job and restart it whenever it ends, with growing delays after failures.

        Args:
            name: unique among the jobs.
            coroutine_function: starts one run.
            essential: whether this job counts for the health of the process.
            stops_itself: whether the job ends by itself on `stop_requested`. Other jobs are cancelled.
        """
        job = self._add(
            Job(name, JobKind.LONG_RUNNING, essential, self._clock.monotonic(), stops_itself=stops_itself)
        )
        self._launch(job, self._run_forever(job, coroutine_function))

    def every(
        self,
        name: str,
        interval_s: float,
        coroutine_function: JobFunction,
        *,
        jitter_s: float = 0.0,
        at_start: bool = True,
        essential: bool = True,
    ) -> None:
        """Run a job at an interval, counted from start to start, never two runs at once.

        Args:
            name: unique among the jobs.
            interval_s: seconds between ticks. Ticks during a longer run are skipped.
            coroutine_function: starts one run. A run under way when the supervisor stops may finish.
            jitter_s: each run starts up to so many seconds after its tick.
            at_start: whether the first tick is now or one interval from now.
            essential: whether this job counts for the health of the process.
        """
        if interval_s <= 0 or not 0 <= jitter_s <= interval_s:
            raise ValueError(f"job {name} cannot run every {interval_s} s with a jitter of {jitter_s} s")
        due_in_s = 0.0 if at_start else interval_s
        job = Job(name, JobKind.PERIODIC, essential, self._clock.monotonic(), interval_s, due_in_s + jitter_s)
        self._launch(
            self._add(job), self._run_periodically(job, coroutine_function, interval_s, jitter_s, due_in_s)
        )

    def run_once(self, name: str, coro: Coroutine[Any, Any, None]) -> None:
        """Run a side task to its end. Tasks of the same name share a report.

        Raises:
            SupervisorStopped: the task was not started.
        """
        job = self._jobs.get(name)
        try:
            if job is None or job.kind is not JobKind.ONCE or self._is_stopping:
                job = self._add(Job(name, JobKind.ONCE, is_essential=False, added_s=self._clock.monotonic()))
        except (ValueError, SupervisorStopped):
            coro.close()
            raise
        task = self._launch(job, self._run_side_task(job, coro))
        # Python warns about a coroutine that was never awaited, as after an early cancellation.
        task.add_done_callback(lambda _: coro.close())

    def heartbeat(self, name: str) -> None:
        """Record that a job makes progress.

        Raises:
            KeyError: there is no such job.
        """
        self._succeeded(self._jobs[name])

    def stop_requested(self, name: str) -> asyncio.Event:
        """Return the event that is set when this job has to end, for jobs with `stops_itself`."""
        return self._jobs[name].stop_requested

    def jobs(self) -> tuple[JobReport, ...]:
        """Return the state of every job, in the order in which they were added."""
        times = self._times()
        return tuple(job.report(*times) for job in self._jobs.values())

    def is_healthy(self, name: str | None = None) -> bool:
        """Return whether one job, or every essential job, is healthy by the rules of `Job.is_healthy`."""
        times = self._times()
        if name is not None:
            return self._jobs[name].is_healthy(*times)
        return all(job.is_healthy(*times) for job in self._jobs.values() if job.is_essential)

    def _times(self) -> tuple[float, float | None]:
        real = self._clock.real
        return self._clock.monotonic(), None if real is self._clock else real.monotonic()

    async def stop(self, within_s: float = 10.0) -> StopReport:
        """Stop all jobs, the newest first. Each may use half of the real time that is left, and is cancelled after it.

        So a job that hangs leaves time to those after it. Runs of periodic jobs, side tasks and jobs with `stops_itself` may finish. A second call returns the
        same report.
        """
        self._is_stopping = True
        async with self._stop_lock:
            if self._stop_report is None:
                try:
                    self._stop_report = await self._stop_all(self._clock.real.monotonic() + within_s)
                finally:
                    # Tasks are left if this call was cancelled, or if they ignored their cancellation.
                    for job in self._jobs.values():
                        for task in job.tasks:
                            task.cancel()
            return self._stop_report

    async def _run_forever(self, job: Job, run: JobFunction) -> None:
        while not job.stop_requested.is_set():
            started_s = self._clock.monotonic()
            recovery = asyncio.create_task(self._recover(job)) if job.streak else None
            try:
                error = await self._attempt(job, run)
            finally:
                if recovery is not None:
                    recovery.cancel()
            if job.stop_requested.is_set() and error is None:
                return  # it ended as requested
            if self._clock.monotonic() - started_s >= self._ran_well_after_s:
                job.streak = 0
            self._failed(job, error)
            if job.stop_requested.is_set():
                return
            job.state = JobState.BACKING_OFF
            await self._clock.sleep(self._backoff.delay(job.streak, self._random))
            job.restarts += 1

    async def _recover(self, job: Job) -> None:
        """Log the recovery of a restarted job once it has run for a while."""
        await self._clock.sleep(self._ran_well_after_s)
        self._log.info("job.recovered", job=job.name, failures=job.streak)
        job.streak = 0
        self._succeeded(job)

    async def _run_periodically(
        self, job: Job, run: JobFunction, interval_s: float, jitter_s: float, due_in_s: float
    ) -> None:
        tick_s = self._clock.monotonic() + due_in_s
        while not job.stop_requested.is_set():
            job.state = JobState.STARTING if job.last_started_at is None else JobState.WAITING
            start_s = tick_s + jitter_s * self._random.random()
            if (wait_s := start_s - self._clock.monotonic()) > 0:
                await self._clock.sleep(wait_s)
            error = await self._attempt(job, run)
            if error is not None:
                self._failed(job, error)
            elif job.streak:
                self._log.info("job.recovered", job=job.name, failures=job.streak)
                job.streak = 0
            tick_s = self._next_tick(job, tick_s, interval_s)

    def _next_tick(self, job: Job, tick_s: float, interval_s: float) -> float:
        """Return the first tick that is not past, and count the missed ones."""
        missed = max(0, math.ceil((self._clock.monotonic() - tick_s) / interval_s - 1e-9) - 1)
        job.missed_ticks += missed
        if missed and not job.is_overrunning:
            self._log.warning(
                "job.interval_exceeded", job=job.name, missed_ticks=missed, interval_s=interval_s
            )
        job.is_overrunning = missed > 0
        return tick_s + (missed + 1) * interval_s

    async def _run_side_task(self, job: Job, coro: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            await coro

        error = await self._attempt(job, run)
        if error is not None:
            self._failed(job, error)
        elif job.streak:
            job.streak = 0

    async def _attempt(self, job: Job, run: JobFunction) -> Exception | asyncio.CancelledError | None:
        """Run a job once and return its exception. Only the cancellation of the job itself is raised."""
        job.started(self._clock.now())
        job.has_progressed = False
        try:
            if job.restarts and self._on_restart is not None:
                self._on_restart(job.name)
            await run()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the job awaited was cancelled. Raised, the error would end the job silently.
            return error
        except Exception as error:  # noqa: BLE001 - every failure of a job is logged and counted here
            return error
        if job.kind is not JobKind.LONG_RUNNING:
            self._succeeded(job)
        return None

    def _succeeded(self, job: Job) -> None:
        job.succeeded(self._clock.now(), self._clock.monotonic())

    def _failed(self, job: Job, error: BaseException | None) -> None:
        name = RETURNED if error is None else type(error).__name__
        if job.failed(self._clock.now(), name):
            self._log.warning("job.failed", job=job.name, error=name, failures=job.streak, exc_info=error)

    def _add(self, job: Job) -> Job:
        if self._is_stopping:
            raise SupervisorStopped(f"job {job.name} cannot start: the supervisor is stopping")
        if job.name in self._jobs:
            raise ValueError(f"there is already a job named {job.name}")
        self._jobs[job.name] = job
        return job

    def _launch(self, job: Job, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coro, name=job.name)
        job.tasks.add(task)

        def finished(task: asyncio.Task[None]) -> None:
            job.tasks.discard(task)
            if job.tasks:
                return
            job.state = JobState.STOPPED
            if job.kind is JobKind.ONCE:
                self._forget_old_side_tasks()
            elif not self._is_stopping:
                self._log.error("job.stopped", job=job.name, cancelled=task.cancelled())

        task.add_done_callback(finished)
        return task

    def _forget_old_side_tasks(self) -> None:
        finished = [job for job in self._jobs.values() if job.kind is JobKind.ONCE and not job.tasks]
        for job in finished[:-REMEMBERED_SIDE_TASKS]:
            del self._jobs[job.name]

    async def _stop_all(self, deadline_s: float) -> StopReport:
        cancelled: list[str] = []
        ignored: list[str] = []
        for job in reversed(tuple(self._jobs.values())):
            if not job.tasks:
                continue
            job.stop_requested.set()
            if job.stops_itself and not job.is_idle:
                await self._wait(job, (deadline_s - self._clock.real.monotonic()) / 2)
                if job.tasks:
                    cancelled.append(job.name)
            for task in job.tasks:
                task.cancel()
            left_s = deadline_s - self._clock.real.monotonic()
            await self._wait(job, min(CANCEL_GRACE_S, max(left_s / 2, SHORTEST_GRACE_S)))
            if job.tasks:
                ignored.append(job.name)
            self._log.info(
                "job.stopped", job=job.name, cancelled=job.name in cancelled, ignored=bool(job.tasks)
            )
        return StopReport(tuple(cancelled), tuple(ignored))

    async def _wait(self, job: Job, seconds: float) -> None:
        with suppress(TimeoutError):
            async with clock_timeout(self._clock.real, seconds):
                while job.tasks:
                    await asyncio.wait(job.tasks)
                    await asyncio.sleep(0)  # lets `finished` remove them from the job
