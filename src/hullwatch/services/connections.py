"""ConnectionService: the one place that decides what follows when a session begins, is doubted or ends.

Everybody else only *reports* what Fyers answered (`learned`) and *asks* for a credential. From a refusal to a verdict the way is: the
lease closes for ordinary calls, a second look asks other Fyers services, and only then does the session end, unless so many are refused
at once that the broker is the patient (``outages.py`` then holds the verdicts). The rules are in ``domain/connection.py``.

Memory leads, the database follows: an end takes effect at once, whatever the database does, and is stored as soon as it answers. A new
login is stored first, since its acknowledgement is a promise.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random

import structlog

from hullwatch.domain import connection as rules
from hullwatch.domain.connection import (
    EXPIRING_BEFORE,
    Connection,
    ConnectionChange,
    Credential,
    Evidence,
    LoginState,
    LoginTrigger,
    Look,
    Standing,
    StandingTrigger,
    Verdict,
)
from hullwatch.domain.events import AuditEntry, ConnectionChanged, Event
from hullwatch.domain.failures import (
    AlreadyExists,
    Answered,
    BrokerFailure,
    BrokerResult,
    BrokerService,
    LoginRefused,
    RateLimited,
    StorageUnavailable,
    Unavailable,
)
from hullwatch.domain.mass_refusal import FEWEST
from hullwatch.domain.notifications import Notification
from hullwatch.domain.secrets import AccessToken
from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.notifications import announce, compose_login_renewed, compose_session_ended
from hullwatch.services.outages import OutageWatch
from hullwatch.services.ports import BrokerPort, StorePort

ADMINS = "admin"
"""Topic of the hub that carries every account's connection changes to operators."""
SETTLE_S = 2.0
"""Between a second refusal and its verdict, where three or more sessions live: time for a mass refusal to show itself. The account makes no
call meanwhile."""
UNSURE_AFTER_S = 300.0
"""A passing trouble makes a session unverified only when Fyers has not confirmed it for this long."""
_LOOK_AGAIN = Backoff(first_s=20, factor=2, max_s=300, jitter=0.25)
_SAVE_AGAIN = Backoff(first_s=0.5, factor=2, max_s=30, jitter=0.25)


@dataclass(slots=True)
class _Account:
    connection: Connection
    credential: Credential | None = None
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    """Clear from a first refusal until its second look has come to a first result."""
    unsaved: list[tuple[ConnectionChange, Notification | None]] = field(default_factory=list)
    is_observed: bool = False
    """Its validation time moved since it was last stored."""


class ConnectionService:
    """Every account's connection, in memory and in step with the database."""

    def __init__(
        self,
        *,
        store: StorePort,
        broker: BrokerPort,
        clock: Clock,
        random: Random,
        supervisor: Supervisor,
        hub: Broadcast[Event],
        new_id: Callable[[str], str],
    ) -> None:
        self._store = store
        self._broker = broker
        self._clock = clock
        self._random = random
        self._supervisor = supervisor
        self._hub = hub
        self._new_id = new_id
        self._accounts: dict[str, _Account] = {}
        self._login_locks: dict[str, asyncio.Lock] = {}
        self._listeners: list[Callable[[ConnectionChange], None]] = []
        self._schedule_changed = asyncio.Event()
        self._work_to_save = asyncio.Event()
        self.outages = OutageWatch(
            self, store=store, broker=broker, clock=clock, random=random, hub=hub, new_id=new_id
        )
        # The lines about sessions are spoken in the name their readers know.
        self._log = structlog.get_logger(component="TokenValidationService")

    # ---------------------------------------------------------------- what others ask

    def connection(self, user_id: str) -> Connection:
        """Return the account's connection; a user who never linked Fyers has one that says so."""
        account = self._accounts.get(user_id)
        return account.connection if account else Connection(user_id)

    def connections(self) -> tuple[Connection, ...]:
        """Return all known connections, in no particular order."""
        return tuple(account.connection for account in self._accounts.values())

    def credential(self, user_id: str) -> Credential | None:
        """Return what ordinary calls may be made with, or `None` while there is no usable session."""
        account = self._accounts.get(user_id)
        if (
            account is None
            or account.credential is None
            or not account.credential.may_call(self._clock.now())
        ):
            return None
        return account.credential

    def sessions_alive(self) -> int:
        """Count the sessions that have not ended."""
        return sum(account.connection.has_session for account in self._accounts.values())

    def on_change(self, listener: Callable[[ConnectionChange], None]) -> None:
        """Call `listener` after every move of a login state, in the step in which it takes effect."""
        self._listeners.append(listener)

    async def settled(self, user_id: str) -> Connection:
        """Wait until a second look that is under way has come to its first result."""
        account = self._accounts.get(user_id)
        if account and account.connection.standing is Standing.SUSPECTED:
            await account.looked.wait()
        return self.connection(user_id)

    # ---------------------------------------------------------------- start and jobs

    async def load(self) -> None:
        """Read all connections; sessions whose known end passed meanwhile end now, dated at that end."""
        async with self._store.begin(read_only=True) as work:
            connections = await work.connections.list_all()
            tokens = await work.connections.tokens()
        for stored in connections:
            account = self._accounts[stored.user_id] = _Account(replace(stored, standing=Standing.ASSUMED))
            generation, token = tokens.get(stored.user_id, (None, None))
            if not stored.has_session:
                continue
            if token is None or generation != stored.generation or stored.expires_at is None:
                self._log.error("access_token.unreadable", user_id=stored.user_id)
                await self._end(account, LoginTrigger.SIGNED_OUT, Evidence("unreadable_token"))
            else:
                account.credential = _credential(account.connection, token)
        await self._end_due_sessions()

    def start_jobs(self) -> None:
        """Begin the jobs that end sessions at their known end, store what could not be stored, and ask an ill broker slowly."""
        self._supervisor.spawn("session-ends", self._run_known_ends)
        self._supervisor.spawn("connection-writer", self._run_writer)
        self._supervisor.every("connection-observations", 60, self.store_observations, at_start=False)
        self._supervisor.spawn("broker-outage", self.outages.run)

    async def _run_known_ends(self) -> None:
        while True:
            self._schedule_changed.clear()
            await self._end_due_sessions()
            self._supervisor.heartbeat("session-ends")
            due_at = self._next_due_at()
            waits: list[asyncio.Task[object]] = [
                asyncio.create_task(self._schedule_changed.wait(), name="schedule changed")
            ]
            if due_at is not None:
                waits.append(asyncio.create_task(self._clock.sleep_until(due_at), name="next known end"))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    def _next_due_at(self) -> datetime | None:
        moments = []
        for account in self._accounts.values():
            expires_at = account.connection.expires_at
            if expires_at is not None and account.connection.state is LoginState.CONNECTED:
                moments.append(expires_at - EXPIRING_BEFORE)
            elif expires_at is not None and account.connection.state is LoginState.EXPIRING:
                moments.append(expires_at)
        return min(moments, default=None)

    async def _end_due_sessions(self) -> None:
        now = self._clock.now()
        for account in list(self._accounts.values()):
            expires_at = account.connection.expires_at
            if expires_at is None or not account.connection.has_session:
                continue
            if now >= expires_at:
                await self._end(account, LoginTrigger.REACHED_END, Evidence("known_end"), at=expires_at)
            elif account.connection.state is LoginState.CONNECTED and now >= expires_at - EXPIRING_BEFORE:
                change = rules.near_end(account.connection, now=now)
                await self._take_effect(account, change, notification=None)

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
    ) -> Connection:
        """Begin a new session; it is stored before it counts.

        Raises:
            StorageUnavailable: The database did not answer; the old session, if any, goes on.
        """
        async with self._login_locks.setdefault(user_id, asyncio.Lock()):
            account = self._accounts.get(user_id) or _Account(Connection(user_id))
            before = account.connection
            now = self._clock.now()
            change = rules.log_in(
                before, fyers_id=fyers_id, app_id=app_id, expires_at=expires_at, now=now, actor=actor
            )
            was_down = before.state is LoginState.DISCONNECTED
            notification = compose_login_renewed(change, new_id=self._new_id) if was_down else None
            async with self._store.begin() as work:
                if not await work.connections.save_login(change.after, token):
                    raise AlreadyExists(
                        "Another login of this account was stored at the same moment; nothing is lost."
                    )
                await work.audit.add([_audit_entry(change)])
                if notification and not await work.notifications.add(notification):
                    notification = None
                await work.commit()
            self._accounts[user_id] = account
            self._close_lease(account)
            account.connection = change.after
            account.credential = _credential(change.after, token)
            account.unsaved.clear()  # older generations have nothing to add any more
            self._tell(change)
            if notification:
                announce(self._hub, notification)
            self._schedule_changed.set()
            return change.after

    async def sign_out(self, user_id: str, *, actor: str) -> Connection:
        """End the session because its user wants it; without a session nothing happens."""
        return await self._end_by(user_id, LoginTrigger.SIGNED_OUT, Evidence("user", actor))

    async def disconnect_by_admin(self, user_id: str, *, actor: str) -> Connection:
        """End the session because an operator wants it; without a session nothing happens."""
        return await self._end_by(user_id, LoginTrigger.DISCONNECTED_BY_ADMIN, Evidence("admin", actor))

    async def forget(self, user_id: str) -> None:
        """Drop a removed user's connection; the caller removes what is stored."""
        account = self._accounts.pop(user_id, None)
        if account:
            self._close_lease(account)
        self._login_locks.pop(user_id, None)

    async def confirm_refusal(self, connection: Connection, refusals: tuple[LoginRefused, ...]) -> None:
        """End the session that this connection describes, unless a newer login has taken its place."""
        account = self._accounts.get(connection.user_id)
        if (
            account
            and account.connection.generation == connection.generation
            and account.connection.has_session
        ):
            evidence = Evidence("refusal", "fyers", refusals)
            await self._end(account, LoginTrigger.REFUSAL_CONFIRMED, evidence)

    async def _end_by(self, user_id: str, trigger: LoginTrigger, evidence: Evidence) -> Connection:
        account = self._accounts.get(user_id)
        if account and account.connection.has_session:
            await self._end(account, trigger, evidence)
        return self.connection(user_id)

    async def _end(
        self, account: _Account, trigger: LoginTrigger, evidence: Evidence, *, at: datetime | None = None
    ) -> None:
        change = rules.end(
            account.connection,
            trigger,
            incident_id=self._new_id("inc"),
            now=at or self._clock.now(),
            evidence=evidence,
        )
        self._close_lease(account)
        account.credential = None
        await self._take_effect(
            account, change, notification=compose_session_ended(change, new_id=self._new_id)
        )

    async def _take_effect(
        self, account: _Account, change: ConnectionChange, *, notification: Notification | None
    ) -> None:
        """Let a change count at once, then store it; what cannot be stored now is stored later, in order."""
        account.connection = change.after
        self._tell(change)
        account.unsaved.append((change, notification))
        await self._save(account)

    @staticmethod
    def _close_lease(account: _Account) -> None:
        if account.credential:
            account.credential.lease.is_over = True

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

    # ---------------------------------------------------------------- what Fyers' answers say

    def learned(
        self, credential: Credential, result: BrokerResult[object], *, is_validation: bool = False
    ) -> None:
        """Take note of what Fyers answered to a call with this credential; an older generation's news is void.

        A validation's trouble makes the session unverified at once, another call's only when Fyers has not confirmed it lately.
        """
        account = self._accounts.get(credential.user_id)
        if account is None or account.connection.generation != credential.generation:
            return
        if not account.connection.has_session:
            return
        match result:
            case Answered():
                self._stand(account, StandingTrigger.ANSWERED)
            case LoginRefused():
                self._doubt(account, result)
            case RateLimited() | Unavailable() if is_validation or self._is_stale(account.connection):
                self._stand(account, StandingTrigger.TROUBLED)
            case _:
                pass  # a refused request or a call that was not sent says nothing about the login

    def release(self, user_id: str, trigger: StandingTrigger) -> None:
        """Let a doubted session be used again: its second look cleared it, or the broker recovered."""
        account = self._accounts.get(user_id)
        if account and account.connection.has_session and account.credential:
            account.credential.lease.is_in_doubt = False
            self._stand(account, trigger)

    def hold(self, user_id: str) -> None:
        """Hold a verdict back: the broker is in trouble."""
        account = self._accounts.get(user_id)
        if account and account.connection.has_session:
            self._stand(account, StandingTrigger.HELD_BACK)

    def credential_in_doubt(self, user_id: str) -> Credential | None:
        """Return what a held session may be asked about with, and nothing else."""
        account = self._accounts.get(user_id)
        if account is None or account.credential is None or account.connection.standing is not Standing.HELD:
            return None
        return account.credential.for_second_look()

    def _is_stale(self, connection: Connection) -> bool:
        validated_at = connection.last_validated_at
        return validated_at is None or (self._clock.now() - validated_at).total_seconds() > UNSURE_AFTER_S

    def _stand(self, account: _Account, trigger: StandingTrigger) -> None:
        before = account.connection
        account.connection = after = rules.stand(before, trigger, now=self._clock.now())
        if after.last_validated_at is not before.last_validated_at:
            account.is_observed = True
        if after.standing is not before.standing:
            self._log.info(
                f"session.{after.standing.value}", user_id=after.user_id, was=before.standing.value
            )
            self._publish(before, after)

    def _doubt(self, account: _Account, refusal: LoginRefused) -> None:
        if account.credential is None or account.connection.standing in (Standing.SUSPECTED, Standing.HELD):
            return
        account.credential.lease.is_in_doubt = True
        self._stand(account, StandingTrigger.REFUSED)
        self.outages.note_refusal(account.connection.user_id)
        credential = account.credential.for_second_look()
        account.looked.clear()
        self._supervisor.run_once("second-look", self._look_and_tell(account, credential, refusal))

    async def _look_and_tell(self, account: _Account, credential: Credential, first: LoginRefused) -> None:
        try:
            await self._look_until_decided(account, credential, first)
        finally:
            account.looked.set()

    async def _look_until_decided(
        self, account: _Account, credential: Credential, first: LoginRefused
    ) -> None:
        attempt = 0
        while True:
            verdict, refusals, wait_s = await self._second_look(credential, first)
            if not self._is_about(account, credential):
                return
            if verdict is Verdict.CLEARED:
                self.outages.forget_refusal(credential.user_id)
                self.release(credential.user_id, StandingTrigger.CLEARED)
                return
            if verdict is Verdict.CONFIRMED:
                await self._settle_and_judge(account, credential, refusals)
                return
            attempt += 1
            account.looked.set()  # whoever waits for the look is told: still in doubt
            await self._clock.sleep(max(wait_s, _LOOK_AGAIN.delay(attempt, self._random)))
            if not self._is_about(account, credential):
                return

    async def _second_look(
        self, credential: Credential, first: LoginRefused
    ) -> tuple[Verdict, tuple[LoginRefused, ...], float]:
        """Ask other Fyers services until the rules have a verdict; also return the refusals seen and a wait asked for."""
        seen: dict[BrokerService, Look] = {}
        refusals: tuple[LoginRefused, ...] = (first,)
        wait_s = 0.0
        while not isinstance(step := rules.next_look(first.service, seen), Verdict):
            result = await self._ask(step, credential)
            match result:
                case Answered():
                    seen[step] = Look.ANSWERED
                case LoginRefused():
                    seen[step] = Look.REFUSED
                    refusals = (*refusals, result)
                case _:
                    seen[step] = Look.TROUBLED
                    wait_s = max(wait_s, _asked_to_wait(result))
        return step, refusals, wait_s

    async def _ask(self, service: BrokerService, credential: Credential) -> BrokerResult[object]:
        if service is BrokerService.PROFILE:
            return await self._broker.profile_id(credential)
        if service is BrokerService.TRADING:
            return await self._broker.check_trading(credential)
        return await self._broker.check_data(credential)

    async def _settle_and_judge(
        self, account: _Account, credential: Credential, refusals: tuple[LoginRefused, ...]
    ) -> None:
        if self.sessions_alive() >= FEWEST:
            await self._clock.sleep(SETTLE_S)
        if not self._is_about(account, credential):
            return
        if self.outages.should_hold(alive=self.sessions_alive()):
            self.hold(credential.user_id)
            await self.outages.begin()
        else:
            await self.confirm_refusal(account.connection, refusals)

    def _is_about(self, account: _Account, credential: Credential) -> bool:
        """Whether what was asked with this credential still concerns the account's present session."""
        return account.credential is not None and account.credential.lease is credential.lease

    # ---------------------------------------------------------------- storing

    async def _save(self, account: _Account) -> None:
        """Store an account's outstanding changes in order; on a database that does not answer leave them to the writer job."""
        while account.unsaved:
            change, notification = account.unsaved[0]
            try:
                async with self._store.begin() as work:
                    is_current = await work.connections.save(change.after)
                    await work.audit.add([_audit_entry(change)])
                    is_new = notification is not None and await work.notifications.add(notification)
                    await work.commit()
            except StorageUnavailable:
                self._work_to_save.set()
                return
            if account.unsaved and account.unsaved[0][0] is change:
                account.unsaved.pop(0)
            if notification and is_new and is_current:
                announce(self._hub, notification)

    async def _run_writer(self) -> None:
        attempt = 0
        while True:
            await self._work_to_save.wait()
            self._work_to_save.clear()
            for account in list(self._accounts.values()):
                await self._save(account)
            attempt = attempt + 1 if self._work_to_save.is_set() else 0
            self._supervisor.heartbeat("connection-writer")
            if attempt:
                await self._clock.sleep(_SAVE_AGAIN.delay(attempt, self._random))

    async def store_observations(self) -> None:
        """Store when sessions were last confirmed, for all accounts in one transaction."""
        observed = [account for account in self._accounts.values() if account.is_observed]
        if not observed:
            return
        for account in observed:
            account.is_observed = False
        async with self._store.begin() as work:
            for account in observed:
                await work.connections.save(account.connection)
            await work.commit()


def _credential(connection: Connection, token: AccessToken) -> Credential:
    if connection.expires_at is None or connection.app_id is None or connection.fyers_id is None:
        raise ValueError("a session has an end, an app and an owner")
    return Credential(
        user_id=connection.user_id,
        generation=connection.generation,
        app_id=connection.app_id,
        fyers_id=connection.fyers_id,
        token=token,
        expires_at=connection.expires_at,
    )


def _asked_to_wait(failure: BrokerFailure) -> float:
    match failure:
        case RateLimited(retry_after_s=seconds):
            return seconds
        case Unavailable(retry_after_s=float(seconds)):
            return seconds
        case _:
            return 0.0


def _audit_entry(change: ConnectionChange) -> AuditEntry:
    return AuditEntry(
        at=change.at,
        user_id=change.after.user_id,
        kind=f"connection.{change.trigger.value}",
        actor=change.evidence.actor,
        from_state=change.before.state.value,
        to_state=change.after.state.value,
        reason=change.after.reason.value if change.after.reason else None,
        generation=change.after.generation,
        incident_id=change.after.incident_id,
        evidence={
            "kind": change.evidence.kind,
            "expiresAt": change.after.expires_at.isoformat() if change.after.expires_at else None,
            "refusals": [
                {
                    "service": refusal.service.value,
                    "code": refusal.code,
                    "status": refusal.http_status,
                    "path": refusal.path,
                }
                for refusal in change.evidence.refusals
            ],
        },
    )
