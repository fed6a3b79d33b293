"""ConnectionService: the one place that decides what follows when a session begins, is doubted or ends.

Everybody else only *reports* what Fyers answered (`learned`) and *asks* for a credential. From a refusal to a verdict the way is: the
lease closes for ordinary calls, a second look asks other Fyers services (``second_look.py``), and only then does the session end, unless
so many are refused at once that the broker is the patient (``outages.py`` then holds the verdicts). The rules are in ``domain/``.

Memory leads, the database follows: an end takes effect at once, whatever the database does, and is stored as soon as it answers
(``connection_writer.py``). A new login is stored first, since its acknowledgement is a promise.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random
from typing import Final, Protocol

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
    Standing,
    StandingTrigger,
    credential_of,
)
from hullwatch.domain.events import ConnectionChanged, Event
from hullwatch.domain.failures import (
    AlreadyExists,
    Answered,
    BrokerResult,
    LinkRefused,
    LoginRefused,
    NotAllowed,
    RateLimited,
    Unavailable,
)
from hullwatch.domain.notifications import Notification
from hullwatch.domain.renewal import may_follow
from hullwatch.domain.renewal_outcomes import RenewalOutcome
from hullwatch.domain.secrets import AccessToken
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.connection_writer import ConnectionWriter, save_login
from hullwatch.services.known_ends import KnownEnds
from hullwatch.services.looks import Looks
from hullwatch.services.notifications import (
    UNREADABLE_TOKEN,
    announce,
    compose_login_renewed,
    compose_session_ended,
    compose_session_expiring,
)
from hullwatch.services.outages import BrokerTrouble, OutageWatch
from hullwatch.services.ports import BrokerPort, StorePort
from hullwatch.services.second_look import SecondLook
from hullwatch.services.stored_ends import change_of_stored_end, read_stored_ends

ADMINS: Final = "admin"
"""Topic of the hub that carries every account's connection changes to operators."""
STORED_ENDS_EVERY_S: Final = 10.0
"""How soon an end that an operator made on the command line reaches a running server."""
UNSURE_AFTER_S: Final = 300.0
"""A passing trouble makes a session unverified only when Fyers has not confirmed it for this long."""


@dataclass(slots=True)
class _Account:
    connection: Connection
    credential: Credential | None = None
    is_end_untold: bool = False
    """Its session ended, and its user is told when the renewal that is being tried has failed."""
    is_observed: bool = False
    """Its validation time moved since it was last stored."""


class Renewals(Protocol):
    """Who may try to renew a session that is over; satisfied by `RenewalService`."""

    def prospect(self, connection: Connection, trigger: LoginTrigger) -> RenewalOutcome | None:
        """Say what is to be said of renewals at this end: *under way* if one is or will be tried, a failure if one was, or nothing."""
        ...

    def begin(self, ended: ConnectionChange) -> None:
        """Try, or wait for the try under way; on a failure `tell_end` is called."""
        ...


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
        wire_clock: Clock | None = None,
        warns_of_end: Callable[[str, datetime], bool] | None = None,
    ) -> None:
        """Keep what is needed.

        `wire_clock` times what waits for the network, where `clock` runs faster than life. `warns_of_end` says, when a session nears its
        known end, whether its user is to be told.
        """
        wire_clock = wire_clock or clock
        self._warns_of_end = warns_of_end
        self._store = store
        self._clock = clock
        self._supervisor = supervisor
        self._hub = hub
        self._new_id = new_id
        self._accounts: dict[str, _Account] = {}
        self._login_locks: dict[str, asyncio.Lock] = {}
        self._listeners: list[Callable[[ConnectionChange], None]] = []
        self._renewals: Renewals | None = None
        self._known_ends = KnownEnds(clock)
        self._writer = ConnectionWriter(store=store, clock=clock, random=random, hub=hub)
        self.outages = OutageWatch(
            self,
            store=store,
            broker=broker,
            clock=clock,
            wire_clock=wire_clock,
            random=random,
            hub=hub,
            new_id=new_id,
        )
        second_look = SecondLook(
            self, outages=self.outages, broker=broker, clock=clock, wire_clock=wire_clock, random=random
        )
        self._looks = Looks(second_look, supervisor)
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

    def renew_through(self, renewals: Renewals) -> None:
        """Ask these, at the end of a session, whether a renewal is tried."""
        self._renewals = renewals

    def on_change(self, listener: Callable[[ConnectionChange], None]) -> None:
        """Call `listener` after every move of a login state, in the step in which it takes effect."""
        self._listeners.append(listener)

    @property
    def broker_trouble(self) -> BrokerTrouble | None:
        """The mass refusal that is under way, if there is one."""
        return self.outages.trouble

    async def settled(self, user_id: str) -> Connection:
        """Wait until a second look that is under way has come to its first result."""
        if self.connection(user_id).standing is Standing.SUSPECTED:
            await self._looks.first_result(user_id)
        return self.connection(user_id)

    # ---------------------------------------------------------------- start and jobs

    async def load(self) -> None:
        """Read all connections; sessions whose known end passed meanwhile end now, dated at that end."""
        async with self._store.begin(read_only=True) as work:
            connections = await work.connections.list_all()
            tokens = await work.connections.tokens()
        await self.outages.load()
        for stored in connections:
            account = self._accounts[stored.user_id] = _Account(replace(stored, standing=Standing.ASSUMED))
            generation, token = tokens.get(stored.user_id, (None, None))
            if not stored.has_session:
                continue
            if token is None or generation != stored.generation or stored.expires_at is None:
                self._log.error("access_token.unreadable", user_id=stored.user_id)
                self._end(account, LoginTrigger.SIGNED_OUT, Evidence(UNREADABLE_TOKEN))
            else:
                account.credential = credential_of(account.connection, token)
        # Ends that near are left to the job: whether they are worth a warning is known only once everybody has loaded.
        self._end_due_sessions(with_nearing=False)
        await self._writer.save()

    def start_jobs(self) -> None:
        """Begin the jobs that end sessions at their known end, store what could not be stored, and ask an ill broker slowly."""
        self._supervisor.spawn(
            "session-ends", lambda: self._known_ends.run(self.connections, self._end_due_sessions)
        )
        self._supervisor.spawn(
            "connection-writer",
            lambda: self._writer.run(lambda: self._supervisor.heartbeat("connection-writer")),
        )
        self._supervisor.every("connection-observations", 60, self.store_observations, at_start=False)
        self._supervisor.every("stored-ends", STORED_ENDS_EVERY_S, self.take_over_stored_ends, at_start=False)
        self._supervisor.every("second-look-care", 60, self._care_for_looks, at_start=False)
        self._supervisor.spawn("broker-outage", self.outages.run)

    def _end_due_sessions(self, *, with_nearing: bool = True) -> None:
        """Let all ends that have come take effect; storing them is the writer's job, which nobody waits for here."""
        now = self._clock.now()
        for account in list(self._accounts.values()):
            expires_at = account.connection.expires_at
            if expires_at is None or not account.connection.has_session:
                continue
            is_near = with_nearing and now >= expires_at - EXPIRING_BEFORE
            if now >= expires_at:
                self._end(account, LoginTrigger.REACHED_END, Evidence("known_end"), at=expires_at)
            elif account.connection.state is LoginState.CONNECTED and is_near:
                self._take_effect(account, *self._near_end(account.connection, expires_at, now))

    def _near_end(
        self, connection: Connection, expires_at: datetime, now: datetime
    ) -> tuple[ConnectionChange, Notification | None]:
        change = rules.near_end(connection, now=now)
        is_told = self._warns_of_end is not None and self._warns_of_end(connection.user_id, expires_at)
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
        renews: int | None = None,
    ) -> Connection:
        """Begin a new session; it is stored before it counts. With `only_after` only as the first login after that generation.

        With `renews` it follows that generation without its user, who is told nothing.

        Raises:
            LinkRefused: There has been another login since `only_after`.
            NotAllowed: The generation `renews` may not be followed so: there has been another login, or a person ended it.
            StorageUnavailable: The database did not answer; the old session, if any, goes on.
            AlreadyExists: Another process stored a login at the same moment, or the user has been removed.
        """
        async with self._login_locks.setdefault(user_id, asyncio.Lock()):
            account = self._accounts.get(user_id) or _Account(Connection(user_id))
            async with self._store.begin() as work:
                stored = await work.connections.get(user_id)
                before = known = account.connection
                if stored is not None and stored.generation > before.generation:
                    before = stored  # a login that was stored, but whose acknowledgement was cut off
                if only_after not in (None, before.generation):
                    raise LinkRefused("There has been a login since this one was begun.", reason="void")
                if renews is not None and not all(may_follow(one, renews) for one in (before, stored) if one):
                    raise NotAllowed("This session may not be renewed any more.")
                change = rules.log_in(
                    before,
                    fyers_id=fyers_id,
                    app_id=app_id,
                    expires_at=expires_at,
                    now=self._clock.now(),
                    actor=actor,
                    kind="login" if renews is None else "renewal",
                )
                is_known_down = before.state is LoginState.DISCONNECTED and not account.is_end_untold
                notification = compose_login_renewed(change, new_id=self._new_id) if is_known_down else None
                if not await work.connections.save_login(change.after, token):
                    raise AlreadyExists("Another login of this account was stored at the same moment.")
                is_new = await save_login(work, change, notification)
                await work.commit()
            self._accounts[user_id] = account
            self._begin_session(account, change, token, known)
            if notification and is_new:
                announce(self._hub, notification)
            return account.connection

    def _begin_session(
        self, account: _Account, change: ConnectionChange, token: AccessToken, known: Connection
    ) -> None:
        """Let a login that is stored take effect; `known` is what was known of the account when it was decided on."""
        self._close_lease(account)
        account.is_end_untold = False
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
        account = self._accounts.pop(user_id, None)
        if account:
            self._close_lease(account)
        self._login_locks.pop(user_id, None)
        self._looks.forget(user_id)

    async def _end_by(self, user_id: str, trigger: LoginTrigger, evidence: Evidence) -> Connection:
        account = self._accounts.get(user_id)
        if account and account.connection.has_session:
            self._end(account, trigger, evidence)
            await self._writer.save()
        return self.connection(user_id)

    def _end(
        self, account: _Account, trigger: LoginTrigger, evidence: Evidence, *, at: datetime | None = None
    ) -> None:
        renewal = self._renewals.prospect(account.connection, trigger) if self._renewals else None
        change = rules.end(
            account.connection,
            trigger,
            incident_id=self._new_id("inc"),
            now=at or self._clock.now(),
            evidence=replace(evidence, renewal=renewal),
        )
        self._close_lease(account)
        if self._renewals is None or renewal is not RenewalOutcome.UNDER_WAY:
            self._take_effect(account, change, compose_session_ended(change, new_id=self._new_id))
            return
        # It is over in any case; only its user is told when the try has failed, since a success repairs it within seconds.
        account.is_end_untold = True
        self._take_effect(account, change, None)
        self._renewals.begin(change)

    def tell_end(self, ended: ConnectionChange, renewal: RenewalOutcome) -> None:
        """Tell a user of an end that was kept back, unless a login has followed; storing the notice is the writer's job."""
        account = self._accounts.get(ended.after.user_id)
        if account and account.connection == ended.after:
            account.is_end_untold = False
            told = replace(ended, evidence=replace(ended.evidence, renewal=renewal))
            self._writer.tell(compose_session_ended(told, new_id=self._new_id))

    def _take_effect(
        self, account: _Account, change: ConnectionChange, notification: Notification | None
    ) -> None:
        """Let a change count at once and hand it over for storing, in one step that nothing can come between."""
        account.connection = change.after
        self._writer.add(change, notification)
        self._tell(change)

    @staticmethod
    def _close_lease(account: _Account) -> None:
        if account.credential:
            account.credential.lease.is_over = True
            account.credential = None

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
                if account.connection.is_usable:
                    self.outages.note_answer(credential.user_id)
                self._stand(account, StandingTrigger.ANSWERED)
            case LoginRefused():
                self._doubt(account, result)
            case RateLimited() | Unavailable() if is_validation or self._is_stale(account.connection):
                self._stand(account, StandingTrigger.TROUBLED)
            case _:
                pass  # a refused request or a call that was not sent says nothing about the login

    def confirmed_elsewhere(self, user_id: str, generation: int, *, at: datetime) -> bool:
        """Let a confirmation that another process got at this moment count here; False where it may not.

        It clears no doubt, says nothing about another generation, and moves nothing back.
        """
        account = self._accounts.get(user_id)
        if account is None or account.connection.generation != generation or not account.connection.is_usable:
            return False
        known_at = account.connection.last_validated_at
        if known_at is None or known_at < at:
            self._stand(account, StandingTrigger.ANSWERED, at=at)
        return True

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

    async def confirm_refusal(self, credential: Credential, refusals: tuple[LoginRefused, ...]) -> None:
        """End the session that this credential belongs to, unless it ended already or a newer login has taken its place."""
        account = self._accounts.get(credential.user_id)
        if account and self.is_present(credential):
            self._end(account, LoginTrigger.REFUSAL_CONFIRMED, Evidence("refusal", "fyers", refusals))
            await self._writer.save()

    def is_present(self, credential: Credential) -> bool:
        """Tell whether the credential still belongs to its account's present session."""
        account = self._accounts.get(credential.user_id)
        present = account.credential if account else None
        return present is not None and present.lease is credential.lease

    def credential_in_doubt(self, user_id: str) -> Credential | None:
        """Return what a held session may be asked about with, and nothing else."""
        account = self._accounts.get(user_id)
        if account is None or account.credential is None or account.connection.standing is not Standing.HELD:
            return None
        return account.credential.for_second_look()

    def witnesses(self, user_id: str) -> list[Credential]:
        """Return credentials of all others for asking whether the broker is well; those in doubt may be asked as well."""
        return [
            account.credential if account.connection.is_usable else account.credential.for_second_look()
            for other, account in self._accounts.items()
            if other != user_id and account.credential is not None
        ]

    def _is_stale(self, connection: Connection) -> bool:
        validated_at = connection.last_validated_at
        return validated_at is None or (self._clock.now() - validated_at).total_seconds() > UNSURE_AFTER_S

    def _stand(self, account: _Account, trigger: StandingTrigger, *, at: datetime | None = None) -> None:
        before = account.connection
        account.connection = after = rules.stand(before, trigger, now=at or self._clock.now())
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
        self._looks.begin(account.credential, refusal)

    async def _care_for_looks(self) -> None:
        self._looks.begin_broken_off(
            account.credential
            for account in list(self._accounts.values())
            if account.credential and account.connection.standing is Standing.SUSPECTED
        )

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
        observed = [account for account in self._accounts.values() if account.is_observed]
        if not observed:
            return
        for account in observed:
            account.is_observed = False
        is_kept = False
        try:
            async with self._store.begin() as work:
                # One statement for all: two thousand, one after the other, would hold the database for many seconds.
                await work.connections.save_observed(
                    [account.connection for account in observed if account.connection.has_session]
                )
                await work.commit()
            is_kept = True
        finally:
            for account in observed:
                account.is_observed |= not is_kept

    async def take_over_stored_ends(self) -> None:
        """Let ends that another process stored, such as an operator's command, count here too; they are told there already."""
        known = {user_id: account.connection.generation for user_id, account in self._accounts.items()}
        for user_id, ended in await read_stored_ends(self._store, known):
            account = self._accounts.get(user_id)
            # A login that was stored while this was read is newer than what was read.
            if account is None or account.connection.generation != known[user_id]:
                continue
            if ended is None:
                await self.forget(user_id)
            elif account.connection.has_session:
                change = change_of_stored_end(account.connection, ended, now=self._clock.now())
                account.connection = ended
                self._close_lease(account)
                self._tell(change)
