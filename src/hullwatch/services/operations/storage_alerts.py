"""Notifies operators of a database that cannot be used, and of its recovery.

The first notice cannot be stored, so it goes directly to channels that were read while the database worked. Notice and recovery
are stored when the database has worked for a while; decision 0037 has the rules.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.notifications.channels import (
    DeliveryResult,
    Destination,
    Message,
    Refused,
    SendOutcome,
    Sent,
    TryLater,
)
from hullwatch.domain.notifications.notifications import DeliveryState, Notification, NotificationKind
from hullwatch.domain.storage import StorageFault
from hullwatch.domain.users.accounts import Role
from hullwatch.runtime.clock import clock_timeout
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import add_for_admins, publish_notices
from hullwatch.services.operations.storage_health import CHECK_EVERY_S, StorageHealth
from hullwatch.services.ports import ChannelPort
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.texts.storage import compose_storage_recovered, compose_storage_unavailable

JOB: Final = "storage-alerts"
READ_CHANNELS_EVERY_S: Final = 60.0
TRY_AGAIN_S: Final = 60.0
WELL_FOR_S: Final = 60.0
"""The outage has ended when checks have succeeded for this long; a nearly full disk fails again and again."""
_TOO_LATE: Final = TryLater("It did not respond in time.")


@dataclass(frozen=True, slots=True)
class OperatorChannel:
    """A channel of an admin that delivers these notices."""

    id: str
    user_id: str
    destination: Destination


@dataclass(slots=True)
class _Outage:
    incident_id: str
    fault: StorageFault
    began_at: datetime
    bad_at: datetime
    notices: dict[str, Notification] = field(default_factory=dict)
    """User id → notice."""
    unsent: list[OperatorChannel] = field(default_factory=list)
    sent: list[DeliveryResult] = field(default_factory=list)
    tried_s: float | None = None
    well_since_s: float | None = None


class StorageAlerts:
    """Watches the health of the database for the operators, as the job ``storage-alerts``."""

    def __init__(
        self, context: Context, *, health: StorageHealth, channels: ChannelPort, metrics: MetricsPort
    ) -> None:
        self._context = context
        self._store = context.store
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._new_id = context.new_id
        self._health = health
        self._channels = channels
        self._metrics = metrics
        self._operators: Sequence[OperatorChannel] = ()
        self._admins: Sequence[str] = ()
        self._read_s: float | None = None
        self._outage: _Outage | None = None
        self._log = structlog.get_logger(component="NotificationService")

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to watch."""
        heartbeat = partial(supervisor.heartbeat, JOB)
        supervisor.spawn("storage-alerts", lambda: self._run(heartbeat), essential=False)

    async def check(self) -> None:
        """Notify operators of an outage or a recovery.

        Raises:
            StorageUnavailable: The database worked a moment ago and does not now; the next call repeats what is missing.
        """
        state, now_s = self._health.state(), self._real_clock.monotonic()
        if state.is_outage:
            await self._note_outage(state.fault or StorageFault.NO_RESPONSE, state.age_s, now_s)
        if state.fault is not None:
            if self._outage is not None:
                self._outage.well_since_s, self._outage.bad_at = None, self._clock.now()
            return
        if self._outage is not None:
            await self._note_recovery(self._outage, now_s)
        elif self._read_s is None or now_s - self._read_s >= READ_CHANNELS_EVERY_S:
            await self._read_channels()
            self._read_s = now_s

    async def _run(self, heartbeat: Callable[[], None]) -> None:
        while True:
            try:
                await self.check()
            except StorageUnavailable:
                self._log.warning("storage.alert_not_stored")
            else:
                heartbeat()
            await self._real_clock.sleep(CHECK_EVERY_S)

    async def _read_channels(self) -> None:
        async with self._store.begin(read_only=True) as work:
            self._admins = [user.id for user in await work.users.list_all() if user.role is Role.ADMIN]
            found = await work.channels.delivering(NotificationKind.STORAGE_UNAVAILABLE, self._admins)
        self._operators = [OperatorChannel(one.id, one.user_id, destination) for one, destination in found]

    # ---- the outage

    async def _note_outage(self, fault: StorageFault, age_s: float, now_s: float) -> None:
        if self._outage is None:
            self._outage = self._begin(fault, age_s)
        outage = self._outage
        if outage.unsent and (outage.tried_s is None or now_s - outage.tried_s >= TRY_AGAIN_S):
            outage.tried_s = now_s
            await self._send(outage)

    def _begin(self, fault: StorageFault, age_s: float) -> _Outage:
        now = self._clock.now()
        outage = _Outage(self._new_id("inc"), fault, began_at=now - timedelta(seconds=age_s), bad_at=now)
        outage.notices = {user_id: self._compose(outage, user_id) for user_id in self._admins}
        outage.unsent = list(self._operators)
        self._log.error("storage.outage", incident_id=outage.incident_id, channels=len(outage.unsent))
        return outage

    def _compose(self, outage: _Outage, user_id: str) -> Notification:
        return compose_storage_unavailable(
            user_id,
            fault=outage.fault,
            incident_id=outage.incident_id,
            began_at=outage.began_at,
            now=self._clock.now(),
            new_id=self._new_id,
        )

    async def _send(self, outage: _Outage) -> None:
        """Send the notice on all channels at once; one that fails for a time is tried again."""
        channels, outage.unsent = outage.unsent, []
        messages = [
            Message(f"{outage.notices[one.user_id].id}.{one.id}", outage.notices[one.user_id])
            for one in channels
        ]
        sends = map(self._send_one, messages, channels)
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        now = self._clock.now()
        for channel, message, outcome in zip(channels, messages, outcomes, strict=True):
            match outcome:
                case Sent():
                    outage.sent.append(DeliveryResult(message.id, DeliveryState.SENT, at=now, due_at=now))
                case TryLater():
                    outage.unsent.append(channel)
                case BaseException():  # its text may hold the address
                    self._log.error("notice.sending_failed", error=type(outcome).__name__)
                case Refused():
                    pass  # the outbox tries it again after the recovery, and reports it
            self._metrics.notification(
                channel.destination.kind.value, "sent" if isinstance(outcome, Sent) else "later"
            )
        self._log.warning("storage.notice_sent", sent=len(outage.sent), unsent=len(outage.unsent))

    async def _send_one(self, message: Message, channel: OperatorChannel) -> SendOutcome:
        try:
            async with clock_timeout(self._real_clock, self._channels.limit_s(channel.destination.kind)):
                return await self._channels.send(message, channel.destination)
        except TimeoutError:
            return _TOO_LATE

    # ---- the recovery

    async def _note_recovery(self, outage: _Outage, now_s: float) -> None:
        if outage.well_since_s is None:
            outage.well_since_s = now_s
        if now_s - outage.well_since_s < WELL_FOR_S:
            return
        now = self._clock.now()
        async with self._store.begin() as work:
            new = await add_for_admins(
                work, lambda user_id: outage.notices.get(user_id) or self._compose(outage, user_id)
            )
            # Their deliveries were just created; what reached its channel during the outage is not sent again.
            await work.outbox.finish(outage.sent, {})
            new += await add_for_admins(
                work,
                lambda user_id: compose_storage_recovered(
                    user_id,
                    incident_id=outage.incident_id,
                    began_at=outage.began_at,
                    ended_at=outage.bad_at,
                    now=now,
                    new_id=self._new_id,
                ),
            )
            await work.audit.add(
                [
                    _line(outage.began_at, "storage.unavailable", outage.fault.value, outage),
                    _line(now, "storage.available", None, outage),
                ]
            )
            await work.commit()
        self._outage = None
        publish_notices(self._context.hub, *new)


def _line(at: datetime, kind: str, reason: str | None, outage: _Outage) -> AuditEntry:
    return AuditEntry(at, None, kind, "hullwatch", reason=reason, incident_id=outage.incident_id)
