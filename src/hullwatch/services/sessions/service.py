"""ConnectionService: starts and disconnects every broker session, and applies what verification decides.

Memory leads and the database follows: a disconnect takes effect at once and is stored when the database is available.
A login is stored before it takes effect, because its confirmation to the user is a promise.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from hullwatch.domain.failures import Answered, BrokerResult, LoginRefused, UnclearRefusal
from hullwatch.domain.sessions.connection import (
    Connection,
    ConnectionChange,
    Credential,
    Evidence,
    HoldReason,
    LoginTrigger,
    NewLogin,
    VerificationState,
    VerificationTrigger,
    credential_of,
)
from hullwatch.domain.sessions.mass_refusal import BrokerOutage, RefusalStatistics
from hullwatch.domain.sessions.verification import (
    HOLD_AFTER,
    AnyRefusal,
    Decision,
    Disconnect,
    Hold,
    Keep,
    trigger_of,
)
from hullwatch.runtime.supervisor import Supervisor, SupervisorStopped
from hullwatch.services.clock_monitor import ClockMonitor
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.ports import BrokerPort
from hullwatch.services.ports.session_hook import SessionHook
from hullwatch.services.sessions.changes import SessionChanges
from hullwatch.services.sessions.expiry import SessionExpiry
from hullwatch.services.sessions.mass_refusal import DisconnectHeld, OutageMonitor, Recovered
from hullwatch.services.sessions.persistence import (
    ConnectionWriter,
    disconnect_stored,
    read_stored_disconnects,
    save_observed,
    store_login,
    users_with_hold,
)
from hullwatch.services.sessions.registry import AccountRegistry, RegisteredAccount, Verification
from hullwatch.services.sessions.verification import Verifier
from hullwatch.services.texts.notices import UNREADABLE_TOKEN, compose_session_disconnected

STORED_DISCONNECTS_EVERY_S: Final = 10.0
"""How soon a disconnect by another process, such as a command, reaches a running server."""


class ConnectionService:
    """Every account's connection, in memory and in step with the database."""

    def __init__(
        self,
        context: Context,
        *,
        broker: BrokerPort,
        supervisor: Supervisor,
        hook: SessionHook,
        clock_monitor: ClockMonitor,
    ) -> None:
        self._context = context
        self._clock = context.clock
        self._supervisor = supervisor
        self._accounts = AccountRegistry()
        self._statistics = RefusalStatistics()
        self._verifier = Verifier(context, self._accounts, self._statistics, broker=broker)
        self._outages = OutageMonitor(context, self._accounts, self._statistics, broker=broker)
        self._writer = ConnectionWriter(context)
        self._changes = SessionChanges(context, self._statistics, self._writer, hook=hook)
        self._expiry = SessionExpiry(
            context,
            self._accounts,
            self._changes,
            broker=broker,
            clock_monitor=clock_monitor,
            supervisor=supervisor,
        )
        self._login_locks: dict[str, asyncio.Lock] = {}
        self._is_loaded = False
        self._log = structlog.get_logger(component="TokenValidationService")

    # ---------------------------------------------------------------- queries

    def connection(self, user_id: str) -> Connection:
        """Return the account's connection; `never_connected` for a user who never linked Fyers."""
        return self._accounts.connection(user_id)

    def connections(self) -> tuple[Connection, ...]:
        """Return all known connections, in no particular order."""
        return self._accounts.connections()

    def credential(self, user_id: str) -> Credential | None:
        """Return the credential for ordinary calls, `None` without a usable session."""
        return self._accounts.usable_credential(user_id, now=self._clock.now())

    def session_count(self) -> int:
        """Return the number of sessions that are not disconnected."""
        return self._accounts.session_count()

    @property
    def broker_outage(self) -> BrokerOutage | None:
        """The mass refusal that is under way."""
        return self._statistics.outage

    def subscribe(self, listener: Callable[[ConnectionChange], None]) -> None:
        """Call `listener` after every change of a login state, in the step in which it takes effect."""
        self._changes.subscribe(listener)

    async def wait_for_verification(self, user_id: str, *, until_decided: bool = False) -> Connection:
        """Return the connection after the first result, or the decision, of a verification that is under way."""
        account = self._accounts.get(user_id)
        if (
            account
            and account.verification
            and account.connection.verification_state is VerificationState.UNDER_VERIFICATION
        ):
            finished = account.verification.decided if until_decided else account.verification.first_result
            await finished.wait()
        return self.connection(user_id)

    # ---------------------------------------------------------------- results of calls

    def record_result(
        self, credential: Credential, result: BrokerResult[object], *, is_validation: bool = False
    ) -> None:
        """Record the result of a call with this credential; one for an older generation has no effect.

        An outage makes the session unverified at once when the call was a validation; otherwise only when Fyers has not
        confirmed it for `UNVERIFIED_AFTER`.
        """
        account = self._accounts.get(credential.user_id)
        if account is None or account.connection.generation != credential.generation:
            return
        connection = account.connection
        if isinstance(result, UnclearRefusal) and connection.is_usable and account.unclear_since is None:
            self._verify_later(account, result)
        trigger = trigger_of(result, connection, now=self._clock.now(), is_validation=is_validation)
        if trigger is None or not connection.has_session:
            return
        if isinstance(result, LoginRefused):
            self._start_verification(account, result)
            return
        if trigger is VerificationTrigger.ANSWERED and connection.is_usable:
            self._statistics.answered(connection.user_id, self._clock.real.monotonic())
        self._changes.update_verification(account, trigger)

    def _verify_later(self, account: RegisteredAccount, refusal: UnclearRefusal) -> None:
        """Verify the session after `HOLD_AFTER`, unless a call with it is answered before."""
        account.unclear_since = self._clock.now()

        async def verify_if_unanswered() -> None:
            await self._clock.sleep(HOLD_AFTER.total_seconds())
            since = account.unclear_since
            # Not after an answer, which sets it to None, and not for a later refusal, which has its own timer.
            if since is not None and self._clock.now() - since > HOLD_AFTER - timedelta(seconds=1):
                self._start_verification(account, refusal)

        with suppress(SupervisorStopped):
            self._supervisor.run_once("verification", verify_if_unanswered())

    def record_confirmation(self, user_id: str, generation: int, *, at: datetime) -> bool:
        """Record that Fyers confirmed the session at this time; return whether it counts.

        It does not clear a verification, has no effect on another generation, and never moves a time back.
        """
        account = self._accounts.get(user_id)
        if account is None or account.connection.generation != generation or not account.connection.is_usable:
            return False
        known_at = account.connection.last_validated_at
        if known_at is None or known_at < at:
            self._changes.update_verification(account, VerificationTrigger.ANSWERED, at=at)
        return True

    # ---------------------------------------------------------------- verification

    def _start_verification(self, account: RegisteredAccount, refusal: AnyRefusal) -> None:
        """Stop ordinary calls with a usable session and start to verify it."""
        if account.credential is None or not account.connection.is_usable:
            return
        account.credential.lease.is_under_verification = True
        self._changes.update_verification(account, VerificationTrigger.REFUSED)
        self._statistics.refused(account.connection.user_id, self._clock.real.monotonic())
        since = account.unclear_since or self._clock.now()
        self._run_verification(account, Verification(account.credential, refusal, since))

    def _run_verification(self, account: RegisteredAccount, verification: Verification) -> None:
        """Verify a session in a task of its own; while the process stops nothing is verified."""
        account.verification = verification
        with suppress(SupervisorStopped):
            self._supervisor.run_once("verification", self._verify(verification))

    async def _verify(self, verification: Verification) -> None:
        credential = verification.credential
        try:
            await self._apply(await self._verifier.verify(verification), credential)
            while self._is_held_as_unclear(credential):
                verification.first_result.set()
                verification.decided.set()
                await self._verifier.wait_until_next_probe()
                if self._is_held_as_unclear(credential):
                    await self._apply(await self._verifier.verify(verification), credential)
        finally:
            verification.is_running = False
            verification.first_result.set()
            verification.decided.set()

    def _is_held_as_unclear(self, credential: Credential) -> bool:
        account = self._accounts.with_credential(credential)
        return account is not None and account.connection.hold_reason is HoldReason.UNCLEAR_REFUSAL

    async def _apply(self, decision: Decision, credential: Credential) -> None:
        for probe in decision.probe_results:
            if isinstance(probe.result, Answered):
                self.record_confirmation(probe.credential.user_id, probe.credential.generation, at=probe.at)
            else:
                self.record_result(probe.credential, probe.result)
        account = self._accounts.with_credential(credential)
        if account is None:
            return
        match decision:
            case Keep():
                self._changes.release(account, VerificationTrigger.CLEARED)
            case Hold(reason, refusals):
                self._changes.update_verification(account, VerificationTrigger.HELD_BACK, hold_reason=reason)
                if reason is HoldReason.MASS_REFUSAL:
                    await self._outages.begin()
                else:
                    self._changes.begin_hold(account, refusals)
                    await self._writer.flush()
            case Disconnect(refusals):
                await self._disconnect_refused(account, refusals)

    async def _restart_verifications(self) -> None:
        """Start the verifications again that stopped by an error, so that no session stays without a decision."""
        for account in self._accounts.with_stopped_verification():
            if account.credential and account.verification:
                stopped = account.verification
                again = Verification(account.credential, stopped.refusal, stopped.refused_since)
                self._run_verification(account, again)

    async def _probe_held_sessions(self) -> None:
        while True:
            await self._outages.wait_for_next_probe()
            match await self._outages.probe():
                case Recovered():
                    for account in self._accounts.held():
                        self._changes.release(account, VerificationTrigger.RELEASED)
                    await self._outages.end()
                case DisconnectHeld(credential, refusals):
                    if (present := self._accounts.with_credential(credential)) is not None:
                        await self._disconnect_refused(present, refusals)

    # ---------------------------------------------------------------- start and jobs

    async def load(self) -> None:
        """Read all connections; sessions that expired meanwhile are disconnected as of their expiry."""
        async with self._context.store.begin(read_only=True) as work:
            connections = await work.connections.list_all()
            tokens = await work.connections.tokens()
            held = users_with_hold(await work.incidents.all_open())
        await self._outages.load()
        self._is_loaded = True
        for stored in connections:
            account = RegisteredAccount(
                replace(stored, verification_state=VerificationState.ASSUMED),
                is_hold_notified=stored.user_id in held,
            )
            self._accounts.put(account)
            generation, token = tokens.get(stored.user_id, (None, None))
            if not stored.has_session:
                continue
            if token is None or generation != stored.generation or stored.expires_at is None:
                self._log.error("access_token.unreadable", user_id=stored.user_id)
                self._changes.disconnect(account, LoginTrigger.SIGNED_OUT, Evidence(UNREADABLE_TOKEN))
            else:
                account.credential = credential_of(account.connection, token)
        self._expiry.disconnect_expired()
        await self._writer.flush()

    def start_jobs(self) -> None:
        """Start the jobs that disconnect sessions at their expiry, store changes, and probe held sessions."""
        spawn, every = self._supervisor.spawn, self._supervisor.every
        spawn("session-expiry", self._expiry.run)
        spawn(
            "connection-writer",
            lambda: self._writer.run(lambda: self._supervisor.heartbeat("connection-writer")),
        )
        every("connection-observations", 60, self.store_observations, at_start=False)
        every("stored-disconnects", STORED_DISCONNECTS_EVERY_S, self.apply_stored_disconnects, at_start=False)
        every("verification-restart", 60, self._restart_verifications, at_start=False)
        spawn("broker-outage", self._probe_held_sessions)

    # ---------------------------------------------------------------- login

    async def log_in(self, user_id: str, login: NewLogin) -> Connection:
        """Start a new session; it is stored before it takes effect.

        Raises:
            LinkRefused: There has been another login since `login.only_after`.
            NotAllowed: `login.continues` has been followed by another login, or a person disconnected it.
            StorageUnavailable: The database is unavailable; the old session, if any, stays.
            AlreadyExists: Another process stored a login at the same moment, or the user has been removed.
        """
        async with self._login_locks.setdefault(user_id, asyncio.Lock()):
            account = self._accounts.get(user_id) or RegisteredAccount(Connection(user_id))
            known = account.connection
            change, notice = await store_login(self._context, account, login)
            self._accounts.put(account)
            self._changes.start_session(account, change, login.token, known)
            self._expiry.session_started(account)
            if notice:
                publish_notices(self._context.hub, notice)
            return account.connection

    # ---------------------------------------------------------------- disconnect

    async def sign_out(self, user_id: str, *, actor: str) -> Connection:
        """Disconnect the session because its user wants it; without a session nothing happens.

        Raises:
            StorageUnavailable: The database is unavailable, and this process has not loaded the connections.
        """
        return await self._disconnect_by(user_id, LoginTrigger.SIGNED_OUT, Evidence("user", actor))

    async def disconnect_by_admin(self, user_id: str, *, actor: str) -> Connection:
        """Disconnect the session because an operator wants it; otherwise like `sign_out`."""
        return await self._disconnect_by(
            user_id, LoginTrigger.DISCONNECTED_BY_ADMIN, Evidence("admin", actor)
        )

    def known_users(self) -> frozenset[str]:
        """Return the users with a connection in memory."""
        return frozenset(connection.user_id for connection in self.connections())

    async def forget(self, user_id: str) -> None:
        """Drop a removed user's connection; the caller removes what is stored."""
        account = self._accounts.pop(user_id)
        self._statistics.forget(user_id)
        if account:
            account.close_lease()
            self._changes.end_hold(account, is_accepted=False)
        self._login_locks.pop(user_id, None)

    def notify_disconnected(self, change: ConnectionChange, *, addition: str) -> None:
        """Queue the delayed notice of a disconnect, unless a login has followed."""
        account = self._accounts.get(change.after.user_id)
        if account and account.connection == change.after:
            account.is_notice_delayed = False
            notice = compose_session_disconnected(change, new_id=self._context.new_id, addition=addition)
            self._writer.add(None, notice)

    async def _disconnect_by(self, user_id: str, trigger: LoginTrigger, evidence: Evidence) -> Connection:
        account = self._accounts.get(user_id)
        if account is None and not self._is_loaded:
            # A command holds no sessions in memory. The server that holds this one notices the stored disconnect.
            return await disconnect_stored(self._context, user_id, trigger, evidence)
        if account and account.connection.has_session:
            self._changes.disconnect(account, trigger, evidence)
            await self._writer.flush()
        return self.connection(user_id)

    async def _disconnect_refused(
        self, account: RegisteredAccount, refusals: tuple[LoginRefused, ...]
    ) -> None:
        self._changes.disconnect(
            account, LoginTrigger.REFUSAL_CONFIRMED, Evidence("refusal", "fyers", refusals)
        )
        await self._writer.flush()

    # ---------------------------------------------------------------- storing

    async def store_changes(self) -> None:
        """Store the queued changes; while the database is unavailable they stay queued."""
        await self._writer.flush()

    async def store_observations(self) -> None:
        """Store the queued changes, and when sessions were last confirmed.

        Raises:
            StorageUnavailable: The database is unavailable; everything is stored later.
        """
        await self._writer.store()
        await save_observed(
            self._context.store, [account for account in self._accounts if account.is_observed]
        )

    async def apply_stored_disconnects(self) -> None:
        """Apply disconnects that another process, such as a command, has stored; it has stored the notices too."""
        known = {connection.user_id: connection.generation for connection in self.connections()}
        for user_id, stored in await read_stored_disconnects(self._context.store, known):
            account = self._accounts.get(user_id)
            # A login that was stored while this was read is newer than what was read.
            if account is None or account.connection.generation != known[user_id]:
                continue
            if stored is None:
                await self.forget(user_id)
            elif account.connection.has_session:
                self._changes.apply_stored_disconnect(account, stored)
