"""Records each account's status changes for its user, in the log and in the audit trail."""

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
from hullwatch.services.context import Context
from hullwatch.services.monitoring.account_state import AccountState
from hullwatch.services.monitoring.journal import Journal
from hullwatch.services.sessions.service import ConnectionService


class StatusLog:
    """Records changes; a repeated status is not recorded again."""

    def __init__(self, context: Context, *, connections: ConnectionService, journal: Journal) -> None:
        self._clock = context.clock
        self._hub = context.hub
        self._connections = connections
        self._journal = journal
        self._log = structlog.get_logger(component="MonitoringService")

    def set_status(
        self, account: AccountState, status: WatchStatus, missed: BlindReason | None = None
    ) -> None:
        """Set an account's status and record what it means for the time since the last cycle.

        Args:
            account: The account.
            status: The result of a cycle, or of another change of the account.
            missed: Why cycles were skipped since the last one, if any were.
        """
        now = self._clock.now()
        covered = self.covered_until(account, now)
        account.good_until = now if status.is_good else None
        if status.is_good and covered is not None:
            self._record_good(account, status, covered, missed, now)
        else:
            since = now
            if status.is_blind and covered is not None:
                disconnected_at = known_disconnect_time(self._connections.connection(account.watcher.user_id))
                since = min(max(covered, disconnected_at or covered), now)
                if since > covered:
                    self.record(account, WatchStatus.WATCHING, covered)
            self.record(account, status, since)
        self._publish(account, status, now)

    def _record_good(
        self,
        account: AccountState,
        status: WatchStatus,
        covered: datetime,
        missed: BlindReason | None,
        now: datetime,
    ) -> None:
        """Record the time between two good cycles."""
        if missed is not None:
            self.record(account, missed, covered)
        elif status is WatchStatus.WATCHING or account.logged_state in MISSED_CYCLE_REASONS:
            self.record(account, WatchStatus.WATCHING, covered)
        if status is WatchStatus.MARKET_CLOSED:
            self.record(account, status, now)
        account.watcher.gap.end(now)

    def record(self, account: AccountState, state: State, since: datetime) -> None:
        """Add an audit entry for a state that began at `since`, unless it is the newest one already."""
        gap, now = account.watcher.gap, self._clock.now()
        if is_blind(state):
            gap.begin(since)
        else:
            gap.end(now)
        if state == account.logged_state:
            return
        before, account.logged_state = account.logged_state or account.status, state
        incident_id = None
        if is_blind(state):
            incident_id = self._connections.connection(account.watcher.user_id).incident_id
        evidence = {SINCE: since.isoformat()} if since != now else {}
        if gap.since is not None and gap.since != since:
            evidence[GAP_BEGAN_AT] = gap.since.isoformat()
        self._journal.add_entry(
            AuditEntry(
                at=now,
                user_id=account.watcher.user_id,
                kind=STATUS_KIND,
                actor="hullwatch",
                from_state=before.value,
                to_state=state.value,
                incident_id=incident_id,
                evidence=evidence,
            )
        )

    def covered_until(self, account: AccountState, now: datetime) -> datetime | None:
        """Return up to when good cycles have monitored the account; `None` if its latest cycle was not good.

        Outside trading hours nothing is due: a session that has opened since then counts from its opening.
        """
        if account.good_until is None or account.status is not WatchStatus.MARKET_CLOSED:
            return account.good_until
        session = session_under_way(account.watcher.calendars, now)
        # A newly watched segment may be in the middle of its session, which counts only from now on.
        return session.opens_at if session is not None and session.opens_at >= account.good_until else now

    def _publish(self, account: AccountState, status: WatchStatus, now: datetime) -> None:
        if status is account.status and account.status_since is not None:
            return
        before, account.status, account.status_since = account.status, status, now
        user_id = account.watcher.user_id
        incident_id = self._connections.connection(user_id).incident_id if status.is_blind else None
        self._log.info(
            f"monitoring.{status.value}", user_id=user_id, was=before.value, incident_id=incident_id
        )
        self._hub.publish(user_id, WatchStatusChanged(user_id, status, now))
