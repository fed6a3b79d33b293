import asyncio
from random import Random

import pytest
import structlog
from fakes.clock import FakeClock

from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.supervisor import JobKind, JobState, StopReport, Supervisor, SupervisorStopped


class Job:
    """A job that does what its list says, one entry a run: an exception, seconds to last, or for ever (None)."""

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
    """Time under the test's control."""
    return FakeClock()


@pytest.fixture
def log():
    """What was logged, as a logger that keeps its entries."""
    return structlog.testing.CapturingLogger()


@pytest.fixture
def restarted():
    """The names of the jobs that were restarted, as reported to a metric."""
    return []


@pytest.fixture
async def supervisor(clock, log, restarted):
    """A supervisor whose backoff is 1, 2, 4 … 60 seconds."""
    logger = structlog.wrap_logger(log, processors=[])
    supervisor = Supervisor(clock, Random(1), logger, Backoff(jitter=0), restarted.append)
    yield supervisor
    await supervisor.stop(within_s=0)  # nobody advances the clock any more


def report(supervisor, name):
    """Return the report of one job."""
    return next(found for found in supervisor.jobs() if found.name == name)


def events(log):
    """Return the names of what was logged, in order."""
    return [call.kwargs["event"] for call in log.calls]


async def test_a_job_that_dies_is_restarted_later_each_time(supervisor, clock, restarted):
    """Restarts follow the backoff and are counted and reported."""
    job = Job(clock, OSError(), OSError(), OSError())
    supervisor.spawn("stream", job)

    await clock.advance(10)

    assert job.started_at == [0, 1, 3, 7]
    assert restarted == ["stream"] * 3
    found = report(supervisor, "stream")
    assert (found.kind, found.state) == (JobKind.LONG_RUNNING, JobState.RUNNING)
    assert (found.restarts, found.failures, found.last_error) == (3, 3, "OSError")


async def test_a_job_that_ends_is_restarted_too(supervisor, clock):
    """A long-running job that simply returns has not done its work."""
    job = Job(clock, 5.0)
    supervisor.spawn("stream", job)

    await clock.advance(6)

    assert job.started_at == [0, 6]
    assert report(supervisor, "stream").last_error == "returned"


async def test_a_job_that_ran_well_is_forgiven(supervisor, clock):
    """After a minute of running the backoff begins anew."""
    job = Job(clock, OSError(), OSError(), 100.0, OSError())
    supervisor.spawn("stream", job)

    await clock.advance(110)

    assert job.started_at == [0, 1, 3, 104, 106]


async def test_a_streak_of_deaths_is_logged_once_and_so_is_the_recovery(supervisor, clock, log):
    """Logs tell of the change, not of each repeat: died, and later runs again."""
    supervisor.spawn("stream", Job(clock, OSError(), OSError(), OSError()))

    await clock.advance(50)
    assert events(log) == ["job.died"]
    await clock.advance(50)

    assert events(log) == ["job.died", "job.restarted"]
    assert log.calls[1].kwargs["failures"] == 3
    assert {call.kwargs["component"] for call in log.calls} == {"Supervisor"}


async def test_another_kind_of_death_is_news(supervisor, clock, log):
    """Within a streak, an error of another class is logged."""
    supervisor.spawn("stream", Job(clock, OSError(), KeyError(), KeyError()))

    await clock.advance(10)

    assert [call.kwargs["error"] for call in log.calls] == ["OSError", "KeyError"]


async def test_the_report_never_shows_an_errors_text(supervisor, clock):
    """Only the class of an error is reported, as its text may hold a secret."""
    supervisor.spawn("stream", Job(clock, ValueError("access_token=canary")))

    await clock.advance(0)

    assert "canary" not in repr(supervisor.jobs())
    assert report(supervisor, "stream").last_error == "ValueError"


async def test_a_job_is_unhealthy_from_its_third_death_until_it_makes_progress(supervisor, clock):
    """Two deaths are forgiven; after three the job has to show that it is back."""
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


async def test_running_well_makes_a_job_healthy_without_heartbeats(supervisor, clock):
    """A restarted job that has run for a minute has recovered."""
    supervisor.spawn("stream", Job(clock, *[OSError()] * 5))

    await clock.advance(31 + 60)

    assert supervisor.is_healthy()
    assert report(supervisor, "stream").last_success_at == clock.now()


async def test_a_side_issue_does_not_make_the_whole_unhealthy(supervisor, clock):
    """Only essential jobs count for the whole."""
    supervisor.spawn("nice to have", Job(clock, then=OSError()), essential=False)

    await clock.advance(20)

    assert not supervisor.is_healthy("nice to have")
    assert supervisor.is_healthy()


async def test_a_job_says_when_it_is_ready(supervisor, clock):
    """Waiting for readiness ends with the first heartbeat."""

    async def job():
        await clock.sleep(5)
        supervisor.heartbeat("stream")
        await asyncio.Event().wait()

    supervisor.spawn("stream", job)
    ready = asyncio.create_task(supervisor.wait_ready("stream"))
    await clock.advance(4)
    assert not ready.done()
    await clock.advance(1)

    await ready
    assert report(supervisor, "stream").last_success_at == clock.now()


async def test_waiting_for_a_job_that_was_stopped_ends(supervisor, clock):
    """Readiness that can no longer come is an error, not a wait for ever."""
    supervisor.spawn("stream", Job(clock))
    ready = asyncio.create_task(supervisor.wait_ready("stream"))
    await clock.settle()

    await supervisor.stop()

    with pytest.raises(SupervisorStopped):
        await ready


async def test_a_job_killed_by_a_strangers_cancellation_is_restarted(supervisor, clock):
    """A CancelledError that leaks out of something the job waited for is a death like any other."""
    job = Job(clock, asyncio.CancelledError())
    supervisor.spawn("stream", job)

    await clock.advance(1)

    assert job.started_at == [0, 1]
    assert report(supervisor, "stream").last_error == "CancelledError"


async def test_a_job_cancelled_from_outside_ends_and_says_so(supervisor, clock, log):
    """A real cancellation is never swallowed: the job is stopped, unhealthy, and in the log."""
    supervisor.spawn("stream", Job(clock))
    await clock.settle()

    next(task for task in asyncio.all_tasks() if task.get_name() == "stream").cancel()
    await clock.settle()

    assert report(supervisor, "stream").state is JobState.STOPPED
    assert not supervisor.is_healthy()
    assert events(log) == ["job.stopped"]


def test_an_interrupt_gets_through():
    """Ctrl-C inside a job ends the program rather than restarting the job."""

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


async def test_names_are_unique(supervisor, clock):
    """Two jobs cannot share a name."""
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


async def test_a_run_that_overlasts_its_interval_skips_ticks(supervisor, clock, log):
    """Runs never overlap; the ticks a long run covered are counted, and logged once."""
    job = Job(clock, 12.0, 7.0, 5.0, then=1.0)
    supervisor.every("monitor", 5, job)

    await clock.advance(36)

    assert job.started_at == [0, 15, 25, 30, 35]
    assert report(supervisor, "monitor").missed_ticks == 3
    assert events(log) == ["job.overran"]


async def test_a_failing_run_does_not_end_the_period(supervisor, clock, log):
    """The next run comes at its time; failure and recovery are each logged once."""
    job = Job(clock, OSError(), OSError(), then=0.0)
    supervisor.every("monitor", 5, job)

    await clock.advance(20)

    assert job.started_at == [0, 5, 10, 15, 20]
    assert report(supervisor, "monitor").failures == 2
    assert events(log) == ["job.failed", "job.recovered"]


async def test_a_periodic_job_without_success_for_three_intervals_is_unhealthy(supervisor, clock):
    """Failing or hanging, a job that has not succeeded for three intervals is reported."""
    supervisor.every("monitor", 5, Job(clock, 0.0, then=None))

    await clock.advance(15)
    assert supervisor.is_healthy()
    await clock.advance(1)

    assert not supervisor.is_healthy()


async def test_a_periodic_job_that_is_not_due_yet_is_healthy(supervisor, clock):
    """Before its first tick nothing can be expected of a job."""
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
    """A period is positive and its jitter lies within it."""
    with pytest.raises(ValueError, match="cannot run every"):
        supervisor.every("monitor", interval_s, Job(clock), jitter_s=jitter_s)


async def test_a_side_tasks_failure_is_not_lost(supervisor, clock, log):
    """A side task that fails is logged and counted under its name, the next of that name clears it."""
    supervisor.run_once("notify", Job(clock, OSError())())
    await clock.settle()
    assert events(log) == ["job.failed"]
    assert not supervisor.is_healthy("notify")

    supervisor.run_once("notify", Job(clock, 0.0)())
    await clock.settle()

    found = report(supervisor, "notify")
    assert (found.kind, found.state, found.failures) == (JobKind.ONCE, JobState.STOPPED, 1)
    assert supervisor.is_healthy("notify")


async def test_finished_side_tasks_are_forgotten_in_the_end(supervisor, clock):
    """The record of side tasks does not grow for ever."""
    for number in range(150):
        supervisor.run_once(f"task {number}", Job(clock, 0.0)())
    await clock.settle()

    assert [found.name for found in supervisor.jobs()] == [f"task {number}" for number in range(50, 150)]


async def test_stopping_ends_jobs_in_reverse_order(supervisor, clock):
    """What was started last, and may need the others, ends first; nobody had to be cut short."""
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


async def test_work_under_way_may_finish(supervisor, clock):
    """Runs of periodic jobs and side tasks, even one just begun, have time to end; no further run starts."""
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
    """Between two runs, or while backing off, there is nothing to wait for."""
    supervisor.every("monitor", 5, Job(clock, then=0.0))
    supervisor.spawn("stream", Job(clock, then=OSError()))
    await clock.advance(2)

    assert await supervisor.stop() == StopReport()
    assert clock.monotonic() == 2


async def test_a_job_that_heeds_the_request_ends_by_itself(supervisor, clock):
    """A job that watches for the request finishes what it has to before it ends."""
    flushed = []

    async def writer():
        await supervisor.stop_requested("writer").wait()
        await clock.sleep(1)
        flushed.append("all")

    supervisor.spawn("writer", writer, heeds_stop=True)
    await clock.settle()
    stopping = asyncio.create_task(supervisor.stop())
    await clock.advance(1)

    assert await stopping == StopReport()
    assert flushed == ["all"]


async def test_what_does_not_end_in_time_is_cancelled_and_named(supervisor, clock):
    """A run that takes too long is cut short and appears in the report."""
    job = Job(clock, then=None)
    supervisor.every("monitor", 5, job)
    await clock.settle()

    stopping = asyncio.create_task(supervisor.stop(within_s=10))
    await clock.advance(10)

    assert await stopping == StopReport(cancelled=("monitor",))
    assert job.cancelled == 1


async def test_a_job_that_ignores_its_cancellation_is_named(supervisor, clock):
    """Stopping does not wait for ever for a job that swallows its cancellation."""
    let_go = asyncio.Event()

    async def stubborn():
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    supervisor.spawn("stubborn", stubborn)
    await clock.settle()
    stopping = asyncio.create_task(supervisor.stop(within_s=10))
    await clock.advance(20)

    assert await stopping == StopReport(ignored=("stubborn",))
    let_go.set()
    await clock.settle()


async def test_nothing_starts_after_the_stop(supervisor, clock):
    """A stopped supervisor is not revived by a late caller, and stopping it twice is harmless."""
    first = await supervisor.stop()

    with pytest.raises(SupervisorStopped):
        supervisor.spawn("stream", Job(clock))
    with pytest.raises(SupervisorStopped):
        supervisor.run_once("notify", Job(clock)())
    assert await supervisor.stop() is first
    assert supervisor.jobs() == ()


async def test_leaving_the_block_stops_the_jobs(clock):
    """As an `async with` block no job outlives it."""
    job = Job(clock)

    async with Supervisor(clock, Random(1), structlog.get_logger()) as supervisor:
        supervisor.spawn("stream", job)
        await clock.settle()

    assert job.cancelled == 1


async def test_a_stop_that_is_cut_short_still_cancels_everyone(supervisor, clock):
    """When the stop itself is cancelled no job is left running."""
    job = Job(clock, then=None)
    supervisor.every("monitor", 5, job)
    await clock.settle()
    stopping = asyncio.create_task(supervisor.stop())
    await clock.settle()

    stopping.cancel()
    await clock.settle()

    assert stopping.cancelled()
    assert job.cancelled == 1
