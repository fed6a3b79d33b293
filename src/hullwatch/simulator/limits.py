"""Fyers' rate limits per person and app, and the block for the rest of the day.

Fyers API v3 docs: 10 calls a second, 200 a minute, 100,000 a day; a user who exceeds the minute limit more
than three times in a day is blocked until midnight IST. Assumed: windows slide; a call that was itself
refused by a limit fills no window; however many calls are refused, at most one exceeding is counted in any
60 s.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field

from hullwatch.simulator.market.calendar import day_of

PER_SECOND = 10
PER_MINUTE = 200
PER_DAY = 100_000
STRIKES_FORGIVEN = 3


@dataclass(slots=True)
class _Meter:
    recent: deque[float] = field(default_factory=deque)
    day: int = 0
    today: int = 0
    strikes: int = 0
    struck_at: float = float("-inf")
    blocked_on: int = -1


class RateLimits:
    """Counts the calls of every person and app on the simulated clock."""

    def __init__(self) -> None:
        self._meters: defaultdict[tuple[str, str], _Meter] = defaultdict(_Meter)

    def admit(self, app_id: str, fyers_id: str, now: float) -> bool:
        """Count a call at `now` (epoch seconds); return False if a limit refuses it."""
        meter = self._meters[app_id, fyers_id]
        day = day_of(now)
        if meter.day != day:
            meter.day, meter.today, meter.strikes, meter.struck_at = day, 0, 0, float("-inf")
        if meter.blocked_on == day:
            return False
        recent = meter.recent
        while recent and recent[0] <= now - 60:
            recent.popleft()
        if len(recent) >= PER_MINUTE:
            self._strike(meter, now)
            return False
        if meter.today >= PER_DAY or (len(recent) >= PER_SECOND and recent[-PER_SECOND] > now - 1):
            return False
        recent.append(now)
        meter.today += 1
        return True

    @staticmethod
    def _strike(meter: _Meter, now: float) -> None:
        if now - meter.struck_at >= 60:
            meter.strikes += 1
            meter.struck_at = now
            if meter.strikes > STRIKES_FORGIVEN:
                meter.blocked_on = meter.day
