"""While Fyers refuses many accounts at once: stores the outage, notifies operators, and probes the held accounts slowly."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.events import EVERYBODY, BrokerOutageChanged
from hullwatch.domain.failures import Answered, LoginRefused, StorageUnavailable
from hullwatch.domain.notifications.incidents import MASS_REFUSAL, Incident
from hullwatch.domain.sessions.connection import Connection, Credential
from hullwatch.domain.sessions.mass_refusal import MIN_REFUSED, BrokerOutage, RefusalStatistics
from hullwatch.runtime.retrying_writer import RetryingWriter
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import add_for_admins, publish_notices
from hullwatch.services.ports import BrokerPort
from hullwatch.services.sessions.registry import AccountRegistry
from hullwatch.services.texts.notices import compose_broker_outage

PROBE_EVERY_S: Final = 60.0
"""During an outage one account is probed this often: two calls a minute cannot get the server banned."""
PROBE_SOON_S: Final = 1.0
"""Between two probes after Fyers has shown that it ended the old sessions: their users wait for the notice."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The outage has ended: release all held sessions."""


@dataclass(frozen=True, slots=True)
class DisconnectHeld:
    """Fyers did end this held session: disconnect it."""

    credential: Credential
    refusals: tuple[LoginRefused, ...]


@dataclass(frozen=True, slots=True)
class _Alert:
    """The start or end of an outage, to be stored with the operators' notices."""

    outage: BrokerOutage
    is_recovered: bool
    at: datetime


class OutageMonitor:
    """Keeps the outage that is under way, and decides when it ends."""

    def __init__(
        self,
        context: Context,
        accounts: AccountRegistry,
        statistics: RefusalStatistics,
        *,
        broker: BrokerPort,
    ) -> None:
        self._context = context
        self._accounts = accounts
        self._statistics = statistics
        self._broker = broker
        self._position = 0
        self._is_draining = False
        self._is_inherited = False
        """Whether the outage began before this process; then it may go on although no session is held yet."""
        self._alerts = RetryingWriter(
            self._store_alert,
            retry_on=StorageUnavailable,
            clock=context.clock,
            random=context.random,
            max_batch=1,
        )
        self._log = structlog.get_logger(component="TokenValidationService")

    async def load(self) -> None:
        """Take over an outage that an earlier process stored, so that its end is reported and its start is not repeated.

        Raises:
            StorageUnavailable: Nothing was read.
        """
        async with self._context.store.begin(read_only=True) as work:
            known = await work.incidents.get(MASS_REFUSAL)
        if known is not None:
            self._statistics.outage = BrokerOutage(known.id, known.began_at)
            self._is_inherited = True
            self._log.warning("broker.mass_refusal_continued", incident_id=known.id)

    async def begin(self) -> None:
        """Report an outage to all users and to the operators, unless one is under way."""
        if self._statistics.outage is None:
            outage = BrokerOutage(self._context.new_id("inc"), self._context.clock.now())
            self._statistics.outage = outage
            self._log.warning("broker.mass_refusal", incident_id=outage.incident_id)
            await self._report(outage, is_recovered=False)

    async def end(self) -> None:
        """Report that the outage has ended."""
        if (outage := self._statistics.outage) is not None:
            self._statistics.outage = None
            self._is_inherited = False
            self._log.info("broker.recovered", incident_id=outage.incident_id)
            await self._report(outage, is_recovered=True)

    async def wait_for_next_probe(self) -> None:
        """Wait until the next probe is due, and store alerts that could not be stored."""
        random = self._context.random
        await self._context.clock.sleep(
            PROBE_SOON_S if self._is_draining else PROBE_EVERY_S * random.uniform(0.9, 1.1)
        )
        await self._store_alerts()

    async def probe(self) -> Recovered | DisconnectHeld | None:
        """Probe the next held account; return what follows, if anything does."""
        self._is_draining = False
        outage, held = self._statistics.outage, self._accounts.held()
        if outage is None:
            return None
        if not held:
            is_over = not self._is_inherited or self._ended_while_stopped(outage)
            return Recovered() if is_over else None
        self._position = (self._position + 1) % len(held)
        if (credential := held[self._position].credential) is None:
            return None
        credential = credential.for_verification()
        answers = [await self._broker.check_data(credential), await self._broker.check_trading(credential)]
        if any(isinstance(answer, Answered) for answer in answers):
            self._statistics.clear()
            return Recovered()
        refusals = tuple(answer for answer in answers if isinstance(answer, LoginRefused))
        is_refused = len(refusals) == len(answers)
        if is_refused and (self._newer_logins_work(outage) or self._others_work(outage, len(held))):
            # Fyers accepts other sessions and still refuses this one, so it ended the session.
            self._is_draining = True
            return DisconnectHeld(credential, refusals)
        return None

    def _ended_while_stopped(self, outage: BrokerOutage) -> bool:
        """Return whether a session from before the outage is accepted now, or none of them is left."""
        old = [
            connection
            for connection in self._accounts.connections()
            if connection.has_session
            and (connection.connected_at is None or connection.connected_at <= outage.began_at)
        ]
        return not old or any(_is_verified_since(connection, outage.began_at) for connection in old)

    def _newer_logins_work(self, outage: BrokerOutage) -> bool:
        """Return whether Fyers accepts a session that began during the outage: then it ended the older ones."""
        return self._any(
            lambda connection: (
                connection.is_verified
                and connection.connected_at is not None
                and connection.connected_at > outage.began_at
            )
        )

    def _others_work(self, outage: BrokerOutage, held: int) -> bool:
        """Return whether too few are held for an outage, and others were accepted since it began."""
        return held < MIN_REFUSED and self._any(
            lambda connection: _is_verified_since(connection, outage.began_at)
        )

    def _any(self, is_met: Callable[[Connection], bool]) -> bool:
        return any(is_met(connection) for connection in self._accounts.connections())

    # ---------------------------------------------------------------- alerts

    async def _report(self, outage: BrokerOutage, *, is_recovered: bool) -> None:
        now = self._context.clock.now()
        event = BrokerOutageChanged(not is_recovered, outage.incident_id, now)
        self._context.hub.publish(EVERYBODY, event)
        self._alerts.add(_Alert(outage, is_recovered, now))
        await self._store_alerts()

    async def _store_alerts(self) -> None:
        if not await self._alerts.try_flush():
            self._log.warning("broker.alert_not_stored")

    async def _store_alert(self, batch: list[_Alert]) -> None:
        """Open or close the incident with its notices in one transaction; of several processes the first one notifies."""
        [alert] = batch
        incident_id = alert.outage.incident_id
        kind = "broker.recovered" if alert.is_recovered else "broker.mass_refusal"
        async with self._context.store.begin() as work:
            if alert.is_recovered:
                if not await work.incidents.end(incident_id):
                    return
            else:
                new = Incident(MASS_REFUSAL, incident_id, alert.outage.began_at, alert.at, alert.at)
                known = await work.incidents.begin(new)
                if known.id != incident_id:
                    if self._statistics.outage == alert.outage:
                        self._statistics.outage = BrokerOutage(known.id, alert.outage.began_at)
                    return
            await work.audit.add([AuditEntry(alert.at, None, kind, "fyers", incident_id=incident_id)])
            stored = await add_for_admins(
                work,
                lambda user_id: compose_broker_outage(
                    user_id,
                    incident_id=incident_id,
                    is_over=alert.is_recovered,
                    now=alert.at,
                    new_id=self._context.new_id,
                ),
            )
            await work.commit()
        publish_notices(self._context.hub, *stored)


def _is_verified_since(connection: Connection, moment: datetime) -> bool:
    validated_at = connection.last_validated_at
    return connection.is_verified and validated_at is not None and validated_at > moment
