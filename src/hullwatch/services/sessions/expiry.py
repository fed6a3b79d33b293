"""Marks sessions as expiring, disconnects them at their expiry, and decides whether their users get a warning."""

import asyncio
from collections.abc import Iterable
from datetime import datetime

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.readiness.readiness import expires_early
from hullwatch.domain.sessions import connection as rules
from hullwatch.domain.sessions.connection import (
    EXPIRING_BEFORE,
    Connection,
    Evidence,
    LoginState,
    LoginTrigger,
)
from hullwatch.domain.sessions.tokens import next_daily_expiry
from hullwatch.runtime.waiting import wait_for_event
from hullwatch.services.context import Context
from hullwatch.services.sessions.changes import SessionChanges
from hullwatch.services.sessions.registry import AccountRegistry
from hullwatch.services.texts.readiness import compose_session_expiring


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
    """Waits for the expiry of sessions; no call is needed for it."""

    def __init__(self, context: Context, accounts: AccountRegistry, changes: SessionChanges) -> None:
        self._context = context
        self._clock = context.clock
        self._accounts = accounts
        self._changes = changes
        self.session_started = asyncio.Event()
        """To be set when a session starts, because it may expire before all others."""

    async def run(self) -> None:
        """Disconnect each session at its expiry, and mark it as expiring before."""
        while True:
            self.session_started.clear()
            self.disconnect_expired()
            self._mark_expiring()
            due_at = next_due_at(self._accounts.connections())
            await wait_for_event(self.session_started, clock=self._clock, until=due_at)

    def disconnect_expired(self) -> None:
        """Disconnect the sessions whose expiry has passed, as of their expiry."""
        for account in self._accounts:
            connection = account.connection
            if has_expired(connection, now=self._clock.now()):
                self._changes.disconnect(
                    account, LoginTrigger.REACHED_EXPIRY, Evidence("expiry"), at=connection.expires_at
                )

    def _mark_expiring(self) -> None:
        now = self._clock.now()
        for account in self._accounts:
            if nears_expiry(account.connection, now=now):
                change = rules.mark_expiring(account.connection, now=now)
                is_warned = is_worth_warning(account.connection, self._context.calendar, now=now)
                notice = compose_session_expiring(change, new_id=self._context.new_id) if is_warned else None
                self._changes.take_effect(account, change, notice, only_if_wanted=True)
