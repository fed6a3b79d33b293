"""Time as a dependency: the clock port, the machine's clock, and a clock that runs faster than real time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

LONGEST_NAP_S = 5.0
"""How long `SystemClock` sleeps before it reads the time again: the timers of the event loop do not count the time
in which the machine is suspended."""

STEP_FROM_S = 2.0
"""A smaller change of the machine's clock is a correction of time synchronisation, which `now` follows at once."""

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

    @property
    def pending_step_s(self) -> float:
        """By how many seconds the machine's clock was set, while `now` does not follow that; else 0."""

    def accept_step(self) -> None:
        """Let `now` follow the machine's clock again."""

    async def sleep(self, seconds: float) -> None:
        """Wait until so many seconds of this clock have passed; zero or less lets others run once."""

    async def sleep_until(self, moment: datetime) -> None:
        """Wait until `now()` has reached the aware moment; one already past lets others run once."""


def seconds_since_boot() -> float:
    """Return seconds on a scale that never runs backwards and counts the time in which the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SystemClock:
    """The machine's own time.

    When the machine's clock is set, `now` goes on as if it had not been, until `accept_step` is called. So no code
    meets a jump before it is decided which time is right.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = seconds_since_boot,
    ) -> None:
        """`wall` returns the machine's epoch seconds, `monotonic` seconds on a scale that no setting changes."""
        self._wall = wall
        self._monotonic = monotonic
        self._zero_s = 0.0
        """Epoch seconds at the zero of the monotonic scale, by the last reading that `now` followed."""
        self.accept_step()

    @property
    def real(self) -> "SystemClock":
        """This clock."""
        return self

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        wall_s, monotonic_s = self._read()
        if abs(wall_s - monotonic_s - self._zero_s) < STEP_FROM_S:
            self._zero_s = wall_s - monotonic_s
            return datetime.fromtimestamp(wall_s, UTC)
        return datetime.fromtimestamp(self._zero_s + monotonic_s, UTC)

    def monotonic(self) -> float:
        """Return the seconds since the machine started, the suspended ones included."""
        return self._monotonic()

    @property
    def pending_step_s(self) -> float:
        """By how many seconds the machine's clock was set, while `now` does not follow that; else 0."""
        wall_s, monotonic_s = self._read()
        step_s = wall_s - monotonic_s - self._zero_s
        return step_s if abs(step_s) >= STEP_FROM_S else 0.0

    def accept_step(self) -> None:
        """Let `now` follow the machine's clock again."""
        wall_s, monotonic_s = self._read()
        self._zero_s = wall_s - monotonic_s

    def _read(self) -> tuple[float, float]:
        """Return both times, read together: a process that is stopped in between must not see a step."""
        while True:
            before_s, wall_s, monotonic_s = self._monotonic(), self._wall(), self._monotonic()
            if monotonic_s - before_s < STEP_FROM_S / 4:
                return wall_s, monotonic_s

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds, suspended ones included."""
        deadline = self._monotonic() + seconds
        await self._nap_while(lambda: deadline - self._monotonic())

    async def sleep_until(self, moment: datetime) -> None:
        """Wait until `now` has reached the moment, also when the machine's clock is set meanwhile."""

        def left_s() -> float:
            return (moment - self.now()).total_seconds()

        await self._nap_while(left_s)

    @staticmethod
    async def _nap_while(left_s: Callable[[], float]) -> None:
        await asyncio.sleep(0)
        while (seconds := left_s()) > 0:  # noqa: ASYNC110 - time has no event
            await asyncio.sleep(min(seconds, LONGEST_NAP_S))


class ScaledClock:
    """Another party's time, running `speed` times faster than real time; speed 0 is a stopped clock."""

    def __init__(
        self, *, speed: float, starts_at: datetime, real_monotonic: Callable[[], float] = seconds_since_boot
    ) -> None:
        _require_speed(speed)
        self._real = real_monotonic
        self._speed = speed
        self._real_anchor = real_monotonic()
        self._now_anchor = starts_at.astimezone(UTC)
        self._monotonic_anchor = 0.0
        self._owed_s = 0.0  # how far small backward corrections left monotonic ahead of now
        self._re_anchored = asyncio.Event()
        self._machine = SystemClock()

    @property
    def real(self) -> SystemClock:
        """The machine's time."""
        return self._machine

    @property
    def pending_step_s(self) -> float:
        """Always 0: a jump of the other party's time is no step of a clock."""
        return 0.0

    def accept_step(self) -> None:
        """Do nothing: `now` always follows the other party."""

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
