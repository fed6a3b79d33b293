"""Staying within Fyers' limits: each account's pace, the machine's gate, and waiting when told to. Sending is ``calls.py``'s.

Fyers allows a user of an app 10 calls a second, 200 a minute, 100,000 a day, and blocks for the rest of the day (midnight IST) whoever breaks
the minute's limit more than three times (Fyers API v3 docs, "Rate limits"). The edge in front of it counts by address, so one gate stands for
the whole machine. All of it runs on the clock passed in.

Nothing here is held while an answer is awaited: a slow or parked account can never use up another one's turn.
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
"""A call that would wait longer for its turn is told so at once: its caller knows better what to do with the time."""
MOST_IN_FLIGHT: Final = 4
"""Calls of one account under way at once."""
LIMIT_PARK: Final = Backoff(first_s=60.0, factor=2.0, max_s=900.0, jitter=0.0)
"""How long an account rests after a further 429 that names no time: the minute's window first, longer with each one of the day. Not until midnight, even
after the fourth: whether Fyers has blocked the account only asking shows, and asking four times an hour cannot make it worse."""
BURST_PARK_S: Final = 2.0
"""How long an account rests after a first 429 that names no time. Its own pace keeps the minute's limit, so this one speaks of the second: the
network bunched what was sent apart. If it was the minute after all, the next 429 says so."""
STRIKES_BEFORE_BLOCK: Final = 3
EDGE_PARK: Final = Backoff(first_s=5.0, factor=2.0, max_s=300.0, jitter=0.3)
"""How long an account rests after the edge turned it away; grows until Fyers answers."""
IDLE_S: Final = 60.0
"""After the longest window nothing of it needs to be remembered."""
_TOLERANCE_S: Final = 1e-6
"""Clocks count in whole microseconds; a turn that is less than one early is in time."""


@dataclass(frozen=True, slots=True)
class PacingLimits:
    """Calls an account may make, below Fyers' own 10 / 200 / 100,000 since the network bunches what was sent apart; and the machine's total."""

    per_second: int = 8
    per_minute: int = 170
    per_day: int = 90_000
    per_second_total: int = 500

    def __post_init__(self) -> None:
        if min(self.per_second, self.per_minute, self.per_day, self.per_second_total) < 1:
            raise ValueError(f"impossible pacing: {self}")


@dataclass(frozen=True, slots=True)
class NotNow:
    """There is no turn within reach; nothing was reserved."""

    retry_after_s: float


class Window:
    """At most `calls` instants in any `seconds`: remembers as many as it allows, asks in constant time."""

    __slots__ = ("_instants", "_seconds")

    def __init__(self, calls: int, seconds: float) -> None:
        self._instants: deque[float] = deque(maxlen=calls)
        self._seconds = seconds

    def earliest(self, now: float) -> float:
        """Return the first instant from `now` on that fits."""
        if len(self._instants) < (self._instants.maxlen or 0):
            return now
        return max(now, self._instants[0] + self._seconds)

    def take(self, instant: float) -> None:
        """Remember an instant; they come in order."""
        self._instants.append(instant)


class Pacer:
    """One account's turns: reserved in the order of asking, confirmed at the moment of sending.

    A reservation tells a caller how long to wait. Between it and the sending lies the machine's gate, which may delay; so `confirm` counts
    what is really sent, and only that count keeps the promise: never more than the limit in any second or minute. The turn of a
    caller that gave up stays spent.
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
    ) -> float | NotNow:
        """Reserve the next turn and return the seconds until it, or say that there is none within `longest_wait_s`.

        Args:
            now: monotonic seconds.
            moment: the same present as an aware moment, for the day that ends at midnight IST.
            longest_wait_s: how long the caller is ready to wait.
        """
        today = moment.astimezone(IST).date()
        # A clock corrected backwards over midnight does not give the day's calls back.
        if self._used_on is None or today > self._used_on:
            self._used_on, self._used_today = today, 0
        if self._used_today >= self._limits.per_day:
            return NotNow(seconds_to_midnight(moment))
        windows = self._reserved = self._reserved or self._windows()
        instant = max(self._latest, *(window.earliest(now) for window in windows))
        if instant - now > longest_wait_s:
            return NotNow(instant - now)
        for window in windows:
            window.take(instant)
        self._latest = instant
        self._used_today += 1
        return max(0.0, instant - now)

    def confirm(self, now: float) -> float:
        """Return 0 and count a call as sent now, or the seconds it has to wait longer."""
        windows = self._sent = self._sent or self._windows()
        instant = max(window.earliest(now) for window in windows)
        if instant - now > _TOLERANCE_S:
            return instant - now
        for window in windows:
            window.take(now)
        return 0.0

    def rest(self, now: float) -> bool:
        """Forget the windows once nothing in them counts any more; the day's count stays. Whether anything is left but that count."""
        if now - self._latest > IDLE_S + LONGEST_WAIT_S:
            self._reserved = self._sent = None
            self._latest = float("-inf")
        return self._reserved is not None

    def used_on(self, today: date) -> int:
        """Return how many turns were reserved on this day."""
        return self._used_today if self._used_on == today else 0

    def _windows(self) -> tuple[Window, Window]:
        return Window(self._limits.per_second, 1.0), Window(self._limits.per_minute, 60.0)


class Park:
    """How long an account rests: after 429s of Fyers, and after pages of the edge."""

    __slots__ = ("_edge_in_a_row", "_strikes", "_struck_on", "_until")

    def __init__(self) -> None:
        self._until = float("-inf")
        self._strikes = 0
        self._struck_on: date | None = None
        self._edge_in_a_row = 0

    def left_s(self, now: float) -> float:
        """Return the seconds left to rest, 0 when awake."""
        return max(0.0, self._until - now)

    def limited(self, now: float, moment: datetime, retry_after_s: float | None) -> float:
        """Take note of Fyers' 429 and return the seconds to rest; 429s to calls already under way count as the same one."""
        if self.left_s(now):
            return self.left_s(now)
        if retry_after_s is None and now - self._until > IDLE_S:
            self._until = now + BURST_PARK_S
            return BURST_PARK_S
        today = moment.astimezone(IST).date()
        self._strikes = self._strikes + 1 if self._struck_on == today else 1
        self._struck_on = today
        seconds = retry_after_s
        if seconds is None or self._strikes > STRIKES_BEFORE_BLOCK:
            # Without jitter, so no chance is needed: each account hits its own limit at its own time.
            seconds = max(seconds or 0.0, LIMIT_PARK.delay(self._strikes, Random(0)))  # noqa: S311 - no secret
        self._until = now + seconds
        return seconds

    def turned_away(self, now: float, random: Random, retry_after_s: float | None) -> float:
        """Take note of a page of the edge and return the seconds to rest."""
        if not self.left_s(now):
            self._edge_in_a_row += 1
            self._until = now + max(retry_after_s or 0.0, EDGE_PARK.delay(self._edge_in_a_row, random))
        return self.left_s(now)

    def answered(self) -> None:
        """Take note that Fyers itself answered."""
        self._edge_in_a_row = 0

    def is_blank(self, now: float, today: date) -> bool:
        """Whether forgetting it would change nothing."""
        return not self.left_s(now) and self._struck_on != today and not self._edge_in_a_row


class Account:
    """What is remembered of one account for the day."""

    __slots__ = ("busy", "pacer", "park", "slots")

    def __init__(self, limits: PacingLimits) -> None:
        self.pacer = Pacer(limits)
        self.park = Park()
        self.slots = asyncio.Semaphore(MOST_IN_FLIGHT)
        """One for each call under way, so that an account that hangs holds few connections."""
        self.busy = 0
        """Calls that wait or are under way; while there are any, the account is not forgotten."""


class Pace:
    """The turns of all accounts of this machine; accounts at rest cost next to nothing, those of yesterday nothing."""

    def __init__(self, limits: PacingLimits, clock: Clock, *, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._limits = limits
        self._clock = clock
        self._longest_wait_s = longest_wait_s
        self._accounts: dict[Hashable, Account] = {}
        self._gate = Window(limits.per_second_total, 1.0)
        self._sweep_at = clock.monotonic() + IDLE_S

    def __len__(self) -> int:
        return len(self._accounts)

    def account(self, key: Hashable) -> Account:
        """Return what is remembered of an account."""
        if self._clock.monotonic() >= self._sweep_at:
            self._sweep()
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(self._limits)
        return account

    async def turn(self, account: Account) -> NotNow | None:
        """Wait for the account's turn and then for the machine's; `None` means: send now, before awaiting anything else."""
        clock = self._clock
        now = clock.monotonic()
        if parked_s := account.park.left_s(now):
            return NotNow(parked_s)
        delay = account.pacer.reserve(now, clock.now(), longest_wait_s=self._longest_wait_s)
        if isinstance(delay, NotNow):
            return delay
        if delay > 0:
            await clock.sleep(delay)
        now = clock.monotonic()
        opens_at = self._gate.earliest(now)
        if opens_at - now > self._longest_wait_s:
            return NotNow(opens_at - now)
        self._gate.take(opens_at)
        delay = opens_at - now
        while delay > 0 or (delay := account.pacer.confirm(clock.monotonic())) > 0:
            await clock.sleep(delay)
            delay = 0.0
        if parked_s := account.park.left_s(clock.monotonic()):
            return NotNow(parked_s)  # a call before this one met a limit while this one waited
        return None

    def _sweep(self) -> None:
        now, today = self._clock.monotonic(), self._clock.now().astimezone(IST).date()
        self._sweep_at = now + IDLE_S
        for key, account in list(self._accounts.items()):
            if account.busy:
                continue
            is_awake = account.pacer.rest(now)
            if not is_awake and not account.pacer.used_on(today) and account.park.is_blank(now, today):
                del self._accounts[key]


def seconds_to_midnight(moment: datetime) -> float:
    """Return the seconds until the next midnight IST, when Fyers' day begins."""
    local = moment.astimezone(IST)
    midnight = datetime.combine(local.date() + timedelta(days=1), time(), IST)
    return (midnight - local).total_seconds()
