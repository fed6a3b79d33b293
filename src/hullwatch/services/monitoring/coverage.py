"""Reads coverage from the audit trail: of one account for a day or several, and of all accounts for a day.

Each query reads each kind of entry once, for any number of days or accounts.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import (
    MarketCalendar,
    TradingSession,
    day_bounds,
    ist_date,
    sessions_of_all,
)
from hullwatch.domain.market.clock_offset import ClockStep
from hullwatch.domain.monitoring.coverage import (
    STATUS_KIND,
    Coverage,
    StatusChange,
    clock_steps,
    coverage,
    downtimes,
    late_signals_by_stretch,
    status_changes,
)
from hullwatch.domain.monitoring.outages import SymbolStretch, stretches_of
from hullwatch.domain.signals.signals import Signal
from hullwatch.domain.users.accounts import User
from hullwatch.services.context import Context

MAX_DAYS: Final = 31
_MAX_SIGNALS: Final = 10_000
_ACCOUNTS_PER_STEP: Final = 50
"""Accounts that are computed before other tasks may run."""


@dataclass(frozen=True, slots=True)
class WatchedDay:
    """One account's day with its late signals, oldest candle first."""

    coverage: Coverage
    sessions: tuple[TradingSession, ...]
    late: tuple[Signal, ...]
    symbols: tuple[SymbolStretch, ...]
    """When single symbols were not monitored."""
    fresh: int
    """How many signals were found in time."""
    withdrawn: int
    """How many signals were withdrawn; they count neither as late nor as found in time."""
    clock_steps: tuple[ClockStep, ...]
    """When the server's clock was set."""

    def late_by_stretch(self) -> tuple[list[list[Signal]], list[Signal]]:
        """Return the late signals of each stretch, and those that no stretch caused."""
        return late_signals_by_stretch(self.late, self.coverage.stretches)


@dataclass(frozen=True, slots=True)
class AccountDay:
    """The coverage of one of several accounts."""

    user: User
    coverage: Coverage


class CoverageReader:
    """Reads how much of the trading time was watched."""

    def __init__(
        self,
        context: Context,
        *,
        calendars_of: Callable[[str], Sequence[MarketCalendar]],
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        """`calendars_of` returns the calendars of a user's segments; `flush` stores queued audit entries."""
        self._store = context.store
        self._clock = context.clock
        self._calendar = context.calendar
        self._calendars_of = calendars_of
        self._flush = flush

    async def of_day(self, user_id: str, day: date | None = None) -> WatchedDay:
        """Return one account's day up to now; by default today or the last trading day."""
        day = day or self._calendar.trading_day_of(self._clock.now())
        begins_at, ends_at = day_bounds(day)
        changes, server_entries = await self._changes_of(user_id, begins_at, ends_at)
        async with self._store.begin(read_only=True) as work:
            signals = await work.watches.signals(user_id, since=begins_at, before=ends_at, limit=_MAX_SIGNALS)
            outages = await work.symbol_outages.of_user(user_id, since=begins_at, before=ends_at)
        valid = [signal for signal in signals if signal.withdrawn_at is None]
        late = sorted(
            (signal for signal in valid if signal.is_late), key=lambda signal: signal.candle_closed_at
        )
        sessions = sessions_of_all(self._calendars_of(user_id), day)
        return WatchedDay(
            self._coverage_of(user_id, day, changes, downtimes(server_entries)),
            sessions,
            tuple(late),
            tuple(stretches_of(outages, sessions, until=self._clock.now())),
            len(valid) - len(late),
            len(signals) - len(valid),
            tuple(clock_steps(server_entries, since=begins_at, before=ends_at)),
        )

    async def of_days(self, user_id: str, first: date, last: date) -> list[Coverage]:
        """Return one account's trading days from `first` to `last`, newest first, up to now.

        Raises:
            InvalidInput: The range is longer than a month or reversed.
        """
        if not timedelta() <= last - first < timedelta(days=MAX_DAYS):
            raise InvalidInput(f"Choose 1 to {MAX_DAYS} days, the earlier day first.", field="to")
        last = min(last, ist_date(self._clock.now()))
        if last < first:
            return []
        changes, server_entries = await self._changes_of(user_id, day_bounds(first)[0], day_bounds(last)[1])
        down = downtimes(server_entries)
        moments = [change.at for change in changes]
        days: list[Coverage] = []
        for number in range((last - first).days + 1):
            day = last - timedelta(days=number)
            if not sessions_of_all(self._calendars_of(user_id), day):
                continue
            begins_at, ends_at = day_bounds(day)
            # The last change before the day is the state at its begin.
            of_day = changes[max(0, bisect_left(moments, begins_at) - 1) : bisect_left(moments, ends_at)]
            days.append(self._coverage_of(user_id, day, of_day, down))
        return days

    async def of_all(self, day: date | None = None) -> tuple[date, list[AccountDay]]:
        """Return all accounts' coverage, most blind time first, by default of the latest trading day."""
        day = day or self._calendar.trading_day_of(self._clock.now())
        begins_at, ends_at = day_bounds(day)
        await self._flush()
        async with self._store.begin(read_only=True) as work:
            users = await work.users.list_all()
            before = await work.audit.latest_by_user(kind_prefix=STATUS_KIND, before=begins_at)
            during = await work.audit.lines(STATUS_KIND, since=begins_at, before=ends_at)
            server_entries = await work.audit.server_lines(since=begins_at)
        entries: dict[str, list[AuditEntry]] = {user_id: [entry] for user_id, entry in before.items()}
        for entry in during:
            if entry.user_id is not None:
                entries.setdefault(entry.user_id, []).append(entry)
        down = downtimes(server_entries)
        found: list[AccountDay] = []
        for number, user in enumerate(users):
            changes = status_changes(entries.get(user.id, ()))
            found.append(AccountDay(user, self._coverage_of(user.id, day, changes, down)))
            if number % _ACCOUNTS_PER_STEP == 0:
                await asyncio.sleep(0)
        return day, sorted(found, key=lambda one: (-one.coverage.blind, -one.coverage.watched, one.user.id))

    async def _changes_of(
        self, user_id: str, since: datetime, before: datetime
    ) -> tuple[list[StatusChange], list[AuditEntry]]:
        await self._flush()
        async with self._store.begin(read_only=True) as work:
            earlier = await work.audit.entries(
                user_id=user_id, kind_prefix=STATUS_KIND, before=since, limit=1
            )
            during = await work.audit.lines(STATUS_KIND, since=since, before=before, user_id=user_id)
            server_entries = await work.audit.server_lines(since=since)
        return status_changes([*earlier, *during]), server_entries

    def _coverage_of(
        self,
        user_id: str,
        day: date,
        changes: Sequence[StatusChange],
        down: Sequence[tuple[datetime, datetime]],
    ) -> Coverage:
        sessions = sessions_of_all(self._calendars_of(user_id), day)
        return coverage(day, sessions, changes, down, until=min(day_bounds(day)[1], self._clock.now()))
