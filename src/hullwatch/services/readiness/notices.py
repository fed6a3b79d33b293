"""Who is told of not being ready, once for a day and once more at the last check, and of the recovery; and the lines of the audit trail.

What is true of an account is found out in ``readiness.py``. What the database does not take stays here and is given to it again.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.readiness.check_times import Check
from hullwatch.domain.readiness.readiness import Phase, Readiness, Verdict
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.texts.readiness import compose_not_ready, compose_now_ready

MOST_AT_ONCE: Final = 200
"""Accounts in one transaction: after a night without logins all are told in the same moment."""


def incident_of(day: date) -> str:
    """Return the incident that a day's notices about readiness share; `last_incident_of` names the urgent one's own."""
    return f"ready-{day.isoformat()}"


def last_incident_of(day: date) -> str:
    """Return the incident of the urgent notice."""
    return f"{incident_of(day)}-last"


@dataclass(frozen=True, slots=True)
class _Unsaved:
    entry: AuditEntry
    notification: Notification | None


class ReadinessNotices:
    """Remembers for one day at a time who was told what; after a restart it reads that from the database."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._hub = context.hub
        self._new_id = context.new_id
        self._day: date | None = None
        self._told: dict[str, set[str]] = {}
        self._waiting: dict[str, str] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._queue: list[_Unsaved] = []

    @property
    def waiting(self) -> Collection[str]:
        """The users who were told that they are not ready and not yet of the recovery."""
        return self._waiting.keys()

    async def open_day(self, day: date) -> None:
        """Begin a day, or go on with it after a restart.

        Raises:
            StorageUnavailable: Nothing is changed; to be tried again.
        """
        if self._day == day:
            return
        told: dict[str, set[str]] = {}
        waiting: dict[str, str] = {}
        async with self._store.begin(read_only=True) as work:
            for incident_id in (incident_of(day), last_incident_of(day)):
                told[incident_id] = await work.notifications.notified_users(
                    NotificationKind.NOT_READY, incident_id
                )
                recovered = await work.notifications.notified_users(NotificationKind.NOW_READY, incident_id)
                # Whoever was told twice is told of one recovery: that of the later incident.
                for user_id in told[incident_id]:
                    waiting.pop(user_id, None)
                    if user_id not in recovered:
                        waiting[user_id] = incident_id
        self._day, self._told, self._waiting, self._verdicts = day, told, waiting, {}

    def note_check(self, evidence: Mapping[str, object], now: datetime) -> None:
        """Take down a check's totals."""
        entry = AuditEntry(now, None, "readiness.checked", "hullwatch", evidence=evidence)
        self._queue.append(_Unsaved(entry, None))

    def note_found(self, check: Check | None, found: Mapping[str, Readiness], now: datetime) -> None:
        """Take down whose verdict changed and whom to tell; without a check of the day's own nobody is called to act."""
        for user_id, readiness in found.items():
            if not readiness.verdict.counts:
                continue
            notification = self._call_to_act(check, user_id, readiness, now) if check else None
            if notification is not None or self._verdicts.get(user_id) is not readiness.verdict:
                self._note(user_id, readiness, notification, now)

    def note_recoveries(self, of: Callable[[str], Readiness], now: datetime) -> None:
        """Take down who of those that were told is ready now; who gave monitoring up is not told any more."""
        for user_id, incident_id in list(self._waiting.items()):
            readiness = of(user_id)
            is_over = readiness.bell.day != self._day or readiness.bell.phase is Phase.CLOSED
            if is_over or readiness.verdict is Verdict.NOT_WANTED:
                del self._waiting[user_id]
            elif readiness.verdict.is_good:
                del self._waiting[user_id]
                notification = compose_now_ready(
                    user_id, readiness, incident_id=incident_id, now=now, new_id=self._new_id
                )
                self._note(user_id, readiness, notification, now)

    async def flush(self) -> None:
        """Store what was taken down, and push the notices that are new.

        Raises:
            StorageUnavailable: What was not stored waits for the next time.
        """
        while self._queue:
            batch = self._queue[:MOST_AT_ONCE]
            notifications = [unsaved.notification for unsaved in batch if unsaved.notification]
            async with self._store.begin() as work:
                new = [each for each in notifications if await work.notifications.add(each)]
                await work.audit.add([unsaved.entry for unsaved in batch])
                await work.commit()
            del self._queue[: len(batch)]
            publish_notices(self._hub, *new)

    def _call_to_act(
        self, check: Check, user_id: str, readiness: Readiness, now: datetime
    ) -> Notification | None:
        """Return the notice for a user who is not ready and can do something about it; `None` for all others, and at a repetition."""
        if readiness.verdict is not Verdict.NOT_READY or not readiness.is_for_user:
            return None
        day = readiness.bell.day
        incident_id = last_incident_of(day) if check.is_last else incident_of(day)
        told = self._told.setdefault(incident_id, set())
        if user_id in told:
            return None
        told.add(user_id)
        self._waiting[user_id] = incident_id
        return compose_not_ready(
            user_id,
            readiness,
            incident_id=incident_id,
            is_last=check.is_last,
            now=now,
            new_id=self._new_id,
        )

    def _note(
        self, user_id: str, readiness: Readiness, notification: Notification | None, now: datetime
    ) -> None:
        before = self._verdicts.get(user_id)
        self._verdicts[user_id] = readiness.verdict
        entry = AuditEntry(
            at=now,
            user_id=user_id,
            kind=f"readiness.{readiness.verdict.value}",
            actor="hullwatch",
            from_state=before.value if before else None,
            to_state=readiness.verdict.value,
            reason=readiness.reason.value if readiness.reason else None,
            incident_id=notification.incident_id if notification else None,
            evidence={"lines": readiness.lines, "warm": readiness.warm},
        )
        self._queue.append(_Unsaved(entry, notification))
