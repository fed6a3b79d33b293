"""Runs the cycles of all accounts: each a task of its own with a deadline, none twice at once, none waiting for another.

An account whose session ended is simply not scheduled any more; its next login schedules it. So a dead session makes no calls by
construction, and nobody's trouble ends anybody else's round. When cycles are due is ``rhythm``'s, what is told of them ``trail``'s.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from hullwatch.domain.market.calendar import TradingSession, session_under_way
from hullwatch.domain.monitoring.coverage import BlindReason
from hullwatch.domain.monitoring.health import MonitoringHealth
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.runtime.clock import clock_timeout
from hullwatch.services.monitoring.cycle import Tools, Watcher
from hullwatch.services.monitoring.rhythm import Rhythm
from hullwatch.services.monitoring.run import Run
from hullwatch.services.monitoring.schedule import Schedule
from hullwatch.services.monitoring.status_log import StatusLog

DEADLINE_S = 25.0
"""For one cycle: longer than any single call's limit, so that a deadline means a cycle that makes no progress."""
_PARKED = frozenset({WatchStatus.NOT_WANTED, WatchStatus.NO_WATCHES, WatchStatus.NO_SESSION})
"""Statuses that only an event ends: a start, a new watch, a login."""


class Scheduler:
    """Schedules and runs cycles."""

    def __init__(
        self,
        *,
        tools: Tools,
        is_wanted: Callable[[str], bool],
        interval_s: float,
        phase: Callable[[], float],
    ) -> None:
        """Keep what is needed.

        Args:
            tools: What all watchers share.
            is_wanted: Whether a user wants monitoring.
            interval_s: Seconds from cycle to cycle in trading hours.
            phase: Gives a number in [0, 1) that spreads accounts over an interval.
        """
        self._tools = tools
        self._is_wanted = is_wanted
        self._interval = timedelta(seconds=interval_s)
        self._real_clock = tools.clock.real
        self._phase = phase
        self._rhythm = Rhythm(tools.clock, self._interval)
        self.trail = StatusLog(tools, self._rhythm)
        self.runs: dict[str, Run] = {}
        self._schedule = Schedule()
        self._schedule_changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turned_s = tools.clock.monotonic()
        self._log = structlog.get_logger(component="MonitoringService")

    def run_of(self, user_id: str) -> Run:
        """Return the account's run, made on first sight."""
        run = self.runs.get(user_id)
        if run is None:
            run = self.runs[user_id] = Run(Watcher(user_id, self._tools), self._phase())
        return run

    def remove(self, user_id: str) -> None:
        """Forget an account."""
        self._schedule.discard(user_id)
        self.runs.pop(user_id, None)

    def wake(self, user_id: str) -> None:
        """Run the account's next cycle at once: something it waits for has happened."""
        run = self.run_of(user_id)
        if run.is_running:
            run.must_run_again = True
        else:
            self._put(user_id, self._tools.clock.now())

    def wake_spread(self, user_id: str, over: timedelta = timedelta()) -> None:
        """Run the account's next cycle within one interval, or within `over` if that is longer: at a start, when all begin together."""
        self._put(user_id, self._tools.clock.now() + self._phase() * max(over, self._interval))

    async def run_now(self, user_id: str) -> None:
        """Run a cycle of the account at once and wait for its end; one that is under way is the one waited for."""
        run = self.run_of(user_id)
        if not run.is_running:
            self._schedule.discard(user_id)
            self._start(user_id)
        if run.task is not None:
            # Not awaited directly: the cycle is the account's, and a caller who gives up must not end it.
            await asyncio.wait({run.task})

    async def run(self, heartbeat: Callable[[], None]) -> None:
        """Start cycles as they fall due, for ever; on the way out cancel those under way."""
        try:
            while True:
                self._schedule_changed.clear()
                self._turned_s = self._tools.clock.monotonic()
                for user_id in self._schedule.pop_due(self._tools.clock.now()):
                    self._start(user_id)
                heartbeat()
                await self._wait_for_next()
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _wait_for_next(self) -> None:
        due_at = self._schedule.next_due_at()
        # Never sleep long in one piece: a machine that was suspended must notice the jump of the clock.
        latest = self._tools.clock.now() + timedelta(seconds=30)
        sleeping = asyncio.create_task(
            self._tools.clock.sleep_until(min(due_at or latest, latest)), name="next cycle"
        )
        changed = asyncio.create_task(self._schedule_changed.wait(), name="schedule changed")
        try:
            await asyncio.wait((sleeping, changed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            changed.cancel()

    def statuses(self) -> Counter[WatchStatus]:
        """Count the accounts that want monitoring and have a watchlist by how they stand."""
        return Counter(run.status for run in self._wanted())

    def _wanted(self) -> list[Run]:
        return [run for user_id, run in self.runs.items() if run.watcher.watches and self._is_wanted(user_id)]

    def health(self) -> MonitoringHealth:
        """Count whose cycles complete at present, and whose do not."""
        now = self._tools.clock.now()
        # A cycle may last its whole deadline; in a market that runs faster than life that is still an interval or two of slack.
        patience = 2 * self._interval + timedelta(seconds=DEADLINE_S)
        session = self._tools.calendar.session_at(now)
        wanted = self._wanted()
        watched = [run for run in wanted if run.status is WatchStatus.WATCHING]
        in_time = [
            run for run in watched if run.last_cycle_at is not None and now - run.last_cycle_at <= patience
        ]
        return MonitoringHealth(
            stalled_for=timedelta(seconds=self._tools.clock.monotonic() - self._turned_s),
            is_trading=session is not None and now - session.opens_at > patience,
            wanted=len(wanted),
            expected=sum(self._should_be_watched(run, session) for run in wanted),
            # One that ended and left something behind met a database that took nothing; while one runs that is nothing yet.
            completed=sum(run.is_running or not run.watcher.has_unsaved for run in in_time),
            overdue=len(watched) - len(in_time),
        )

    def _should_be_watched(self, run: Run, session: TradingSession | None) -> bool:
        """Whether the account has a session, or lost it since the market opened; who has not logged in by the bell is not missed here."""
        connection = self._tools.connections.connection(run.watcher.user_id)
        if connection.has_session or session is None:
            return connection.has_session
        return connection.last_disconnect_at is not None and connection.last_disconnect_at >= session.opens_at

    def _put(self, user_id: str, due_at: datetime) -> None:
        earliest = self._schedule.next_due_at()
        self._schedule.put(user_id, due_at)
        if earliest is None or due_at < earliest:
            self._schedule_changed.set()

    def _start(self, user_id: str) -> None:
        run = self.runs.get(user_id)
        if run is None or run.is_running:
            return
        run.is_running = True
        task = asyncio.create_task(self.run_cycle(run), name=f"cycle {user_id}")
        run.task = task
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(run, ended))

    def _ended(self, run: Run, task: asyncio.Task[None]) -> None:
        """Clear up after a cycle, however it ended; one that broke is told of and tried again like any other."""
        self._tasks.discard(task)
        run.is_running = False
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._log.error("cycle.broke", user_id=run.watcher.user_id, error=_names(error), exc_info=error)
            self._tools.metrics.cycle("broke", 0.0)
            self.trail.set_status(run, WatchStatus.FYERS_UNAVAILABLE)
        self._schedule_next(run)

    async def run_cycle(self, run: Run) -> None:
        """Run one cycle of one account and take its status over."""
        user_id = run.watcher.user_id
        began_s = self._real_clock.monotonic()
        run.began_at = self._tools.clock.now()
        run.began_late = self._rhythm.is_overdue(run, run.began_at)
        next_tick = self.trail.prepare_gap(run, run.began_at, began_s)
        try:
            async with clock_timeout(self._real_clock, DEADLINE_S):
                await run.watcher.save_unsaved()
                if not self._is_wanted(user_id):
                    self.trail.set_status(run, WatchStatus.NOT_WANTED)
                    return
                status = await run.watcher.run_cycle()
        except TimeoutError:
            status = WatchStatus.FYERS_UNAVAILABLE
        if not self._is_wanted(user_id):
            status = WatchStatus.NOT_WANTED
        run.cycles += 1
        run.last_cycle_at = self._tools.clock.now()
        fallen = 0 if next_tick is None else max(0, (run.last_cycle_at - next_tick) // self._interval)
        run.missed += fallen
        is_slow = run.watcher.gap.is_overlasting()
        fell_out = BlindReason.SERVER_BUSY if run.began_late else BlindReason.SLOW_CYCLE if is_slow else None
        self.trail.set_status(run, status, fell_out)
        run.ended_s = self._real_clock.monotonic()
        self._tools.metrics.cycle(status.value, run.ended_s - began_s)

    def _schedule_next(self, run: Run) -> None:
        user_id = run.watcher.user_id
        if self.runs.get(user_id) is not run:
            return
        due_at: datetime | None = None
        if run.must_run_again:
            run.must_run_again = False
            due_at = self._tools.clock.now()
        elif run.status not in _PARKED or run.watcher.has_unsaved:
            due_at = self._rhythm.next_cycle_at(run)
        if due_at is not None:
            self._put(user_id, due_at)
        has_rhythm = due_at is not None and session_under_way(run.watcher.calendars, due_at) is not None
        run.due_at = due_at if has_rhythm else None


def _names(error: BaseException) -> str:
    """Return the class names of an error and of those it groups; their texts might hold what must not be told."""
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(_names(inner) for inner in error.exceptions)
    return type(error).__name__
