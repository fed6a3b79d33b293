"""Incidents that operators are told of: when one begins and when it is over, to every admin and in the audit trail, in one transaction.

When something is an incident is decided by whoever watches for it. What was told and is not over is read from the audit trail, so that a server
which is started again in the middle of an incident goes on with it. Each server keeps to its own: two of them on one database may see the same
job of theirs die at different times.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from hullwatch.domain.accounts import Role
from hullwatch.domain.events import AuditEntry, Event
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.notifications import Notification
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock
from hullwatch.services.notifications.sentences import announce
from hullwatch.services.ports import StorePort, UnitOfWork

LOOKED_BACK: Final = timedelta(days=7)
"""An incident that began longer ago, and of which this server has not said that it is over, is forgotten by a restart."""
_SERVER: Final = "server"

Compose = Callable[[str], Notification]
"""Makes the notice for the admin with this id; asked again, one of the same kind and incident."""


@dataclass(frozen=True, slots=True)
class IncidentKind:
    """The lines of the audit trail that frame an incident, and whose doing they are."""

    began: str
    over: str
    actor: str = "hullwatch"


MASS_REFUSAL: Final = IncidentKind("broker.mass_refusal", "broker.recovered", "fyers")
BROKER_SILENT: Final = IncidentKind("broker.not_answering", "broker.answers", "fyers")
JOB_TROUBLE: Final = IncidentKind("job.restarting", "job.recovered")


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that began and lasts."""

    id: str
    kind: IncidentKind
    subject: str
    """Which one of its kind: a job's name, a cause."""
    began_at: datetime


@dataclass(frozen=True, slots=True)
class _Tale:
    """A beginning or an end that is to be stored and told."""

    incident: Incident
    line: str
    at: datetime
    compose: Compose


class OperatorIncidents:
    """Tells operators, in the order in which things happened and however long the database does not answer.

    Args:
        store: The database.
        clock: The time that the lines live in.
        hub: Where notices are announced.
        new_id: Makes ids.
        server: What this server is called, the same after a restart.
    """

    def __init__(
        self,
        *,
        store: StorePort,
        clock: Clock,
        hub: Broadcast[Event],
        new_id: Callable[[str], str],
        server: str,
    ) -> None:
        self._store = store
        self._clock = clock
        self._hub = hub
        self._new_id = new_id
        self._server = server
        self._tales: deque[_Tale] = deque()
        self._storing = asyncio.Lock()
        self._log = structlog.get_logger(component="NotificationService")

    async def still_open(self, kind: IncidentKind) -> dict[str, Incident]:
        """Return what this server said has begun and not that it is over, by subject.

        Raises:
            StorageUnavailable: The database did not answer.
        """
        now = self._clock.now()
        since, before = now - LOOKED_BACK, now + timedelta(microseconds=1)
        async with self._store.begin(read_only=True) as work:
            began = await work.audit.lines(kind.began, since=since, before=before)
            over = await work.audit.lines(kind.over, since=since, before=before)
        ended = {line.incident_id for line in over}
        return {
            line.reason or "": Incident(line.incident_id, kind, line.reason or "", line.at)
            for line in began
            if line.incident_id and line.incident_id not in ended and self._is_ours(line)
        }

    def new(self, kind: IncidentKind, subject: str = "", *, at: datetime | None = None) -> Incident:
        """Return a new incident that began now, or at the moment given; nothing is told yet."""
        return Incident(self._new_id("inc"), kind, subject, at or self._clock.now())

    async def tell_began(self, incident: Incident, compose: Compose) -> None:
        """Tell every admin that it has begun; kept and tried again at the next telling if the database does not answer."""
        await self._tell(_Tale(incident, incident.kind.began, incident.began_at, compose))

    async def tell_over(self, incident: Incident, compose: Compose) -> None:
        """Tell every admin that it is over; kept and tried again at the next telling if the database does not answer."""
        await self._tell(_Tale(incident, incident.kind.over, self._clock.now(), compose))

    async def store_untold(self) -> None:
        """Store what could not be stored before, oldest first; what cannot be now is kept."""
        async with self._storing:
            while self._tales:
                tale = self._tales[0]
                try:
                    stored = await self._keep(tale)
                except StorageUnavailable:
                    self._log.warning(
                        "operators.not_told",
                        line=tale.line,
                        incident_id=tale.incident.id,
                        waiting=len(self._tales),
                    )
                    return
                self._tales.popleft()
                for notification in stored:
                    announce(self._hub, notification)

    async def _tell(self, tale: _Tale) -> None:
        self._tales.append(tale)
        await self.store_untold()

    async def _keep(self, tale: _Tale) -> list[Notification]:
        incident = tale.incident
        line = AuditEntry(
            tale.at,
            None,
            tale.line,
            incident.kind.actor,
            reason=incident.subject or None,
            incident_id=incident.id,
            evidence={_SERVER: self._server},
        )
        async with self._store.begin() as work:
            stored = await notify_admins(work, tale.compose)
            # A commit whose acknowledgement was lost has told it already.
            known = await work.audit.lines(
                tale.line, since=tale.at, before=tale.at + timedelta(microseconds=1)
            )
            if not any(one.incident_id == incident.id for one in known):
                await work.audit.add([line])
            await work.commit()
        return stored

    def _is_ours(self, line: AuditEntry) -> bool:
        return line.evidence.get(_SERVER) == self._server


async def notify_admins(work: UnitOfWork, compose: Compose) -> list[Notification]:
    """Store a notice for every admin who has not got it yet; return those that are new."""
    admins: Iterable[str] = [user.id for user in await work.users.list_all() if user.role is Role.ADMIN]
    notices = [compose(admin_id) for admin_id in admins]
    return [notice for notice in notices if await work.notifications.add(notice)]
