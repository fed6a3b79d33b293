"""Tells operators about the server itself: a job that keeps failing or is stuck, a calendar that runs out, and that either is over.

What is wrong is an incident in the database, changed in the transaction that tells of it. So it is told once and its recovery once, by whichever
process sees it, whatever is restarted or killed in between; and a database that does not answer delays a notice and loses none.

Nobody is called for a blip. A job that died once and runs again is in the log, the metrics and ``/readyz``; what makes it an incident stands in
``docs/decisions/0019-when-the-heartbeat-is-sent.md``.
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

LOOK_EVERY_S: Final = 10.0
AGAIN_WITHIN: Final = timedelta(hours=1)
"""A job that dies a second time within this is told of; one that does not had a blip."""
BACK_WITHIN: Final = timedelta(minutes=2)
"""A job that has failed and is not back after this is told of; the pause before a restart is a minute at most."""
STUCK_AFTER: Final = timedelta(minutes=5)
"""Since its last good run: a job that is due every few seconds is late on any busy machine, and that is nobody's business yet."""
LATE_FOR: Final = timedelta(minutes=1)
"""So long a job has to be seen late before that is told: after a machine's sleep every job is late once."""
WELL_FOR: Final = timedelta(minutes=10)
"""A job has recovered when it has been seen well for this long: one that dies every few minutes is one incident."""
CALENDAR_EVERY: Final = timedelta(hours=6)


class JobAlerts:
    """Watches jobs and calendar on behalf of the operators."""

    def __init__(self, context: Context, *, jobs: Callable[[], Sequence[JobReport]]) -> None:
        self._store = context.store
        self._clock = context.clock
        self._hub = context.hub
        self._new_id = context.new_id
        self._calendar = context.calendar
        self._jobs = jobs
        self._since: datetime | None = None
        """When this process first looked: what it has not seen well for a while is not known to be."""
        self._bad_since: dict[str, datetime] = {}
        self._failures: dict[str, int] = {}
        """How many failures of each job have been judged."""
        self._calendar_seen_at: datetime | None = None

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to look."""
        supervisor.every("operator-notices", LOOK_EVERY_S, self.look, essential=False)

    async def look(self) -> None:
        """Tell what is new about jobs, and now and then about the calendar.

        Raises:
            StorageUnavailable: The database did not answer; what was not stored is told at a later look.
        """
        now = self._clock.now()
        self._since = self._since or now
        try:
            async with self._store.begin(read_only=True) as work:
                incidents = {incident.subject: incident for incident in await work.incidents.all_open()}
        except StorageUnavailable:
            # It explains why others are late, and ends for them all at once.
            self._bad_since.clear()
            raise
        jobs = [job for job in self._jobs() if job.kind is not JobKind.ONCE]
        for job in jobs:
            await self._look_at(job, incidents.pop(job_subject(job.name), None), now)
        if self._calendar_seen_at is None or now - self._calendar_seen_at >= CALENDAR_EVERY:
            await self._look_at_calendar(incidents.get(CALENDAR), now)
            self._calendar_seen_at = now
        for incident in incidents.values():
            await self._forget_if_gone(incident, now)

    # ---- jobs

    async def _look_at(self, job: JobReport, incident: Incident | None, now: datetime) -> None:
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

    async def _judge(self, job: JobReport, blip: Incident | None, now: datetime) -> None:
        """Tell of a job of which operators know nothing, if that is more than a blip; a first death is only written down."""
        deaths = self._deaths(job)
        died_at = job.last_failure_at or now
        # The death that was written down may be met again: by a look whose end was not heard of.
        is_repeated = deaths > 1 or (deaths == 1 and blip is not None and died_at > blip.bad_at)
        if is_repeated or self._lasts(job, now):
            await self._tell_of_trouble(job, now)
        elif deaths and blip is None:
            async with self._store.begin() as work:
                incident = Incident(job_subject(job.name), self._new_id("inc"), died_at, died_at)
                await work.incidents.begin(incident)
                await work.commit()

    def _deaths(self, job: JobReport) -> int:
        """Return how often a job that should run for ever has ended since it was last judged; a run of a periodic one may fail."""
        return job.failures - self._failures.get(job.name, 0) if job.kind is JobKind.LONG_RUNNING else 0

    def _lasts(self, job: JobReport, now: datetime) -> bool:
        bad_since = self._bad_since.get(job.name)
        if bad_since is None:
            return False
        if _has_failed_last(job):
            return now - bad_since >= BACK_WITHIN
        since = job.last_success_at or job.last_started_at
        return now - bad_since >= LATE_FOR and (since is None or now - since >= STUCK_AFTER)

    async def _tell_of_trouble(self, job: JobReport, now: datetime) -> None:
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

            told = await add_for_admins(work, compose)
            await work.audit.add([_line(now, "job.restarting", job.name, incident.id)])
            await work.commit()
        publish_notices(self._hub, *told)

    async def _follow(self, job: JobReport, incident: Incident, now: datetime, *, is_down: bool) -> None:
        """Wait for the recovery of a job that was told of."""
        if is_down or self._deaths(job):
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
        """End what is open about a job that no process runs any more: a setting was changed while it was in trouble."""
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
        """Forget what was no more than a blip."""
        async with self._store.begin() as work:
            await work.incidents.end(incident.id)
            await work.commit()

    # ---- the calendar

    async def _look_at_calendar(self, incident: Incident | None, now: datetime) -> None:
        """Tell each warning once to each admin, those included who became one later; and once that there is none any more."""
        warnings = self._calendar.warnings(now)
        if warnings:
            await self._tell_warnings(warnings, now)
        elif incident is not None:
            await self._end(
                incident,
                lambda user_id: compose_calendar_known(
                    user_id, incident=incident, now=now, new_id=self._new_id
                ),
                _line(now, "calendar.known", None, incident.id),
            )

    async def _tell_warnings(self, warnings: Sequence[str], now: datetime) -> None:
        told: list[Notification] = []
        async with self._store.begin() as work:
            incident = await work.incidents.begin(Incident(CALENDAR, self._new_id("inc"), now, now, now))
            for warning in warnings:

                def compose(user_id: str, warning: str = warning) -> Notification:
                    return compose_calendar_ending(user_id, warning=warning, now=now, new_id=self._new_id)

                if new := await add_for_admins(work, compose):
                    await work.audit.add([_line(now, "calendar.ending", warning, incident.id)])
                    told += new
            await work.commit()
        publish_notices(self._hub, *told)

    # ---- telling

    async def _end(self, incident: Incident, compose: Compose, line: AuditEntry) -> None:
        """End an incident and tell every admin so, unless another process was first."""
        async with self._store.begin() as work:
            if not await work.incidents.end(incident.id):
                return
            told = await add_for_admins(work, compose)
            await work.audit.add([line])
            await work.commit()
        publish_notices(self._hub, *told)


def _is_down(job: JobReport) -> bool:
    """Whether a job does not do at this moment what it is there for."""
    return not job.is_healthy or job.state in (JobState.BACKING_OFF, JobState.STOPPED)


def _has_failed_last(job: JobReport) -> bool:
    """Whether the last thing that happened to a job was a failure."""
    if job.last_failure_at is None:
        return False
    return job.last_success_at is None or job.last_failure_at >= job.last_success_at


def _line(at: datetime, kind: str, reason: str | None, incident_id: str) -> AuditEntry:
    return AuditEntry(at, None, kind, "hullwatch", reason=reason, incident_id=incident_id)
