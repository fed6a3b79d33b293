"""Decides when a session has to be marked as expiring or disconnected, and whether its user gets a warning."""

from collections.abc import Iterable
from datetime import datetime

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.readiness.readiness import expires_early
from hullwatch.domain.sessions.connection import EXPIRING_BEFORE, Connection, LoginState
from hullwatch.domain.sessions.tokens import next_daily_expiry


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
