"""Notifies operators of a job that keeps failing or is stuck, of missing trading days, and of the end of either.

Each failure is an incident in the database, changed in the transaction that stores its notice. So operators get one notice of it and
one of its recovery, whichever process is restarted in between. A single failure is only logged; decision 0021 has the rules.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.notifications.incidents import CALENDAR, Incident, job_of, job_subject
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.runtime.jobs import JobKind, JobReport, JobState
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import Compose, add_for_admins, publish_notices
from hullwatch.services.texts.operations import (
    compose_calendar_ending,
    compose_calendar_known,
    compose_job_failing,
    compose_job_recovered,
    compose_job_removed,
)

CHECK_EVERY_S: Final = 10.0
AGAIN_WITHIN: Final = timedelta(hours=1)
"""A second failure within this time notifies operators."""
BACK_WITHIN: Final = timedelta(minutes=2)
"""A job that failed and does not run after this time notifies operators; a restart follows within a minute."""
STUCK_AFTER: Final = timedelta(minutes=5)
"""Since its last success: on a busy machine every job is late at times."""
LATE_FOR: Final = timedelta(minutes=1)
"""How long a job has to be late: after the sleep of a machine every job is late once."""
WELL_FOR: Final = timedelta(minutes=10)
"""A job has recovered when it has worked for this long; repeated failures are one incident."""
CALENDAR_EVERY: Final = timedelta(hours=6)


class JobAlerts:
    """Watches jobs and calendar for the operators."""

    def __init__(self, context: Context, *, jobs: Callable[[], Sequence[JobReport]]) -> None:
        self._store = context.store
        self._clock = context.clock
        self._hub = context.hub
        self._new_id = context.new_id
        self._calendar = context.calendar
        self._jobs = jobs
        self._since: datetime | None = None
        """When this process first checked; before that it knows of no job that works."""
        self._bad_since: dict[str, datetime] = {}
        self._failures: dict[str, int] = {}
        """How many failures of each job were counted."""
        self._calendar_seen_at: datetime | None = None

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to check."""
        supervisor.every("job-alerts", CHECK_EVERY_S, self.check, essential=False)

    async def check(self) -> None:
        """Notify operators of changes of the jobs, and every few hours of the calendar.

        Raises:
            StorageUnavailable: The database did not answer; the next check notifies instead.
        """
        now = self._clock.now()
        self._since = self._since or now
        try:
            async with self._store.begin(read_only=True) as work:
                incidents = {incident.subject: incident for incident in await work.incidents.all_open()}
        except StorageUnavailable:
            # An unavailable database makes other jobs late, so their times start again.
            self._bad_since.clear()
            raise
        jobs = [job for job in self._jobs() if job.kind is not JobKind.ONCE]
        for job in jobs:
            await self._check_job(job, incidents.pop(job_subject(job.name), None), now)
        if self._calendar_seen_at is None or now - self._calendar_seen_at >= CALENDAR_EVERY:
            await self._check_calendar(incidents.get(CALENDAR), now)
            self._calendar_seen_at = now
        for incident in incidents.values():
            await self._forget_if_gone(incident, now)

    # ---- jobs

    async def _check_job(self, job: JobReport, incident: Incident | None, now: datetime) -> None:
        is_down = _is_down(job)
        if is_down:
            self._bad_since.setdefault(job.name, now)
        else:
            self._bad_since.pop(job.name, None)
        if incident is not None and incident.notified_at is None and now - incident.bad_at > AGAIN_WITHIN:
            await self._drop(incident)
            incident = None
        if incident is not None and incident.notified_at is not None:
            await self._follow(job, incident, now, is_down=is_down)
        else:
            await self._judge(job, incident, now)
        self._failures[job.name] = job.failures

    async def _judge(self, job: JobReport, first_failure: Incident | None, now: datetime) -> None:
        """Notify operators of a job that keeps failing; a first failure is only stored."""
        failures = self._new_failures(job)
        failed_at = job.last_failure_at or now
        # A check that was interrupted after its commit meets the stored failure again.
        is_repeated = failures > 1 or (
            failures == 1 and first_failure is not None and failed_at > first_failure.bad_at
        )
        if is_repeated or self._lasts(job, now):
            await self._notify_failing(job, now)
        elif failures and first_failure is None:
            async with self._store.begin() as work:
                incident = Incident(job_subject(job.name), self._new_id("inc"), failed_at, failed_at)
                await work.incidents.begin(incident)
                await work.commit()

    def _new_failures(self, job: JobReport) -> int:
        """Return the new failures of a job that runs without end; a single run of a periodic job may fail."""
        return job.failures - self._failures.get(job.name, 0) if job.kind is JobKind.LONG_RUNNING else 0

    def _lasts(self, job: JobReport, now: datetime) -> bool:
        bad_since = self._bad_since.get(job.name)
        if bad_since is None:
            return False
        if _has_failed_last(job):
            return now - bad_since >= BACK_WITHIN
        since = job.last_success_at or job.last_started_at
        return now - bad_since >= LATE_FOR and (since is None or now - since >= STUCK_AFTER)

    async def _notify_failing(self, job: JobReport, now: datetime) -> None:
        async with self._store.begin() as work:
            subject = job_subject(job.name)
            began_at = self._bad_since.get(job.name, job.last_failure_at or now)
            incident = await work.incidents.begin(Incident(subject, self._new_id("inc"), began_at, now))
            if not await work.incidents.mark_notified(subject, at=now):
                return  # another process was first
            await work.incidents.note_bad(subject, at=now)

            def compose(user_id: str) -> Notification:
                return compose_job_failing(
                    user_id,
                    job=job.name,
                    error=job.last_error if _has_failed_last(job) else None,
                    incident=incident,
                    now=now,
                    new_id=self._new_id,
                )

            new = await add_for_admins(work, compose)
            await work.audit.add([_line(now, "job.restarting", job.name, incident.id)])
            await work.commit()
        publish_notices(self._hub, *new)

    async def _follow(self, job: JobReport, incident: Incident, now: datetime, *, is_down: bool) -> None:
        """Wait for the recovery of a job that operators were notified of."""
        if is_down or self._new_failures(job):
            async with self._store.begin() as work:
                await work.incidents.note_bad(incident.subject, at=now)
                await work.commit()
        elif now - max(incident.bad_at, self._since or now) >= WELL_FOR:
            await self._end(
                incident,
                lambda user_id: compose_job_recovered(
                    user_id, job=job.name, incident=incident, now=now, new_id=self._new_id
                ),
                _line(now, "job.recovered", job.name, incident.id),
            )

    async def _forget_if_gone(self, incident: Incident, now: datetime) -> None:
        """Close the incident of a job that no process runs any more, because a setting was changed."""
        job = job_of(incident.subject)
        if job is None or now - max(incident.bad_at, self._since or now) <= AGAIN_WITHIN:
            return
        if incident.notified_at is None:
            await self._drop(incident)
            return
        await self._end(
            incident,
            lambda user_id: compose_job_removed(
                user_id, job=job, incident=incident, now=now, new_id=self._new_id
            ),
            _line(now, "job.recovered", job, incident.id),
        )

    async def _drop(self, incident: Incident) -> None:
        """Close the incident of a single failure."""
        async with self._store.begin() as work:
            await work.incidents.end(incident.id)
            await work.commit()

    # ---- the calendar

    async def _check_calendar(self, incident: Incident | None, now: datetime) -> None:
        """Notify each admin once of each warning, and once when there is none any more."""
        warnings = self._calendar.warnings(now)
        if warnings:
            await self._notify_warnings(warnings, now)
        elif incident is not None:
            await self._end(
                incident,
                lambda user_id: compose_calendar_known(
                    user_id, incident=incident, now=now, new_id=self._new_id
                ),
                _line(now, "calendar.known", None, incident.id),
            )

    async def _notify_warnings(self, warnings: Sequence[str], now: datetime) -> None:
        stored: list[Notification] = []
        async with self._store.begin() as work:
            incident = await work.incidents.begin(Incident(CALENDAR, self._new_id("inc"), now, now, now))
            for warning in warnings:

                def compose(user_id: str, warning: str = warning) -> Notification:
                    return compose_calendar_ending(user_id, warning=warning, now=now, new_id=self._new_id)

                if new := await add_for_admins(work, compose):
                    await work.audit.add([_line(now, "calendar.ending", warning, incident.id)])
                    stored += new
            await work.commit()
        publish_notices(self._hub, *stored)

    # ---- the end of an incident

    async def _end(self, incident: Incident, compose: Compose, line: AuditEntry) -> None:
        """End an incident and notify every admin, unless another process was first."""
        async with self._store.begin() as work:
            if not await work.incidents.end(incident.id):
                return
            new = await add_for_admins(work, compose)
            await work.audit.add([line])
            await work.commit()
        publish_notices(self._hub, *new)


def _is_down(job: JobReport) -> bool:
    """Whether a job is not working at this moment."""
    return not job.is_healthy or job.state in (JobState.BACKING_OFF, JobState.STOPPED)


def _has_failed_last(job: JobReport) -> bool:
    """Whether the last thing that happened to a job was a failure."""
    if job.last_failure_at is None:
        return False
    return job.last_success_at is None or job.last_failure_at >= job.last_success_at


def _line(at: datetime, kind: str, reason: str | None, incident_id: str) -> AuditEntry:
    return AuditEntry(at, None, kind, "hullwatch", reason=reason, incident_id=incident_id)
