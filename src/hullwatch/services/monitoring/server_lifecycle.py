"""The server's own life as the audit trail tells it: when it started, stopped or stood still, and where that left each account."""

from datetime import datetime

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.monitoring.coverage import (
    GAP_BEGAN_AT,
    MAX_HEARTBEAT_GAP,
    RESUMED_KIND,
    SINCE,
    STARTED_KIND,
    STOPPED_KIND,
    evidence_time,
    is_blind,
    parse_state,
)
from hullwatch.domain.monitoring.watches import MonitoringWish, WatchStatus
from hullwatch.services.context import Context
from hullwatch.services.monitoring.journal import Journal
from hullwatch.services.monitoring.run import Run
from hullwatch.services.monitoring.status_log import StatusLog
from hullwatch.services.ports import UnitOfWork


class ServerLifecycle:
    """Leaves a sign of life every few seconds, after all that was noted before has been stored."""

    def __init__(self, context: Context, journal: Journal) -> None:
        self._store = context.store
        self._journal = journal
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._last: tuple[datetime, float] | None = None
        """When this process last gave one, on both clocks, whether or not the database took it."""

    async def begin(self, work: UnitOfWork) -> datetime | None:
        """Note the start; return since when no server had run, or `None` when none ever did."""
        now = self._clock.now()
        last = await work.audit.last_heartbeat()
        since = None if last is None else min(last, now)
        await work.audit.add([_line(now, STARTED_KIND, since)])
        await work.audit.record_heartbeat(now)
        self._last = (now, self._real_clock.monotonic())
        return since

    async def beat(self) -> None:
        """Leave a sign of life; after a silence, in which the whole process stood still, note that first.

        Raises:
            StorageUnavailable: It was not stored; blindness after a crash would begin at the one before.
        """
        now, now_s = self._clock.now(), self._real_clock.monotonic()
        if self._last is not None:
            last_at, last_s = self._last
            # On both clocks: a market's time that jumps is not a process that stands still.
            if min((now - last_at).total_seconds(), now_s - last_s) > MAX_HEARTBEAT_GAP.total_seconds():
                self._journal.note(_line(now, RESUMED_KIND, last_at))
        self._last = (now, now_s)
        await self._journal.flush()
        await self._store_beat(now)

    async def end(self) -> None:
        """Note the orderly end and store what was only noted.

        Raises:
            StorageUnavailable: It was not.
        """
        now = self._clock.now()
        self._journal.note(_line(now, STOPPED_KIND, None))
        await self._journal.flush()
        await self._store_beat(now)

    async def _store_beat(self, at: datetime) -> None:
        async with self._store.begin() as work:
            await work.audit.record_heartbeat(at)
            await work.commit()


def resume_account(
    trail: StatusLog, run: Run, wish: MonitoringWish, last_line: AuditEntry | None, down_since: datetime
) -> None:
    """Take up an account where the process before this one left it: its wish, and where its blind stretch began.

    A wish is stored at once, its line in the trail a moment later: where a crash came in between, the line is written now, and counts from the wish.
    """
    said = None if last_line is None or last_line.to_state is None else parse_state(last_line.to_state)
    if not wish.is_wanted:
        if said not in (None, WatchStatus.NOT_WANTED):
            trail.tell(run, WatchStatus.NOT_WANTED, wish.changed_at)
        return
    if said is WatchStatus.NOT_WANTED:
        blind_since = wish.changed_at
        trail.tell(run, WatchStatus.STARTING, blind_since)
    elif last_line is not None and said is not None and is_blind(said):
        began_at = evidence_time(last_line, GAP_BEGAN_AT) or evidence_time(last_line, SINCE) or last_line.at
        blind_since = min(began_at, down_since)
    else:
        blind_since = down_since
    run.watcher.gap.begin(blind_since)
    trail.set_status(run, WatchStatus.STARTING)


def _line(at: datetime, kind: str, since: datetime | None) -> AuditEntry:
    evidence = {} if since is None else {SINCE: since.isoformat()}
    return AuditEntry(at, None, kind, "hullwatch", evidence=evidence)
