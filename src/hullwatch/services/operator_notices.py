"""Tells operators about the server itself: a job that died and that it runs well again, and a calendar that runs out.

Looks at the supervisor's reports now and then. How incidents are stored and survive a restart is in ``incidents.py``; what is told of the broker
is in ``broker_notices.py``.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hullwatch.domain.events import AuditEntry, Event
from hullwatch.domain.market_calendar import MarketCalendar
from hullwatch.domain.notifications import Notification
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock
from hullwatch.runtime.jobs import JobKind, JobReport
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.incidents import JOB_TROUBLE, Incident, OperatorIncidents, notify_admins
from hullwatch.services.notifications.operators import (
    compose_calendar_ending,
    compose_job_recovered,
    compose_job_trouble,
)
from hullwatch.services.notifications.sentences import announce
from hullwatch.services.ports import StorePort

LOOK_EVERY_S: Final = 10.0
WELL_FOR: Final = timedelta(minutes=1)
"""A job has recovered when it has been healthy and did not die again for this long."""
STALE_LOOKS: Final = 6
"""Looks in a row at which a job that has not failed counts as unhealthy, before that is told: after a machine's sleep every job is late once."""
STUCK_AFTER: Final = timedelta(minutes=5)
"""Since its last good run: a job that is due every few seconds is late on any busy machine, and that is nobody's business yet."""
CALENDAR_EVERY: Final = timedelta(hours=6)


@dataclass(slots=True)
class _Trouble:
    incident: Incident
    restarts: int
    failures: int
    well_since: datetime | None = None


class OperatorNotices:
    """Watches jobs and calendar on behalf of the operators."""

    def __init__(
        self,
        *,
        store: StorePort,
        clock: Clock,
        hub: Broadcast[Event],
        new_id: Callable[[str], str],
        calendar: MarketCalendar,
        jobs: Callable[[], Sequence[JobReport]],
        incidents: OperatorIncidents,
    ) -> None:
        self._store = store
        self._clock = clock
        self._hub = hub
        self._new_id = new_id
        self._calendar = calendar
        self._jobs = jobs
        self._incidents = incidents
        self._troubles: dict[str, _Trouble] | None = None
        """By job; None until it is known what this server had told before it was started."""
        self._seen_restarts: dict[str, int] = {}
        self._stale: Counter[str] = Counter()
        self._calendar_seen_at: datetime | None = None

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to look."""
        supervisor.every("operator-notices", LOOK_EVERY_S, self.look, essential=False)

    async def look(self) -> None:
        """Tell what is new about jobs, and now and then about the calendar.

        Raises:
            StorageUnavailable: The database did not answer; what was not stored is told at a later look.
        """
        if self._troubles is None:
            left_open = await self._incidents.still_open(JOB_TROUBLE)
            self._troubles = {job: _Trouble(incident, 0, 0) for job, incident in left_open.items()}
        await self._incidents.store_untold()
        for job in self._jobs():
            if job.kind is not JobKind.ONCE:
                await self._look_at(job, self._troubles)
        now = self._clock.now()
        if self._calendar_seen_at is None or now - self._calendar_seen_at >= CALENDAR_EVERY:
            await self._look_at_calendar(now)
            self._calendar_seen_at = now

    async def _look_at(self, job: JobReport, troubles: dict[str, _Trouble]) -> None:
        trouble = troubles.get(job.name)
        if trouble is not None:
            if self._has_recovered(job, trouble):
                del troubles[job.name]
                await self._tell_of_recovery(job, trouble.incident)
            return
        self._stale[job.name] = 0 if job.is_healthy else self._stale[job.name] + 1
        has_died = job.restarts > self._seen_restarts.get(job.name, 0)
        is_stuck = self._stale[job.name] >= STALE_LOOKS and self._is_long_overdue(job)
        if has_died or is_stuck or (not job.is_healthy and _has_failed_last(job)):
            incident = self._incidents.new(JOB_TROUBLE, job.name)
            troubles[job.name] = _Trouble(incident, job.restarts, job.failures)
            self._seen_restarts[job.name] = job.restarts
            await self._tell_of_trouble(job, incident)

    def _is_long_overdue(self, job: JobReport) -> bool:
        since = job.last_success_at or job.last_started_at
        return since is None or self._clock.now() - since >= STUCK_AFTER

    def _has_recovered(self, job: JobReport, trouble: _Trouble) -> bool:
        now = self._clock.now()
        has_died_again = (job.restarts, job.failures) != (trouble.restarts, trouble.failures)
        trouble.restarts, trouble.failures = job.restarts, job.failures
        self._seen_restarts[job.name] = job.restarts
        if has_died_again or not job.is_healthy:
            trouble.well_since = None
            return False
        trouble.well_since = trouble.well_since or now
        return now - trouble.well_since >= WELL_FOR

    async def _tell_of_trouble(self, job: JobReport, incident: Incident) -> None:
        def compose(user_id: str) -> Notification:
            return compose_job_trouble(
                user_id,
                job=job.name,
                error=job.last_error,
                incident_id=incident.id,
                now=incident.began_at,
                new_id=self._new_id,
            )

        await self._incidents.tell_began(incident, compose)

    async def _tell_of_recovery(self, job: JobReport, incident: Incident) -> None:
        now = self._clock.now()

        def compose(user_id: str) -> Notification:
            return compose_job_recovered(
                user_id, job=job.name, incident_id=incident.id, now=now, new_id=self._new_id
            )

        await self._incidents.tell_over(incident, compose)

    async def _look_at_calendar(self, now: datetime) -> None:
        for warning in self._calendar.warnings(now):

            def compose(user_id: str, warning: str = warning) -> Notification:
                return compose_calendar_ending(user_id, warning=warning, now=now, new_id=self._new_id)

            async with self._store.begin() as work:
                stored = await notify_admins(work, compose)
                if stored:
                    await work.audit.add(
                        [AuditEntry(now, None, "calendar.ending", "hullwatch", reason=warning)]
                    )
                await work.commit()
            for notification in stored:
                announce(self._hub, notification)


def _has_failed_last(job: JobReport) -> bool:
    """Whether the last thing that happened to a job was a failure."""
    if job.last_failure_at is None:
        return False
    return job.last_success_at is None or job.last_failure_at >= job.last_success_at
