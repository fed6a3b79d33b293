"""Records when the server started, stopped or was suspended, and resumes each account after a start."""

from datetime import datetime, timedelta

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.market.clock_offset import ClockStep
from hullwatch.domain.monitoring.coverage import (
    CLOCK_KIND,
    GAP_BEGAN_AT,
    IS_FOLLOWED,
    MAX_HEARTBEAT_GAP,
    RESUMED_KIND,
    SECONDS,
    SINCE,
    STARTED_KIND,
    STOPPED_KIND,
    evidence_time,
    is_blind,
    parse_state,
)
from hullwatch.domain.monitoring.watches import MonitoringWish, WatchStatus
from hullwatch.services.context import Context
from hullwatch.services.monitoring.account_state import AccountState
from hullwatch.services.monitoring.journal import Journal
from hullwatch.services.monitoring.status_log import StatusLog
from hullwatch.services.ports import UnitOfWork


class ServerLifecycle:
    """Stores a heartbeat every few seconds, each after all earlier audit entries have been stored."""

    def __init__(self, context: Context, journal: Journal) -> None:
        self._store = context.store
        self._journal = journal
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._last: tuple[datetime, float] | None = None
        """This process' last heartbeat on both clocks, stored or not."""

    async def record_start(self, work: UnitOfWork) -> datetime | None:
        """Record the start; return the last heartbeat of the process before, or `None` if there was none."""
        now = self._clock.now()
        last = await work.audit.last_heartbeat()
        since = None if last is None else min(last, now)
        await work.audit.add([_entry(now, STARTED_KIND, since)])
        await work.audit.record_heartbeat(now)
        self._last = (now, self._real_clock.monotonic())
        return since

    async def record_heartbeat(self) -> None:
        """Store a heartbeat; if the process was suspended since the last one, record that first.

        Raises:
            StorageUnavailable: It was not stored; after a crash the blind stretch would begin at the one
            before.
        """
        now, now_s = self._clock.now(), self._real_clock.monotonic()
        if self._last is not None:
            last_at, last_s = self._last
            # On both clocks: a market clock that jumps does not mean that the process was suspended.
            if min((now - last_at).total_seconds(), now_s - last_s) > MAX_HEARTBEAT_GAP.total_seconds():
                self._journal.add_entry(_entry(now, RESUMED_KIND, last_at))
        self._last = (now, now_s)
        await self._journal.flush()
        await self._store_heartbeat(now)

    def record_clock_step(self, step: ClockStep) -> None:
        """Record that this machine's clock was set."""
        evidence = {SECONDS: round(step.seconds, 3), IS_FOLLOWED: step.is_followed}
        self._journal.add_entry(AuditEntry(step.at, None, CLOCK_KIND, "hullwatch", evidence=evidence))
        if self._last is not None and step.is_followed:
            self._last = (self._last[0] + timedelta(seconds=step.seconds), self._last[1])

    async def record_stop(self) -> None:
        """Record the orderly stop and store all queued entries.

        Raises:
            StorageUnavailable: They were not stored.
        """
        now = self._clock.now()
        self._journal.add_entry(_entry(now, STOPPED_KIND, None))
        await self._journal.flush()
        await self._store_heartbeat(now)

    async def _store_heartbeat(self, at: datetime) -> None:
        async with self._store.begin() as work:
            await work.audit.record_heartbeat(at)
            await work.commit()


def resume_account(
    status_log: StatusLog,
    account: AccountState,
    wish: MonitoringWish,
    last_entry: AuditEntry | None,
    down_since: datetime,
) -> None:
    """Resume an account where the process before this one left it, its blind stretch included."""
    logged = None if last_entry is None or last_entry.to_state is None else parse_state(last_entry.to_state)
    # A wish is stored at once and its audit entry a moment later. After a crash between both the entry is added
    # here, dated at the wish.
    if not wish.is_wanted:
        if logged not in (None, WatchStatus.NOT_WANTED):
            status_log.record(account, WatchStatus.NOT_WANTED, wish.changed_at)
        return
    if logged in (None, WatchStatus.NOT_WANTED):
        gap_began_at = wish.changed_at
        status_log.record(account, WatchStatus.STARTING, gap_began_at)
    elif last_entry is not None and logged is not None and is_blind(logged):
        began_at = (
            evidence_time(last_entry, GAP_BEGAN_AT) or evidence_time(last_entry, SINCE) or last_entry.at
        )
        gap_began_at = min(began_at, down_since)
    else:
        gap_began_at = down_since
    account.watcher.gap.begin(gap_began_at)
    status_log.set_status(account, WatchStatus.STARTING)


def _entry(at: datetime, kind: str, since: datetime | None) -> AuditEntry:
    evidence = {} if since is None else {SINCE: since.isoformat()}
    return AuditEntry(at, None, kind, "hullwatch", evidence=evidence)
