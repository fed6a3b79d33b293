"""ReadinessService: before the bell, asks after every account that wants monitoring, warms its averages, and says who is ready and who is not.

What ready means is in ``domain/readiness.py``, when checks are made in ``domain/check_times.py``, how many are asked at once in
``readiness_asking.py``, and who is told what in ``readiness_notices.py``. After the opening the same questions are answered from what
monitoring does.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog

from hullwatch.domain.events import ADMINS, ReadinessChanged, ReadinessChecked
from hullwatch.domain.failures import StorageUnavailable, TooManyAttempts
from hullwatch.domain.readiness.check_times import Check, CheckTimes
from hullwatch.domain.readiness.readiness import (
    Bell,
    Facts,
    Phase,
    Readiness,
    Reason,
    Verdict,
    assess,
    bell_at,
)
from hullwatch.domain.sessions.connection import ConnectionChange, LoginTrigger
from hullwatch.runtime.clock import clock_timeout
from hullwatch.runtime.supervisor import Supervisor, SupervisorStopped
from hullwatch.services.context import Context
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.services.readiness.check import ReadinessAsking
from hullwatch.services.readiness.notices import ReadinessNotices
from hullwatch.services.readiness.readiness_overview import AccountReadiness, Overview, severity
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.sessions.validation import TokenValidationService, ValidationVerdict
from hullwatch.services.texts.readiness import describe_readiness

LONGEST_CHECK_S: Final = 1800.0
"""For a check that no opening ends."""
LOOK_AGAIN_S: Final = 30.0
"""How often it is looked whether somebody who was told *not ready* has become ready; from memory, without a call."""
SAVE_AGAIN_S: Final = 10.0
LOOKED_AT_IN_ONE_GO: Final = 50
"""Accounts: each takes about a tenth of a millisecond."""
BY_HAND_EVERY_S: Final = 60.0
"""Between checks that an operator asks for."""


class ReadinessService:
    """Checks at fixed times before the opening, and whenever an account logs in between."""

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
        """Keep what is needed.

        Args:
            context: Time, randomness, the database and the event hub.
            connections: Who has a session.
            validation: Asks Fyers about sessions.
            monitoring: Who wants what watched, and how far that is prepared.
            supervisor: Runs the job and what is asked in between.
            times: When checks are made.
            at_once: Accounts warmed at the same time, see `warming_at_once`.
        """
        self._connections = connections
        self._validation = validation
        self._asking = ReadinessAsking(context, validation=validation, monitoring=monitoring, at_once=at_once)
        self._monitoring = monitoring
        self._calendar = context.calendar
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._hub = context.hub
        self._times = times
        self._notices = ReadinessNotices(context)
        self._supervisor = supervisor
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._made: Check | None = None
        self._concluding: list[Check | None] = []
        self._checked_at: dict[str, datetime] = {}
        self._last_check_at: datetime | None = None
        self._by_hand_s = -math.inf
        self._pushed: dict[str, tuple[Verdict, Reason | None]] = {}
        self._log = structlog.get_logger(component="ReadinessService")

    # ---------------------------------------------------------------- what others ask

    def of(self, user_id: str) -> AccountReadiness:
        """Return how an account stands now, from memory."""
        now = self._clock.now()
        return self._told(
            user_id, self._assess(user_id, bell_at(now, self._calendar)), self._next_check_at(now)
        )

    async def overview(self) -> Overview:
        """Return how everybody stands now, from memory, the worst first; others get their turns while many are looked at."""
        now = self._clock.now()
        bell, next_check_at = bell_at(now, self._calendar), self._next_check_at(now)
        accounts = []
        for place, user_id in enumerate(self._monitoring.known_users(), 1):
            accounts.append(self._told(user_id, self._assess(user_id, bell), next_check_at))
            if place % LOOKED_AT_IN_ONE_GO == 0:
                await asyncio.sleep(0)
        accounts.sort(key=severity)
        return Overview(
            bell=bell,
            total=sum(one.readiness.verdict.counts for one in accounts),
            good=sum(one.readiness.verdict.is_good for one in accounts),
            checked_at=self._last_check_at,
            next_check_at=next_check_at,
            is_checking=self._turn.locked(),
            accounts=tuple(accounts),
        )

    async def count(self) -> tuple[int, int]:
        """Return how many accounts count at this moment, and how many of them are ready or watched; from memory, others get their turns."""
        bell = bell_at(self._clock.now(), self._calendar)
        total = good = 0
        for place, user_id in enumerate(self._monitoring.wanted_users(), 1):
            verdict = self._assess(user_id, bell).verdict
            total, good = total + verdict.counts, good + verdict.is_good
            if place % LOOKED_AT_IN_ONE_GO == 0:
                await asyncio.sleep(0)
        return total, good

    def _told(self, user_id: str, readiness: Readiness, next_check_at: datetime) -> AccountReadiness:
        line = describe_readiness(readiness, next_check_at=next_check_at)
        return AccountReadiness(user_id, readiness, line, self._checked_at.get(user_id))

    def _next_check_at(self, now: datetime) -> datetime:
        return self._times.next_after(now, self._calendar).at

    def next_check_at(self) -> datetime:
        """Return when the next check is due."""
        return self._next_check_at(self._clock.now())

    def _assess(self, user_id: str, bell: Bell) -> Readiness:
        connection, state = self._connections.connection(user_id), self._monitoring.state(user_id)
        return assess(
            Facts(
                is_wanted=state.is_wanted,
                login=connection.state,
                end_reason=connection.reason,
                expires_at=connection.expires_at,
                ended_at=connection.last_disconnect_at,
                verification_state=connection.verification_state,
                status=state.status,
                lines=self._monitoring.lines(user_id),
            ),
            bell,
        )

    # ---------------------------------------------------------------- the job

    def start_jobs(self) -> None:
        """Begin checking at the set times, and at each login that comes between."""
        self._supervisor.spawn(
            "readiness", lambda: self._run(lambda: self._supervisor.heartbeat("readiness"))
        )

    async def _run(self, heartbeat: Callable[[], None]) -> None:
        """Make each check when it is due, for ever; one that was missed is made as long as its opening has not passed."""
        while True:
            self._wake.clear()
            due = self._times.due(self._clock.now(), self._calendar)
            if due is not None and due != self._made:
                await self._tell_who_is_out(due)
                await self._ask(due)
                self._made = due
                self._concluding.append(due)
            try:
                await self._tell()
            except StorageUnavailable:
                await self._wait(SAVE_AGAIN_S)
                continue
            heartbeat()
            await self._wait(LOOK_AGAIN_S if self._notices.waiting else math.inf)

    async def _tell_who_is_out(self, check: Check) -> None:
        """Call those without a session to act before anybody is asked after: warming all the others may take minutes."""
        now = self._clock.now()
        bell = bell_at(now, self._calendar)
        with suppress(StorageUnavailable):  # then they are told with the others
            await self._notices.open_day(bell.day)
            found = {
                user_id: self._assess(user_id, bell)
                for user_id in self._monitoring.wanted_users()
                if not self._connections.connection(user_id).has_session
            }
            self._notices.note_found(check, found, now)
            await self._notices.flush()

    async def _tell(self) -> None:
        """Say what the checks that were just made have found, and who has become ready since.

        Raises:
            StorageUnavailable: What was not said yet is said the next time.
        """
        now = self._clock.now()
        bell = bell_at(now, self._calendar)
        await self._notices.open_day(bell.day)
        while self._concluding:
            self._conclude(self._concluding.pop(), bell, now)
        self._notices.note_recoveries(lambda user_id: self._assess(user_id, bell), now)
        await self._notices.flush()

    async def _wait(self, at_most_s: float) -> None:
        """Wait for the next check, so many seconds, or a login, whichever comes first."""
        now = self._clock.now()
        waits = [
            asyncio.create_task(self._wake.wait(), name="readiness woken"),
            asyncio.create_task(self._clock.sleep_until(self._next_check_at(now)), name="next check"),
        ]
        if at_most_s < math.inf:
            waits.append(asyncio.create_task(self._clock.sleep(at_most_s), name="look again"))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # ---------------------------------------------------------------- a check

    def check_by_hand(self) -> datetime:
        """Begin a check now and return when that was; it warms and finds out, but calls nobody to act.

        Raises:
            TooManyAttempts: One is under way, or the last one that was asked for began less than a minute ago.
        """
        left_s = BY_HAND_EVERY_S - (self._real_clock.monotonic() - self._by_hand_s)
        if self._turn.locked() or left_s > 0:
            raise TooManyAttempts(
                "A check is under way or was made a moment ago; its result is on this page.",
                retry_after_s=max(1.0, left_s),
            )
        self._supervisor.run_once("readiness-by-hand", self._check_by_hand())
        self._by_hand_s = self._real_clock.monotonic()
        return self._clock.now()

    async def _check_by_hand(self) -> None:
        await self._ask(None)
        self._concluding.append(None)
        self._wake.set()

    async def check(self) -> Overview:
        """Ask after everybody and warm what is cold, now, and return how all stand; tells nobody and stores nothing."""
        await self._ask(None)
        return await self.overview()

    async def _ask(self, check: Check | None) -> None:
        """Validate every session that is to be watched with and warm what is cold, until the opening at the latest."""
        async with self._turn:
            began_s = self._real_clock.monotonic()
            now = self._clock.now()
            bell = bell_at(now, self._calendar)
            limit_s = LONGEST_CHECK_S
            if bell.phase is Phase.BEFORE_OPEN:
                limit_s = min(limit_s, (bell.opens_at - now).total_seconds())
            users = [
                user_id for user_id in self._monitoring.wanted_users() if self._monitoring.lines(user_id)
            ]
            with suppress(TimeoutError):
                async with clock_timeout(self._clock, limit_s):
                    await self._asking.ask(
                        [user_id for user_id in users if self._connections.connection(user_id).has_session]
                    )
            self._last_check_at = self._clock.now()
            self._checked_at |= dict.fromkeys(users, self._last_check_at)
            self._log.info(
                "readiness.asked",
                accounts=len(users),
                is_scheduled=check is not None,
                took_s=round(self._real_clock.monotonic() - began_s, 1),
            )

    def _conclude(self, check: Check | None, bell: Bell, now: datetime) -> None:
        """Say what the check has found."""
        found = {user_id: self._assess(user_id, bell) for user_id in self._monitoring.wanted_users()}
        counted = [readiness.verdict for readiness in found.values() if readiness.verdict.counts]
        ready = sum(verdict.is_good for verdict in counted)
        evidence: Mapping[str, object] = {
            "total": len(counted),
            "ready": ready,
            "notReady": len(counted) - ready,
            "isLast": check is not None and check.is_last,
            "opensAt": bell.opens_at.isoformat(),
        }
        self._notices.note_found(check, found, now)
        self._notices.note_check(evidence, now)
        self._log.info("readiness.checked", total=len(counted), ready=ready, not_ready=len(counted) - ready)
        for user_id, readiness in found.items():
            self._push(user_id, readiness, now)
        self._hub.publish(ADMINS, ReadinessChecked(len(counted), ready, now))

    def _push(self, user_id: str, readiness: Readiness, now: datetime) -> bool:
        """Push how an account stands if that is news, and say whether it was."""
        news = (readiness.verdict, readiness.reason)
        if self._pushed.get(user_id) == news:
            return False
        self._pushed[user_id] = news
        self._hub.publish(user_id, ReadinessChanged(user_id, readiness.verdict, readiness.reason, now))
        return True

    # ---------------------------------------------------------------- a login in between

    def session_changed(self, change: ConnectionChange) -> None:
        """Check an account again after its user has logged in."""
        user_id = change.after.user_id
        if change.trigger is not LoginTrigger.LOGGED_IN or not self._monitoring.is_wanted(user_id):
            return
        is_before = bell_at(self._clock.now(), self._calendar).phase is Phase.BEFORE_OPEN
        if is_before or user_id in self._notices.waiting:
            with suppress(SupervisorStopped):  # at the end of the process nobody asks any more
                self._supervisor.run_once("readiness-recheck", self._recheck(user_id))

    async def _recheck(self, user_id: str) -> None:
        """Ask after one account that has just logged in, and warm it."""
        validation = await self._validation.validate_fyers_token(user_id, fresh=True)
        if validation.verdict is ValidationVerdict.VALID:
            await self._monitoring.warm(user_id)
        now = self._clock.now()
        self._checked_at[user_id] = now
        readiness = self._assess(user_id, bell_at(now, self._calendar))
        if self._push(user_id, readiness, now):
            self._hub.publish(ADMINS, ReadinessChanged(user_id, readiness.verdict, readiness.reason, now))
        self._wake.set()
