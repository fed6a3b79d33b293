"""Time as a dependency: the clock port, the machine's clock, and a clock that runs faster than real time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

LONGEST_WALL_NAP_S = 30.0
"""How long `SystemClock.sleep_until` trusts the wall clock before it looks again."""

SYNC_NOISE_REAL_S = 2.0
"""Real seconds within which two readings of another party's clock may disagree by the line's delay alone."""


class Clock(Protocol):
    """The present, a scale that never runs backwards, and waiting by it."""

    @property
    def real(self) -> "Clock":
        """The machine's time, for the network; this clock unless it runs faster than real time."""

    def now(self) -> datetime:
        """Return the present moment, aware and in UTC. May be corrected backwards."""

    def monotonic(self) -> float:
        """Return seconds on this clock's own scale: only differences mean anything; never runs backwards."""

    async def sleep(self, seconds: float) -> None:
        """Wait until so many seconds of this clock have passed; zero or less lets others run once."""

    async def sleep_until(self, moment: datetime) -> None:
        """Wait until `now()` has reached the aware moment; one already past lets others run once."""


class SystemClock:
    """The machine's own time."""

    @property
    def real(self) -> "SystemClock":
        """This clock."""
        return self

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        await asyncio.sleep(max(0.0, seconds))

    async def sleep_until(self, moment: datetime) -> None:
        """Wait until the wall clock has reached the moment."""
        await asyncio.sleep(0)
        # A machine that was suspended or whose clock was stepped would oversleep one long nap.
        while (left := (moment - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - time has no event
            await asyncio.sleep(min(left, LONGEST_WALL_NAP_S))


class ScaledClock:
    """Another party's time, running `speed` times faster than real time; speed 0 is a stopped clock."""

    def __init__(
        self, *, speed: float, starts_at: datetime, real_monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        _require_speed(speed)
        self._real = real_monotonic
        self._speed = speed
        self._real_anchor = real_monotonic()
        self._now_anchor = starts_at.astimezone(UTC)
        self._monotonic_anchor = 0.0
        self._owed_s = 0.0  # how far small backward corrections left monotonic ahead of now
        self._re_anchored = asyncio.Event()

    @property
    def real(self) -> SystemClock:
        """The machine's time."""
        return SystemClock()

    @property
    def speed(self) -> float:
        """Seconds of this clock in one real second."""
        return self._speed

    def now(self) -> datetime:
        """Return the other party's present moment in UTC."""
        return self._now_anchor + timedelta(seconds=self._since_anchor())

    def monotonic(self) -> float:
        """Return seconds on the scaled axis."""
        return self._monotonic_anchor + self._since_anchor()

    def synchronise(self, now: datetime, speed: float) -> None:
        """Take over the other party's present moment and speed, and let every sleeper look again.

        A jump forward moves the monotonic scale too, so sleepers whose time has come wake. A jump backward
        leaves that scale where it is. Corrections no larger than the line's delay even out, so that
        synchronising often does not make the monotonic scale run ahead.
        """
        _require_speed(speed)
        real, monotonic, jump = self._real(), self.monotonic(), (now - self.now()).total_seconds()
        if jump >= 0:
            repaid = min(jump, self._owed_s)
            self._owed_s -= repaid
            monotonic += jump - repaid
        else:
            self._owed_s = min(self._owed_s - jump, SYNC_NOISE_REAL_S * speed)
        self._real_anchor, self._now_anchor, self._monotonic_anchor = real, now.astimezone(UTC), monotonic
        self._speed = speed
        self._re_anchored.set()
        self._re_anchored = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Wait until so many scaled seconds have passed, whatever happens to the speed meanwhile."""
        deadline = self.monotonic() + seconds
        await self._wait(lambda: deadline - self.monotonic())

    async def sleep_until(self, moment: datetime) -> None:
        """Wait until the other party's time has reached the moment."""

        def left() -> float:
            return (moment - self.now()).total_seconds()

        await self._wait(left)

    async def _wait(self, left: Callable[[], float]) -> None:
        await asyncio.sleep(0)
        while (seconds := left()) > 0:
            re_anchored = self._re_anchored
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds / self._speed if self._speed else None):
                    await re_anchored.wait()

    def _since_anchor(self) -> float:
        return (self._real() - self._real_anchor) * self._speed


def _require_speed(speed: float) -> None:
    if not 0 <= speed < float("inf"):
        raise ValueError(f"a clock cannot run {speed} times as fast as real time")


@asynccontextmanager
async def clock_timeout(clock: Clock, seconds: float) -> AsyncIterator[None]:
    """Limit a block to so many seconds of the clock.

    Raises:
        TimeoutError: the time ran out; the block was cancelled. A cancellation from outside stays one.
    """
    async with asyncio.timeout(None) as scope:

        async def expire() -> None:
            await clock.sleep(seconds)
            scope.reschedule(asyncio.get_running_loop().time())

        watchdog = asyncio.create_task(expire(), name="clock_timeout")
        try:
            yield
        finally:
            watchdog.cancel()
