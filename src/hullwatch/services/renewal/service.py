"""RenewalService: renews sessions by refresh token and PIN, for users who consented. Fyers has refused this since 2026-04-01."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from hullwatch.domain.failures import AlreadyExists, NotAllowed, StorageUnavailable
from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.renewal.rules import AFTER_EXPIRY, Attempt, Occasion, due_at, may_try, occasion_of
from hullwatch.domain.sessions.connection import (
    Connection,
    ConnectionChange,
    DisconnectReason,
    Evidence,
    LoginTrigger,
    NewLogin,
)
from hullwatch.runtime.supervisor import Supervisor, SupervisorStopped
from hullwatch.runtime.waiting import wait_for_event
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort
from hullwatch.services.renewal.consents import RenewalConsents
from hullwatch.services.renewal.hook import DETAIL, RenewalHook
from hullwatch.services.renewal.request import NewSession, RenewalRequest
from hullwatch.services.renewal.texts import failure_sentence
from hullwatch.services.sessions.service import ConnectionService

ATTEMPTS_PER_SECOND: Final = 2.0
"""Fyers allows an app's logins 200 calls a minute together; users who log in by hand need some of them."""


@dataclass(frozen=True, slots=True)
class _Due:
    at: datetime
    attempt: Attempt


class RenewalService:
    """Attempts to renew a session once before its expiry, and once after it was disconnected."""

    def __init__(
        self,
        context: Context,
        *,
        consents: RenewalConsents,
        hook: RenewalHook,
        broker: BrokerPort,
        connections: ConnectionService,
        supervisor: Supervisor,
    ) -> None:
        self._clock = context.clock
        self._random = context.random
        self._consents = consents
        self._attempts = hook.attempts
        self._request = RenewalRequest(context, broker=broker)
        self._connections = connections
        self._supervisor = supervisor
        self._positions: dict[str, tuple[int, float]] = {}
        """User id → generation and its position within the spread."""
        self._disconnected: dict[str, ConnectionChange] = {}
        """User id → the disconnect whose notice waits for the attempt."""
        self._changed = asyncio.Event()
        self._log = structlog.get_logger(component="TokenValidationService")

    def start_jobs(self) -> None:
        """Start the job that makes the due attempts, and queue notices that a crash has prevented."""
        self._notify_after_crash()
        self._supervisor.spawn("session-renewal", self._run, essential=False)

    def _notify_after_crash(self) -> None:
        """Queue the notices that were delayed when the last process stopped; a stored notice is not stored again."""
        for user_id in self._consents.known_at_start - self._disconnected.keys():
            connection = self._connections.connection(user_id)
            disconnected_at = connection.last_disconnect_at
            if (
                connection.reason in (DisconnectReason.EXPIRED, DisconnectReason.REJECTED)
                and disconnected_at is not None
            ):
                change = ConnectionChange(
                    connection,
                    connection,
                    LoginTrigger.REACHED_EXPIRY,
                    disconnected_at,
                    Evidence("stored_disconnect"),
                )
                self._notify(change, RenewalOutcome.UNAVAILABLE)

    def _notify(self, change: ConnectionChange, outcome: RenewalOutcome) -> None:
        self._connections.notify_disconnected(change, addition=failure_sentence(outcome))

    # ---------------------------------------------------------------- due attempts

    async def _run(self) -> None:
        """Start each attempt when it is due, at `ATTEMPTS_PER_SECOND`."""
        while True:
            self._changed.clear()
            self._consents.changed.clear()
            due = self._next_due()
            if due is None or due.at > self._clock.now():
                await wait_for_event(
                    self._changed,
                    self._consents.changed,
                    clock=self._clock,
                    until=due.at if due else None,
                )
                continue
            self._start(due.attempt)
            await self._clock.real.sleep(1 / ATTEMPTS_PER_SECOND)

    def _next_due(self) -> _Due | None:
        now = self._clock.now()
        found = [
            _Due(change.at + AFTER_EXPIRY, Attempt(change.before, Occasion.AT_EXPIRY))
            for user_id, change in self._disconnected.items()
            if user_id not in self._attempts
        ]
        for renewal in self._consents.list_all():
            connection = self._connections.connection(renewal.user_id)
            at = due_at(connection, self._position(connection))
            if at is None or renewal.user_id in self._attempts:
                continue
            if may_try(renewal, connection, Occasion.BEFORE_EXPIRY, now=max(now, at)):
                found.append(_Due(at, Attempt(connection, Occasion.BEFORE_EXPIRY)))
        return min(found, key=lambda due: due.at, default=None)

    def _position(self, connection: Connection) -> float:
        """Return the session's position in the spread; it is drawn once, so that reading it again does not move it."""
        generation, position = self._positions.get(connection.user_id, (None, 0.0))
        if generation != connection.generation:
            position = self._random.random()
            self._positions[connection.user_id] = (connection.generation, position)
        return position

    def session_changed(self, change: ConnectionChange) -> None:
        """Start an attempt at once when Fyers refused the session, and in its turn when it expired.

        Many sessions expire at the same moment, so those attempts keep to the rate of `_run`. An attempt under way goes on.
        """
        user_id = change.after.user_id
        if change.after.has_session:
            if user_id not in self._attempts:
                # The user has logged in, so the attempt is no longer necessary.
                self._disconnected.pop(user_id, None)
        elif change.evidence.details.get(DETAIL) == RenewalOutcome.UNDER_WAY:
            self._disconnected[user_id] = change
            if occasion_of(change.trigger) is Occasion.AT_REFUSAL and user_id not in self._attempts:
                self._start(Attempt(change.before, Occasion.AT_REFUSAL))
        self._changed.set()

    # ---------------------------------------------------------------- one attempt

    def _start(self, attempt: Attempt) -> None:
        self._attempts[attempt.user_id] = attempt
        try:
            self._supervisor.run_once("session-renewal-try", self._run_attempt(attempt))
        except SupervisorStopped:
            # The process stops, so no attempt is made.
            self._finish(attempt, RenewalOutcome.UNAVAILABLE)

    async def _run_attempt(self, attempt: Attempt) -> None:
        outcome = RenewalOutcome.UNAVAILABLE
        try:
            outcome = await self._renew(attempt)
        finally:
            self._finish(attempt, outcome)

    def _finish(self, attempt: Attempt, outcome: RenewalOutcome) -> None:
        """Queue the delayed notice, unless there is a session again or another attempt follows."""
        self._attempts.pop(attempt.user_id, None)
        self._changed.set()
        if attempt.occasion is Occasion.BEFORE_EXPIRY and outcome is RenewalOutcome.EXPIRES_NO_LATER:
            return
        change = self._disconnected.pop(attempt.user_id, None)
        if change is not None and outcome is not RenewalOutcome.RENEWED:
            self._notify(change, outcome)

    async def _renew(self, attempt: Attempt) -> RenewalOutcome:
        """Store that the attempt is made, make it, and store its outcome."""
        connection, outcome = attempt.connection, RenewalOutcome.UNAVAILABLE
        # The disconnect has to be stored before the session that follows it.
        await self._connections.store_changes()
        try:
            noted = await self._consents.note_begin(connection)
            if noted is None:
                return outcome
            if noted.keys is None or noted.app is None or noted.app.app_id != connection.app_id:
                outcome = RenewalOutcome.BAD_REFRESH_TOKEN
            else:
                answer = await self._request.send(attempt, noted.app, noted.keys)
                outcome = (
                    answer if isinstance(answer, RenewalOutcome) else await self._log_in(connection, answer)
                )
            change = self._disconnected.get(attempt.user_id)
            await self._consents.note_end(
                attempt,
                outcome,
                login_generation=noted.login_generation,
                incident_id=change.after.incident_id if change else None,
            )
        except StorageUnavailable:
            self._log.warning("renewal.not_stored", user_id=attempt.user_id)
            self._consents.count_as_tried(connection, outcome)
        self._log.info(
            "session.renewal_tried",
            user_id=attempt.user_id,
            occasion=attempt.occasion.value,
            outcome=outcome.value,
        )
        return outcome

    async def _log_in(self, connection: Connection, new: NewSession) -> RenewalOutcome:
        """Replace the old session, unless its user has logged in or a person has disconnected it meanwhile.

        Raises:
            StorageUnavailable: It was not stored, and so does not count.
        """
        credential = new.credential
        login = NewLogin(
            token=credential.token,
            fyers_id=credential.fyers_id,
            app_id=credential.app_id,
            expires_at=credential.expires_at,
            actor="hullwatch",
            continues=connection.generation,
            kind="renewal",
        )
        try:
            await self._connections.log_in(connection.user_id, login)
        except (AlreadyExists, NotAllowed):
            return RenewalOutcome.UNAVAILABLE
        present = self._connections.credential(connection.user_id)
        if present is not None:
            self._connections.record_result(present, new.check, is_validation=True)
        return RenewalOutcome.RENEWED
