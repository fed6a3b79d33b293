import asyncio
from random import Random

import pytest
import structlog
from fakes.clock import FakeClock

from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.supervisor import JobKind, JobState, StopReport, Supervisor, SupervisorStopped


class Job:
    """A job with one entry for each run: an exception, seconds to last, or None for ever."""

    def __init__(self, clock, *runs, then=None):
        self.clock = clock
        self.runs = list(runs)
        self.then = then
        self.started_at = []
        self.finished = 0
        self.cancelled = 0

    async def __call__(self):
        """Play the next run."""
        self.started_at.append(self.clock.monotonic())
        run = self.runs.pop(0) if self.runs else self.then
        try:
            if isinstance(run, BaseException):
                raise run
            await (asyncio.Event().wait() if run is None else self.clock.sleep(run))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1


@pytest.fixture
def clock():
    """Return a clock that only the test advances."""
    return FakeClock()


@pytest.fixture
def log():
    """Return a logger that keeps its entries."""
    return structlog.testing.CapturingLogger()


@pytest.fixture
def restarted():
    """Return the names of restarted jobs, as reported to a metric."""
    return []


@pytest.fixture
async def supervisor(clock, log, restarted):
    """Yield a supervisor whose backoff is 1, 2, 4 … 60 seconds."""
    logger = structlog.wrap_logger(log, processors=[])
    supervisor = Supervisor(clock, Random(1), logger, Backoff(jitter=0), restarted.append)
    yield supervisor
    await supervisor.stop(within_s=0)  # the clock does not advance any more


def report(supervisor, name):
    """Return the report of one job."""
    return next(found for found in supervisor.jobs() if found.name == name)


def events(log):
    """Return the names of the logged events in order."""
    return [call.kwargs["event"] for call in log.calls]


async def test_a_failed_job_is_restarted_later_each_time(supervisor, clock, restarted):
    """Restarts follow the backoff and are counted and reported."""
    job = Job(clock, OSError(), OSError(), OSError())
    supervisor.spawn("stream", job)

    await clock.advance(10)

    assert job.started_at == [0, 1, 3, 7]
    assert restarted == ["stream"] * 3
    found = report(supervisor, "stream")
    assert (found.kind, found.state) == (JobKind.LONG_RUNNING, JobState.RUNNING)
    assert (found.restarts, found.failures, found.last_error) == (3, 3, "OSError")


async def test_a_job_that_returns_is_restarted_too(supervisor, clock):
    """A long-running job that returns has not done its work."""
    job = Job(clock, 5.0)
    supervisor.spawn("stream", job)

    await clock.advance(6)

    assert job.started_at == [0, 6]
    assert report(supervisor, "stream").last_error == "returned"


async def test_a_minute_of_running_resets_the_backoff(supervisor, clock):
    """An old failure must not lengthen the restart after a new one."""
    job = Job(clock, OSError(), OSError(), 100.0, OSError())
    supervisor.spawn("stream", job)

    await clock.advance(110)

    assert job.started_at == [0, 1, 3, 104, 106]


async def test_failures_in_a_row_and_their_recovery_are_logged_once(supervisor, clock, log):
    """The log has one line at each change and none for repeats."""
    supervisor.spawn("stream", Job(clock, OSError(), OSError(), OSError()))

    await clock.advance(50)
    assert events(log) == ["job.failed"]
    await clock.advance(50)

    assert events(log) == ["job.failed", "job.recovered"]
    assert log.calls[1].kwargs["failures"] == 3
    assert {call.kwargs["component"] for call in log.calls} == {"Supervisor"}


async def test_another_error_in_a_row_is_logged(supervisor, clock, log):
    """An operator must see that the cause has changed."""
    supervisor.spawn("stream", Job(clock, OSError(), KeyError(), KeyError()))

    await clock.advance(10)

    assert [call.kwargs["error"] for call in log.calls] == ["OSError", "KeyError"]


async def test_the_report_never_shows_an_errors_text(supervisor, clock):
    """The text may hold a secret, so only the class is reported."""
    supervisor.spawn("stream", Job(clock, ValueError("access_token=canary")))

    await clock.advance(0)

    assert "canary" not in repr(supervisor.jobs())
    assert report(supervisor, "stream").last_error == "ValueError"


async def test_a_job_is_unhealthy_from_its_third_failure_on(supervisor, clock):
    """After three failures only a heartbeat makes it healthy again, not the restart."""
    supervisor.spawn("stream", Job(clock, OSError(), OSError(), OSError()))
    await clock.advance(2.5)
    assert supervisor.is_healthy()
    await clock.advance(2)
    assert report(supervisor, "stream").state is JobState.BACKING_OFF
    assert not supervisor.is_healthy()
    await clock.advance(5)
    assert not supervisor.is_healthy("stream")

    supervisor.heartbeat("stream")

    assert supervisor.is_healthy()


async def test_a_minute_of_running_makes_a_job_healthy(supervisor, clock):
    """A job without heartbeats must be able to recover."""
    supervisor.spawn("stream", Job(clock, *[OSError()] * 5))

    await clock.advance(31 + 60)

    assert supervisor.is_healthy()
    assert report(supervisor, "stream").last_success_at == clock.now()


async def test_only_essential_jobs_count_for_the_process(supervisor, clock):
    """A failing optional job must not restart the server."""
    supervisor.spawn("optional", Job(clock, then=OSError()), essential=False)

    await clock.advance(20)

    assert not supervisor.is_healthy("optional")
    assert supervisor.is_healthy()


async def test_a_leaked_cancellation_is_a_failure(supervisor, clock):
    """A CancelledError of something that the job awaited is a failure like any other."""
    job = Job(clock, asyncio.CancelledError())
    supervisor.spawn("stream", job)

    await clock.advance(1)

    assert job.started_at == [0, 1]
    assert report(supervisor, "stream").last_error == "CancelledError"


async def test_a_cancelled_job_ends_and_is_logged(supervisor, clock, log):
    """A real cancellation is never swallowed: the job is stopped and unhealthy."""
    supervisor.spawn("stream", Job(clock))
    await clock.settle()

    next(task for task in asyncio.all_tasks() if task.get_name() == "stream").cancel()
    await clock.settle()

    assert report(supervisor, "stream").state is JobState.STOPPED
    assert not supervisor.is_healthy()
    assert events(log) == ["job.stopped"]


def test_an_interrupt_ends_the_program():
    """Ctrl-C inside a job must not restart the job."""

    async def interrupted():
        raise KeyboardInterrupt

    async def main():
        clock = FakeClock()
        supervisor = Supervisor(clock, Random(1), structlog.get_logger())
        supervisor.spawn("stream", interrupted)
        jobs.extend(task for task in asyncio.all_tasks() if task.get_name() == "stream")
        await clock.advance(10)

    jobs = []
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert [type(job.exception()) for job in jobs] == [KeyboardInterrupt]


async def test_job_names_are_unique(supervisor, clock):
    """Two jobs of one name would share a report."""
    supervisor.spawn("stream", Job(clock))

    with pytest.raises(ValueError, match="already a job named stream"):
        supervisor.every("stream", 5, Job(clock))


async def test_a_periodic_job_runs_from_start_to_start(supervisor, clock):
    """The length of a run does not move the next one."""
    job = Job(clock, then=2.0)
    supervisor.every("monitor", 5, job)

    await clock.advance(16)

    assert job.started_at == [0, 5, 10, 15]
    found = report(supervisor, "monitor")
    assert (found.kind, found.interval_s, found.missed_ticks) == (JobKind.PERIODIC, 5, 0)


async def test_a_periodic_job_may_start_later(supervisor, clock):
    """Without `at_start` the first run is one interval away."""
    job = Job(clock, then=0.0)
    supervisor.every("monitor", 5, job, at_start=False)
    await clock.advance(4)
    assert report(supervisor, "monitor").state is JobState.STARTING

    await clock.advance(7)

    assert job.started_at == [5, 10]
    assert report(supervisor, "monitor").state is JobState.WAITING


async def test_a_long_run_skips_ticks(supervisor, clock, log):
    """Runs never overlap; skipped ticks are counted, and logged once."""
    job = Job(clock, 12.0, 7.0, 5.0, then=1.0)
    supervisor.every("monitor", 5, job)

    await clock.advance(36)

    assert job.started_at == [0, 15, 25, 30, 35]
    assert report(supervisor, "monitor").missed_ticks == 3
    assert events(log) == ["job.interval_exceeded"]


async def test_a_failed_run_does_not_end_a_periodic_job(supervisor, clock, log):
    """The next run comes at its time; failure and recovery are logged once."""
    job = Job(clock, OSError(), OSError(), then=0.0)
    supervisor.every("monitor", 5, job)

    await clock.advance(20)

    assert job.started_at == [0, 5, 10, 15, 20]
    assert report(supervisor, "monitor").failures == 2
    assert events(log) == ["job.failed", "job.recovered"]


async def test_a_periodic_job_without_success_for_three_intervals_is_unhealthy(supervisor, clock):
    """A job that hangs has no failures, so the last success counts."""
    supervisor.every("monitor", 5, Job(clock, 0.0, then=None))

    await clock.advance(15)
    assert supervisor.is_healthy()
    await clock.advance(1)

    assert not supervisor.is_healthy()


async def test_a_periodic_job_that_is_not_due_yet_is_healthy(supervisor, clock):
    """Three intervals count from its first tick."""
    supervisor.every("backup", 100, Job(clock, then=None), at_start=False)

    await clock.advance(399)
    assert supervisor.is_healthy()
    await clock.advance(2)

    assert not supervisor.is_healthy()


async def test_jitter_delays_runs_without_moving_ticks(supervisor, clock):
    """Each run starts within `jitter_s` after its tick."""
    job = Job(clock, then=0.0)
    supervisor.every("monitor", 10, job, jitter_s=3)

    await clock.advance(1000)

    delays = [started_at - 10 * tick for tick, started_at in enumerate(job.started_at)]
    assert len(delays) == 100
    assert all(0 <= delay <= 3.001 for delay in delays)
    assert len(set(delays)) > 90


@pytest.mark.parametrize(("interval_s", "jitter_s"), [(0, 0), (5, 6), (5, -1)])
async def test_an_impossible_period_is_refused(supervisor, clock, interval_s, jitter_s):
    """A period is positive and its jitter is not longer."""
    with pytest.raises(ValueError, match="cannot run every"):
        supervisor.every("monitor", interval_s, Job(clock), jitter_s=jitter_s)


async def test_a_side_tasks_failure_is_not_lost(supervisor, clock, log):
    """It is logged and counted under its name; the next task of that name clears it."""
    supervisor.run_once("notify", Job(clock, OSError())())
    await clock.settle()
    assert events(log) == ["job.failed"]
    assert not supervisor.is_healthy("notify")

    supervisor.run_once("notify", Job(clock, 0.0)())
    await clock.settle()

    found = report(supervisor, "notify")
    assert (found.kind, found.state, found.failures) == (JobKind.ONCE, JobState.STOPPED, 1)
    assert supervisor.is_healthy("notify")


async def test_old_side_tasks_are_removed(supervisor, clock):
    """The records of side tasks must not grow for ever."""
    for number in range(150):
        supervisor.run_once(f"task {number}", Job(clock, 0.0)())
    await clock.settle()

    assert [found.name for found in supervisor.jobs()] == [f"task {number}" for number in range(50, 150)]


async def test_stopping_ends_jobs_in_reverse_order(supervisor, clock):
    """The newest job may need the older ones, so it ends first."""
    ended = []

    def job(name):
        async def run():
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        return run

    for name in ("writer", "market", "monitor"):
        supervisor.spawn(name, job(name))
    await clock.settle()

    assert await supervisor.stop() == StopReport()
    assert ended == ["monitor", "market", "writer"]
    assert {found.state for found in supervisor.jobs()} == {JobState.STOPPED}
    assert not supervisor.is_healthy()


async def test_a_started_run_may_finish_during_a_stop(supervisor, clock):
    """Running periodic jobs and side tasks get time; no further run starts."""
    periodic, side = Job(clock, then=3.0), Job(clock, 2.0)
    supervisor.every("monitor", 5, periodic)
    await clock.settle()
    supervisor.run_once("notify", side())

    stopping = asyncio.create_task(supervisor.stop(within_s=10))
    await clock.advance(20)

    assert await stopping == StopReport()
    assert (periodic.finished, side.finished) == (1, 1)
    assert len(periodic.started_at) == 1


async def test_a_waiting_job_ends_at_once(supervisor, clock):
    """Between two runs and during a backoff there is no work to interrupt."""
    supervisor.every("monitor", 5, Job(clock, then=0.0))
    supervisor.spawn("stream", Job(clock, then=OSError()))
    await clock.advance(2)

    assert await supervisor.stop() == StopReport()
    assert clock.monotonic() == 2


async def test_a_job_can_stop_itself(supervisor, clock):
    """A job that waits for the stop request finishes its work first."""
    flushed = []

    async def writer():
        await supervisor.stop_requested("writer").wait()
        await clock.sleep(1)
        flushed.append("all")

    supervisor.spawn("writer", writer, stops_itself=True)
    await clock.settle()
    stopping = asyncio.create_task(supervisor.stop())
    await clock.advance(1)

    assert await stopping == StopReport()
    assert flushed == ["all"]


async def test_a_job_that_does_not_stop_in_time_is_cancelled(supervisor, clock):
    """The report names the job, so that the operator can see it."""
    job = Job(clock, then=None)
    supervisor.every("monitor", 5, job)
    await clock.settle()

    stopping = asyncio.create_task(supervisor.stop(within_s=10))
    await clock.advance(10)

    assert await stopping == StopReport(cancelled=("monitor",))
    assert job.cancelled == 1


async def test_a_job_that_ignores_its_cancellation_is_reported(supervisor, clock):
    """Stopping must not wait for ever for a job that swallows it."""
    released = asyncio.Event()

    async def ignoring():
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    supervisor.spawn("ignoring", ignoring)
    await clock.settle()
    stopping = asyncio.create_task(supervisor.stop(within_s=10))
    await clock.advance(20)

    assert await stopping == StopReport(ignored=("ignoring",))
    released.set()
    await clock.settle()


async def test_nothing_starts_after_the_stop(supervisor, clock):
    """A late caller gets an error, and a second stop is harmless."""
    first = await supervisor.stop()

    with pytest.raises(SupervisorStopped):
        supervisor.spawn("stream", Job(clock))
    with pytest.raises(SupervisorStopped):
        supervisor.run_once("notify", Job(clock)())
    assert await supervisor.stop() is first
    assert supervisor.jobs() == ()


async def test_leaving_the_block_stops_the_jobs(clock):
    """No job outlives the `async with` block."""
    job = Job(clock)

    async with Supervisor(clock, Random(1), structlog.get_logger()) as supervisor:
        supervisor.spawn("stream", job)
        await clock.settle()

    assert job.cancelled == 1


async def test_a_cancelled_stop_still_cancels_all_jobs(supervisor, clock):
    """A cancelled stop must leave no job running."""
    job = Job(clock, then=None)
    supervisor.every("monitor", 5, job)
    await clock.settle()
    stopping = asyncio.create_task(supervisor.stop())
    await clock.settle()

    stopping.cancel()
    await clock.settle()

    assert stopping.cancelled()
    assert job.cancelled == 1


async def test_a_clock_that_jumps_makes_no_job_stuck(log):
    """A night that is skipped makes every job overdue; it is stuck only if it stays so for thirty real seconds."""
    machine = FakeClock()
    clock = FakeClock(real=machine)
    supervisor = Supervisor(clock, Random(1), structlog.wrap_logger(log, processors=[]))
    held = asyncio.Event()

    async def hangs_later():
        if clock.monotonic() > 3000:
            await held.wait()

    supervisor.every("purge", 60, hangs_later)
    await clock.settle()
    await clock.advance(120)
    assert supervisor.is_healthy("purge")

    await clock.advance(50_000)  # the run of the next tick hangs
    assert supervisor.is_healthy("purge")
    await machine.advance(29)
    assert supervisor.is_healthy("purge")
    await machine.advance(2)
    assert not supervisor.is_healthy("purge")

    held.set()
    await clock.settle()
    assert supervisor.is_healthy("purge")
    await supervisor.stop()
