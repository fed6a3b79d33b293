"""Tells operators that Fyers does not serve this server: that it does not answer, makes most accounts wait, or turns the server away; and when it does again.

A mass refusal of sessions is another trouble, with verdicts to hold back; it is told of in ``outages.py``, and while it lasts nothing is told here.
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

LOOK_EVERY_S: Final = 10.0
TOLD_AFTER: Final = timedelta(minutes=2)
"""Fyers has hiccups every day; one that lasts longer is worth waking somebody, and it is less than one 5-minute candle."""
WELL_FOR: Final = timedelta(minutes=1)
"""It is over when Fyers has been well for this long."""


@dataclass(frozen=True, slots=True)
class BrokerSigns:
    """What is seen of Fyers at one moment."""

    circuits: Sequence[CircuitReport]
    statuses: Mapping[WatchStatus, int]
    """How many accounts that want monitoring stand so."""
    answered_at: datetime | None
    """When Fyers last answered a call of any session."""
    is_mass_refusal: bool


def silence_in(signs: BrokerSigns) -> BrokerOutageNotice | None:
    """Return what keeps Fyers from serving most accounts, if anything does."""
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
    """Watches Fyers on behalf of the operators.

    Args:
        store: The database, which keeps what is open.
        clock: The time that notices live in.
        hub: Where notices are announced.
        new_id: Makes ids.
        signs: What is seen of Fyers now.
    """

    def __init__(self, context: Context, *, signs: Callable[[], BrokerSigns]) -> None:
        self._store = context.store
        self._clock = context.clock
        self._hub = context.hub
        self._new_id = context.new_id
        self._signs = signs
        self._silent_since: datetime | None = None

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to look."""
        supervisor.every("broker-notices", LOOK_EVERY_S, self.look, essential=False)

    async def look(self) -> None:
        """Tell what is new.

        Raises:
            StorageUnavailable: The database did not answer; what was not stored is told at a later look.
        """
        signs, now = self._signs(), self._clock.now()
        silence = silence_in(signs)
        self._silent_since = None if silence is None else self._silent_since or now
        async with self._store.begin(read_only=True) as work:
            incident = await work.incidents.get(BROKER_UNAVAILABLE)
        if silence is None:
            if incident is not None and _is_over(incident, signs, now):
                await self._tell_of_end(incident, now)
        elif incident is not None:
            await self._note_silence(now)
        elif now - (since := self._silent_since or now) >= TOLD_AFTER:
            await self._tell_of_silence(silence, signs, since, now)

    async def _note_silence(self, now: datetime) -> None:
        async with self._store.begin() as work:
            await work.incidents.note_bad(BROKER_UNAVAILABLE, at=now)
            await work.commit()

    async def _tell_of_silence(
        self, silence: BrokerOutageNotice, signs: BrokerSigns, since: datetime, now: datetime
    ) -> None:
        blind = sum(
            signs.statuses.get(one, 0) for one in (WatchStatus.FYERS_UNAVAILABLE, WatchStatus.RATE_LIMITED)
        )
        served = blind + signs.statuses.get(WatchStatus.WATCHING, 0)
        incident = Incident(BROKER_UNAVAILABLE, self._new_id("inc"), since, now, now)
        async with self._store.begin() as work:
            if (await work.incidents.begin(incident)).id != incident.id:
                return  # another process was first
            told = await add_for_admins(
                work,
                lambda user_id: compose_broker_unavailable(
                    user_id,
                    outage=silence,
                    blind=blind,
                    served=served,
                    incident=incident,
                    now=now,
                    new_id=self._new_id,
                ),
            )
            await work.audit.add([_line(now, "broker.unavailable", silence.value, incident)])
            await work.commit()
        publish_notices(self._hub, *told)

    async def _tell_of_end(self, incident: Incident, now: datetime) -> None:
        async with self._store.begin() as work:
            if not await work.incidents.end(incident.id):
                return  # another process was first
            told = await add_for_admins(
                work,
                lambda user_id: compose_broker_available(
                    user_id, incident=incident, now=now, new_id=self._new_id
                ),
            )
            await work.audit.add([_line(now, "broker.available", None, incident)])
            await work.commit()
        publish_notices(self._hub, *told)


def _is_over(incident: Incident, signs: BrokerSigns, now: datetime) -> bool:
    """Whether Fyers has really answered since it was last seen silent: where nobody asks, as after the close, that it is not refused is no news."""
    has_answered = signs.answered_at is not None and signs.answered_at > incident.bad_at
    return has_answered and now - incident.bad_at >= WELL_FOR


def _line(at: datetime, kind: str, reason: str | None, incident: Incident) -> AuditEntry:
    return AuditEntry(at, None, kind, "fyers", reason=reason, incident_id=incident.id)
