"""Runs the cycles of all accounts when they are due.

Each cycle is a task of its own with a deadline, so no account waits for another, and an account never has two
cycles at once. An account without a broker session is not scheduled and makes no calls; its next login
schedules it.
"""

import asyncio
import heapq
import math
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from hullwatch.domain.market.calendar import session_under_way
from hullwatch.domain.monitoring.coverage import BlindReason
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.signals.settling import FIRST_READING
from hullwatch.runtime.clock import Clock, clock_timeout
from hullwatch.runtime.waiting import wait_for_event
from hullwatch.services.context import Context
from hullwatch.services.market.service import MarketService
from hullwatch.services.monitoring.account_state import AccountState
from hullwatch.services.monitoring.cycle import FOLLOW_UP, Watcher
from hullwatch.services.monitoring.journal import Journal
from hullwatch.services.monitoring.reading_plan import ReadingPlan, ReadingTimes
from hullwatch.services.monitoring.status_log import StatusLog
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.sessions.service import ConnectionService

CYCLE_DEADLINE_S = 25.0
"""Longer than the limit of any single call, so a cycle that reaches it makes no progress."""
CLOSED_INTERVAL = timedelta(seconds=30)
"""Between cycles later than `FOLLOW_UP` after the market close, while the last candles are still missing."""
STARTED_AT_ONCE = 25
"""Cycles that start before other work of the server goes on."""
MAX_WAIT_S = 30.0
"""So often the loop runs at least, which shows that it works."""
_TOLERANCE_S = 1e-6
"""Clocks count in whole microseconds, so a cycle may begin earlier by less than one."""
_IDLE = frozenset({WatchStatus.NOT_WANTED, WatchStatus.NO_WATCHES, WatchStatus.NO_SESSION})
"""Statuses without cycles: a start, a new watch or a login ends them."""


class Scheduler:
    """Schedules and runs cycles."""

    def __init__(
        self,
        context: Context,
        *,
        connections: ConnectionService,
        market: MarketService,
        journal: Journal,
        metrics: MetricsPort,
        is_wanted: Callable[[str], bool],
        times: ReadingTimes,
    ) -> None:
        """`is_wanted` returns whether a user wants monitoring."""
        self._context = context
        self._clock = context.clock
        self._connections = connections
        self._market = market
        self._journal = journal
        self._metrics = metrics
        self._is_wanted = is_wanted
        self._plan = ReadingPlan(times, context.random)
        self.interval = times.interval
        self._phase = context.random.random  # spreads the accounts over an interval
        self._times = CycleTimes(context.clock, self.interval)
        self.status_log = StatusLog(context, connections=connections, journal=journal)
        self.accounts: dict[str, AccountState] = {}
        self._schedule = Schedule()
        self._schedule_changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.last_pass_s = context.clock.monotonic()
        """When the loop that starts cycles last ran, on the clock's monotonic time."""
        self._log = structlog.get_logger(component="MonitoringService")

    def account(self, user_id: str) -> AccountState:
        """Return the account's state, created on first use."""
        account = self.accounts.get(user_id)
        if account is None:
            watcher = Watcher(
                self._context,
                user_id,
                connections=self._connections,
                market=self._market,
                journal=self._journal,
                metrics=self._metrics,
                plan=self._plan,
            )
            account = self.accounts[user_id] = AccountState(watcher, self._phase())
        return account

    def remove(self, user_id: str) -> None:
        """Drop an account and what of it is not stored yet."""
        self._schedule.discard(user_id)
        self._journal.discard(user_id)
        account = self.accounts.pop(user_id, None)
        if account is not None:
            account.watcher.close()

    def wake(self, user_id: str) -> None:
        """Run the account's next cycle at once, because its session or watchlist has changed."""
        account = self.account(user_id)
        if account.is_running:
            account.must_run_again = True
        else:
            self._put(user_id, self._clock.now())

    def wake_spread(self, user_id: str, over: timedelta = timedelta()) -> None:
        """Run the account's next cycle at a random time within the interval, or within `over` if that is longer."""
        self._put(user_id, self._clock.now() + self._phase() * max(over, self.interval))

    async def run_now(self, user_id: str) -> None:
        """Run a cycle of the account at once and wait for it; a cycle under way counts."""
        account = self.account(user_id)
        if not account.is_running:
            self._schedule.discard(user_id)
            self._start(user_id)
        if account.task is not None:
            # Not awaited directly: the cancellation of this caller would cancel the cycle.
            await asyncio.wait({account.task})

    async def run(self, heartbeat: Callable[[], None]) -> None:
        """Start cycles as they become due, for ever; cancel those under way at the end."""
        try:
            while True:
                self._schedule_changed.clear()
                self.last_pass_s = self._clock.monotonic()
                is_more_due = True
                while is_more_due:
                    due = self._schedule.pop_due(self._clock.monotonic(), most=STARTED_AT_ONCE)
                    for user_id in due:
                        self._start(user_id)
                    # A close wakes all accounts: the calls of the first ones are sent before the last ones start.
                    await asyncio.sleep(0)
                    is_more_due = len(due) == STARTED_AT_ONCE
                heartbeat()
                due_in_s = self._schedule.next_due_s() - self._clock.monotonic()
                within_s = min(due_in_s, MAX_WAIT_S)
                await wait_for_event(self._schedule_changed, clock=self._clock, within_s=within_s)
        finally:
            for account in self.accounts.values():
                account.watcher.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    def wanted_accounts(self) -> list[AccountState]:
        """Return the accounts that want monitoring and have a watchlist."""
        return [
            account
            for user_id, account in self.accounts.items()
            if account.watcher.watches and self._is_wanted(user_id)
        ]

    def record_missed_cycles(self) -> None:
        """Record which accounts have missed cycles by now, in case the server is killed before their next one."""
        now = self._clock.now()
        for account in self.accounts.values():
            covered = self.status_log.covered_until(account, now)
            if covered is None:
                continue
            if account.is_running and account.began_late:
                self.status_log.record(account, BlindReason.SERVER_BUSY, covered)
            elif account.is_running and account.watcher.gap.is_overrunning():
                self.status_log.record(account, BlindReason.SLOW_CYCLE, covered)
            elif not account.is_running and self._times.is_overdue(account, now):
                self.status_log.record(account, BlindReason.SERVER_BUSY, covered)

    def _put(self, user_id: str, due_at: datetime) -> None:
        # In monotonic seconds, so that no setting of the clock makes a cycle wait.
        due_s = self._clock.monotonic() + (due_at - self._clock.now()).total_seconds()
        earliest_s = self._schedule.next_due_s()
        self._schedule.put(user_id, due_s)
        if due_s < earliest_s:
            self._schedule_changed.set()

    def clock_set(self, by: timedelta) -> None:
        """Run the next cycle of every account within an interval, because its due time counts no more."""
        now = self._clock.now()
        for account in self.accounts.values():
            before = account.good_until
            account.move_times(by)
            if by > timedelta() and before is not None and account.status is WatchStatus.WATCHING:
                self.status_log.record(account, BlindReason.CLOCK_SET, before)
            if not account.is_running and self._is_wanted(account.watcher.user_id):
                self._put(account.watcher.user_id, now + self._phase() * self.interval)

    def _start(self, user_id: str) -> None:
        account = self.accounts.get(user_id)
        if account is None or account.is_running:
            return
        account.is_running = True
        task = asyncio.create_task(self._run_cycle(account), name=f"cycle {user_id}")
        account.task = task
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._cycle_done(account, done))

    def _cycle_done(self, account: AccountState, task: asyncio.Task[None]) -> None:
        """Log a failed cycle and schedule the account's next one."""
        self._tasks.discard(task)
        account.is_running = False
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._log.error(
                "cycle.failed", user_id=account.watcher.user_id, error=_names(error), exc_info=error
            )
            self._metrics.cycle("failed", 0.0)
            self.status_log.set_status(account, WatchStatus.FYERS_UNAVAILABLE)
        self._schedule_next(account)

    async def _run_cycle(self, account: AccountState) -> None:
        user_id, real_clock = account.watcher.user_id, self._clock.real
        began_s, began_market_s = real_clock.monotonic(), self._clock.monotonic()
        account.began_at = self._clock.now()
        account.began_late = self._times.is_overdue(account, account.began_at)
        next_tick = self._prepare_gap(account, account.began_at, began_s)
        try:
            async with clock_timeout(real_clock, CYCLE_DEADLINE_S):
                await account.watcher.save_unsaved()
                if not self._is_wanted(user_id):
                    self.status_log.set_status(account, WatchStatus.NOT_WANTED)
                    return
                status = await account.watcher.run_cycle()
        except TimeoutError:
            status = WatchStatus.FYERS_UNAVAILABLE
        if not self._is_wanted(user_id):
            status = WatchStatus.NOT_WANTED
        account.cycles += 1
        account.last_cycle_at = self._clock.now()
        if next_tick is not None:
            took = timedelta(seconds=self._clock.monotonic() - began_market_s)
            # Not more than the cycle lasted, in case the clock was set forward meanwhile.
            missed = min(account.last_cycle_at - next_tick, took) // self.interval
            account.missed_cycles += max(0, missed)
        self.status_log.set_status(account, status, _missed_reason(account))
        account.ended_s = real_clock.monotonic()
        self._metrics.cycle(status.value, account.ended_s - began_s)

    def _prepare_gap(self, account: AccountState, now: datetime, now_s: float) -> datetime | None:
        """Set what is blind if this cycle is late or slow; return the tick after it, in trading hours."""
        gap = account.watcher.gap
        gap.covered_until, gap.is_overrunning = self.status_log.covered_until(account, now), lambda: False
        if account.began_late and gap.covered_until is not None:
            gap.begin(gap.covered_until)
        session = session_under_way(account.watcher.calendars, now)
        if session is None:
            return None
        next_tick = self._times.tick_after(account, now + self.interval / 2, session.opens_at)
        overruns_at, overruns_s = next_tick + self.interval, now_s + self.interval.total_seconds()
        gap.is_overrunning = lambda: (
            self._clock.now() >= overruns_at and self._clock.real.monotonic() >= overruns_s
        )
        return next_tick

    def _schedule_next(self, account: AccountState) -> None:
        user_id = account.watcher.user_id
        if self.accounts.get(user_id) is not account:
            return  # removed while the cycle ran
        due_at: datetime | None = None
        if account.must_run_again:
            account.must_run_again = False
            due_at = self._clock.now()
        elif account.status not in _IDLE or account.watcher.has_unsaved:
            due_at = self._times.next_cycle_at(account)
        if due_at is not None:
            self._put(user_id, due_at)
        is_in_session = (
            due_at is not None and session_under_way(account.watcher.calendars, due_at) is not None
        )
        account.due_at = due_at if is_in_session else None


class CycleTimes:
    """When cycles begin: at each account's ticks in trading hours, after a candle's close, and rarely outside."""

    def __init__(self, clock: Clock, interval: timedelta) -> None:
        self._clock = clock
        self._interval = interval

    def next_cycle_at(self, account: AccountState) -> datetime:
        """Return the account's next tick, or the earlier moment at which a closed candle can be read."""
        now = self._clock.now()
        session = session_under_way(account.watcher.calendars, now)
        if session is None:
            return self._next_cycle_off_hours(account, now)
        # After a cycle that overran its interval the next one begins at once.
        after = (account.began_at or now) + self._interval / 2
        tick = max(now, self.tick_after(account, after, session.opens_at))
        return min(tick, account.watcher.next_reading_at() or tick)

    def tick_after(self, account: AccountState, moment: datetime, opens_at: datetime) -> datetime:
        """Return the account's first tick from `moment` on."""
        # Ticks do not depend on the last cycle: a candle's close wakes all accounts at once, and they would all
        # stay on that second.
        ticks = math.ceil((moment - opens_at) / self._interval - account.phase)
        return opens_at + (ticks + account.phase) * self._interval

    def is_overdue(self, account: AccountState, now: datetime) -> bool:
        """Whether the account's next cycle was due a whole interval ago."""
        if account.due_at is None or account.ended_s is None or now - account.due_at < self._interval:
            return False
        # A market clock that is fast or jumps does not mean that the server was busy.
        return self._clock.real.monotonic() - account.ended_s >= self._interval.total_seconds()

    def _next_cycle_off_hours(self, account: AccountState, now: datetime) -> datetime:
        """Return the next market open, or an earlier time if candles are missing or results are not stored."""
        calendars = account.watcher.calendars
        closed_at = max(calendar.previous_session(now).closes_at for calendar in calendars)
        opens_at = min(calendar.next_session(now).opens_at for calendar in calendars)
        opens_at += account.phase * self._interval
        if closed_at + FIRST_READING > now:
            return closed_at + FIRST_READING
        # A daily candle may be final only minutes after the session, when its closing auction has ended.
        later = (account.watcher.next_reading_at(), account.watcher.next_later_reading())
        waits = (moment if moment > now else now + CLOSED_INTERVAL for moment in later if moment is not None)
        opens_at = min((opens_at, *waits))
        is_done = account.status is WatchStatus.MARKET_CLOSED and not account.watcher.has_due_candles
        if is_done and not account.watcher.has_unsaved:
            return opens_at
        is_urgent = now - closed_at < FOLLOW_UP
        return min(now + (self._interval if is_urgent else max(self._interval, CLOSED_INTERVAL)), opens_at)


class Schedule:
    """A heap of due times in monotonic seconds, at most one for each account."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._due_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._due_s)

    def put(self, account: str, due_s: float) -> None:
        """Schedule an account, in place of its earlier due time."""
        self._due_s[account] = due_s
        heapq.heappush(self._heap, (due_s, account))

    def discard(self, account: str) -> None:
        """Take an account out, scheduled or not."""
        self._due_s.pop(account, None)

    def next_due_s(self) -> float:
        """Return the earliest due time, infinity without any."""
        self._drop_outdated()
        return self._heap[0][0] if self._heap else math.inf

    def pop_due(self, now_s: float, *, most: int) -> list[str]:
        """Take out and return accounts that are due, earliest first; at most so many."""
        due: list[str] = []
        self._drop_outdated()
        while self._heap and self._heap[0][0] <= now_s + _TOLERANCE_S and len(due) < most:
            _, account = heapq.heappop(self._heap)
            del self._due_s[account]
            due.append(account)
            self._drop_outdated()
        return due

    def _drop_outdated(self) -> None:
        while self._heap and self._due_s.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)


def _missed_reason(account: AccountState) -> BlindReason | None:
    if account.began_late:
        return BlindReason.SERVER_BUSY
    return BlindReason.SLOW_CYCLE if account.watcher.gap.is_overrunning() else None


def _names(error: BaseException) -> str:
    """Return the class names of an error and of those it groups; their texts might contain secrets."""
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(_names(inner) for inner in error.exceptions)
    return type(error).__name__
