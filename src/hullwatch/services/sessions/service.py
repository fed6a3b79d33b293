"""ConnectionService: the one place that decides what follows when a session begins or ends.

Everybody else only *reports* what Fyers answered (`record_result`) and *asks* for a credential. How sure the server is of a session, and the way
from a refusal to a verdict, is in ``doubts.py``; what is held in memory in ``known_accounts.py``. The rules are in ``domain/``.

Memory leads, the database follows: an end takes effect at once, whatever the database does, and is stored as soon as it answers
(``connection_writer.py``). A new login is stored first, since its acknowledgement is a promise.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog

from hullwatch.domain.events import ADMINS, ConnectionChanged
from hullwatch.domain.failures import (
    AlreadyExists,
    BrokerResult,
    LinkRefused,
    LoginRefused,
    NotAllowed,
)
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.domain.secrets import AccessToken
from hullwatch.domain.sessions import connection as rules
from hullwatch.domain.sessions.connection import (
    EXPIRING_BEFORE,
    Connection,
    ConnectionChange,
    Credential,
    Evidence,
    LoginState,
    LoginTrigger,
    VerificationState,
    credential_of,
)
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.ports import BrokerPort
from hullwatch.services.ports.session_hook import SessionHook
from hullwatch.services.sessions.expiry import ExpiryTimer
from hullwatch.services.sessions.mass_refusal import BrokerOutage, OutageWatch
from hullwatch.services.sessions.persistence import ConnectionWriter, save_login, save_observed
from hullwatch.services.sessions.registry import AccountRegistry, RegisteredAccount
from hullwatch.services.sessions.stored_disconnects import (
    change_of_stored_disconnect,
    read_stored_disconnects,
)
from hullwatch.services.sessions.verification import Doubts
from hullwatch.services.texts.notices import (
    UNREADABLE_TOKEN,
    compose_connected_again,
    compose_session_disconnected,
)
from hullwatch.services.texts.readiness import compose_session_expiring

STORED_DISCONNECTS_EVERY_S: Final = 10.0
"""How soon an end that an operator made on the command line reaches a running server."""


class ConnectionService:
    """Every account's connection, in memory and in step with the database."""

    def __init__(
        self,
        context: Context,
        *,
        broker: BrokerPort,
        supervisor: Supervisor,
        hook: SessionHook,
        warns_of_expiry: Callable[[str, datetime], bool] | None = None,
    ) -> None:
        """Keep what is needed.

        `wire_clock` times what waits for the network, where `clock` runs faster than life. `warns_of_expiry` says, when a session nears its
        known end, whether its user is to be told.
        """
        self._warns_of_expiry = warns_of_expiry
        self._store = context.store
        self._clock = context.clock
        self._supervisor = supervisor
        self._hub = context.hub
        self._new_id = context.new_id
        self._accounts = AccountRegistry()
        self._login_locks: dict[str, asyncio.Lock] = {}
        self._listeners: list[Callable[[ConnectionChange], None]] = []
        self._hook = hook
        self._known_ends = ExpiryTimer(context.clock)
        self._writer = ConnectionWriter(context)
        self._doubts = Doubts(
            context,
            self._accounts,
            broker=broker,
            supervisor=supervisor,
            publish=self._publish,
            end_refused=self._end_refused,
        )
        self._log = structlog.get_logger(component="TokenValidationService")

    # ---------------------------------------------------------------- what others ask

    def connection(self, user_id: str) -> Connection:
        """Return the account's connection; a user who never linked Fyers has one that says so."""
        return self._accounts.connection(user_id)

    def connections(self) -> tuple[Connection, ...]:
        """Return all known connections, in no particular order."""
        return self._accounts.connections()

    def credential(self, user_id: str) -> Credential | None:
        """Return what ordinary calls may be made with, or `None` while there is no usable session."""
        return self._accounts.usable_credential(user_id, now=self._clock.now())

    def sessions_alive(self) -> int:
        """Count the sessions that have not ended."""
        return sum(connection.has_session for connection in self.connections())

    def on_change(self, listener: Callable[[ConnectionChange], None]) -> None:
        """Call `listener` after every move of a login state, in the step in which it takes effect."""
        self._listeners.append(listener)

    @property
    def outages(self) -> OutageWatch:
        """What is known of the broker's own health."""
        return self._doubts.outages

    @property
    def broker_outage(self) -> BrokerOutage | None:
        """The mass refusal that is under way, if there is one."""
        return self.outages.trouble

    async def settled(self, user_id: str) -> Connection:
        """Wait until a second look that is under way has come to its first result."""
        await self._doubts.settled(user_id)
        return self.connection(user_id)

    # ---------------------------------------------------------------- what Fyers' answers say

    def record_result(
        self, credential: Credential, result: BrokerResult[object], *, is_validation: bool = False
    ) -> None:
        """Take note of what Fyers answered to a call with this credential; an older generation's news is void.

        A validation's trouble makes the session unverified at once, another call's only when Fyers has not confirmed it lately.
        """
        self._doubts.record_result(credential, result, is_validation=is_validation)

    def confirmed_elsewhere(self, user_id: str, generation: int, *, at: datetime) -> bool:
        """Let a confirmation that another process got at this moment count here; False where it may not."""
        return self._doubts.confirmed_elsewhere(user_id, generation, at=at)

    # ---------------------------------------------------------------- start and jobs

    async def load(self) -> None:
        """Read all connections; sessions whose known end passed meanwhile end now, dated at that end."""
        async with self._store.begin(read_only=True) as work:
            connections = await work.connections.list_all()
            tokens = await work.connections.tokens()
        await self.outages.load()
        for stored in connections:
            account = RegisteredAccount(replace(stored, verification_state=VerificationState.ASSUMED))
            self._accounts.put(account)
            generation, token = tokens.get(stored.user_id, (None, None))
            if not stored.has_session:
                continue
            if token is None or generation != stored.generation or stored.expires_at is None:
                self._log.error("access_token.unreadable", user_id=stored.user_id)
                self._end(account, LoginTrigger.SIGNED_OUT, Evidence(UNREADABLE_TOKEN))
            else:
                account.credential = credential_of(account.connection, token)
        # Ends that near are left to the job: whether they are worth a warning is known only once everybody has loaded.
        self._expire_due_sessions(with_nearing=False)
        await self._writer.save()

    def start_jobs(self) -> None:
        """Begin the jobs that end sessions at their known end, store what could not be stored, and ask an ill broker slowly."""
        self._supervisor.spawn(
            "session-ends", lambda: self._known_ends.run(self.connections, self._expire_due_sessions)
        )
        self._supervisor.spawn(
            "connection-writer",
            lambda: self._writer.run(lambda: self._supervisor.heartbeat("connection-writer")),
        )
        self._supervisor.every("connection-observations", 60, self.store_observations, at_start=False)
        self._supervisor.every(
            "stored-ends", STORED_DISCONNECTS_EVERY_S, self.apply_stored_disconnects, at_start=False
        )
        self._supervisor.every("second-look-care", 60, self._doubts.care_for_looks, at_start=False)
        self._supervisor.spawn("broker-outage", self.outages.run)

    def _expire_due_sessions(self, *, with_nearing: bool = True) -> None:
        """Let all ends that have come take effect; storing them is the writer's job, which nobody waits for here."""
        now = self._clock.now()
        for account in self._accounts:
            expires_at = account.connection.expires_at
            if expires_at is None or not account.connection.has_session:
                continue
            is_near = with_nearing and now >= expires_at - EXPIRING_BEFORE
            if now >= expires_at:
                self._end(account, LoginTrigger.REACHED_EXPIRY, Evidence("expiry"), at=expires_at)
            elif account.connection.state is LoginState.CONNECTED and is_near:
                self._take_effect(account, *self._near_end(account.connection, expires_at, now))

    def _near_end(
        self, connection: Connection, expires_at: datetime, now: datetime
    ) -> tuple[ConnectionChange, Notification | None]:
        change = rules.mark_expiring(connection, now=now)
        is_told = self._warns_of_expiry is not None and self._warns_of_expiry(connection.user_id, expires_at)
        return change, compose_session_expiring(change, new_id=self._new_id) if is_told else None

    # ---------------------------------------------------------------- begin and end

    async def log_in(
        self,
        user_id: str,
        *,
        token: AccessToken,
        fyers_id: str,
        app_id: str,
        expires_at: datetime,
        actor: str,
        only_after: int | None = None,
        continues: int | None = None,
        kind: str = "login",
    ) -> Connection:
        """Begin a new session; it is stored before it counts. With `only_after` only as the first login after that generation.

        With `continues` the session follows that generation without an action of its user, who gets no notice.

        Raises:
            LinkRefused: There has been another login since `only_after`.
            NotAllowed: The generation `continues` may not be continued: there has been another login, or a person ended it.
            StorageUnavailable: The database did not answer; the old session, if any, goes on.
            AlreadyExists: Another process stored a login at the same moment, or the user has been removed.
        """
        async with self._login_locks.setdefault(user_id, asyncio.Lock()):
            account = self._accounts.get(user_id) or RegisteredAccount(Connection(user_id))
            async with self._store.begin() as work:
                stored = await work.connections.get(user_id)
                before = known = account.connection
                if stored is not None and stored.generation > before.generation:
                    before = stored  # a login that was stored, but whose acknowledgement was cut off
                if only_after not in (None, before.generation):
                    raise LinkRefused("There has been a login since this one was begun.", reason="void")
                if continues is not None and not all(
                    rules.can_be_continued(one, continues) for one in (before, stored) if one
                ):
                    raise NotAllowed("This session may not be continued any more.")
                change = rules.log_in(
                    before,
                    fyers_id=fyers_id,
                    app_id=app_id,
                    expires_at=expires_at,
                    now=self._clock.now(),
                    actor=actor,
                    kind=kind,
                )
                is_known_down = before.state is LoginState.DISCONNECTED and not account.is_notice_delayed
                notification = compose_connected_again(change, new_id=self._new_id) if is_known_down else None
                if not await work.connections.save_login(change.after, token):
                    raise AlreadyExists("Another login of this account was stored at the same moment.")
                is_new = await save_login(work, change, notification)
                await work.commit()
            self._accounts.put(account)
            self._begin_session(account, change, token, known)
            if notification and is_new:
                publish_notices(self._hub, notification)
            return account.connection

    def _begin_session(
        self, account: RegisteredAccount, change: ConnectionChange, token: AccessToken, known: Connection
    ) -> None:
        """Let a login that is stored take effect; `known` is what was known of the account when it was decided on."""
        account.close_lease()
        account.is_notice_delayed = False
        account.connection, ended = change.after, account.connection
        account.is_observed = ended.incident_id != known.incident_id
        if account.is_observed:
            # The old session ended while the new one was being stored: that is part of what was.
            account.connection = replace(
                change.after, last_disconnect_at=ended.last_disconnect_at, incident_id=ended.incident_id
            )
        account.credential = credential_of(account.connection, token)
        self._known_ends.sessions_changed()
        self._tell(replace(change, after=account.connection))

    async def sign_out(self, user_id: str, *, actor: str) -> Connection:
        """End the session because its user wants it; without a session nothing happens."""
        return await self._end_by(user_id, LoginTrigger.SIGNED_OUT, Evidence("user", actor))

    async def disconnect_by_admin(self, user_id: str, *, actor: str) -> Connection:
        """End the session because an operator wants it; without a session nothing happens."""
        return await self._end_by(user_id, LoginTrigger.DISCONNECTED_BY_ADMIN, Evidence("admin", actor))

    async def forget(self, user_id: str) -> None:
        """Drop a removed user's connection; the caller removes what is stored."""
        account = self._accounts.pop(user_id)
        if account:
            account.close_lease()
        self._login_locks.pop(user_id, None)
        self._doubts.forget(user_id)

    async def _end_by(self, user_id: str, trigger: LoginTrigger, evidence: Evidence) -> Connection:
        account = self._accounts.get(user_id)
        if account and account.connection.has_session:
            self._end(account, trigger, evidence)
            await self._writer.save()
        return self.connection(user_id)

    async def _end_refused(self, account: RegisteredAccount, refusals: tuple[LoginRefused, ...]) -> None:
        self._end(account, LoginTrigger.REFUSAL_CONFIRMED, Evidence("refusal", "fyers", refusals))
        await self._writer.save()

    def _end(
        self,
        account: RegisteredAccount,
        trigger: LoginTrigger,
        evidence: Evidence,
        *,
        at: datetime | None = None,
    ) -> None:
        addition = self._hook.before_disconnect(account.connection, trigger)
        change = rules.end(
            account.connection,
            trigger,
            incident_id=self._new_id("inc"),
            now=at or self._clock.now(),
            evidence=replace(evidence, details=addition.details),
        )
        account.close_lease()
        notice = compose_session_disconnected(change, new_id=self._new_id, addition=addition.sentence)
        account.is_notice_delayed = addition.delays_notice
        self._take_effect(account, change, None if addition.delays_notice else notice)

    def notify_disconnected(self, change: ConnectionChange, *, addition: str) -> None:
        """Queue the delayed notice of a disconnect, unless a login has followed."""
        account = self._accounts.get(change.after.user_id)
        if account and account.connection == change.after:
            account.is_notice_delayed = False
            self._writer.tell(compose_session_disconnected(change, new_id=self._new_id, addition=addition))

    def _take_effect(
        self, account: RegisteredAccount, change: ConnectionChange, notification: Notification | None
    ) -> None:
        """Let a change count at once and hand it over for storing, in one step that nothing can come between."""
        account.connection = change.after
        self._writer.add(change, notification)
        self._tell(change)

    def _tell(self, change: ConnectionChange) -> None:
        connection = change.after
        self._log.info(
            f"session.{change.trigger.value}",
            user_id=connection.user_id,
            state=connection.state.value,
            reason=connection.reason.value if connection.reason else None,
            incident_id=connection.incident_id,
        )
        self._publish(change.before, connection)
        for listener in self._listeners:
            listener(change)

    def _publish(self, before: Connection, after: Connection) -> None:
        event = ConnectionChanged(after.user_id, before.state, after)
        self._hub.publish(after.user_id, event)
        self._hub.publish(ADMINS, event)

    # ---------------------------------------------------------------- storing

    async def store_changes(self) -> None:
        """Store what happened to sessions, as far as the database answers; the rest stays outstanding."""
        await self._writer.save()

    async def store_observations(self) -> None:
        """Store when sessions were last confirmed, and whatever else is outstanding.

        Raises:
            StorageUnavailable: The database did not answer; everything stays outstanding.
        """
        await self._writer.save()
        await save_observed(self._store, [account for account in self._accounts if account.is_observed])

    async def apply_stored_disconnects(self) -> None:
        """Let ends that another process stored, such as an operator's command, count here too; they are told there already."""
        known = {connection.user_id: connection.generation for connection in self.connections()}
        for user_id, ended in await read_stored_disconnects(self._store, known):
            account = self._accounts.get(user_id)
            # A login that was stored while this was read is newer than what was read.
            if account is None or account.connection.generation != known[user_id]:
                continue
            if ended is None:
                await self.forget(user_id)
            elif account.connection.has_session:
                change = change_of_stored_disconnect(account.connection, ended, now=self._clock.now())
                account.connection = ended
                account.close_lease()
                self._tell(change)
