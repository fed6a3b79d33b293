"""Notifies operators when Fyers does not respond, rate-limits most accounts or blocks this server, and of the recovery.

A mass refusal of sessions has its own notice, and while it lasts there is none from here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.notifications.incidents import BROKER_UNAVAILABLE, Incident
from hullwatch.domain.notifications.notifications import BrokerOutageNotice
from hullwatch.runtime.circuit import CircuitReport, CircuitState
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import add_for_admins, publish_notices
from hullwatch.services.texts.operations import compose_broker_available, compose_broker_unavailable

CHECK_EVERY_S: Final = 10.0
NOTIFY_AFTER: Final = timedelta(minutes=2)
"""Short failures happen every day; this is less than one 5-minute candle."""
WELL_FOR: Final = timedelta(minutes=1)
"""The outage has ended when Fyers has responded for this long."""


@dataclass(frozen=True, slots=True)
class BrokerSigns:
    """What this server knows of Fyers at one moment."""

    circuits: Sequence[CircuitReport]
    statuses: Mapping[WatchStatus, int]
    """How many accounts that want monitoring have each status."""
    answered_at: datetime | None
    """When Fyers last answered a call of any session."""
    is_mass_refusal: bool


def outage_in(signs: BrokerSigns) -> BrokerOutageNotice | None:
    """Return the outage that keeps Fyers from serving most accounts, if there is one."""
    if signs.is_mass_refusal:
        return None
    held_back = {one.name for one in signs.circuits if one.state is not CircuitState.CLOSED}
    watched = signs.statuses.get(WatchStatus.WATCHING, 0)
    if "cloudflare_blocked" in held_back:
        return BrokerOutageNotice.ADDRESS_BLOCKED
    if "circuit_open" in held_back or signs.statuses.get(WatchStatus.FYERS_UNAVAILABLE, 0) > watched:
        return BrokerOutageNotice.NO_RESPONSE
    if signs.statuses.get(WatchStatus.RATE_LIMITED, 0) > watched:
        return BrokerOutageNotice.RATE_LIMITED
    return None


class BrokerAlerts:
    """Watches Fyers for the operators; `signs` returns what this server knows of Fyers now."""

    def __init__(self, context: Context, *, signs: Callable[[], BrokerSigns]) -> None:
        self._store = context.store
        self._clock = context.clock
        self._hub = context.hub
        self._new_id = context.new_id
        self._signs = signs
        self._outage_since: datetime | None = None

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to check."""
        supervisor.every("broker-alerts", CHECK_EVERY_S, self.check, essential=False)

    async def check(self) -> None:
        """Notify operators of an outage or a recovery.

        Raises:
            StorageUnavailable: The database did not answer; the next check notifies instead.
        """
        signs, now = self._signs(), self._clock.now()
        outage = outage_in(signs)
        self._outage_since = None if outage is None else self._outage_since or now
        async with self._store.begin(read_only=True) as work:
            incident = await work.incidents.get(BROKER_UNAVAILABLE)
        if outage is None:
            if incident is not None and _is_over(incident, signs, now):
                await self._notify_recovery(incident, now)
        elif incident is not None:
            await self._note_outage(now)
        elif now - (since := self._outage_since or now) >= NOTIFY_AFTER:
            await self._notify_outage(outage, signs, since, now)

    async def _note_outage(self, now: datetime) -> None:
        async with self._store.begin() as work:
            await work.incidents.note_bad(BROKER_UNAVAILABLE, at=now)
            await work.commit()

    async def _notify_outage(
        self, outage: BrokerOutageNotice, signs: BrokerSigns, since: datetime, now: datetime
    ) -> None:
        blind = sum(
            signs.statuses.get(one, 0) for one in (WatchStatus.FYERS_UNAVAILABLE, WatchStatus.RATE_LIMITED)
        )
        served = blind + signs.statuses.get(WatchStatus.WATCHING, 0)
        incident = Incident(BROKER_UNAVAILABLE, self._new_id("inc"), since, now, now)
        async with self._store.begin() as work:
            if (await work.incidents.begin(incident)).id != incident.id:
                return  # another process was first
            new = await add_for_admins(
                work,
                lambda user_id: compose_broker_unavailable(
                    user_id,
                    outage=outage,
                    blind=blind,
                    served=served,
                    incident=incident,
                    now=now,
                    new_id=self._new_id,
                ),
            )
            await work.audit.add([_line(now, "broker.unavailable", outage.value, incident)])
            await work.commit()
        publish_notices(self._hub, *new)

    async def _notify_recovery(self, incident: Incident, now: datetime) -> None:
        async with self._store.begin() as work:
            if not await work.incidents.end(incident.id):
                return  # another process was first
            new = await add_for_admins(
                work,
                lambda user_id: compose_broker_available(
                    user_id, incident=incident, now=now, new_id=self._new_id
                ),
            )
            await work.audit.add([_line(now, "broker.available", None, incident)])
            await work.commit()
        publish_notices(self._hub, *new)


def _is_over(incident: Incident, signs: BrokerSigns, now: datetime) -> bool:
    """Whether Fyers has answered since the outage was last seen; without calls, as after the close, it stays open."""
    has_answered = signs.answered_at is not None and signs.answered_at > incident.bad_at
    return has_answered and now - incident.bad_at >= WELL_FOR


def _line(at: datetime, kind: str, reason: str | None, incident: Incident) -> AuditEntry:
    return AuditEntry(at, None, kind, "fyers", reason=reason, incident_id=incident.id)
