"""The simulator's own time: it can run fast, stand still or be advanced. It goes back only by a restart.

Everything that depends on the hour (tokens, limits, faults, the market) asks this clock. The wire itself
does not: latency and hanging connections last real time.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime

LATEST = 7_258_118_400.0
"""2200-01-01 UTC: no simulated moment lies beyond it."""
MAX_SPEED = 100_000.0
"""Fastest speed accepted: a simulated day in under a second."""


class SimulatedClock:
    """A clock that runs `speed` simulated seconds per second of `monotonic`.

    Raises:
        ValueError: The start or the speed cannot be used.
    """

    def __init__(self, now: datetime, speed: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._epoch = now.timestamp()
        if not 0 <= self._epoch < LATEST:
            raise ValueError("the start must lie between 1970 and 2200")
        self._anchor = monotonic()
        self._speed = self._checked(speed)

    @property
    def speed(self) -> float:
        """Simulated seconds per real second."""
        return self._speed

    def epoch(self) -> float:
        """Return the simulated moment in seconds since 1970 UTC."""
        return self._epoch + (self._monotonic() - self._anchor) * self._speed

    def now(self) -> datetime:
        """Return the simulated moment, aware, in UTC."""
        return datetime.fromtimestamp(self.epoch(), UTC)

    def set_speed(self, speed: float) -> None:
        """Go on from the present simulated moment at another speed.

        Raises:
            ValueError: The speed is negative, not finite or above `MAX_SPEED`.
        """
        checked = self._checked(speed)
        self._epoch, self._anchor = self.epoch(), self._monotonic()
        self._speed = checked

    def advance(self, seconds: float) -> None:
        """Jump forward by so many simulated seconds.

        Raises:
            ValueError: The jump is negative, not finite, above ten years or past `LATEST`.
        """
        if not (math.isfinite(seconds) and 0 <= seconds <= 10 * 366 * 86_400):
            raise ValueError("advanceSeconds must be a number from 0 to ten years: time never goes back")
        if self.epoch() + seconds > LATEST:
            raise ValueError("advanceSeconds must not lead past the year 2200")
        self._epoch += seconds

    def set_now(self, now: datetime) -> None:
        """Jump forward to a moment.

        Limits, tokens and counts are in order of time, so only `restart` goes back.

        Raises:
            ValueError: The moment is past, or beyond `LATEST`.
        """
        left = now.timestamp() - self.epoch()
        if left < 0:
            raise ValueError(
                "now must not be before the present simulated time: POST /simulator/reset can go back"
            )
        self.advance(left)

    def restart(self, now: datetime, speed: float) -> None:
        """Begin again at a moment, which may be earlier.

        Raises:
            ValueError: The speed cannot be used.
        """
        checked = self._checked(speed)
        self._epoch, self._anchor, self._speed = now.timestamp(), self._monotonic(), checked

    @staticmethod
    def _checked(speed: float) -> float:
        if not (math.isfinite(speed) and 0 <= speed <= MAX_SPEED):
            raise ValueError(f"speed must be a number from 0 to {MAX_SPEED:.0f}")
        return float(speed)
