"""Notifies users who are not ready, once a day and again at the last check, and of the recovery; and writes the audit trail."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.readiness.check_times import Check
from hullwatch.domain.readiness.readiness import Phase, Readiness, ReadinessResult
from hullwatch.runtime.retrying_writer import RetryingWriter
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.texts.readiness import compose_not_ready, compose_now_ready

MOST_AT_ONCE: Final = 200
"""Accounts in one transaction: after a night without logins all are notified at the same moment."""


def incident_of(day: date) -> str:
    """Return the incident id that a day's notices about readiness share."""
    return f"ready-{day.isoformat()}"


def last_incident_of(day: date) -> str:
    """Return the incident id of the urgent notice at the last check."""
    return f"{incident_of(day)}-last"


@dataclass(frozen=True, slots=True)
class _Unsaved:
    entry: AuditEntry
    notification: Notification | None


class ReadinessNotices:
    """Remembers for one day who was notified of what, and reads that from the database after a restart."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._hub = context.hub
        self._new_id = context.new_id
        self._day: date | None = None
        self._notified: dict[str, set[str]] = {}
        self._waiting: dict[str, str] = {}
        self._results: dict[str, ReadinessResult] = {}
        self._writer = RetryingWriter(
            self._write,
            retry_on=StorageUnavailable,
            clock=context.clock.real,
            random=context.random,
            max_batch=MOST_AT_ONCE,
        )

    @property
    def waiting(self) -> Collection[str]:
        """The users who were notified that they are not ready, and not yet of the recovery."""
        return self._waiting.keys()

    async def open_day(self, day: date) -> None:
        """Begin a day, or continue it after a restart.

        Raises:
            StorageUnavailable: Nothing is changed; the call can be repeated.
        """
        if self._day == day:
            return
        notified: dict[str, set[str]] = {}
        waiting: dict[str, str] = {}
        async with self._store.begin(read_only=True) as work:
            for incident_id in (incident_of(day), last_incident_of(day)):
                notified[incident_id] = await work.notifications.notified_users(
                    NotificationKind.NOT_READY, incident_id
                )
                recovered = await work.notifications.notified_users(NotificationKind.NOW_READY, incident_id)
                # A user with both notices gets one recovery, that of the later incident.
                for user_id in notified[incident_id]:
                    waiting.pop(user_id, None)
                    if user_id not in recovered:
                        waiting[user_id] = incident_id
        self._day, self._notified, self._waiting, self._results = day, notified, waiting, {}

    def add_check(self, evidence: Mapping[str, object], now: datetime) -> None:
        """Queue the audit line with a check's totals."""
        entry = AuditEntry(now, None, "readiness.checked", "hullwatch", evidence=evidence)
        self._writer.add(_Unsaved(entry, None))

    def add_results(self, check: Check | None, found: Mapping[str, Readiness], now: datetime) -> None:
        """Queue a line for each changed result, and the notices of a scheduled check; a manual check (`None`) sends none."""
        for user_id, readiness in found.items():
            if not readiness.result.counts:
                continue
            notification = self._not_ready(check, user_id, readiness, now) if check else None
            if notification is not None or self._results.get(user_id) is not readiness.result:
                self._add(user_id, readiness, notification, now)

    def add_recoveries(self, of: Callable[[str], Readiness], now: datetime) -> None:
        """Queue the recoveries of notified users; a user who stopped monitoring gets none."""
        for user_id, incident_id in list(self._waiting.items()):
            readiness = of(user_id)
            is_past = readiness.hours.day != self._day or readiness.hours.phase is Phase.CLOSED
            if is_past or readiness.result is ReadinessResult.NOT_WANTED:
                del self._waiting[user_id]
            elif readiness.result.is_good:
                del self._waiting[user_id]
                notification = compose_now_ready(
                    user_id, readiness, incident_id=incident_id, now=now, new_id=self._new_id
                )
                self._add(user_id, readiness, notification, now)

    async def flush(self) -> None:
        """Store what is queued, and show the new notices in open tabs.

        Raises:
            StorageUnavailable: What was not stored stays queued.
        """
        await self._writer.flush()

    async def _write(self, batch: list[_Unsaved]) -> None:
        notifications = [unsaved.notification for unsaved in batch if unsaved.notification]
        async with self._store.begin() as work:
            new = [each for each in notifications if await work.notifications.add(each)]
            await work.audit.add([unsaved.entry for unsaved in batch])
            await work.commit()
        publish_notices(self._hub, *new)

    def _not_ready(
        self, check: Check, user_id: str, readiness: Readiness, now: datetime
    ) -> Notification | None:
        """Return the notice for a user who can change the reason and was not notified at this kind of check."""
        if readiness.result is not ReadinessResult.NOT_READY or not readiness.is_for_user:
            return None
        day = readiness.hours.day
        incident_id = last_incident_of(day) if check.is_last else incident_of(day)
        notified = self._notified.setdefault(incident_id, set())
        if user_id in notified:
            return None
        notified.add(user_id)
        self._waiting[user_id] = incident_id
        return compose_not_ready(
            user_id,
            readiness,
            incident_id=incident_id,
            is_last=check.is_last,
            now=now,
            new_id=self._new_id,
        )

    def _add(
        self, user_id: str, readiness: Readiness, notification: Notification | None, now: datetime
    ) -> None:
        before = self._results.get(user_id)
        self._results[user_id] = readiness.result
        entry = AuditEntry(
            at=now,
            user_id=user_id,
            kind=f"readiness.{readiness.result.value}",
            actor="hullwatch",
            from_state=before.value if before else None,
            to_state=readiness.result.value,
            reason=readiness.reason.value if readiness.reason else None,
            incident_id=notification.incident_id if notification else None,
            evidence={"lines": readiness.lines, "warm": readiness.warm},
        )
        self._writer.add(_Unsaved(entry, notification))
