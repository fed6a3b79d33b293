"""Keeps each account and this server within Fyers' rate limits, and pauses an account that was limited.

Fyers allows a user of an app 10 calls a second, 200 a minute and 100,000 a day. It blocks a user for the
rest of the day (until midnight IST) who exceeds the limit of the minute more than three times (Fyers API v3
docs, "Rate limits"). Cloudflare counts by address, so one global limit holds for this server.

No lock is held while an answer is awaited: a slow or paused account never delays another one.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Final

from hullwatch.domain.sessions.tokens import IST
from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.clock import Clock

LONGEST_WAIT_S: Final = 5.0
"""A call that would wait longer returns at once, so that its caller can decide what to do."""
MOST_IN_FLIGHT: Final = 4
"""Calls of one account under way at once."""
LIMIT_PAUSE: Final = Backoff(first_s=60.0, factor=2.0, max_s=900.0, jitter=0.0)
"""The pause after a further 429 without a time: first the window of the minute, then longer each time.

It never lasts until midnight: only a call shows whether Fyers has blocked the account, and four calls an
hour cannot make it worse."""
BURST_PAUSE_S: Final = 2.0
"""The pause after a first 429 without a time. The pace keeps the limit of the minute, so the limit of the
second was hit: the network delivered calls together. If it was the minute, the next 429 shows it."""
LIMITS_BEFORE_BLOCK: Final = 3
BLOCK_PAUSE: Final = Backoff(first_s=5.0, factor=2.0, max_s=300.0, jitter=0.3)
"""The pause of an account after Cloudflare refused it; grows until Fyers answers."""
IDLE_S: Final = 60.0
"""The longest window: after it an unused account keeps no instants."""
_TOLERANCE_S: Final = 1e-6
"""Clocks count in whole microseconds, so a call may be early by less than one."""


@dataclass(frozen=True, slots=True)
class PacingLimits:
    """Calls that an account and this server may make.

    They are below Fyers' own 10 / 200 / 100,000, since the network can deliver separate calls together.
    """

    per_second: int = 8
    per_minute: int = 170
    per_day: int = 90_000
    per_second_total: int = 500

    def __post_init__(self) -> None:
        if min(self.per_second, self.per_minute, self.per_day, self.per_second_total) < 1:
            raise ValueError(f"impossible pacing: {self}")


@dataclass(frozen=True, slots=True)
class WaitTooLong:
    """The next call is allowed too late; nothing was reserved."""

    retry_after_s: float


class Window:
    """At most `calls` instants in any `seconds`. It keeps so many instants and answers in constant time."""

    __slots__ = ("_instants", "_seconds")

    def __init__(self, calls: int, seconds: float) -> None:
        self._instants: deque[float] = deque(maxlen=calls)
        self._seconds = seconds

    def earliest(self, now: float) -> float:
        """Return the first allowed instant from `now` on."""
        if len(self._instants) < (self._instants.maxlen or 0):
            return now
        return max(now, self._instants[0] + self._seconds)

    def take(self, instant: float) -> None:
        """Use an instant; instants come in order."""
        self._instants.append(instant)


class Pacer:
    """The rate limit of one account: reserved in the order of the calls, confirmed at the moment of sending.

    A reservation tells a caller how long to wait. The global limit may delay the sending further, so
    `confirm` counts what is really sent. Only that count guarantees the limit in every second and minute.
    The reservation of a cancelled caller stays used.
    """

    __slots__ = ("_latest", "_limits", "_reserved", "_sent", "_used_on", "_used_today")

    def __init__(self, limits: PacingLimits) -> None:
        self._limits = limits
        self._reserved: tuple[Window, Window] | None = None
        self._sent: tuple[Window, Window] | None = None
        self._latest = float("-inf")
        self._used_on: date | None = None
        self._used_today = 0

    def reserve(
        self, now: float, moment: datetime, *, longest_wait_s: float = LONGEST_WAIT_S
    ) -> float | WaitTooLong:
        """Reserve the next call and return the seconds until it, or `WaitTooLong`.

        `now` is in monotonic seconds; `moment` is the same time for the day that ends at midnight IST.
        """
        today = moment.astimezone(IST).date()
        # A clock that is set back over midnight must not reset the count of the day.
        if self._used_on is None or today > self._used_on:
            self._used_on, self._used_today = today, 0
        if self._used_today >= self._limits.per_day:
            return WaitTooLong(seconds_to_midnight(moment))
        windows = self._reserved = self._reserved or self._windows()
        instant = max(self._latest, *(window.earliest(now) for window in windows))
        if instant - now > longest_wait_s:
            return WaitTooLong(instant - now)
        for window in windows:
            window.take(instant)
        self._latest = instant
        self._used_today += 1
        return max(0.0, instant - now)

    def confirm(self, now: float) -> float:
        """Count a call as sent now and return 0, or return the seconds it still has to wait."""
        windows = self._sent = self._sent or self._windows()
        instant = max(window.earliest(now) for window in windows)
        if instant - now > _TOLERANCE_S:
            return instant - now
        for window in windows:
            window.take(now)
        return 0.0

    def forget_old(self, now: float) -> bool:
        """Drop old windows, but not the count of the day; return whether windows are left."""
        if now - self._latest > IDLE_S + LONGEST_WAIT_S:
            self._reserved = self._sent = None
            self._latest = float("-inf")
        return self._reserved is not None

    def used_on(self, today: date) -> int:
        """Return how many calls were reserved on this day."""
        return self._used_today if self._used_on == today else 0

    def _windows(self) -> tuple[Window, Window]:
        return Window(self._limits.per_second, 1.0), Window(self._limits.per_minute, 60.0)


class Pause:
    """The pause of an account after 429s of Fyers and refusals by Cloudflare."""

    __slots__ = ("_blocks_in_a_row", "_limited_on", "_limits_today", "_until")

    def __init__(self) -> None:
        self._until = float("-inf")
        self._limits_today = 0
        self._limited_on: date | None = None
        self._blocks_in_a_row = 0

    def left_s(self, now: float) -> float:
        """Return the seconds left of the pause, 0 without one."""
        return max(0.0, self._until - now)

    def record_limit(self, now: float, moment: datetime, retry_after_s: float | None) -> float:
        """Record a 429 and return the seconds to pause; 429s of calls under way count once."""
        if self.left_s(now):
            return self.left_s(now)
        if retry_after_s is None and now - self._until > IDLE_S:
            self._until = now + BURST_PAUSE_S
            return BURST_PAUSE_S
        today = moment.astimezone(IST).date()
        self._limits_today = self._limits_today + 1 if self._limited_on == today else 1
        self._limited_on = today
        seconds = retry_after_s
        if seconds is None or self._limits_today > LIMITS_BEFORE_BLOCK:
            # Without jitter: each account reaches its limit at another time.
            pause_s = LIMIT_PAUSE.delay(self._limits_today, Random(0))  # noqa: S311 - no secret
            seconds = max(seconds or 0.0, pause_s)
        self._until = now + seconds
        return seconds

    def record_block(self, now: float, random: Random, retry_after_s: float | None) -> float:
        """Record a refusal by Cloudflare and return the seconds to pause."""
        if not self.left_s(now):
            self._blocks_in_a_row += 1
            self._until = now + max(retry_after_s or 0.0, BLOCK_PAUSE.delay(self._blocks_in_a_row, random))
        return self.left_s(now)

    def record_answer(self) -> None:
        """Record that Fyers itself answered."""
        self._blocks_in_a_row = 0

    def is_unused(self, now: float, today: date) -> bool:
        """Whether it can be dropped without an effect."""
        return not self.left_s(now) and self._limited_on != today and not self._blocks_in_a_row


class Account:
    """The rate limits of one account for the day."""

    __slots__ = ("busy", "pacer", "pause", "slots")

    def __init__(self, limits: PacingLimits) -> None:
        self.pacer = Pacer(limits)
        self.pause = Pause()
        self.slots = asyncio.Semaphore(MOST_IN_FLIGHT)
        """One slot for each call under way, so that a hanging account uses few connections."""
        self.busy = 0
        """Calls that wait or are under way; meanwhile the account is not dropped."""


class Pace:
    """The rate limits of all accounts of this server. Idle accounts use almost no memory."""

    def __init__(self, limits: PacingLimits, clock: Clock, *, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._limits = limits
        self._clock = clock
        self.longest_wait_s = longest_wait_s
        self._accounts: dict[Hashable, Account] = {}
        self._global_limit = Window(limits.per_second_total, 1.0)
        self._sweep_at = clock.monotonic() + IDLE_S

    def __len__(self) -> int:
        return len(self._accounts)

    def account(self, key: Hashable) -> Account:
        """Return the rate limits of an account."""
        if self._clock.monotonic() >= self._sweep_at:
            self._sweep()
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(self._limits)
        return account

    async def wait(self, account: Account) -> WaitTooLong | None:
        """Wait for the limits of account and server; `None` means: send now, before awaiting anything."""
        clock = self._clock
        now = clock.monotonic()
        if paused_s := account.pause.left_s(now):
            return WaitTooLong(paused_s)
        delay = account.pacer.reserve(now, clock.now(), longest_wait_s=self.longest_wait_s)
        if isinstance(delay, WaitTooLong):
            return delay
        if delay > 0:
            await clock.sleep(delay)
        now = clock.monotonic()
        opens_at = self._global_limit.earliest(now)
        if opens_at - now > self.longest_wait_s:
            return WaitTooLong(opens_at - now)
        self._global_limit.take(opens_at)
        delay = opens_at - now
        while delay > 0 or (delay := account.pacer.confirm(clock.monotonic())) > 0:
            await clock.sleep(delay)
            delay = 0.0
        if paused_s := account.pause.left_s(clock.monotonic()):
            return WaitTooLong(paused_s)  # an earlier call was limited while this one waited
        return None

    def _sweep(self) -> None:
        now, today = self._clock.monotonic(), self._clock.now().astimezone(IST).date()
        self._sweep_at = now + IDLE_S
        for key, account in list(self._accounts.items()):
            if account.busy:
                continue
            has_windows = account.pacer.forget_old(now)
            if not has_windows and not account.pacer.used_on(today) and account.pause.is_unused(now, today):
                del self._accounts[key]


def seconds_to_midnight(moment: datetime) -> float:
    """Return the seconds until the next midnight IST, when Fyers' day begins."""
    local = moment.astimezone(IST)
    midnight = datetime.combine(local.date() + timedelta(days=1), time(), IST)
    return (midnight - local).total_seconds()
