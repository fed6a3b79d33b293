"""What is told of each account's watching: its status to whoever looks, and in the audit trail from when on it was watched or blind.

Cycles that fell out, and why, are told here too; how coverage is read from those lines is ``coverage``'s.
"""

from collections.abc import Iterable
from datetime import datetime

import structlog

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.events import WatchStatusChanged
from hullwatch.domain.market.calendar import session_under_way
from hullwatch.domain.monitoring.coverage import (
    GAP_BEGAN_AT,
    MISSED_CYCLE_REASONS,
    SINCE,
    STATUS_KIND,
    BlindReason,
    State,
    is_blind,
    known_disconnect_time,
)
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.services.monitoring.cycle import Tools
from hullwatch.services.monitoring.rhythm import Rhythm
from hullwatch.services.monitoring.run import Run


class StatusLog:
    """Tells of changes, once each."""

    def __init__(self, tools: Tools, rhythm: Rhythm) -> None:
        self._tools = tools
        self._rhythm = rhythm
        self._real_clock = tools.clock.real
        self._log = structlog.get_logger(component="MonitoringService")

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
                end = known_disconnect_time(self._tools.connections.connection(run.watcher.user_id))
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
        elif status is WatchStatus.WATCHING or run.told in MISSED_CYCLE_REASONS:
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
            evidence[GAP_BEGAN_AT] = gap.since.isoformat()
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

    def note_fallen_out(self, runs: Iterable[Run]) -> None:
        """Note for whom cycles have fallen out by now: should the server be killed before the next one ends, nobody else would know."""
        now = self._tools.clock.now()
        for run in runs:
            covered = self._covered_until(run, now)
            if covered is None:
                continue
            if run.is_running and run.began_late:
                self.tell(run, BlindReason.SERVER_BUSY, covered)
            elif run.is_running and run.watcher.gap.is_overlasting():
                self.tell(run, BlindReason.SLOW_CYCLE, covered)
            elif not run.is_running and self._rhythm.is_overdue(run, now):
                self.tell(run, BlindReason.SERVER_BUSY, covered)

    def prepare_gap(self, run: Run, now: datetime, now_s: float) -> datetime | None:
        """Let the watcher know what is blind if this cycle comes late or takes long; return the tick that follows it, in a session."""
        gap, interval = run.watcher.gap, self._rhythm.interval
        gap.covered_until, gap.is_overlasting = self._covered_until(run, now), lambda: False
        if run.began_late and gap.covered_until is not None:
            gap.begin(gap.covered_until)
        session = session_under_way(run.watcher.calendars, now)
        if session is None:
            return None
        next_tick = self._rhythm.tick_after(run, now + interval / 2, session.opens_at)
        overlasts_at, overlasts_s = next_tick + interval, now_s + interval.total_seconds()
        gap.is_overlasting = lambda: (
            self._tools.clock.now() >= overlasts_at and self._real_clock.monotonic() >= overlasts_s
        )
        return next_tick

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
