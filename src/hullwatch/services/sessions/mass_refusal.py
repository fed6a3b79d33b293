"""Fyers refuses many accounts at once: hold the verdicts, say so once, and ask slowly, one account at a time, until it is over."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import structlog

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.events import EVERYBODY, BrokerOutageChanged
from hullwatch.domain.failures import Answered, LoginRefused, StorageUnavailable
from hullwatch.domain.notifications.incidents import MASS_REFUSAL, Incident
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.domain.sessions.connection import (
    Connection,
    Credential,
    VerificationState,
    VerificationTrigger,
)
from hullwatch.domain.sessions.mass_refusal import FEWEST, RefusalWatch
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import add_for_admins, publish_notices
from hullwatch.services.ports import BrokerPort
from hullwatch.services.texts.notices import compose_broker_outage

ASK_EVERY_S: Final = 60.0
"""During an outage, one account is asked this often: a question a minute cannot get the machine banned."""
ASK_SOON_S: Final = 1.0
"""Between two questions once Fyers has shown that it did end the old sessions: their users wait to be told."""


@dataclass(frozen=True, slots=True)
class BrokerOutage:
    """A mass refusal that is under way."""

    incident_id: str
    began_at: datetime


class Sessions(Protocol):
    """What the watch needs of the sessions; satisfied by `Doubts`."""

    def connections(self) -> tuple[Connection, ...]:
        """Return all known connections."""
        ...

    def credential_for_probe(self, user_id: str) -> Credential | None:
        """Return what a held session may be asked about with."""
        ...

    def release(self, user_id: str, trigger: VerificationTrigger) -> None:
        """Let a held session be used again."""
        ...

    async def confirm_refusal(self, credential: Credential, refusals: tuple[LoginRefused, ...]) -> None:
        """End the session."""
        ...


@dataclass(frozen=True, slots=True)
class _Tale:
    """A beginning or an end that is to be stored and told to the operators."""

    trouble: BrokerOutage
    is_over: bool
    at: datetime


class OutageWatch:
    """Knows whether the broker itself is ill, and nurses the sessions it has wrongly refused."""

    def __init__(self, context: Context, sessions: Sessions, *, broker: BrokerPort) -> None:
        self._sessions = sessions
        self._store = context.store
        self._broker = broker
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._random = context.random
        self._hub = context.hub
        self._new_id = context.new_id
        self._refusals = RefusalWatch()
        self._next_in_turn = 0
        self._is_draining = False
        self._tales: list[_Tale] = []
        self._telling = asyncio.Lock()
        self._is_inherited = False
        """Whether the trouble began before this process: then nobody need be held yet, and it goes on all the same."""
        self.trouble: BrokerOutage | None = None
        self._log = structlog.get_logger(component="TokenValidationService")

    async def load(self) -> None:
        """Take over a trouble that a process before this one told of, so that it is not told again and its end is.

        Raises:
            StorageUnavailable: Nothing was read.
        """
        async with self._store.begin(read_only=True) as work:
            known = await work.incidents.get(MASS_REFUSAL)
        if known is not None:
            self.trouble = BrokerOutage(known.id, known.began_at)
            self._is_inherited = True
            self._log.warning("broker.mass_refusal_goes_on", incident_id=known.id)

    def note_refusal(self, user_id: str) -> None:
        """Count a refusal."""
        self._refusals.refused(user_id, self._real_clock.now())

    def note_answer(self, user_id: str) -> None:
        """Remember that Fyers answered the account; takes a refusal back."""
        self._refusals.answered(user_id, self._real_clock.now())

    def is_well_since(self, moment: datetime, enough: int) -> bool:
        """Whether so many accounts were answered after this moment of the wire's clock that Fyers is not ill."""
        return self._refusals.well_since(moment, enough)

    def should_hold(self) -> bool:
        """Whether a confirmed refusal must not count now."""
        return self.trouble is not None or self._refusals.is_mass(self._real_clock.now())

    async def begin(self) -> None:
        """Declare the trouble, once, to everybody, and to the operators in a notice."""
        if self.trouble is None:
            self.trouble = BrokerOutage(self._new_id("inc"), self._clock.now())
            self._log.warning("broker.mass_refusal", incident_id=self.trouble.incident_id)
            await self._tell(self.trouble, is_over=False)

    async def run(self) -> None:
        """Ask one held account after another, slowly; end the trouble when one is answered or none is held any more."""
        while True:
            pause_s = ASK_SOON_S if self._is_draining else ASK_EVERY_S * self._random.uniform(0.9, 1.1)
            await self._clock.sleep(pause_s)
            await self._store_tales()
            if self.trouble is not None:
                await self.ask_once()

    async def ask_once(self) -> None:
        """Ask about one held account and draw the conclusions."""
        self._is_draining = False
        held = [
            connection
            for connection in self._sessions.connections()
            if connection.verification_state is VerificationState.HELD
        ]
        if not held:
            if not self._is_inherited or self._is_over_by_now():
                await self._end()
            return
        self._next_in_turn = (self._next_in_turn + 1) % len(held)
        connection = held[self._next_in_turn]
        credential = self._sessions.credential_for_probe(connection.user_id)
        if credential is None:
            return
        answers = [await self._broker.check_data(credential), await self._broker.check_trading(credential)]
        if any(isinstance(answer, Answered) for answer in answers):
            await self._recover()
            return
        refusals = tuple(answer for answer in answers if isinstance(answer, LoginRefused))
        if len(refusals) == len(answers) and (self._newer_logins_work() or self._others_work(len(held))):
            # Fyers accepts others and still refuses this one: it did end the session.
            await self._sessions.confirm_refusal(credential, refusals)
            self._is_draining = True

    def _is_over_by_now(self) -> bool:
        """Whether an inherited trouble has ended unseen: a session from before it is accepted now, or none is left."""
        began_at = self.trouble.began_at if self.trouble else self._clock.now()
        old = [
            connection
            for connection in self._sessions.connections()
            if connection.has_session
            and (connection.connected_at is None or connection.connected_at <= began_at)
        ]
        return not old or any(
            connection.is_verified
            and connection.last_validated_at is not None
            and connection.last_validated_at > began_at
            for connection in old
        )

    def _newer_logins_work(self) -> bool:
        """Whether a session that began in the trouble is accepted: then the old ones were ended, however many they are."""
        began_at = self.trouble.began_at if self.trouble else None
        return began_at is not None and any(
            connection.is_verified
            and connection.connected_at is not None
            and connection.connected_at > began_at
            for connection in self._sessions.connections()
        )

    def _others_work(self, held: int) -> bool:
        """Whether too few are held to speak of the broker, and others were accepted since the trouble began."""
        began_at = self.trouble.began_at if self.trouble else None
        return (
            began_at is not None
            and held < FEWEST
            and any(
                connection.is_verified
                and connection.last_validated_at is not None
                and connection.last_validated_at > began_at
                for connection in self._sessions.connections()
            )
        )

    async def _recover(self) -> None:
        """Let every held session go on; whichever is refused again gets a second look of its own."""
        self._refusals = RefusalWatch()
        for connection in self._sessions.connections():
            if connection.verification_state is VerificationState.HELD:
                self._sessions.release(connection.user_id, VerificationTrigger.RELEASED)
        await self._end()

    async def _end(self) -> None:
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            self._is_inherited = False
            self._log.info("broker.recovered", incident_id=trouble.incident_id)
            await self._tell(trouble, is_over=True)

    async def _tell(self, trouble: BrokerOutage, *, is_over: bool) -> None:
        now = self._clock.now()
        self._hub.publish(EVERYBODY, BrokerOutageChanged(not is_over, trouble.incident_id, now))
        self._tales.append(_Tale(trouble, is_over, now))
        await self._store_tales()

    async def _store_tales(self) -> None:
        """Store what was told, and the operators' notices; on a database that does not answer try again at the next question."""
        async with self._telling:
            while self._tales:
                tale = self._tales[0]
                try:
                    stored = await self._store_tale(tale)
                except StorageUnavailable:
                    self._log.warning("broker.notice_not_stored", incident_id=tale.trouble.incident_id)
                    return
                self._tales.pop(0)
                publish_notices(self._hub, *stored)

    async def _store_tale(self, tale: _Tale) -> list[Notification]:
        """Open or close the incident and tell of it, in one transaction; of several processes the first one tells."""
        incident_id = tale.trouble.incident_id
        kind = "broker.recovered" if tale.is_over else "broker.mass_refusal"
        async with self._store.begin() as work:
            if tale.is_over:
                if not await work.incidents.end(incident_id):
                    return []
            else:
                new = Incident(MASS_REFUSAL, incident_id, tale.trouble.began_at, tale.at, tale.at)
                known = await work.incidents.begin(new)
                if known.id != incident_id:
                    if self.trouble == tale.trouble:
                        self.trouble = BrokerOutage(known.id, tale.trouble.began_at)
                    return []
            await work.audit.add([AuditEntry(tale.at, None, kind, "fyers", incident_id=incident_id)])
            stored = await add_for_admins(
                work,
                lambda user_id: compose_broker_outage(
                    user_id, incident_id=incident_id, is_over=tale.is_over, now=tale.at, new_id=self._new_id
                ),
            )
            await work.commit()
        return stored
