"""Fyers refuses many accounts at once: hold the verdicts, say so once, and ask slowly, one account at a time, until it is over."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Protocol

import structlog

from hullwatch.domain.accounts import Role
from hullwatch.domain.connection import Connection, Credential, Standing, StandingTrigger
from hullwatch.domain.events import AuditEntry, BrokerTroubleChanged, Event
from hullwatch.domain.failures import Answered, LoginRefused, StorageUnavailable
from hullwatch.domain.mass_refusal import RefusalWatch
from hullwatch.domain.notifications import Notification
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock
from hullwatch.services.notifications import announce, compose_broker_trouble
from hullwatch.services.ports import BrokerPort, StorePort

ASK_EVERY_S = 60.0
"""During an outage, one account is asked this often: a question a minute cannot get the machine banned."""
EVERYBODY = "everybody"
"""Topic of the hub for what concerns all users alike."""


@dataclass(frozen=True, slots=True)
class BrokerTrouble:
    """A mass refusal that is under way."""

    incident_id: str
    began_at: datetime


class Sessions(Protocol):
    """What the watch needs of the connection service."""

    def connections(self) -> tuple[Connection, ...]:
        """Return all known connections."""
        ...

    def credential_in_doubt(self, user_id: str) -> Credential | None:
        """Return what a held session may be asked about with."""
        ...

    def release(self, user_id: str, trigger: StandingTrigger) -> None:
        """Let a held session be used again."""
        ...

    async def confirm_refusal(self, connection: Connection, refusals: tuple[LoginRefused, ...]) -> None:
        """End the session."""
        ...


class OutageWatch:
    """Knows whether the broker itself is ill, and nurses the sessions it has wrongly refused."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        store: StorePort,
        broker: BrokerPort,
        clock: Clock,
        random: Random,
        hub: Broadcast[Event],
        new_id: Callable[[str], str],
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._broker = broker
        self._clock = clock
        self._random = random
        self._hub = hub
        self._new_id = new_id
        self._refusals = RefusalWatch()
        self._next_in_turn = 0
        self.trouble: BrokerTrouble | None = None
        self._log = structlog.get_logger(component="TokenValidationService")

    def note_refusal(self, user_id: str) -> None:
        """Count a first refusal."""
        self._refusals.note(user_id, self._clock.now())

    def forget_refusal(self, user_id: str) -> None:
        """Take a refusal back that a second look cleared."""
        self._refusals.forget(user_id)

    def should_hold(self, *, alive: int) -> bool:
        """Whether a confirmed refusal must not count now."""
        return self.trouble is not None or self._refusals.is_mass(alive=alive, now=self._clock.now())

    async def begin(self) -> None:
        """Declare the trouble, once, to everybody, and to the operators in a notice."""
        if self.trouble is None:
            self.trouble = BrokerTrouble(self._new_id("inc"), self._clock.now())
            self._log.warning("broker.mass_refusal", incident_id=self.trouble.incident_id)
            await self._tell(self.trouble, is_over=False)

    async def run(self) -> None:
        """Ask one held account after another, slowly; end the trouble when one is answered or none is held any more."""
        while True:
            await self._clock.sleep(ASK_EVERY_S * self._random.uniform(0.9, 1.1))
            if self.trouble is not None:
                await self.ask_once()

    async def ask_once(self) -> None:
        """Ask about one held account and draw the conclusions."""
        held = [
            connection for connection in self._sessions.connections() if connection.standing is Standing.HELD
        ]
        if not held:
            await self._end()
            return
        self._next_in_turn = (self._next_in_turn + 1) % len(held)
        connection = held[self._next_in_turn]
        credential = self._sessions.credential_in_doubt(connection.user_id)
        if credential is None:
            return
        answers = [await self._broker.check_data(credential), await self._broker.check_trading(credential)]
        if any(isinstance(answer, Answered) for answer in answers):
            await self._recover()
            return
        refusals = tuple(answer for answer in answers if isinstance(answer, LoginRefused))
        if len(refusals) == len(answers) and self._newer_logins_work():
            # Fyers accepts fresh tokens and still refuses this one: it did end the old ones, all at once.
            await self._sessions.confirm_refusal(connection, refusals)

    def _newer_logins_work(self) -> bool:
        trouble = self.trouble
        return trouble is not None and any(
            connection.is_verified
            and connection.connected_at is not None
            and connection.connected_at > trouble.began_at
            for connection in self._sessions.connections()
        )

    async def _recover(self) -> None:
        """Let every held session go on; whichever is refused again gets a second look of its own."""
        self._refusals = RefusalWatch()
        for connection in self._sessions.connections():
            if connection.standing is Standing.HELD:
                self._sessions.release(connection.user_id, StandingTrigger.RELEASED)
        await self._end()

    async def _end(self) -> None:
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            self._log.info("broker.recovered", incident_id=trouble.incident_id)
            await self._tell(trouble, is_over=True)

    async def _tell(self, trouble: BrokerTrouble, *, is_over: bool) -> None:
        now = self._clock.now()
        self._hub.publish(EVERYBODY, BrokerTroubleChanged(not is_over, trouble.incident_id, now))
        entry = AuditEntry(
            at=now,
            user_id=None,
            kind="broker.recovered" if is_over else "broker.mass_refusal",
            actor="fyers",
            incident_id=trouble.incident_id,
        )
        stored: list[Notification] = []
        try:
            async with self._store.begin() as work:
                await work.audit.add([entry])
                for user in await work.users.list_all():
                    if user.role is Role.ADMIN:
                        notification = compose_broker_trouble(
                            user.id,
                            incident_id=trouble.incident_id,
                            is_over=is_over,
                            now=now,
                            new_id=self._new_id,
                        )
                        if await work.notifications.add(notification):
                            stored.append(notification)
                await work.commit()
        except StorageUnavailable:
            self._log.warning("broker.notice_not_stored", incident_id=trouble.incident_id)
            return
        for notification in stored:
            announce(self._hub, notification)
