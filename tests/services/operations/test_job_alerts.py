"""Tests the notices to admins about background jobs and the market calendar."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fakes.store import FakeStore

from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.users.accounts import Role
from hullwatch.runtime.jobs import JobKind, JobReport, JobState
from hullwatch.services.operations.job_alerts import AGAIN_WITHIN, BACK_WITHIN, WELL_FOR, JobAlerts
from services.environment import ALICE, Environment

ADMIN, OTHER_ADMIN = "usr_admin", "usr_other"
RESTARTING, RECOVERED = NotificationKind.JOB_RESTARTING, NotificationKind.JOB_RECOVERED
ENDING, KNOWN = NotificationKind.CALENDAR_ENDING, NotificationKind.CALENDAR_KNOWN
HEALTHY = JobReport(
    name="outbox",
    kind=JobKind.LONG_RUNNING,
    state=JobState.RUNNING,
    is_essential=True,
    is_healthy=True,
    restarts=0,
    failures=0,
    missed_ticks=0,
    last_started_at=None,
    last_success_at=None,
    last_failure_at=None,
    last_error=None,
    interval_s=None,
)
PERIODIC = replace(HEALTHY, kind=JobKind.PERIODIC, interval_s=60.0)
COMPLETE = MarketCalendar(known_years=frozenset({2026, 2027}))
INCOMPLETE = MarketCalendar(known_years=frozenset({2026}))


class Watch:
    """The service with a fake store and the jobs of the test."""

    def __init__(self, *, calendar: MarketCalendar = COMPLETE) -> None:
        self.env = Environment()
        self.jobs: tuple[JobReport, ...] = (HEALTHY,)
        self.calendar = calendar
        self.restart()

    def restart(
        self, store: FakeStore | None = None, jobs: Callable[[], Sequence[JobReport]] | None = None
    ) -> None:
        """Start a service without memory, as a new process does."""
        self.env.store = store or self.env.store
        context = replace(self.env.context, store=self.env.store, calendar=self.calendar)
        self.alerts = JobAlerts(context, jobs=jobs or (lambda: self.jobs))

    def failed(self, times: int = 1, **changes) -> JobReport:
        """Return a running job with this number of failures, the last of them now."""
        now = self.env.clock.now()
        return replace(
            HEALTHY, restarts=times, failures=times, last_error="OSError", last_failure_at=now, **changes
        )

    def notified(self, user_id: str = ADMIN) -> list[NotificationKind]:
        """Return the kinds of an admin's notices, oldest first."""
        return [notice.kind for notice in self.env.notices(user_id)]

    async def check(self, *jobs: JobReport, times: int = 1, span: timedelta | None = None) -> None:
        """Check these jobs every ten seconds, for a number of times or through a span."""
        self.jobs = jobs or self.jobs
        for _ in range(times if span is None else int(span / timedelta(seconds=10)) + 1):
            await self.alerts.check()
            await self.env.clock.advance(10)


@pytest.fixture
async def watch() -> Watch:
    """Two admins and a trader."""
    built = Watch()
    await built.env.add_user(ADMIN, role=Role.ADMIN)
    await built.env.add_user(OTHER_ADMIN, role=Role.ADMIN)
    await built.env.add_user(ALICE)
    return built


async def fail_twice(watch: Watch) -> None:
    """Let a job fail twice, a minute apart."""
    await watch.check()
    for number in (1, 2):
        await watch.check(watch.failed(number), times=6)


# ---- incidents


async def test_a_failing_job_and_its_recovery_have_one_notice_each(watch: Watch) -> None:
    """Only admins get them, and both notices have the same incident."""
    await fail_twice(watch)
    await watch.check(span=WELL_FOR)

    assert watch.notified() == watch.notified(OTHER_ADMIN) == [RESTARTING, RECOVERED]
    assert watch.notified(ALICE) == []
    first, second = watch.env.notices(ADMIN)
    assert first.incident_id == second.incident_id is not None
    assert "outbox" in first.title
    assert "OSError" in first.text
    assert watch.env.audit(prefix="job.") == ["job.restarting", "job.recovered"]
    assert watch.env.store.tables.incidents == {}


async def test_a_single_failure_has_no_notice(watch: Watch) -> None:
    """Its stored incident is removed when no second failure follows in time."""
    await watch.check(watch.failed(), span=AGAIN_WITHIN + timedelta(minutes=1))
    assert watch.notified() == []
    assert watch.env.store.tables.incidents == {}

    await watch.check(watch.failed(2), span=AGAIN_WITHIN - timedelta(minutes=1))
    assert watch.notified() == []

    await watch.check(watch.failed(3))
    assert watch.notified() == [RESTARTING]


async def test_two_failures_between_two_checks_have_a_notice(watch: Watch) -> None:
    """Such a job fails as fast as it is started."""
    await watch.check()
    await watch.check(watch.failed(2))

    assert watch.notified() == [RESTARTING]


async def test_a_failed_job_that_does_not_restart_has_a_notice(watch: Watch) -> None:
    """The notice is sent after two minutes, for a waiting and for a stopped job."""
    for state in (JobState.BACKING_OFF, JobState.STOPPED):
        watch.env.store.tables.notifications.clear()
        watch.env.store.tables.incidents.clear()
        watch.restart()

        await watch.check(watch.failed(state=state), span=BACK_WITHIN - timedelta(seconds=10))
        assert watch.notified() == []
        await watch.check()
        assert watch.notified() == [RESTARTING]


async def test_repeated_failures_are_one_incident(watch: Watch) -> None:
    """A job has recovered after ten minutes without a failure. A later failure starts a new incident."""
    for number in range(1, 10):
        await watch.check(watch.failed(number), times=30)
    assert watch.notified() == [RESTARTING]

    await watch.check(span=WELL_FOR)
    assert watch.notified() == [RESTARTING, RECOVERED]

    await watch.check(watch.failed(10))
    assert watch.notified() == [RESTARTING, RECOVERED]
    await watch.check(watch.failed(11))
    assert watch.notified() == [RESTARTING, RECOVERED, RESTARTING]


async def test_a_periodic_job_that_fails_for_long_has_a_notice(watch: Watch) -> None:
    """Failed runs alone have none while the job is healthy, since the next run may succeed."""
    await watch.check(replace(PERIODIC, failures=1), times=5)
    await watch.check(replace(PERIODIC, failures=9), times=5)
    assert watch.notified() == []

    failed_at = watch.env.clock.now()
    failing = replace(
        PERIODIC, failures=12, is_healthy=False, last_failure_at=failed_at, last_error="OSError"
    )
    await watch.check(failing, span=BACK_WITHIN)
    assert watch.notified() == [RESTARTING]

    await watch.check(PERIODIC, span=WELL_FOR)
    assert watch.notified() == [RESTARTING, RECOVERED]


async def test_a_late_job_has_a_notice_after_a_minute(watch: Watch) -> None:
    """After the sleep of a machine every job is late once."""
    late = replace(PERIODIC, is_healthy=False)
    await watch.check(late, times=3)
    await watch.check(HEALTHY)
    assert watch.notified() == []

    await watch.check(late, times=7)
    assert watch.notified() == [RESTARTING]
    assert "stuck" in watch.env.notices(ADMIN)[0].title


async def test_a_failed_one_time_job_has_no_notice(watch: Watch) -> None:
    """The service that needs such a job starts a new one."""
    await watch.check(
        replace(watch.failed(5), kind=JobKind.ONCE, is_healthy=False), span=timedelta(minutes=10)
    )

    assert watch.notified() == []


async def test_jobs_of_a_real_supervisor() -> None:
    """Only the job that fails at every start has a notice, and one more when it runs."""
    watch = Watch()
    env = watch.env
    await env.add_user(ADMIN, role=Role.ADMIN)
    watch.restart(jobs=env.supervisor.jobs)
    broken = {"once": 1, "always": 10_000}

    def job(name: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            if broken[name] > 0:
                broken[name] -= 1
                raise OSError
            await asyncio.Event().wait()

        return run

    for name in broken:
        env.supervisor.spawn(name, job(name))
    watch.alerts.start_job(env.supervisor)
    await env.clock.advance(1800)
    assert [notice.title for notice in env.notices(ADMIN)] == ["Background job always is failing"]

    broken["always"] = 0
    await env.clock.advance(1800)
    await env.supervisor.stop(0)

    assert watch.notified() == [RESTARTING, RECOVERED]


# ---- restarts and crashes


async def test_a_restart_repeats_no_notice(watch: Watch) -> None:
    """The new process reads the open incident and waits until the job was healthy for ten minutes."""
    await fail_twice(watch)
    await watch.env.clock.advance(3600)
    watch.restart()

    await watch.check(HEALTHY, span=WELL_FOR - timedelta(seconds=10))
    assert watch.notified() == [RESTARTING]
    await watch.check()
    assert watch.notified() == [RESTARTING, RECOVERED]
    first, second = watch.env.notices(ADMIN)
    assert first.incident_id == second.incident_id


async def test_failures_before_and_after_a_restart_are_one_incident(watch: Watch) -> None:
    """One failure before and one after the restart are a repeated failure."""
    await watch.check(watch.failed())
    watch.restart()
    await watch.check(watch.failed())
    assert watch.notified() == [RESTARTING]

    watch.restart()
    await watch.check(watch.failed(4), span=WELL_FOR)
    assert watch.notified() == [RESTARTING, RECOVERED]


@pytest.mark.parametrize("is_kept", [False, True], ids=["before the commit", "after the commit"])
async def test_a_crash_at_any_commit_loses_nothing_and_repeats_nothing(
    watch: Watch, *, is_kept: bool
) -> None:
    """The job fails three times. Its count starts at zero in the process after the crash."""

    class Crashed(BaseException):
        """Stops the process."""

    async def crash() -> None:
        raise Crashed

    async def run(crashes_at: int) -> list[NotificationKind]:
        """Run an incident with one crash and return the kinds of the notices."""
        built = Watch()
        await built.env.add_user(ADMIN, role=Role.ADMIN)
        commits = failures = 0

        async def count() -> None:
            nonlocal commits
            commits += 1
            if commits == crashes_at:
                await crash()

        built.env.store.before_commit, built.env.store.after_commit = (
            (None, count) if is_kept else (count, None)
        )
        built.jobs = (HEALTHY,)
        for step in range(2 * int(WELL_FOR / timedelta(seconds=10)) + 20):
            if step in (2, 8, 14):
                failures += 1
                built.jobs = (built.failed(failures),)
            try:
                await built.alerts.check()
            except Crashed:
                failures = 0
                built.restart(built.env.store.copied())
                built.jobs = (HEALTHY,)
            await built.env.clock.advance(10)
        assert built.env.store.tables.incidents == {}
        return built.notified()

    for crashes_at in range(1, 6):
        assert await run(crashes_at) == [RESTARTING, RECOVERED]


async def test_two_processes_on_one_database_repeat_no_notice(watch: Watch) -> None:
    """The healthy job of the second process is no recovery while the first one's job fails."""
    await fail_twice(watch)
    first, first_jobs = watch.alerts, watch.jobs
    watch.restart()

    for number in range(3, 10):
        watch.jobs = (watch.failed(number),)
        await first.check()
        await watch.check(HEALTHY, times=18)
    assert watch.notified() == [RESTARTING]

    watch.jobs = first_jobs
    await first.check()
    await watch.check(HEALTHY, span=WELL_FOR)
    await first.check()
    assert watch.notified() == [RESTARTING, RECOVERED]


async def test_the_incident_of_a_removed_job_ends(watch: Watch) -> None:
    """A changed setting can remove a job. After an hour the notice gives this reason."""
    await fail_twice(watch)
    watch.restart()

    await watch.check(replace(HEALTHY, name="another"), span=AGAIN_WITHIN)
    assert watch.notified() == [RESTARTING]
    await watch.check(times=2)

    assert watch.notified() == [RESTARTING, RECOVERED]
    assert "does not run it any more" in watch.env.notices(ADMIN)[-1].text


async def test_a_database_outage_delays_a_notice(watch: Watch) -> None:
    """The notice is neither lost nor repeated."""
    watch.jobs = (watch.failed(2),)
    watch.env.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await watch.alerts.check()
    watch.env.store.is_down = False

    await watch.check(times=2)

    assert watch.notified() == [RESTARTING]


async def test_a_long_database_outage_is_no_incident_of_each_job(watch: Watch) -> None:
    """Every job that stores data fails during the outage and recovers after it."""
    failed_at = watch.env.clock.now()
    failing = replace(PERIODIC, failures=9, is_healthy=False, last_failure_at=failed_at, last_error="Gone")
    await watch.check(failing)
    watch.env.store.is_down = True
    for _ in range(30):
        with pytest.raises(StorageUnavailable):
            await watch.check()
        await watch.env.clock.advance(10)
    watch.env.store.is_down = False

    await watch.check()
    await watch.check(PERIODIC, times=3)

    assert watch.notified() == []


# ---- the calendar


@pytest.fixture
async def december() -> Watch:
    """An admin in December, while the calendar of the next year is not known."""
    built = Watch(calendar=INCOMPLETE)
    await built.env.add_user(ADMIN, role=Role.ADMIN)
    await built.env.clock.advance_to(datetime(2026, 12, 2, 4, tzinfo=UTC))
    return built


async def test_an_ending_calendar_has_one_notice_per_admin(december: Watch) -> None:
    """A later check or a restart does not repeat it. A new admin gets it too."""
    await december.check()
    await december.env.clock.advance(7 * 3600)
    await december.check()
    await december.env.add_user(OTHER_ADMIN, role=Role.ADMIN)
    december.restart()
    await december.check()

    assert december.notified() == december.notified(OTHER_ADMIN) == [ENDING]
    assert "2027" in december.env.notices(ADMIN)[0].text


async def test_an_updated_calendar_has_one_notice(december: Watch) -> None:
    """The first process with the new calendar sends it."""
    await december.check()
    december.calendar = COMPLETE
    for _ in range(2):
        december.restart()
        await december.check(times=2)

    assert december.notified() == [ENDING, KNOWN]
    assert december.env.audit(prefix="calendar.") == ["calendar.ending", "calendar.known"]


async def test_a_known_calendar_has_no_notice(watch: Watch) -> None:
    """The next year is known in December, so there is no warning."""
    await watch.env.clock.advance_to(datetime(2026, 12, 2, 4, tzinfo=UTC))
    await watch.check(times=3)

    assert watch.notified() == []
