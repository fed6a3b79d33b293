"""When each account's cycles are due: at ticks of its own in trading hours, at a candle's close, and seldom outside.

Who is due next of all accounts is known in ``schedule``.
"""

import math
from datetime import datetime, timedelta

from hullwatch.domain.market.calendar import session_under_way
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.signals.signals import CANDLE_READ_DELAY
from hullwatch.runtime.clock import Clock
from hullwatch.services.monitoring.cycle import FOLLOW_UP
from hullwatch.services.monitoring.run import Run

CLOSED_INTERVAL = timedelta(seconds=30)
"""From cycle to cycle later than `FOLLOW_UP` after a close, where Fyers could not give the last candles till then."""


class Rhythm:
    """The moments at which cycles begin."""

    def __init__(self, clock: Clock, interval: timedelta) -> None:
        """Keep what is needed; `interval` lies between two cycles in trading hours."""
        self._clock = clock
        self._real_clock = clock.real
        self.interval = interval

    def next_cycle_at(self, run: Run) -> datetime:
        """Return the next tick of the account's rhythm, or the moment before it at which a closed candle can be read."""
        now = self._clock.now()
        session = session_under_way(run.watcher.calendars, now)
        if session is None:
            return self._next_cycle_outside_hours(run, now)
        # A cycle that overlasts its interval is followed at once by the next; what it covered whole has fallen out.
        tick = max(now, self.tick_after(run, (run.began_at or now) + self.interval / 2, session.opens_at))
        return min(tick, self._next_settled_at(run, now) or tick)

    def tick_after(self, run: Run, moment: datetime, opens_at: datetime) -> datetime:
        """Return the account's first tick from `moment` on.

        Ticks lie where they lie whatever woke the account before: a candle's close wakes all of them at once, and without a rhythm of their
        own all would go on asking in the same second.
        """
        ticks = math.ceil((moment - opens_at) / self.interval - run.phase)
        return opens_at + (ticks + run.phase) * self.interval

    def is_overdue(self, run: Run, now: datetime) -> bool:
        """Whether the account's next cycle was due a whole interval ago.

        On the clock of the network too: where the market's time runs faster than life, or jumps, nobody was busy.
        """
        if run.due_at is None or run.ended_s is None or now - run.due_at < self.interval:
            return False
        return self._real_clock.monotonic() - run.ended_s >= self.interval.total_seconds()

    def _next_settled_at(self, run: Run, now: datetime) -> datetime | None:
        """Return when the next candle of the account can be read, if it watches any."""
        closes_at = run.watcher.next_close_after(now - CANDLE_READ_DELAY)
        return None if closes_at is None else closes_at + CANDLE_READ_DELAY

    def _next_cycle_outside_hours(self, run: Run, now: datetime) -> datetime:
        """Return the next opening, unless something of the session that ended is still to be read or stored."""
        calendars = run.watcher.calendars
        closed_at = max(calendar.previous_session(now).closes_at for calendar in calendars)
        opens_at = min(calendar.next_session(now).opens_at for calendar in calendars)
        opens_at += run.phase * self.interval
        if closed_at + CANDLE_READ_DELAY > now:
            return closed_at + CANDLE_READ_DELAY
        # A daily candle may be final only minutes after the session, when its closing auction is over.
        opens_at = min(opens_at, self._next_settled_at(run, now) or opens_at)
        is_done = run.status is WatchStatus.MARKET_CLOSED and not run.watcher.has_due_candles
        if is_done and not run.watcher.has_unsaved:
            return opens_at
        pause = self.interval if now - closed_at < FOLLOW_UP else max(self.interval, CLOSED_INTERVAL)
        return min(now + pause, opens_at)
