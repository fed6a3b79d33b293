"""Tells operators that Fyers does not serve this server: that it does not answer, makes most accounts wait, or turns the server away; and when it does again.

A mass refusal of sessions is another trouble, with verdicts to hold back; it is told of in ``outages.py``, and while it lasts nothing is told here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hullwatch.domain.notifications import BrokerSilence, Notification
from hullwatch.domain.watches import WatchStatus
from hullwatch.runtime.circuit import CircuitReport, CircuitState
from hullwatch.runtime.clock import Clock
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.incidents import BROKER_SILENT, Incident, OperatorIncidents
from hullwatch.services.notifications.operators import compose_broker_answers, compose_broker_silent

LOOK_EVERY_S: Final = 10.0
TOLD_AFTER: Final = timedelta(minutes=2)
"""Fyers has hiccups every day; one that lasts longer is worth waking somebody, and half a candle is not lost yet."""
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


def silence_in(signs: BrokerSigns) -> BrokerSilence | None:
    """Return what keeps Fyers from serving most accounts, if anything does."""
    if signs.is_mass_refusal:
        return None
    held_back = {one.name for one in signs.circuits if one.state is not CircuitState.CLOSED}
    watched = signs.statuses.get(WatchStatus.WATCHING, 0)
    if "edge_blocked" in held_back:
        return BrokerSilence.TURNED_AWAY
    if "circuit_open" in held_back or signs.statuses.get(WatchStatus.FYERS_TROUBLE, 0) > watched:
        return BrokerSilence.NO_ANSWER
    if signs.statuses.get(WatchStatus.RATE_LIMITED, 0) > watched:
        return BrokerSilence.MUST_WAIT
    return None


class BrokerNotices:
    """Watches Fyers on behalf of the operators.

    Args:
        incidents: Who stores and tells.
        clock: The time that notices live in.
        new_id: Makes ids.
        signs: What is seen of Fyers now.
    """

    def __init__(
        self,
        *,
        incidents: OperatorIncidents,
        clock: Clock,
        new_id: Callable[[str], str],
        signs: Callable[[], BrokerSigns],
    ) -> None:
        self._incidents = incidents
        self._clock = clock
        self._new_id = new_id
        self._signs = signs
        self._is_loaded = False
        self._incident: Incident | None = None
        self._silent_since: datetime | None = None
        self._last_silent_at: datetime | None = None
        self._well_since: datetime | None = None

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to look."""
        supervisor.every("broker-notices", LOOK_EVERY_S, self.look, essential=False)

    async def look(self) -> None:
        """Tell what is new.

        Raises:
            StorageUnavailable: It is not known yet what was told before this server was started.
        """
        if not self._is_loaded:
            left_open = await self._incidents.still_open(BROKER_SILENT)
            self._incident = next(iter(left_open.values()), None)
            self._is_loaded = True
        await self._incidents.store_untold()
        signs, now = self._signs(), self._clock.now()
        silence = silence_in(signs)
        if silence is not None:
            self._last_silent_at, self._well_since = now, None
        if self._incident is None:
            await self._look_for_beginning(silence, signs, now)
        elif silence is None:
            await self._look_for_end(self._incident, signs, now)

    async def _look_for_beginning(
        self, silence: BrokerSilence | None, signs: BrokerSigns, now: datetime
    ) -> None:
        if silence is None:
            self._silent_since = None
            return
        since = self._silent_since = self._silent_since or now
        if now - since < TOLD_AFTER:
            return
        self._incident = incident = self._incidents.new(BROKER_SILENT, silence.value, at=now)
        blind = sum(
            signs.statuses.get(one, 0) for one in (WatchStatus.FYERS_TROUBLE, WatchStatus.RATE_LIMITED)
        )
        watched = signs.statuses.get(WatchStatus.WATCHING, 0)

        def compose(user_id: str) -> Notification:
            return compose_broker_silent(
                user_id,
                silence=silence,
                since=since,
                blind=blind,
                served=blind + watched,
                incident_id=incident.id,
                now=now,
                new_id=self._new_id,
            )

        await self._incidents.tell_began(incident, compose)

    async def _look_for_end(self, incident: Incident, signs: BrokerSigns, now: datetime) -> None:
        """End it when Fyers has really answered since: after the close nobody asks, and silence is no news then."""
        silent_at = self._last_silent_at or incident.began_at
        if signs.answered_at is None or signs.answered_at <= silent_at:
            return
        self._well_since = self._well_since or now
        if now - self._well_since < WELL_FOR:
            return
        since, self._incident, self._silent_since = self._well_since, None, None

        def compose(user_id: str) -> Notification:
            return compose_broker_answers(
                user_id, since=since, incident_id=incident.id, now=now, new_id=self._new_id
            )

        await self._incidents.tell_over(incident, compose)
