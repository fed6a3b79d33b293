"""Stores the notices that summarize a trading day after its last market close."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from hullwatch.domain.market.calendar import day_bounds, ist_date, sessions_of_all
from hullwatch.domain.monitoring.outages import stretches_of
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.readiness.outlook import Outlook, outlook
from hullwatch.domain.signals.signals import SignalCounts
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.monitoring.coverage import AccountDay
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.ports.session_hook import SessionHook
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.texts.daily_summary import Summary, compose_daily_summary

AFTER_CLOSE: Final = timedelta(minutes=5)
"""By then the last candles have been evaluated and their signals stored."""
CHECK_EVERY_S: Final = 60.0
_NOTICES_PER_TRANSACTION: Final = 50
"""On SQLite all other writers wait for it."""


class DailySummary:
    """Stores one notice a day for each user with a channel that carries daily summaries.

    It checks every minute from five minutes after the last close until midnight in India, so that a server
    started in the evening sends them too. The database makes sure that each notice is stored once.
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
        self._summarized: tuple[date, set[str]] | None = None
        """The latest day and the users whose summary of it this process has stored."""
        self._log = structlog.get_logger(component="NotificationService")

    def start_jobs(self, supervisor: Supervisor) -> None:
        """Start the check for ended trading days."""
        supervisor.every("daily-summary", CHECK_EVERY_S, self.publish_if_due, essential=False)

    async def publish_if_due(self) -> None:
        """Store the missing summaries of today, if today's trading has ended.

        Raises:
            StorageUnavailable: Some are still missing; the next run stores them.
        """
        now = self._clock.now()
        day = ist_date(now)
        due_at = self._due_at(day)
        if due_at is None or now < due_at:
            return
        if self._summarized is None or self._summarized[0] != day:
            self._summarized = (day, set())
        done = self._summarized[1]
        async with self._store.begin(read_only=True) as work:
            recipients = await work.notifications.users_wanting(NotificationKind.DAILY_SUMMARY) - done
        if not recipients:
            return
        _, days = await self._monitoring.days.of_all(day)
        days = [one for one in days if one.user.id in recipients]
        for start in range(0, len(days), _NOTICES_PER_TRANSACTION):
            await self._store_notices(
                await self._compose(day, days[start : start + _NOTICES_PER_TRANSACTION], now)
            )
        done |= recipients
        self._log.info("daily_summary.stored", day=day.isoformat(), users=len(recipients))

    def _due_at(self, day: date) -> datetime | None:
        """Return when a day's summary is due; `None` if it is no trading day."""
        calendars = [self._calendar, self._calendar.derivatives or self._calendar]
        sessions = sessions_of_all(calendars, day)
        return max(session.settles_at for session in sessions) + AFTER_CLOSE if sessions else None

    async def _compose(self, day: date, days: Sequence[AccountDay], now: datetime) -> list[Notification]:
        begins_at, ends_at = day_bounds(day)
        users = [one.user.id for one in days]
        async with self._store.begin(read_only=True) as work:
            counts = await work.watches.count_signals(users, since=begins_at, before=ends_at)
            outages = {
                user_id: await work.symbol_outages.of_user(user_id, since=begins_at, before=ends_at)
                for user_id in users
            }
        sessions = self._calendar.sessions_on(day)
        notices: list[Notification] = []
        for one in days:
            user_id = one.user.id
            state = self._monitoring.state(user_id)
            ahead = self._outlook(user_id) if state.is_wanted and state.watch_count else None
            summary = Summary(
                one.coverage,
                counts.get(user_id, SignalCounts()),
                state.refused_symbols,
                ahead,
                stretches_of(outages[user_id], sessions, until=now),
            )
            notices.append(compose_daily_summary(user_id, summary, now=now, new_id=self._new_id))
        return notices

    def _outlook(self, user_id: str) -> Outlook:
        connection = self._connections.connection(user_id)
        opens_at = self._monitoring.next_opening(user_id)
        return outlook(connection, opens_at=opens_at, expiry_note=self._hook.expiry_note(connection))

    async def _store_notices(self, notices: Sequence[Notification]) -> None:
        async with self._store.begin() as work:
            new = [notice for notice in notices if await work.notifications.add(notice)]
            await work.commit()
        publish_notices(self._hub, *new)
