"""DailySummary: after the last close of an exchange day, tells everybody who wants it how the day went. The sentences are in ``notifications/summary.py``."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from hullwatch.domain.market.calendar import day_bounds, ist_date, sessions_of_all
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.readiness.outlook import Outlook, outlook
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.monitoring.coverage import AccountDay
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.ports.session_hook import SessionHook
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.texts.daily_summary import Summary, compose_daily_summary

AFTER_CLOSE: Final = timedelta(minutes=5)
"""By then the last candles have been judged and stored."""
CHECK_EVERY_S: Final = 60.0
_AT_ONCE: Final = 50
"""Notices of one transaction: on SQLite everybody else who writes waits for it."""


class DailySummary:
    """Stores one notice a day for each user with a channel that carries daily summaries.

    It looks every minute from five minutes after the last close until midnight in India, so a server that starts in the evening catches up; that
    a notice exists once is the storage's to see to.
    """

    def __init__(
        self,
        context: Context,
        *,
        monitoring: MonitoringService,
        connections: ConnectionService,
        hook: SessionHook,
    ) -> None:
        self._store = context.store
        self._monitoring = monitoring
        self._connections = connections
        self._hook = hook
        self._calendar = context.calendar
        self._clock = context.clock
        self._hub = context.hub
        self._new_id = context.new_id
        self._told: tuple[date, set[str]] | None = None
        """Whom this process has told of which day."""
        self._log = structlog.get_logger(component="NotificationService")

    def start_jobs(self, supervisor: Supervisor) -> None:
        """Begin to look for days that are over."""
        supervisor.every("daily-summary", CHECK_EVERY_S, self.publish_if_due, essential=False)

    async def publish_if_due(self) -> None:
        """Tell everybody of today who has not been told, if today's trading is over.

        Raises:
            StorageUnavailable: Some were not told; they are with the next run.
        """
        now = self._clock.now()
        day = ist_date(now)
        due_at = self._due_at(day)
        if due_at is None or now < due_at:
            return
        if self._told is None or self._told[0] != day:
            self._told = (day, set())
        told = self._told[1]
        async with self._store.begin(read_only=True) as work:
            wanting = await work.notifications.users_wanting(NotificationKind.DAILY_SUMMARY) - told
        if not wanting:
            return
        _, days = await self._monitoring.days.of_all(day)
        days = [one for one in days if one.user.id in wanting]
        for start in range(0, len(days), _AT_ONCE):
            await self._keep(await self._compose(day, days[start : start + _AT_ONCE], now))
        told |= wanting
        self._log.info("daily_summary.told", day=day.isoformat(), users=len(wanting))

    def _due_at(self, day: date) -> datetime | None:
        """Return when a day can be told of, or `None` if nothing trades on it."""
        calendars = [self._calendar, self._calendar.derivatives or self._calendar]
        sessions = sessions_of_all(calendars, day)
        return max(session.settles_at for session in sessions) + AFTER_CLOSE if sessions else None

    async def _compose(self, day: date, days: Sequence[AccountDay], now: datetime) -> list[Notification]:
        begins_at, ends_at = day_bounds(day)
        users = [one.user.id for one in days]
        async with self._store.begin(read_only=True) as work:
            counts = await work.watches.count_signals(users, since=begins_at, before=ends_at)
        notices: list[Notification] = []
        for one in days:
            user_id = one.user.id
            fresh, late = counts.get(user_id, (0, 0))
            state = self._monitoring.state(user_id)
            ahead = self._outlook(user_id) if state.is_wanted and state.watch_count else None
            summary = Summary(one.coverage, fresh, late, state.refused_symbols, ahead)
            notices.append(compose_daily_summary(user_id, summary, now=now, new_id=self._new_id))
        return notices

    def _outlook(self, user_id: str) -> Outlook:
        connection = self._connections.connection(user_id)
        opens_at = self._monitoring.next_opening(user_id)
        return outlook(connection, opens_at=opens_at, expiry_note=self._hook.expiry_note(connection))

    async def _keep(self, notices: Sequence[Notification]) -> None:
        async with self._store.begin() as work:
            new = [notice for notice in notices if await work.notifications.add(notice)]
            await work.commit()
        publish_notices(self._hub, *new)
