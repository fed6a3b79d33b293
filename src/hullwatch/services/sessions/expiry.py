"""Marks sessions as expiring, disconnects them at their expiry, and decides whether their users get a warning."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from hullwatch.domain.failures import Answered, LoginRefused
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.market.clock_offset import ClockStep
from hullwatch.domain.readiness.readiness import expires_early
from hullwatch.domain.sessions import connection as rules
from hullwatch.domain.sessions.connection import (
    EXPIRING_BEFORE,
    Connection,
    Credential,
    Evidence,
    LoginState,
    LoginTrigger,
    VerificationTrigger,
)
from hullwatch.domain.sessions.tokens import next_daily_expiry
from hullwatch.runtime.supervisor import Supervisor, SupervisorStopped
from hullwatch.runtime.waiting import wait_for_event
from hullwatch.services.clock_monitor import CHECK_EVERY_S, ClockMonitor
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort
from hullwatch.services.sessions.changes import SessionChanges
from hullwatch.services.sessions.registry import AccountRegistry, RegisteredAccount
from hullwatch.services.texts.readiness import compose_session_expiring

PROBE_EXPIRY_EVERY_S: Final = 20.0
"""Between two probes of a session that has expired by a clock that is not reliable."""

PROBED_AT_ONCE: Final = 10


def next_due_at(connections: Iterable[Connection]) -> datetime | None:
    """Return when the next of these sessions nears or reaches its expiry, or `None` without any."""
    times = []
    for connection in connections:
        if connection.expires_at is None or not connection.has_session:
            continue
        is_near = connection.state is LoginState.EXPIRING
        times.append(connection.expires_at if is_near else connection.expires_at - EXPIRING_BEFORE)
    return min(times, default=None)


def has_expired(connection: Connection, *, now: datetime) -> bool:
    """Return whether the session has to be disconnected because of its expiry."""
    return connection.has_session and connection.expires_at is not None and now >= connection.expires_at


def nears_expiry(connection: Connection, *, now: datetime) -> bool:
    """Return whether the session has to be marked as expiring."""
    return (
        connection.state is LoginState.CONNECTED
        and connection.expires_at is not None
        and connection.expires_at - EXPIRING_BEFORE <= now < connection.expires_at
    )


def is_worth_warning(connection: Connection, calendar: MarketCalendar, *, now: datetime) -> bool:
    """Return whether a user who wants monitoring has to be warned of this expiry."""
    return connection.expires_at is not None and expires_early(
        connection.expires_at, calendar, next_expires_at=next_daily_expiry(now)
    )


class SessionExpiry:
    """Disconnects sessions at their expiry; no call is needed for it while this server's clock is reliable."""

    def __init__(
        self,
        context: Context,
        accounts: AccountRegistry,
        changes: SessionChanges,
        *,
        broker: BrokerPort,
        clock_monitor: ClockMonitor,
        supervisor: Supervisor,
    ) -> None:
        self._context = context
        self._clock = context.clock
        self._accounts = accounts
        self._changes = changes
        self._broker = broker
        self._clock_monitor = clock_monitor
        self._supervisor = supervisor
        self._changed = asyncio.Event()
        self._probes = 0
        """How many are under way."""
        clock_monitor.subscribe(self._clock_changed)

    async def run(self) -> None:
        """Disconnect each session at its expiry, and mark it as expiring before."""
        while True:
            self._changed.clear()
            self.disconnect_expired()
            if self._clock_monitor.is_reliable:
                self._mark_expiring()
                due_at = next_due_at(self._accounts.connections())
                await wait_for_event(self._changed, clock=self._clock, until=due_at)
            else:
                await wait_for_event(self._changed, clock=self._clock, within_s=CHECK_EVERY_S)

    def session_started(self, account: RegisteredAccount) -> None:
        """Count the expiry of a session that may expire before all others."""
        self._set_lease(account)
        self._changed.set()

    def disconnect_expired(self) -> None:
        """Disconnect the sessions whose expiry has passed, as of their expiry.

        While this server's clock is not reliable, the expiry by Fyers' clock counts, and probes confirm it.
        """
        self._clock_monitor.check()
        is_reliable = self._clock_monitor.is_reliable
        now = self._clock.now()
        if not is_reliable:
            now += timedelta(seconds=self._clock_monitor.fyers_offset_s())
        for account in self._accounts:
            self._set_lease(account)
            connection = account.connection
            if not has_expired(connection, now=now):
                continue
            if is_reliable:
                self._changes.disconnect(
                    account, LoginTrigger.REACHED_EXPIRY, Evidence("expiry"), at=connection.expires_at
                )
            elif account.credential and self._clock.monotonic() >= account.expiry_probe_s:
                self._begin_probe(account, account.credential)

    def _begin_probe(self, account: RegisteredAccount, credential: Credential) -> None:
        # A few at once: the first answers show Fyers' time, and then the others need no probe.
        if self._probes < PROBED_AT_ONCE:
            account.expiry_probe_s = self._clock.monotonic() + PROBE_EXPIRY_EVERY_S
            with suppress(SupervisorStopped):
                self._supervisor.run_once("expiry-probe", self._run_probe(account, credential))
                self._probes += 1

    async def _run_probe(self, account: RegisteredAccount, credential: Credential) -> None:
        try:
            await self._probe(account, credential)
        finally:
            self._probes -= 1
            self._changed.set()

    async def _probe(self, account: RegisteredAccount, credential: Credential) -> None:
        """Disconnect the session if two services refuse it; otherwise the next probe decides.

        The refusals do not count for a mass refusal, because many sessions expire at the same moment.
        """
        probe = credential.for_verification()
        results = [await self._broker.check_data(probe), await self._broker.check_trading(probe)]
        if self._accounts.with_credential(credential) is not account:
            return
        refusals = tuple(one for one in results if isinstance(one, LoginRefused))
        if len(refusals) == len(results):
            evidence = Evidence("expiry", "fyers", refusals)
            self._changes.disconnect(
                account, LoginTrigger.REACHED_EXPIRY, evidence, at=account.connection.expires_at
            )
        elif account.connection.is_usable:
            is_answered = any(isinstance(one, Answered) for one in results)
            trigger = VerificationTrigger.ANSWERED if is_answered else VerificationTrigger.UNAVAILABLE
            self._changes.update_verification(account, trigger)

    def _clock_changed(self, step: ClockStep | None) -> None:
        """Let calls go on in the same step if the expiry has to be confirmed, and keep all ages."""
        for account in self._accounts:
            if step is not None and step.is_followed:
                account.move_times(timedelta(seconds=step.seconds))
            self._set_lease(account)
        self._changed.set()

    def _set_lease(self, account: RegisteredAccount) -> None:
        if account.credential:
            account.credential.lease.expires_by_time = self._clock_monitor.is_reliable

    def _mark_expiring(self) -> None:
        now = self._clock.now()
        for account in self._accounts:
            if nears_expiry(account.connection, now=now):
                change = rules.mark_expiring(account.connection, now=now)
                is_warned = is_worth_warning(account.connection, self._context.calendar, now=now)
                notice = compose_session_expiring(change, new_id=self._context.new_id) if is_warned else None
                self._changes.take_effect(account, change, notice, only_if_wanted=True)
