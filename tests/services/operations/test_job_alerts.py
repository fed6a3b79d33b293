"""What operators are told about jobs and calendar; `hullwatch.services.operations.job_alerts`."""

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
WELL = JobReport(
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
PERIODIC = replace(WELL, kind=JobKind.PERIODIC, interval_s=60.0)
KNOWS = MarketCalendar(known_years=frozenset({2026, 2027}))
ENDS = MarketCalendar(known_years=frozenset({2026}))


class Watch:
    """The service over a fake store, with the jobs that a test says there are."""

    def __init__(self, *, calendar: MarketCalendar = KNOWS) -> None:
        self.env = Environment()
        self.jobs: tuple[JobReport, ...] = (WELL,)
        self.calendar = calendar
        self.restart()

    def restart(
        self, store: FakeStore | None = None, jobs: Callable[[], Sequence[JobReport]] | None = None
    ) -> None:
        """Forget everything that is not stored, as a new process does."""
        self.env.store = store or self.env.store
        context = replace(self.env.context, store=self.env.store, calendar=self.calendar)
        self.notices = JobAlerts(context, jobs=jobs or (lambda: self.jobs))

    def died(self, times: int = 1, **changes) -> JobReport:
        """Return a job that has died so often, the last time now, and runs again."""
        now = self.env.clock.now()
        return replace(
            WELL, restarts=times, failures=times, last_error="OSError", last_failure_at=now, **changes
        )

    def told(self, user_id: str = ADMIN) -> list[NotificationKind]:
        """Return the kinds of an admin's notices, oldest first."""
        return [notice.kind for notice in self.env.notices(user_id)]

    async def look(self, *jobs: JobReport, times: int = 1, span: timedelta | None = None) -> None:
        """Look at these jobs, ten seconds apart, so many times or through a span."""
        self.jobs = jobs or self.jobs
        for _ in range(times if span is None else int(span / timedelta(seconds=10)) + 1):
            await self.notices.check()
            await self.env.clock.advance(10)


@pytest.fixture
async def watch() -> Watch:
    """Two admins and a trader."""
    built = Watch()
    await built.env.add_user(ADMIN, role=Role.ADMIN)
    await built.env.add_user(OTHER_ADMIN, role=Role.ADMIN)
    await built.env.add_user(ALICE)
    return built


async def keeps_dying(watch: Watch) -> None:
    """A job dies twice, a minute apart."""
    await watch.look()
    for number in (1, 2):
        await watch.look(watch.died(number), times=6)


# ---- what is an incident


async def test_a_job_that_keeps_dying_is_told_of_once_and_so_is_its_recovery(watch: Watch) -> None:
    """To every admin, and to nobody else; both notices belong to one incident."""
    await keeps_dying(watch)
    await watch.look(span=WELL_FOR)

    assert watch.told() == watch.told(OTHER_ADMIN) == [RESTARTING, RECOVERED]
    assert watch.told(ALICE) == []
    first, second = watch.env.notices(ADMIN)
    assert first.incident_id == second.incident_id is not None
    assert "outbox" in first.title
    assert "OSError" in first.text
    assert watch.env.audit(prefix="job.") == ["job.restarting", "job.recovered"]
    assert watch.env.store.tables.incidents == {}


async def test_one_death_is_a_blip(watch: Watch) -> None:
    """Nobody is woken for it; what is written down about it is forgotten when it was not repeated in time."""
    await watch.look(watch.died(), span=AGAIN_WITHIN + timedelta(minutes=1))
    assert watch.told() == []
    assert watch.env.store.tables.incidents == {}

    await watch.look(watch.died(2), span=AGAIN_WITHIN - timedelta(minutes=1))
    assert watch.told() == []

    await watch.look(watch.died(3))
    assert watch.told() == [RESTARTING]


async def test_two_deaths_between_two_looks_are_no_blip(watch: Watch) -> None:
    """It dies as fast as it is started."""
    await watch.look()
    await watch.look(watch.died(2))

    assert watch.told() == [RESTARTING]


async def test_a_job_that_died_and_does_not_come_back_is_told_of(watch: Watch) -> None:
    """After two minutes, however it stays away."""
    for state in (JobState.BACKING_OFF, JobState.STOPPED):
        watch.env.store.tables.notifications.clear()
        watch.env.store.tables.incidents.clear()
        watch.restart()

        await watch.look(watch.died(state=state), span=BACK_WITHIN - timedelta(seconds=10))
        assert watch.told() == []
        await watch.look()
        assert watch.told() == [RESTARTING]


async def test_a_job_that_goes_on_dying_is_one_incident(watch: Watch) -> None:
    """It has recovered only when it has not died for a while; what comes after that is another incident."""
    for number in range(1, 10):
        await watch.look(watch.died(number), times=30)
    assert watch.told() == [RESTARTING]

    await watch.look(span=WELL_FOR)
    assert watch.told() == [RESTARTING, RECOVERED]

    await watch.look(watch.died(10))
    assert watch.told() == [RESTARTING, RECOVERED]
    await watch.look(watch.died(11))
    assert watch.told() == [RESTARTING, RECOVERED, RESTARTING]


async def test_a_periodic_job_that_fails_for_long_is_told_of(watch: Watch) -> None:
    """Single failed runs are none, however many: the next one may be good."""
    await watch.look(replace(PERIODIC, failures=1), times=5)
    await watch.look(replace(PERIODIC, failures=9), times=5)
    assert watch.told() == []

    failed_at = watch.env.clock.now()
    failing = replace(
        PERIODIC, failures=12, is_healthy=False, last_failure_at=failed_at, last_error="OSError"
    )
    await watch.look(failing, span=BACK_WITHIN)
    assert watch.told() == [RESTARTING]

    await watch.look(PERIODIC, span=WELL_FOR)
    assert watch.told() == [RESTARTING, RECOVERED]


async def test_a_job_that_is_late_once_is_no_alarm(watch: Watch) -> None:
    """After a machine's sleep every job is late; one that stays so for a minute is stuck."""
    late = replace(PERIODIC, is_healthy=False)
    await watch.look(late, times=3)
    await watch.look(WELL)
    assert watch.told() == []

    await watch.look(late, times=7)
    assert watch.told() == [RESTARTING]
    assert "stuck" in watch.env.notices(ADMIN)[0].title


async def test_side_tasks_are_nobody_s_business(watch: Watch) -> None:
    """A second look that failed is begun anew by itself."""
    await watch.look(replace(watch.died(5), kind=JobKind.ONCE, is_healthy=False), span=timedelta(minutes=10))

    assert watch.told() == []


async def test_jobs_of_a_real_supervisor() -> None:
    """One that dies once is nobody's business; one that dies at each start is told of, and once it runs, that it does."""
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
    watch.notices.start_job(env.supervisor)
    await env.clock.advance(1800)
    assert [notice.title for notice in env.notices(ADMIN)] == ["Background job always is failing"]

    broken["always"] = 0
    await env.clock.advance(1800)
    await env.supervisor.stop(0)

    assert watch.told() == [RESTARTING, RECOVERED]


# ---- over restarts and crashes


async def test_a_restart_in_the_middle_tells_nothing_twice_and_the_recovery_once(watch: Watch) -> None:
    """The new process finds what is open, and waits until it has seen the job well for itself."""
    await keeps_dying(watch)
    await watch.env.clock.advance(3600)
    watch.restart()

    await watch.look(WELL, span=WELL_FOR - timedelta(seconds=10))
    assert watch.told() == [RESTARTING]
    await watch.look()
    assert watch.told() == [RESTARTING, RECOVERED]
    first, second = watch.env.notices(ADMIN)
    assert first.incident_id == second.incident_id


async def test_a_job_that_dies_in_the_next_process_too_is_the_same_incident(watch: Watch) -> None:
    """And one that had died once before the restart has died again."""
    await watch.look(watch.died())
    watch.restart()
    await watch.look(watch.died())
    assert watch.told() == [RESTARTING]

    watch.restart()
    await watch.look(watch.died(4), span=WELL_FOR)
    assert watch.told() == [RESTARTING, RECOVERED]


@pytest.mark.parametrize("is_kept", [False, True], ids=["before the commit", "after the commit"])
async def test_a_crash_at_any_commit_loses_nothing_and_repeats_nothing(
    watch: Watch, *, is_kept: bool
) -> None:
    """The process dies right before or after each of its commits and comes up on what was stored; the job, whose counts begin anew, dies three times."""

    class Crashed(BaseException):
        """The process is gone."""

    async def crash() -> None:
        raise Crashed

    async def live(crashes_at: int) -> list[NotificationKind]:
        """Go through an incident with one crash; return what was told."""
        it = Watch()
        await it.env.add_user(ADMIN, role=Role.ADMIN)
        commits = deaths = 0

        async def count() -> None:
            nonlocal commits
            commits += 1
            if commits == crashes_at:
                await crash()

        it.env.store.before_commit, it.env.store.after_commit = (None, count) if is_kept else (count, None)
        it.jobs = (WELL,)
        for step in range(2 * int(WELL_FOR / timedelta(seconds=10)) + 20):
            if step in (2, 8, 14):
                deaths += 1
                it.jobs = (it.died(deaths),)
            try:
                await it.notices.check()
            except Crashed:
                deaths = 0
                it.restart(it.env.store.copied())
                it.jobs = (WELL,)
            await it.env.clock.advance(10)
        assert it.env.store.tables.incidents == {}
        return it.told()

    for crashes_at in range(1, 6):
        assert await live(crashes_at) == [RESTARTING, RECOVERED]


async def test_another_process_on_the_same_database_tells_nothing_twice(watch: Watch) -> None:
    """Its own job runs well, and that is no recovery while the first one's does not."""
    await keeps_dying(watch)
    first, first_jobs = watch.notices, watch.jobs
    watch.restart()

    for number in range(3, 10):
        watch.jobs = (watch.died(number),)
        await first.check()
        await watch.look(WELL, times=18)
    assert watch.told() == [RESTARTING]

    watch.jobs = first_jobs
    await first.check()
    await watch.look(WELL, span=WELL_FOR)
    await first.check()
    assert watch.told() == [RESTARTING, RECOVERED]


async def test_a_job_that_a_new_process_does_not_run_does_not_stay_in_trouble_for_ever(watch: Watch) -> None:
    """A setting was changed: after a while its incident ends, and operators hear why."""
    await keeps_dying(watch)
    watch.restart()

    await watch.look(replace(WELL, name="another"), span=AGAIN_WITHIN)
    assert watch.told() == [RESTARTING]
    await watch.look(times=2)

    assert watch.told() == [RESTARTING, RECOVERED]
    assert "does not run it any more" in watch.env.notices(ADMIN)[-1].text


async def test_a_database_that_does_not_answer_delays_a_notice(watch: Watch) -> None:
    """Nothing is lost and nothing is told twice."""
    watch.jobs = (watch.died(2),)
    watch.env.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await watch.notices.check()
    watch.env.store.is_down = False

    await watch.look(times=2)

    assert watch.told() == [RESTARTING]


async def test_a_database_that_was_away_for_long_is_no_incident_of_each_job(watch: Watch) -> None:
    """All that store something failed meanwhile, and get on as soon as it answers."""
    failed_at = watch.env.clock.now()
    failing = replace(PERIODIC, failures=9, is_healthy=False, last_failure_at=failed_at, last_error="Gone")
    await watch.look(failing)
    watch.env.store.is_down = True
    for _ in range(30):
        with pytest.raises(StorageUnavailable):
            await watch.look()
        await watch.env.clock.advance(10)
    watch.env.store.is_down = False

    await watch.look()
    await watch.look(PERIODIC, times=3)

    assert watch.told() == []


# ---- the calendar


@pytest.fixture
async def december() -> Watch:
    """An admin, in the days when the coming year is not known."""
    built = Watch(calendar=ENDS)
    await built.env.add_user(ADMIN, role=Role.ADMIN)
    await built.env.clock.advance_to(datetime(2026, 12, 2, 4, tzinfo=UTC))
    return built


async def test_a_calendar_that_runs_out_is_told_of_once_whatever_happens(december: Watch) -> None:
    """Not again six hours later, nor after a restart; an admin who comes later hears of it too."""
    await december.look()
    await december.env.clock.advance(7 * 3600)
    await december.look()
    await december.env.add_user(OTHER_ADMIN, role=Role.ADMIN)
    december.restart()
    await december.look()

    assert december.told() == december.told(OTHER_ADMIN) == [ENDING]
    assert "2027" in december.env.notices(ADMIN)[0].text


async def test_a_calendar_that_was_mended_is_told_of_once(december: Watch) -> None:
    """By the process that was started with it."""
    await december.look()
    december.calendar = KNOWS
    for _ in range(2):
        december.restart()
        await december.look(times=2)

    assert december.told() == [ENDING, KNOWN]
    assert december.env.audit(prefix="calendar.") == ["calendar.ending", "calendar.known"]


async def test_a_calendar_that_knows_is_not_mentioned(watch: Watch) -> None:
    """No warning, no notice."""
    await watch.env.clock.advance_to(datetime(2026, 12, 2, 4, tzinfo=UTC))
    await watch.look(times=3)

    assert watch.told() == []
