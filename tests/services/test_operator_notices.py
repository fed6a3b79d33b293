"""What operators are told about jobs and calendar; `hullwatch.services.operator_notices`."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hullwatch.domain.accounts import Role
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.market_calendar import MarketCalendar
from hullwatch.domain.notifications import NotificationKind
from hullwatch.runtime.jobs import JobKind, JobReport, JobState
from hullwatch.services.incidents import OperatorIncidents
from hullwatch.services.operator_notices import OperatorNotices
from services.building import ALICE, House

ADMIN, OTHER_ADMIN = "usr_admin", "usr_other"
RESTARTING, RECOVERED = NotificationKind.JOB_RESTARTING, NotificationKind.JOB_RECOVERED
ENDING = NotificationKind.CALENDAR_ENDING
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
DIED = replace(WELL, restarts=1, failures=1, last_error="OSError")


class Watch:
    """The service over a fake store, with the jobs that a test says there are."""

    def __init__(self, *, calendar: MarketCalendar | None = None) -> None:
        self.house = House()
        self.jobs: tuple[JobReport, ...] = (WELL,)
        self.notices = self.service(calendar)

    def service(self, calendar: MarketCalendar | None = None, *, server: str = "here") -> OperatorNotices:
        """Return a service as a new process would have it."""
        return OperatorNotices(
            store=self.house.store,
            clock=self.house.clock,
            hub=self.house.hub,
            new_id=self.house.new_id,
            calendar=calendar or MarketCalendar(known_years=frozenset({2026, 2027})),
            jobs=lambda: self.jobs,
            incidents=OperatorIncidents(
                store=self.house.store,
                clock=self.house.clock,
                hub=self.house.hub,
                new_id=self.house.new_id,
                server=server,
            ),
        )

    def told(self, user_id: str = ADMIN) -> list[NotificationKind]:
        """Return the kinds of an admin's notices, oldest first."""
        return [notice.kind for notice in self.house.notices(user_id)]

    async def look(self, *jobs: JobReport, times: int = 1) -> None:
        """Look at these jobs, ten seconds apart."""
        self.jobs = jobs or self.jobs
        for _ in range(times):
            await self.notices.look()
            await self.house.clock.advance(10)


@pytest.fixture
async def watch() -> Watch:
    """Two admins and a trader."""
    built = Watch()
    await built.house.add_user(ADMIN, role=Role.ADMIN)
    await built.house.add_user(OTHER_ADMIN, role=Role.ADMIN)
    await built.house.add_user(ALICE)
    return built


async def test_a_job_that_died_is_told_of_once_and_so_is_its_recovery(watch: Watch) -> None:
    """To every admin, and to nobody else; both notices belong to one incident."""
    await watch.look()
    await watch.look(DIED, times=20)

    assert watch.told() == watch.told(OTHER_ADMIN) == [RESTARTING, RECOVERED]
    assert watch.told(ALICE) == []
    first, second = watch.house.notices(ADMIN)
    assert first.incident_id == second.incident_id is not None
    assert "outbox" in first.title
    assert "OSError" in first.text
    assert watch.house.audit(prefix="job.") == ["job.restarting", "job.recovered"]


async def test_a_job_that_keeps_dying_is_one_incident(watch: Watch) -> None:
    """It has recovered only when it has not died for a minute."""
    for number in range(1, 10):
        await watch.look(replace(DIED, restarts=number, failures=number), times=3)
    assert watch.told() == [RESTARTING]

    await watch.look(times=8)
    assert watch.told() == [RESTARTING, RECOVERED]

    await watch.look(replace(DIED, restarts=10, failures=10))
    assert watch.told() == [RESTARTING, RECOVERED, RESTARTING]


async def test_a_periodic_job_that_fails_for_long_is_told_of(watch: Watch) -> None:
    """One failed run is none: the next one may be good."""
    failing = replace(WELL, kind=JobKind.PERIODIC, failures=1, interval_s=60.0)
    await watch.look(failing, times=5)
    assert watch.told() == []

    failed_at = watch.house.clock.now()
    await watch.look(replace(failing, failures=4, is_healthy=False, last_failure_at=failed_at), times=5)
    assert watch.told() == [RESTARTING]


async def test_a_job_that_is_late_once_is_no_alarm(watch: Watch) -> None:
    """After a machine's sleep every job is late; one that stays so for a minute is stuck."""
    late = replace(WELL, kind=JobKind.PERIODIC, is_healthy=False, interval_s=60.0)
    await watch.look(late, times=3)
    await watch.look(WELL)
    assert watch.told() == []

    await watch.look(late, times=6)
    assert watch.told() == [RESTARTING]


async def test_side_tasks_are_nobody_s_business(watch: Watch) -> None:
    """A second look that failed is begun anew by itself."""
    await watch.look(replace(WELL, kind=JobKind.ONCE, is_healthy=False, failures=1), times=5)

    assert watch.told() == []


async def test_a_database_that_does_not_answer_delays_a_notice(watch: Watch) -> None:
    """Nothing is lost and nothing is told twice."""
    watch.jobs = (DIED,)
    watch.house.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await watch.notices.look()
    watch.house.store.is_down = False

    await watch.look(times=2)

    assert watch.told() == [RESTARTING]


async def test_a_restart_in_the_middle_of_a_trouble_is_no_second_one(watch: Watch) -> None:
    """The new process tells of the recovery that the old one did not see, under the same incident."""
    await watch.look(DIED)
    watch.notices = watch.service()
    await watch.look(WELL, times=8)

    assert watch.told() == watch.told(OTHER_ADMIN) == [RESTARTING, RECOVERED]
    first, second = watch.house.notices(ADMIN)
    assert first.incident_id == second.incident_id

    watch.notices = watch.service()
    await watch.look(WELL, times=20)
    assert watch.told() == [RESTARTING, RECOVERED]


async def test_another_server_does_not_speak_for_this_one(watch: Watch) -> None:
    """On one database each has jobs of its own: the other's are well, and this one's still are not."""
    await watch.look(DIED)
    watch.notices = watch.service(server="there")
    await watch.look(WELL, times=20)

    assert watch.told() == [RESTARTING]


async def test_a_calendar_that_runs_out_is_told_of_once_whatever_happens() -> None:
    """Not again six hours later, nor after a restart; an admin who comes later hears of it too."""
    calendar = MarketCalendar(known_years=frozenset({2026}))
    watch = Watch(calendar=calendar)
    await watch.house.add_user(ADMIN, role=Role.ADMIN)
    await watch.house.clock.advance_to(datetime(2026, 12, 2, 4, tzinfo=UTC))

    await watch.look()
    await watch.house.clock.advance(7 * 3600)
    await watch.look()
    await watch.house.add_user(OTHER_ADMIN, role=Role.ADMIN)
    await watch.service(calendar).look()

    assert watch.told() == watch.told(OTHER_ADMIN) == [ENDING]
    assert "2027" in watch.house.notices(ADMIN)[0].text


async def test_a_calendar_that_knows_is_not_mentioned(watch: Watch) -> None:
    """No warning, no notice."""
    await watch.house.clock.advance_to(datetime(2026, 12, 2, 4, tzinfo=UTC))
    await watch.look(times=3)

    assert watch.told() == []
