"""Counts the calls of an account against Fyers' rate limits, and pauses an account that was limited.

Fyers allows a user of an app 10 calls a second, 200 a minute and 100,000 a day. It blocks a user for the
rest of the day (until midnight IST) who exceeds the limit of the minute more than three times (Fyers API v3
docs, "Rate limits"). Cloudflare counts by address, so one global limit holds for this server.
"""

from collections import deque
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Final

from hullwatch.domain.sessions.tokens import IST
from hullwatch.runtime.backoff import Backoff

LONGEST_WAIT_S: Final = 5.0
"""A call that would wait longer returns at once, so that its caller can decide what to do."""
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
FYERS_PER_SECOND: Final = 10
"""Fyers API v3 docs, "Rate limits"."""
IDLE_S: Final = 60.0
"""The longest window: after it an unused account keeps no instants."""


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


class Window:
    """At most `calls` instants in any `seconds`. It keeps so many instants and answers in constant time."""

    __slots__ = ("_calls", "_instants", "_seconds")

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls = calls
        self._instants: deque[float] = deque(maxlen=calls)
        self._seconds = seconds

    def earliest(self, now: float, ahead: int = 0) -> float:
        """Return the first allowed instant from `now` on, after `ahead` calls that are not counted yet.

        The calls ahead are assumed to be sent as early as this limit allows.
        """
        index = len(self._instants) + ahead - self._calls
        if index < 0:
            return now
        rounds, slot = divmod(index, self._calls)
        used_at = self._instants[slot] if slot < len(self._instants) else now
        return max(now, used_at + self._seconds) + rounds * self._seconds

    def used_at(self, now: float) -> int:
        """Return how many instants count now."""
        return sum(instant > now - self._seconds for instant in self._instants)

    def take(self, instant: float) -> None:
        """Use an instant; instants come in order."""
        self._instants.append(instant)


class Pacer:
    """The rate limits of one account: admitted calls count for the day, sent calls for second and minute.

    Fyers counts arrivals, and calls arrive closer together than they are sent when the first one has to open a
    connection. A call arrives before its answer. So the limit of Fyers' own second holds in every case when
    the eleventh call is sent a second after the answer to the first one.
    """

    __slots__ = ("_latest", "_limits", "_used_on", "_used_today", "_windows", "under_way", "unsent")

    def __init__(self, limits: PacingLimits) -> None:
        self._limits = limits
        self._windows: tuple[Window, Window, Window] | None = None
        """Sent in a second and in a minute, answered in a second."""
        self._latest = float("-inf")
        self._used_on: date | None = None
        self._used_today = 0
        self.unsent = 0
        """Calls that are admitted and not sent yet."""
        self.under_way = 0
        """Calls that are sent and not answered yet."""

    def earliest(self, now: float, ahead: int = 0) -> float:
        """Return when the next call may be sent, in monotonic seconds, after `ahead` waiting calls."""
        ahead += self.unsent
        second, minute, answered = self._used_windows()
        return max(
            second.earliest(now, ahead),
            minute.earliest(now, ahead),
            answered.earliest(now, ahead + self.under_way),
        )

    def day_left_s(self, moment: datetime) -> float:
        """Return the seconds until the next call because the day's calls are used up; 0 if they are not."""
        self._begin_day(moment)
        return seconds_to_midnight(moment) if self._used_today >= self._limits.per_day else 0.0

    def admit(self, moment: datetime) -> None:
        """Count a call of the day; `record_sent` or `give_back` follows."""
        self._begin_day(moment)
        self._used_today += 1
        self.unsent += 1

    def record_sent(self, now: float) -> None:
        """Count an admitted call as sent now."""
        self.unsent -= 1
        self.under_way += 1
        self._latest = now
        second, minute, _ = self._used_windows()
        second.take(now)
        minute.take(now)

    def record_answered(self, now: float) -> None:
        """Record that a sent call has ended, with an answer or without."""
        self.under_way -= 1
        self._used_windows()[2].take(now)

    def give_back(self) -> None:
        """Record that an admitted call was cancelled before it was sent."""
        self.unsent -= 1

    def forget_old(self, now: float) -> bool:
        """Drop old windows, but not the count of the day; return whether windows are left."""
        if now - self._latest > IDLE_S + LONGEST_WAIT_S:
            self._windows = None
        return self._windows is not None

    def restore(self, day: date, calls: int) -> None:
        """Go on with the count of a day."""
        self._used_on, self._used_today = day, calls

    def count_earlier(self, calls: int, instant: float) -> None:
        """Count calls that were sent before this process began, as if all were sent at that instant."""
        minute = self._used_windows()[1]
        for _ in range(min(calls, self._limits.per_minute)):
            minute.take(instant)
        self._latest = max(self._latest, instant)

    def recent(self, now: float) -> int:
        """Return how many calls were sent in the last minute."""
        return 0 if self._windows is None else self._windows[1].used_at(now)

    def used_on(self, today: date) -> int:
        """Return how many calls were admitted on this day."""
        return self._used_today if self._used_on == today else 0

    def _used_windows(self) -> tuple[Window, Window, Window]:
        if self._windows is None:
            self._windows = (
                Window(self._limits.per_second, 1.0),
                Window(self._limits.per_minute, 60.0),
                Window(max(FYERS_PER_SECOND, self._limits.per_second), 1.0),
            )
        return self._windows

    def _begin_day(self, moment: datetime) -> None:
        today = moment.astimezone(IST).date()
        # A clock that is set back over midnight must not reset the count of the day.
        if self._used_on is None or today > self._used_on:
            self._used_on, self._used_today = today, 0


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

    def limits_on(self, today: date) -> int:
        """Return how many 429s counted on this day."""
        return self._limits_today if self._limited_on == today else 0

    def restore(self, now: float, left_s: float, day: date, limits: int) -> None:
        """Go on with a pause and the 429s of a day."""
        if left_s > 0:
            self._until = now + left_s
        if limits:
            self._limited_on, self._limits_today = day, limits

    def is_unused(self, now: float, today: date) -> bool:
        """Whether it can be dropped without an effect."""
        return not self.left_s(now) and self._limited_on != today and not self._blocks_in_a_row


def seconds_to_midnight(moment: datetime) -> float:
    """Return the seconds until the next midnight IST, when Fyers' day begins."""
    local = moment.astimezone(IST)
    midnight = datetime.combine(local.date() + timedelta(days=1), time(), IST)
    return (midnight - local).total_seconds()
