"""ReadinessService: whether accounts are ready before the market opens, and whether they are watched after it."""

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from hullwatch.domain.events import ADMINS, ReadinessChanged, ReadinessChecked
from hullwatch.domain.failures import StorageUnavailable, TooManyAttempts
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.readiness.check_times import Check, CheckTimes
from hullwatch.domain.readiness.readiness import (
    Facts,
    MarketHours,
    Phase,
    Readiness,
    ReadinessResult,
    assess,
    market_hours,
)
from hullwatch.domain.sessions.connection import ConnectionChange, LoginTrigger
from hullwatch.runtime.clock import clock_timeout
from hullwatch.runtime.supervisor import Supervisor, SupervisorStopped
from hullwatch.runtime.waiting import wait_for_event
from hullwatch.services.context import Context
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.services.readiness.check import ReadinessCheck
from hullwatch.services.readiness.notices import ReadinessNotices
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.sessions.validation import TokenValidationService, ValidationResult
from hullwatch.services.texts.readiness import ReadinessLine, describe_readiness

MAX_CHECK_S: Final = 1800.0
"""For a check after which no market open follows."""
RECOVERY_CHECK_S: Final = 30.0
"""How often notified users are checked for a recovery, from memory and without a call."""
SAVE_RETRY_S: Final = 10.0
ACCOUNTS_PER_STEP: Final = 50
"""Accounts that are assessed before other tasks run; each takes about a tenth of a millisecond."""
MANUAL_CHECK_EVERY_S: Final = 60.0
"""The least time between checks that operators start."""

_SEVERITY: Final[Mapping[ReadinessResult, int]] = {
    ReadinessResult.NOT_WATCHING: 0,
    ReadinessResult.NOT_READY: 0,
    ReadinessResult.WATCHING: 1,
    ReadinessResult.READY: 1,
    ReadinessResult.MARKET_CLOSED: 2,
    ReadinessResult.NOT_WANTED: 3,
}


@dataclass(frozen=True, slots=True)
class AccountReadiness:
    """The readiness of one account at this moment, with its texts."""

    user_id: str
    readiness: Readiness
    line: ReadinessLine
    checked_at: datetime | None
    """The last check of the account; `None` before the first since the server started."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The readiness of all accounts at this moment."""

    hours: MarketHours
    total: int
    """Accounts that count: on an exchange day those that want monitoring and have a watchlist."""
    good: int
    """Those of them that are ready or, after the market open, watched."""
    checked_at: datetime | None
    next_check_at: datetime
    is_checking: bool
    accounts: tuple[AccountReadiness, ...]
    """Accounts that want monitoring or have a watchlist, the worst first."""

    @property
    def percent(self) -> float | None:
        """The good share, rounded down so that 100 means all; `None` if no account counts."""
        return math.floor(1000 * self.good / self.total) / 10 if self.total else None


class ReadinessService:
    """Checks accounts at fixed times before the market opens, and after each login in between.

    Args:
        context: Time, the database and the event hub.
        connections: The sessions.
        validation: Validates sessions at Fyers.
        monitoring: Watchlists and their history.
        supervisor: Runs the job and the checks in between.
        times: When checks are made.
        at_once: Accounts that load history at the same time, see `warming_at_once`.
    """

    def __init__(
        self,
        context: Context,
        *,
        connections: ConnectionService,
        validation: TokenValidationService,
        monitoring: MonitoringService,
        supervisor: Supervisor,
        times: CheckTimes,
        at_once: int = 50,
    ) -> None:
        self._connections = connections
        self._validation = validation
        self._check = ReadinessCheck(context, validation=validation, monitoring=monitoring, at_once=at_once)
        self._monitoring = monitoring
        self._calendar = context.calendar
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._hub = context.hub
        self._times = times
        self._notices = ReadinessNotices(context)
        self._supervisor = supervisor
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._last_check: Check | None = None
        self._finished: list[Check | None] = []
        self._checked_at: dict[str, datetime] = {}
        self._last_check_at: datetime | None = None
        self._last_manual_s = -math.inf
        self._published: dict[str, tuple[ReadinessResult, Obstacle | None]] = {}
        self._log = structlog.get_logger(component="ReadinessService")

    # ---------------------------------------------------------------- queries, from memory

    def of(self, user_id: str) -> AccountReadiness:
        """Return the readiness of an account."""
        now = self._clock.now()
        readiness = self._assess(user_id, market_hours(now, self._calendar))
        return self._described(user_id, readiness, self._next_check_at(now))

    async def overview(self) -> Overview:
        """Return the readiness of all accounts, the worst first."""
        now = self._clock.now()
        hours, next_check_at = market_hours(now, self._calendar), self._next_check_at(now)
        accounts = []
        for number, user_id in enumerate(self._monitoring.known_users(), 1):
            accounts.append(self._described(user_id, self._assess(user_id, hours), next_check_at))
            if number % ACCOUNTS_PER_STEP == 0:
                await asyncio.sleep(0)
        accounts.sort(key=_severity)
        return Overview(
            hours=hours,
            total=sum(account.readiness.result.counts for account in accounts),
            good=sum(account.readiness.result.is_good for account in accounts),
            checked_at=self._last_check_at,
            next_check_at=next_check_at,
            is_checking=self._lock.locked(),
            accounts=tuple(accounts),
        )

    async def count(self) -> tuple[int, int]:
        """Return how many accounts count, and how many of them are ready or watched."""
        hours = market_hours(self._clock.now(), self._calendar)
        total = good = 0
        for number, user_id in enumerate(self._monitoring.wanted_users(), 1):
            result = self._assess(user_id, hours).result
            total, good = total + result.counts, good + result.is_good
            if number % ACCOUNTS_PER_STEP == 0:
                await asyncio.sleep(0)
        return total, good

    def next_check_at(self) -> datetime:
        """Return when the next check is due."""
        return self._next_check_at(self._clock.now())

    def _next_check_at(self, now: datetime) -> datetime:
        return self._times.next_after(now, self._calendar).at

    def _described(self, user_id: str, readiness: Readiness, next_check_at: datetime) -> AccountReadiness:
        line = describe_readiness(readiness, next_check_at=next_check_at)
        return AccountReadiness(user_id, readiness, line, self._checked_at.get(user_id))

    def _assess(self, user_id: str, hours: MarketHours) -> Readiness:
        connection = self._connections.connection(user_id)
        return assess(
            Facts(
                is_wanted=self._monitoring.is_wanted(user_id),
                login_state=connection.state,
                disconnect_reason=connection.reason,
                expires_at=connection.expires_at,
                disconnected_at=connection.last_disconnect_at,
                verification_state=connection.verification_state,
                hold_reason=connection.hold_reason,
                status=self._monitoring.status(user_id),
                lines=self._monitoring.lines(user_id),
            ),
            hours,
        )

    # ---------------------------------------------------------------- the job

    def start_jobs(self) -> None:
        """Begin to check at the set times, and after each login in between."""
        self._supervisor.spawn(
            "readiness", lambda: self._run(lambda: self._supervisor.heartbeat("readiness"))
        )

    async def _run(self, heartbeat: Callable[[], None]) -> None:
        """Make each check when it is due, a missed one too while the market has not opened."""
        while True:
            self._wake.clear()
            due = self._times.due(self._clock.now(), self._calendar)
            if due is not None and due != self._last_check:
                await self._notify_disconnected(due)
                await self._run_check(due)
                self._last_check = due
                self._finished.append(due)
            try:
                await self._notify()
            except StorageUnavailable:
                await self._wait(SAVE_RETRY_S)
                continue
            heartbeat()
            await self._wait(RECOVERY_CHECK_S if self._notices.waiting else None)

    async def _notify_disconnected(self, check: Check) -> None:
        """Notify users without a session before the check, which may take minutes."""
        now = self._clock.now()
        hours = market_hours(now, self._calendar)
        with suppress(StorageUnavailable):  # they are notified after the check, with the others
            await self._notices.open_day(hours.day)
            found = {
                user_id: self._assess(user_id, hours)
                for user_id in self._monitoring.wanted_users()
                if not self._connections.connection(user_id).has_session
            }
            self._notices.add_results(check, found, now)
            await self._notices.flush()

    async def _notify(self) -> None:
        """Store and publish the results of finished checks, and recoveries.

        Raises:
            StorageUnavailable: The rest is stored at the next call.
        """
        now = self._clock.now()
        hours = market_hours(now, self._calendar)
        await self._notices.open_day(hours.day)
        while self._finished:
            self._publish_check(self._finished.pop(), hours, now)
        self._notices.add_recoveries(lambda user_id: self._assess(user_id, hours), now)
        await self._notices.flush()

    async def _wait(self, within_s: float | None) -> None:
        next_check_at = self._next_check_at(self._clock.now())
        await wait_for_event(self._wake, clock=self._clock, until=next_check_at, within_s=within_s)

    # ---------------------------------------------------------------- a check

    def start_check(self) -> datetime:
        """Begin a check now and return its start; it sends no notices to users who are not ready.

        Raises:
            TooManyAttempts: A check is running, or the last manual one began less than a minute ago.
        """
        left_s = MANUAL_CHECK_EVERY_S - (self._real_clock.monotonic() - self._last_manual_s)
        if self._lock.locked() or left_s > 0:
            raise TooManyAttempts(
                "A check is running or was made a moment ago. This page shows its result.",
                retry_after_s=max(1.0, left_s),
            )
        self._supervisor.run_once("readiness-manual-check", self._manual_check())
        self._last_manual_s = self._real_clock.monotonic()
        return self._clock.now()

    async def _manual_check(self) -> None:
        await self._run_check(None)
        self._finished.append(None)
        self._wake.set()

    async def check(self) -> Overview:
        """Check all accounts now and return their readiness; stores nothing and notifies nobody."""
        await self._run_check(None)
        return await self.overview()

    async def _run_check(self, check: Check | None) -> None:
        """Validate sessions and load missing history, until the market opens at the latest."""
        async with self._lock:
            began_s = self._real_clock.monotonic()
            now = self._clock.now()
            hours = market_hours(now, self._calendar)
            limit_s = MAX_CHECK_S
            if hours.phase is Phase.BEFORE_OPEN:
                limit_s = min(limit_s, (hours.opens_at - now).total_seconds())
            users = [
                user_id for user_id in self._monitoring.wanted_users() if self._monitoring.lines(user_id)
            ]
            with suppress(TimeoutError):
                async with clock_timeout(self._clock, limit_s):
                    await self._check.run(
                        [user_id for user_id in users if self._connections.connection(user_id).has_session]
                    )
            self._last_check_at = self._clock.now()
            self._checked_at |= dict.fromkeys(users, self._last_check_at)
            self._log.info(
                "readiness.validated",
                accounts=len(users),
                is_scheduled=check is not None,
                took_s=round(self._real_clock.monotonic() - began_s, 1),
            )

    def _publish_check(self, check: Check | None, hours: MarketHours, now: datetime) -> None:
        found = {user_id: self._assess(user_id, hours) for user_id in self._monitoring.wanted_users()}
        counted = [readiness.result for readiness in found.values() if readiness.result.counts]
        ready = sum(result.is_good for result in counted)
        evidence: Mapping[str, object] = {
            "total": len(counted),
            "ready": ready,
            "notReady": len(counted) - ready,
            "isLast": check is not None and check.is_last,
            "opensAt": hours.opens_at.isoformat(),
        }
        self._notices.add_results(check, found, now)
        self._notices.add_check(evidence, now)
        self._log.info("readiness.checked", total=len(counted), ready=ready, not_ready=len(counted) - ready)
        for user_id, readiness in found.items():
            self._publish(user_id, readiness, now)
        self._hub.publish(ADMINS, ReadinessChecked(len(counted), ready, now))

    def _publish(self, user_id: str, readiness: Readiness, now: datetime) -> bool:
        """Publish a result that changed, and return whether it did."""
        current = (readiness.result, readiness.reason)
        if self._published.get(user_id) == current:
            return False
        self._published[user_id] = current
        self._hub.publish(user_id, ReadinessChanged(user_id, readiness.result, readiness.reason, now))
        return True

    # ---------------------------------------------------------------- logins between checks

    def session_changed(self, change: ConnectionChange) -> None:
        """Check an account again after its user has logged in."""
        user_id = change.after.user_id
        if change.trigger is not LoginTrigger.LOGGED_IN or not self._monitoring.is_wanted(user_id):
            return
        is_before = market_hours(self._clock.now(), self._calendar).phase is Phase.BEFORE_OPEN
        if is_before or user_id in self._notices.waiting:
            with suppress(SupervisorStopped):  # the process is ending
                self._supervisor.run_once("readiness-login-check", self._check_login(user_id))

    async def _check_login(self, user_id: str) -> None:
        """Check one account that has just logged in."""
        validation = await self._validation.validate_fyers_token(user_id, fresh=True)
        if validation.result is ValidationResult.VALID:
            await self._monitoring.warm(user_id)
        now = self._clock.now()
        self._checked_at[user_id] = now
        readiness = self._assess(user_id, market_hours(now, self._calendar))
        if self._publish(user_id, readiness, now):
            self._hub.publish(ADMINS, ReadinessChanged(user_id, readiness.result, readiness.reason, now))
        self._wake.set()


def _severity(account: AccountReadiness) -> tuple[int, bool, bool, str]:
    """Return the sort key: the worst first, those whose users can act before others."""
    readiness = account.readiness
    return (
        _SEVERITY[readiness.result],
        not readiness.is_for_user,
        readiness.reason is None,
        account.user_id,
    )
