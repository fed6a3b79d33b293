"""Named jobs that are kept alive: whoever starts work in the background starts it here.

A job that dies is logged on the change, counted and restarted with backoff; a failing run does not end its
period; a side task's failure is never lost. This is the one place where any exception is caught. The record
of a job, and when it counts as healthy, are in `jobs`.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, Self

from structlog.typing import FilteringBoundLogger

from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.clock import Clock, clock_timeout
from hullwatch.runtime.jobs import RETURNED, Job, JobFunction, JobKind, JobReport, JobState

__all__ = ["JobKind", "JobReport", "JobState", "StopReport", "Supervisor", "SupervisorStopped"]

REMEMBERED_SIDE_TASKS = 100
"""How many finished side tasks are still reported."""

CANCEL_GRACE_S = 2.0
"""How long a cancelled job may take to clean up before it counts as ignoring its cancellation."""


class SupervisorStopped(RuntimeError):  # noqa: N818 - a fact, like every failure here
    """Nothing can be started any more: the supervisor is stopping or has stopped."""


@dataclass(frozen=True, slots=True)
class StopReport:
    """Who did not end by themselves: `cancelled` had to be cut short, `ignored` did not heed even that."""

    cancelled: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class Supervisor:
    """Runs jobs until it is stopped; as an `async with` block, until that block ends.

    Args:
        clock: what intervals, backoff and stopping are measured by.
        random: where jitter comes from.
        log: a structlog logger.
        backoff: how long a job that died waits for its restart.
        on_restart: called with the name of each long-running job that is started again.
        ran_well_after_s: after so many seconds a restarted job has recovered, and its backoff begins anew.
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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def spawn(
        self, name: str, coroutine_function: JobFunction, *, essential: bool = True, heeds_stop: bool = False
    ) -> None:
        """Keep a long-running job running: whenever it ends it is restarted, later after each failure.

        Args:
            name: unique among the jobs.
            coroutine_function: starts one run.
            essential: whether the whole is unhealthy when this job is.
            heeds_stop: whether the job watches `stop_requested` and ends by itself; others are cancelled
                as soon as their turn to stop comes.
        """
        job = self._add(
            Job(name, JobKind.LONG_RUNNING, essential, self._clock.monotonic(), heeds_stop=heeds_stop)
        )
        self._launch(job, self._keep_alive(job, coroutine_function))

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
        """Run a job every so many seconds, counted from start to start, never two runs at once.

        Args:
            name: unique among the jobs.
            interval_s: seconds between ticks. A run that overlasts it makes the ticks it covers be skipped.
            coroutine_function: starts one run; a run under way when the supervisor stops may finish.
            jitter_s: each run starts up to so many seconds after its tick.
            at_start: whether the first tick is now, or one interval from now.
            essential: whether the whole is unhealthy when this job is.
        """
        if interval_s <= 0 or not 0 <= jitter_s <= interval_s:
            raise ValueError(f"job {name} cannot run every {interval_s} s with a jitter of {jitter_s} s")
        due_in_s = 0.0 if at_start else interval_s
        job = Job(name, JobKind.PERIODIC, essential, self._clock.monotonic(), interval_s, due_in_s + jitter_s)
        self._launch(
            self._add(job), self._keep_period(job, coroutine_function, interval_s, jitter_s, due_in_s)
        )

    def run_once(self, name: str, coro: Coroutine[Any, Any, None]) -> None:
        """Watch a side task to its end; several may share a name, and then share a report.

        Raises:
            SupervisorStopped: it was not started.
        """
        job = self._jobs.get(name)
        try:
            if job is None or job.kind is not JobKind.ONCE or self._is_stopping:
                job = self._add(Job(name, JobKind.ONCE, is_essential=False, born_s=self._clock.monotonic()))
        except (ValueError, SupervisorStopped):
            coro.close()
            raise
        task = self._launch(job, self._see_through(job, coro))
        task.add_done_callback(
            lambda _: coro.close()
        )  # cancelled early, it would complain of never being awaited

    def heartbeat(self, name: str) -> None:
        """Report that a job makes progress.

        Raises:
            KeyError: there is no such job.
        """
        self._succeeded(self._jobs[name])

    async def wait_ready(self, name: str) -> None:
        """Wait until a job has had its first good run, or has reported progress for the first time.

        Raises:
            KeyError: there is no such job.
            SupervisorStopped: it was stopped before.
        """
        job = self._jobs[name]
        await job.became_ready.wait()
        if job.last_success_at is None:
            raise SupervisorStopped(f"job {name} was stopped before it was ready")

    def stop_requested(self, name: str) -> asyncio.Event:
        """Return what is set when this job is asked to end; for jobs that heed it."""
        return self._jobs[name].asked_to_stop

    def jobs(self) -> tuple[JobReport, ...]:
        """Return every job as it is now, in the order of their making."""
        now_s = self._clock.monotonic()
        return tuple(job.report(now_s) for job in self._jobs.values())

    def is_healthy(self, name: str | None = None) -> bool:
        """Tell whether one job, or every essential one, is healthy; `Job.is_healthy` has the rules."""
        now_s = self._clock.monotonic()
        if name is not None:
            return self._jobs[name].is_healthy(now_s)
        return all(job.is_healthy(now_s) for job in self._jobs.values() if job.is_essential)

    async def stop(self, within_s: float = 10.0) -> StopReport:
        """End all jobs, the last made first: each is asked, given what is left of the time, then cancelled.

        Runs of periodic jobs, side tasks and jobs that heed the request may finish. Calling again returns
        the same report.
        """
        self._is_stopping = True
        async with self._stop_lock:
            if self._stop_report is None:
                try:
                    self._stop_report = await self._stop_all(self._clock.monotonic() + within_s)
                finally:
                    for task in self._all_tasks():  # this stop itself was cut short, or they ignored it
                        task.cancel()
            return self._stop_report

    # ---- running ------------------------------------------------------------------------------------------

    async def _keep_alive(self, job: Job, run: JobFunction) -> None:
        while not job.asked_to_stop.is_set():
            started_s = self._clock.monotonic()
            recovery = asyncio.create_task(self._recover(job)) if job.streak else None
            try:
                error = await self._attempt(job, run)
            finally:
                if recovery is not None:
                    recovery.cancel()
            if job.asked_to_stop.is_set() and error is None:
                return  # as asked: no death
            if self._clock.monotonic() - started_s >= self._ran_well_after_s:
                job.streak = 0
            self._failed(job, "job.died", error)
            if job.asked_to_stop.is_set():
                return
            job.state = JobState.BACKING_OFF
            await self._clock.sleep(self._backoff.delay(job.streak, self._random))
            job.restarts += 1

    async def _recover(self, job: Job) -> None:
        """Declare a restarted job well once it has run for a while, so that recovery is logged when it happens."""
        await self._clock.sleep(self._ran_well_after_s)
        self._log.info("job.restarted", job=job.name, failures=job.streak)
        job.streak = 0
        self._succeeded(job)

    async def _keep_period(
        self, job: Job, run: JobFunction, interval_s: float, jitter_s: float, due_in_s: float
    ) -> None:
        tick_s = self._clock.monotonic() + due_in_s
        while not job.asked_to_stop.is_set():
            job.state = JobState.STARTING if job.last_started_at is None else JobState.WAITING
            start_s = tick_s + jitter_s * self._random.random()
            if (wait_s := start_s - self._clock.monotonic()) > 0:
                await self._clock.sleep(wait_s)
            error = await self._attempt(job, run)
            if error is not None:
                self._failed(job, "job.failed", error)
            elif job.streak:
                self._log.info("job.recovered", job=job.name, failures=job.streak)
                job.streak = 0
            tick_s = self._next_tick(job, tick_s, interval_s)

    def _next_tick(self, job: Job, tick_s: float, interval_s: float) -> float:
        """Return the first tick that is not past, counting those that are."""
        missed = max(0, math.ceil((self._clock.monotonic() - tick_s) / interval_s - 1e-9) - 1)
        job.missed_ticks += missed
        if missed and not job.is_overrunning:
            self._log.warning("job.overran", job=job.name, missed_ticks=missed, interval_s=interval_s)
        job.is_overrunning = missed > 0
        return tick_s + (missed + 1) * interval_s

    async def _see_through(self, job: Job, coro: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            await coro

        error = await self._attempt(job, run)
        if error is not None:
            self._failed(job, "job.failed", error)
        elif job.streak:
            job.streak = 0

    async def _attempt(self, job: Job, run: JobFunction) -> Exception | asyncio.CancelledError | None:
        """Run a job once; return what it raised. Only the cancellation of the job itself gets through."""
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
            # Nobody cancelled this job: something it waited for was. Passed on, it would end the job silently.
            return error
        except Exception as error:  # noqa: BLE001 - the supervisor is where every failure ends up
            return error
        if job.kind is not JobKind.LONG_RUNNING:
            self._succeeded(job)
        return None

    def _succeeded(self, job: Job) -> None:
        job.succeeded(self._clock.now(), self._clock.monotonic())

    def _failed(self, job: Job, event: str, error: BaseException | None) -> None:
        name = RETURNED if error is None else type(error).__name__
        if job.failed(self._clock.now(), name):
            self._log.warning(event, job=job.name, error=name, failures=job.streak, exc_info=error)

    # ---- keeping the books --------------------------------------------------------------------------------

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
            job.became_ready.set()
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

    def _all_tasks(self) -> list[asyncio.Task[None]]:
        return [task for job in self._jobs.values() for task in job.tasks]

    # ---- stopping -----------------------------------------------------------------------------------------

    async def _stop_all(self, deadline_s: float) -> StopReport:
        cancelled: list[str] = []
        ignored: list[str] = []
        for job in reversed(tuple(self._jobs.values())):
            if not job.tasks:
                continue
            job.asked_to_stop.set()
            if job.heeds_stop and not job.is_idle:
                await self._wait(job, deadline_s - self._clock.monotonic())
                if job.tasks:
                    cancelled.append(job.name)
            for task in job.tasks:
                task.cancel()
            await self._wait(job, CANCEL_GRACE_S)
            if job.tasks:
                ignored.append(job.name)
            self._log.info(
                "job.stopped", job=job.name, cancelled=job.name in cancelled, ignored=bool(job.tasks)
            )
        return StopReport(tuple(cancelled), tuple(ignored))

    async def _wait(self, job: Job, seconds: float) -> None:
        """Wait until a job's tasks have ended, but no longer than so many seconds."""
        with suppress(TimeoutError):
            async with clock_timeout(self._clock, seconds):
                while job.tasks:
                    await asyncio.wait(job.tasks)
                    await asyncio.sleep(0)  # lets `finished` take them off the books
