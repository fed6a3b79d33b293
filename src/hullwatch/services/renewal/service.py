"""RenewalService: the plug for refresh tokens. It is off unless the operator, the user and Fyers want it; Fyers has not since 2026-04-01.

When a session may be renewed is decided in ``domain/renewal.py``, who consented is known to ``renewal_consents.py``, how Fyers is asked stands
in ``renewal_asking.py``, and what a session is, and who is told of its end, in ``connections.py``. Here tries are made, each in its time.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from hullwatch.domain.failures import AlreadyExists, NotAllowed, StorageUnavailable
from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.renewal.rules import AFTER_END, Occasion, due_at, failure_in, may_try, occasion_of
from hullwatch.domain.sessions.connection import (
    Connection,
    ConnectionChange,
    DisconnectReason,
    Evidence,
    LoginTrigger,
)
from hullwatch.runtime.supervisor import Supervisor, SupervisorStopped
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort
from hullwatch.services.renewal.consents import RenewalConsents
from hullwatch.services.renewal.renewal_asking import FreshSession, RenewalAsking
from hullwatch.services.sessions.expiry import changed_or_due
from hullwatch.services.sessions.service import ConnectionService

TRIES_PER_SECOND: Final = 2.0
"""Fyers allows an app's logins 200 calls a minute together; users who log in by hand need some of them."""


@dataclass(frozen=True, slots=True)
class _Try:
    """One try: for which session, and why now."""

    connection: Connection
    occasion: Occasion

    @property
    def user_id(self) -> str:
        return self.connection.user_id


@dataclass(frozen=True, slots=True)
class _Due:
    at: datetime
    what: _Try


class RenewalService:
    """Renews sessions of users who consented: once before the known end, and once when a session is over all the same."""

    def __init__(
        self,
        context: Context,
        *,
        consents: RenewalConsents,
        broker: BrokerPort,
        connections: ConnectionService,
        supervisor: Supervisor,
    ) -> None:
        self._real_clock = context.clock.real
        self._consents = consents
        self._asking = RenewalAsking(
            context,
            broker=broker,
        )
        self._connections = connections
        self._supervisor = supervisor
        self._clock = context.clock
        self._random = context.random
        self._places: dict[str, tuple[int, float]] = {}
        """User → generation and its place within the spread."""
        self._under_way: dict[str, _Try] = {}
        self._ended: dict[str, ConnectionChange] = {}
        """Ends whose users are told when the try for them has failed."""
        self._changed = asyncio.Event()
        connections.renew_through(self)
        connections.on_change(self._session_changed)
        consents.on_change(self._changed.set)
        self._log = structlog.get_logger(component="TokenValidationService")

    def start_jobs(self) -> None:
        """Begin the job that makes the tries that are due; tell what a crash kept from being told."""
        self._tell_kept_back()
        self._supervisor.spawn("session-renewal", self._run, essential=False)

    def _tell_kept_back(self) -> None:
        """Tell ends that were kept back when the last process died; a notice that was stored is not stored again."""
        for user_id in self._consents.known_at_start - self._ended.keys():
            connection = self._connections.connection(user_id)
            ended_at = connection.last_disconnect_at
            if (
                connection.reason in (DisconnectReason.EXPIRED, DisconnectReason.REJECTED)
                and ended_at is not None
            ):
                evidence = Evidence("stored_disconnect")
                ended = ConnectionChange(
                    connection, connection, LoginTrigger.REACHED_EXPIRY, ended_at, evidence
                )
                self._connections.tell_end(ended, RenewalOutcome.UNAVAILABLE)

    # ---------------------------------------------------------------- what is due

    async def _run(self) -> None:
        """Begin each try when it is due, never many at once, for ever."""
        while True:
            self._changed.clear()
            due = self._next_due()
            if due is None or due.at > self._clock.now():
                await changed_or_due(self._changed, self._clock, due.at if due else None)
                continue
            self._start(due.what)
            await self._real_clock.sleep(1 / TRIES_PER_SECOND)

    def _next_due(self) -> _Due | None:
        now = self._clock.now()
        found = [
            _Due(ended.at + AFTER_END, _Try(ended.before, Occasion.AT_EXPIRY))
            for user_id, ended in self._ended.items()
            if user_id not in self._under_way
        ]
        for renewal in self._consents.list_all():
            connection = self._connections.connection(renewal.user_id)
            at = due_at(connection, self._place(connection))
            if at is None or renewal.user_id in self._under_way:
                continue
            if may_try(renewal, connection, Occasion.BEFORE_EXPIRY, now=max(now, at)):
                found.append(_Due(at, _Try(connection, Occasion.BEFORE_EXPIRY)))
        return min(found, key=lambda due: due.at, default=None)

    def _place(self, connection: Connection) -> float:
        """Return where in the spread a session's try is: drawn once, so that looking again does not move it."""
        generation, place = self._places.get(connection.user_id, (None, 0.0))
        if generation != connection.generation:
            place = self._random.random()
            self._places[connection.user_id] = (connection.generation, place)
        return place

    def _session_changed(self, change: ConnectionChange) -> None:
        """Look anew for what is due; a login by hand makes the try that was to follow an end needless."""
        user_id = change.after.user_id
        if change.after.has_session and user_id not in self._under_way:
            self._ended.pop(user_id, None)
        self._changed.set()

    # ---------------------------------------------------------------- when a session is over

    def prospect(self, connection: Connection, trigger: LoginTrigger) -> RenewalOutcome | None:
        """Say what is to be said of renewals at this end: *under way* if one is or will be tried, a failure if one was, or nothing."""
        renewal, occasion = self._consents.get(connection.user_id), occasion_of(trigger)
        if renewal is None or occasion is None:
            return None
        if (under_way := self._under_way.get(connection.user_id)) is not None:
            is_for_this = under_way.connection.generation == connection.generation
            return RenewalOutcome.UNDER_WAY if is_for_this else None
        if may_try(renewal, connection, occasion, now=self._clock.now()):
            return RenewalOutcome.UNDER_WAY
        return failure_in(renewal, connection.generation)

    def begin(self, ended: ConnectionChange) -> None:
        """Try at once after a refusal, and in its turn after a known end, which comes to many at once; a try under way is waited for."""
        self._ended[ended.after.user_id] = ended
        if occasion_of(ended.trigger) is Occasion.AT_REFUSAL and ended.after.user_id not in self._under_way:
            self._start(_Try(ended.before, Occasion.AT_REFUSAL))
        self._changed.set()

    # ---------------------------------------------------------------- a try

    def _start(self, what: _Try) -> None:
        self._under_way[what.user_id] = what
        try:
            self._supervisor.run_once("session-renewal-try", self._see_through(what))
        except SupervisorStopped:  # at the end of the process nothing is tried any more
            self._finish(what, RenewalOutcome.UNAVAILABLE)

    async def _see_through(self, what: _Try) -> None:
        outcome = RenewalOutcome.UNAVAILABLE
        try:
            outcome = await self._try(what)
        finally:
            self._finish(what, outcome)

    def _finish(self, what: _Try, outcome: RenewalOutcome) -> None:
        """Tell the end that was kept back for this try, unless there is a session again or another try follows."""
        self._under_way.pop(what.user_id, None)
        self._changed.set()
        if what.occasion is Occasion.BEFORE_EXPIRY and outcome is RenewalOutcome.EXPIRES_NO_LATER:
            return
        ended = self._ended.pop(what.user_id, None)
        if ended is not None and outcome is not RenewalOutcome.RENEWED:
            self._connections.tell_end(ended, outcome)

    async def _try(self, what: _Try) -> RenewalOutcome:
        """Note the try, make it, and note how it ended."""
        connection, outcome = what.connection, RenewalOutcome.UNAVAILABLE
        await self._connections.store_changes()  # the end before the session that follows it
        try:
            noted = await self._consents.note_begin(connection)
            if noted is None:
                return outcome
            if noted.keys is None or noted.app is None or noted.app.app_id != connection.app_id:
                outcome = RenewalOutcome.BAD_REFRESH_TOKEN
            else:
                asked = await self._asking.ask(connection, what.occasion, noted.app, noted.keys)
                outcome = (
                    asked if isinstance(asked, RenewalOutcome) else await self._log_in(connection, asked)
                )
            ended = self._ended.get(what.user_id)
            await self._consents.note_end(
                connection,
                what.occasion,
                outcome,
                login_generation=noted.login_generation,
                incident_id=ended.after.incident_id if ended else None,
            )
        except StorageUnavailable:
            self._log.warning("renewal.not_stored", user_id=what.user_id)
            self._consents.count_as_tried(connection, outcome)
        self._log.info(
            "session.renewal_tried",
            user_id=what.user_id,
            occasion=what.occasion.value,
            outcome=outcome.value,
        )
        return outcome

    async def _log_in(self, connection: Connection, fresh: FreshSession) -> RenewalOutcome:
        """Let the new session take the old one's place, unless a login by hand was first or a person has ended it meanwhile.

        Raises:
            StorageUnavailable: It was not stored, and so does not count.
        """
        credential = fresh.credential
        try:
            await self._connections.log_in(
                connection.user_id,
                token=credential.token,
                fyers_id=credential.fyers_id,
                app_id=credential.app_id,
                expires_at=credential.expires_at,
                actor="hullwatch",
                renews=connection.generation,
            )
        except (AlreadyExists, NotAllowed):
            return RenewalOutcome.UNAVAILABLE
        present = self._connections.credential(connection.user_id)
        if present is not None:
            self._connections.record_result(present, fresh.checked, is_validation=True)
        return RenewalOutcome.RENEWED
