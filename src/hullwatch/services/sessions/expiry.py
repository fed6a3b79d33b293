"""Waits for the next moment at which a session nears or reaches its known end, and knows which ends are worth a warning.

What then happens is ``connections.py``'s.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.readiness.readiness import expires_early
from hullwatch.domain.sessions.connection import EXPIRING_BEFORE, Connection, LoginState
from hullwatch.domain.sessions.tokens import next_daily_expiry
from hullwatch.runtime.clock import Clock


def next_due_at(connections: Iterable[Connection]) -> datetime | None:
    """Return when the first of these sessions has to be looked at, or `None` without any."""
    moments = []
    for connection in connections:
        if connection.expires_at is None or not connection.has_session:
            continue
        is_near = connection.state is LoginState.EXPIRING
        moments.append(connection.expires_at if is_near else connection.expires_at - EXPIRING_BEFORE)
    return min(moments, default=None)


def expiry_warnings(
    is_wanted: Callable[[str], bool], calendar: MarketCalendar, clock: Clock
) -> Callable[[str, datetime], bool]:
    """Return what decides whether a user is warned that the session's known end is near."""

    def warns_of_expiry(user_id: str, expires_at: datetime) -> bool:
        next_expires_at = next_daily_expiry(clock.now())
        return is_wanted(user_id) and expires_early(expires_at, calendar, next_expires_at=next_expires_at)

    return warns_of_expiry


class ExpiryTimer:
    """Calls back at each due moment, and again whenever the sessions have changed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = asyncio.Event()

    def sessions_changed(self) -> None:
        """Look anew for the next moment: a session began."""
        self._changed.set()

    async def run(
        self, connections: Callable[[], Iterable[Connection]], expire_due_sessions: Callable[[], None]
    ) -> None:
        """Let due sessions end, for ever."""
        while True:
            self._changed.clear()
            expire_due_sessions()
            await changed_or_due(self._changed, self._clock, next_due_at(connections()))


async def changed_or_due(changed: asyncio.Event, clock: Clock, due_at: datetime | None) -> None:
    """Wait for the event or for the moment, whichever comes first."""
    waits: list[asyncio.Task[object]] = [asyncio.create_task(changed.wait(), name="sessions changed")]
    if due_at is not None:
        waits.append(asyncio.create_task(clock.sleep_until(due_at), name="next due moment"))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
