"""Runs the cycles of all accounts: each a task of its own with a deadline, none twice at once, none waiting for another.

An account whose session ended is simply not scheduled any more; its next login schedules it. So a dead session makes no calls by
construction, and nobody's trouble ends anybody else's round.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from hullwatch.domain.coverage import (
    BLIND_SINCE,
    FELL_OUT,
    SINCE,
    STATUS_KIND,
    BlindReason,
    State,
    is_blind,
    known_end,
)
from hullwatch.domain.events import AuditEntry, WatchStatusChanged
from hullwatch.domain.market_calendar import TradingSession, session_under_way
from hullwatch.domain.signals import SETTLED_AFTER
from hullwatch.domain.vitals import Vitals
from hullwatch.domain.watches import WatchStatus
from hullwatch.runtime.clock import Clock, clock_timeout
from hullwatch.services.monitoring.schedule import Schedule
from hullwatch.services.monitoring.watcher import FOLLOW_UP, Tools, Watcher

DEADLINE_S = 25.0
"""For one cycle: longer than any single call's limit, so that a deadline means a cycle that makes no progress."""
CLOSED_INTERVAL = timedelta(seconds=30)
"""From cycle to cycle after that, where Fyers could not give them."""
_PARKED = frozenset({WatchStatus.NOT_WANTED, WatchStatus.NO_WATCHES, WatchStatus.NO_SESSION})
"""Statuses that only an event ends: a start, a new watch, a login."""


@dataclass(slots=True)
class Run:
    """What is known of one account's cycles."""

    watcher: Watcher
    phase: float = 0.0
    """Where in the interval its ticks lie, in [0, 1), counted from the session's opening."""
    status: WatchStatus = WatchStatus.NOT_WANTED
    since: datetime | None = None
    began_at: datetime | None = None
    """When its latest cycle began."""
    last_cycle_at: datetime | None = None
    """When its latest cycle ended."""
    cycles: int = 0
    missed: int = 0
    """Cycles that fell out because the one before had not ended."""
    due_at: datetime | None = None
    """When its next cycle is to begin, where it has a rhythm to keep."""
    ended_s: float | None = None
    """When its latest cycle ended on the clock of the network."""
    began_late: bool = False
    """Whether its latest cycle began so late that others had fallen out."""
    good_until: datetime | None = None
    """When its latest cycle ended, if that was a good one."""
    told: State | None = None
    """What the audit trail says of it at present."""
    is_running: bool = False
    task: asyncio.Task[None] | None = None
    """Its latest cycle."""
    must_run_again: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Changes of the watchlist and of the wish come one after the other."""


class Runner:
    """Schedules and runs cycles."""

    def __init__(
        self,
        *,
        tools: Tools,
        is_wanted: Callable[[str], bool],
        interval_s: float,
        wire_clock: Clock,
        phase: Callable[[], float],
    ) -> None:
        """Keep what is needed.

        Args:
            tools: What all watchers share.
            is_wanted: Whether a user wants monitoring.
            interval_s: Seconds from cycle to cycle in trading hours.
            wire_clock: Times what waits for the network, where the tools' clock runs faster than life.
            phase: Gives a number in [0, 1) that spreads accounts over an interval.
        """
        self._tools = tools
        self._is_wanted = is_wanted
        self._interval = timedelta(seconds=interval_s)
        self._wire_clock = wire_clock
        self._phase = phase
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

    def vitals(self) -> Vitals:
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
        return Vitals(
            still_for=timedelta(seconds=self._tools.clock.monotonic() - self._turned_s),
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
            self.set_status(run, WatchStatus.FYERS_TROUBLE)
        self._schedule_next(run)

    async def run_cycle(self, run: Run) -> None:
        """Run one cycle of one account and take its status over."""
        user_id = run.watcher.user_id
        began_s = self._wire_clock.monotonic()
        run.began_at = self._tools.clock.now()
        run.began_late = self._is_overdue(run, run.began_at)
        next_tick = self._prepare_gap(run, run.began_at, began_s)
        try:
            async with clock_timeout(self._wire_clock, DEADLINE_S):
                await run.watcher.save_unsaved()
                if not self._is_wanted(user_id):
                    self.set_status(run, WatchStatus.NOT_WANTED)
                    return
                status = await run.watcher.run_cycle()
        except TimeoutError:
            status = WatchStatus.FYERS_TROUBLE
        if not self._is_wanted(user_id):
            status = WatchStatus.NOT_WANTED
        run.cycles += 1
        run.last_cycle_at = self._tools.clock.now()
        fallen = 0 if next_tick is None else max(0, (run.last_cycle_at - next_tick) // self._interval)
        run.missed += fallen
        is_slow = run.watcher.gap.is_overlasting()
        fell_out = BlindReason.SERVER_BUSY if run.began_late else BlindReason.SLOW_CYCLE if is_slow else None
        self.set_status(run, status, fell_out)
        run.ended_s = self._wire_clock.monotonic()
        self._tools.metrics.cycle(status.value, run.ended_s - began_s)

    def set_status(self, run: Run, status: WatchStatus, fell_out: BlindReason | None = None) -> None:
        """Take a status over; a change is logged, noted in the audit trail and pushed, a repetition is not.

        Args:
            run: Whose it is.
            status: What the cycle came to, or what else happened to the account.
            fell_out: Why cycles fell out since the cycle before, if some did.
        """
        now = self._tools.clock.now()
        covered = self._covered_until(run, now)
        run.good_until = now if status.is_good else None
        if status.is_good and covered is not None:
            self._tell_good(run, status, covered, fell_out, now)
        else:
            since = now
            if status.is_blind and covered is not None:
                end = known_end(self._tools.connections.connection(run.watcher.user_id))
                since = min(max(covered, end or covered), now)
                if since > covered:
                    self.tell(run, WatchStatus.WATCHING, covered)
            self.tell(run, status, since)
        self._push(run, status, now)

    def _tell_good(
        self, run: Run, status: WatchStatus, covered: datetime, fell_out: BlindReason | None, now: datetime
    ) -> None:
        """Note what a good cycle after a good one means for the time between both."""
        if fell_out is not None:
            self.tell(run, fell_out, covered)
        elif status is WatchStatus.WATCHING or run.told in FELL_OUT:
            self.tell(run, WatchStatus.WATCHING, covered)
        if status is WatchStatus.MARKET_CLOSED:
            self.tell(run, status, now)
        run.watcher.gap.end(now)

    def tell(self, run: Run, state: State, since: datetime) -> None:
        """Note in the audit trail from when on this counts, unless that is what it says already."""
        gap, now = run.watcher.gap, self._tools.clock.now()
        if is_blind(state):
            gap.begin(since)
        else:
            gap.end(now)
        if state == run.told:
            return
        before, run.told = run.told or run.status, state
        incident_id = None
        if is_blind(state):
            incident_id = self._tools.connections.connection(run.watcher.user_id).incident_id
        evidence = {SINCE: since.isoformat()} if since != now else {}
        if gap.since is not None and gap.since != since:
            evidence[BLIND_SINCE] = gap.since.isoformat()
        self._tools.journal.note(
            AuditEntry(
                at=now,
                user_id=run.watcher.user_id,
                kind=STATUS_KIND,
                actor="hullwatch",
                from_state=before.value,
                to_state=state.value,
                incident_id=incident_id,
                evidence=evidence,
            )
        )

    def note_fallen_out(self) -> None:
        """Note for whom cycles have fallen out by now: should the server be killed before the next one ends, nobody else would know."""
        now = self._tools.clock.now()
        for run in self.runs.values():
            covered = self._covered_until(run, now)
            if covered is None:
                continue
            if run.is_running and run.began_late:
                self.tell(run, BlindReason.SERVER_BUSY, covered)
            elif run.is_running and run.watcher.gap.is_overlasting():
                self.tell(run, BlindReason.SLOW_CYCLE, covered)
            elif not run.is_running and self._is_overdue(run, now):
                self.tell(run, BlindReason.SERVER_BUSY, covered)

    def _is_overdue(self, run: Run, now: datetime) -> bool:
        """Whether the account's next cycle was due a whole interval ago.

        On the clock of the network too: where the market's time runs faster than life, or jumps, nobody was busy.
        """
        if run.due_at is None or run.ended_s is None or now - run.due_at < self._interval:
            return False
        return self._wire_clock.monotonic() - run.ended_s >= self._interval.total_seconds()

    def _push(self, run: Run, status: WatchStatus, now: datetime) -> None:
        """Take the status over for those who look."""
        if status is run.status and run.since is not None:
            return
        before, run.status, run.since = run.status, status, now
        user_id = run.watcher.user_id
        incident_id = self._tools.connections.connection(user_id).incident_id if status.is_blind else None
        self._log.info(
            f"monitoring.{status.value}", user_id=user_id, was=before.value, incident_id=incident_id
        )
        self._tools.hub.publish(user_id, WatchStatusChanged(user_id, status, now))

    def _covered_until(self, run: Run, now: datetime) -> datetime | None:
        """Return up to where the account's good cycles have watched, or `None` if its latest one was none.

        While the market is closed nothing need be watched: a session that has opened since then counts from its opening.
        """
        if run.good_until is None or run.status is not WatchStatus.MARKET_CLOSED:
            return run.good_until
        session = session_under_way(run.watcher.calendars, now)
        # The session that a newly watched segment is in the middle of concerns the account only from now on.
        return session.opens_at if session is not None and session.opens_at >= run.good_until else now

    def _prepare_gap(self, run: Run, now: datetime, now_s: float) -> datetime | None:
        """Let the watcher know what is blind if this cycle comes late or takes long; return the tick that follows it, in a session."""
        gap = run.watcher.gap
        gap.covered_until, gap.is_overlasting = self._covered_until(run, now), lambda: False
        if run.began_late and gap.covered_until is not None:
            gap.begin(gap.covered_until)
        session = session_under_way(run.watcher.calendars, now)
        if session is None:
            return None
        next_tick = self._tick_after(run, now + self._interval / 2, session.opens_at)
        overlasts_at, overlasts_s = next_tick + self._interval, now_s + self._interval.total_seconds()
        gap.is_overlasting = lambda: (
            self._tools.clock.now() >= overlasts_at and self._wire_clock.monotonic() >= overlasts_s
        )
        return next_tick

    def _schedule_next(self, run: Run) -> None:
        user_id = run.watcher.user_id
        if self.runs.get(user_id) is not run:
            return
        due_at: datetime | None = None
        if run.must_run_again:
            run.must_run_again = False
            due_at = self._tools.clock.now()
        elif run.status not in _PARKED or run.watcher.has_unsaved:
            due_at = self._next_cycle_at(run)
        if due_at is not None:
            self._put(user_id, due_at)
        has_rhythm = due_at is not None and session_under_way(run.watcher.calendars, due_at) is not None
        run.due_at = due_at if has_rhythm else None

    def _next_cycle_at(self, run: Run) -> datetime:
        """Return the next tick of the account's rhythm, or the moment before it at which a closed candle can be read."""
        now = self._tools.clock.now()
        session = session_under_way(run.watcher.calendars, now)
        if session is None:
            return self._next_cycle_outside_hours(run, now)
        # A cycle that overlasts its interval is followed at once by the next; what it covered whole has fallen out.
        tick = max(now, self._tick_after(run, (run.began_at or now) + self._interval / 2, session.opens_at))
        return min(tick, self._next_settled_at(run, now) or tick)

    def _next_settled_at(self, run: Run, now: datetime) -> datetime | None:
        """Return when the next candle of the account can be read, if it watches any."""
        closes_at = run.watcher.next_close_after(now - SETTLED_AFTER)
        return None if closes_at is None else closes_at + SETTLED_AFTER

    def _tick_after(self, run: Run, moment: datetime, opens_at: datetime) -> datetime:
        """Return the account's first tick from `moment` on.

        Ticks lie where they lie whatever woke the account before: a candle's close wakes all of them at once, and without a rhythm of their
        own all would go on asking in the same second.
        """
        ticks = math.ceil((moment - opens_at) / self._interval - run.phase)
        return opens_at + (ticks + run.phase) * self._interval

    def _next_cycle_outside_hours(self, run: Run, now: datetime) -> datetime:
        """Return the next opening, unless something of the session that ended is still to be read or stored."""
        calendars = run.watcher.calendars
        closed_at = max(calendar.previous_session(now).closes_at for calendar in calendars)
        opens_at = min(calendar.next_session(now).opens_at for calendar in calendars)
        opens_at += run.phase * self._interval
        if closed_at + SETTLED_AFTER > now:
            return closed_at + SETTLED_AFTER
        # A daily candle may be final only minutes after the session, when its closing auction is over.
        opens_at = min(opens_at, self._next_settled_at(run, now) or opens_at)
        is_done = run.status is WatchStatus.MARKET_CLOSED and not run.watcher.has_due_candles
        if is_done and not run.watcher.has_unsaved:
            return opens_at
        pause = self._interval if now - closed_at < FOLLOW_UP else max(self._interval, CLOSED_INTERVAL)
        return min(now + pause, opens_at)


def _names(error: BaseException) -> str:
    """Return the class names of an error and of those it groups; their texts might hold what must not be told."""
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(_names(inner) for inner in error.exceptions)
    return type(error).__name__
