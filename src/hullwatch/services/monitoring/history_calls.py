"""The history calls of one account, which run beside its cycles."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import TypeAlias

from hullwatch.domain.failures import Outcome
from hullwatch.runtime.clock import Clock
from hullwatch.runtime.waiting import wait_for_event
from hullwatch.services.monitoring.feeds import FeedKey

OFF_HOURS_CALL_INTERVAL_S = 0.2
"""Between two history calls of an account outside trading hours: Fyers refuses calls that arrive in bursts."""
WAIT_S = 2.0
"""How long a cycle waits for history before it fetches quotes. A slow answer must not make the quotes late."""
Reading: TypeAlias = Coroutine[object, object, None]
LaterReading: TypeAlias = tuple[datetime, FeedKey, Callable[[], Reading]]
"""When a reading begins, its feed, and what makes it."""


class HistoryCalls:
    """Runs at most one reading of each feed; a reading makes one or more calls.

    All due calls of an account are submitted at once, because the rate limiter orders them and keeps Fyers' limits.
    """

    __slots__ = (
        "_awake",
        "_clock",
        "_error",
        "_failing",
        "_failures",
        "_later",
        "_next_call_s",
        "_no_call",
        "_off_hours",
        "_starts",
        "_tasks",
        "failure",
    )

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failing = asyncio.Lock()
        self._off_hours = asyncio.Lock()
        self._next_call_s = 0.0
        self._tasks: dict[FeedKey, asyncio.Task[None]] = {}
        self._later: set[FeedKey] = set()
        """Feeds whose readings begin later."""
        self._starts: set[asyncio.Task[None]] = set()
        """They begin these readings."""
        self._awake = 0
        """Readings that do not wait for their next moment."""
        self._no_call = asyncio.Event()
        self._failures = 0
        self._error: BaseException | None = None
        self.failure: Outcome | None = None
        """The last failure of the account or of Fyers; `None` once a call was answered."""

    def is_reading(self, key: FeedKey) -> bool:
        """Whether a reading of the feed is under way, or begins later."""
        return key in self._tasks or key in self._later

    def start_later(self, readings: Sequence[LaterReading]) -> None:
        """Begin each reading at its moment, earliest first.

        Until then they share one task: a close of many accounts would otherwise make a task for every line at once.
        """
        if readings:
            self._later.update(key for _, key, _ in readings)
            task = asyncio.create_task(self._start_each(readings), name="later candles")
            self._starts.add(task)
            task.add_done_callback(self._starts.discard)

    async def _start_each(self, readings: Sequence[LaterReading]) -> None:
        for starts_at, key, make_reading in readings:
            # Seconds, not a moment: see `sleep_until`.
            if (wait_s := (starts_at - self._clock.now()).total_seconds()) > 0:
                await self._clock.sleep(wait_s)
            self._later.discard(key)
            self.start(key, make_reading())

    def start(self, key: FeedKey, reading: Reading) -> None:
        """Begin the reading of a feed."""
        task = asyncio.create_task(reading, name=f"candles {key[0]} {key[1]}")
        self._tasks[key] = task
        self._count(1)
        task.add_done_callback(lambda done: self._ended(key, done))

    def cancel(self) -> None:
        """Cancel all readings."""
        for task in (*self._starts, *self._tasks.values()):
            task.cancel()

    async def wait(self, within_s: float | None) -> None:
        """Wait until no call is under way, or for so many seconds; raise the error of a reading."""
        if self._awake:
            await wait_for_event(self._no_call, clock=self._clock.real, within_s=within_s)
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    async def sleep_until(self, moment: datetime) -> None:
        """Let a reading wait for its next call; the cycle does not wait for that."""
        self._count(-1)
        try:
            # Seconds, not a moment: a clock that is set back meanwhile must not hold the reading for hours.
            await self._clock.sleep((moment - self._clock.now()).total_seconds())
        finally:
            self._count(1)

    @asynccontextmanager
    async def slot(self, *, is_failing: bool, is_off_hours: bool) -> AsyncIterator[bool]:
        """Wait until a call may be made; yield `False` if the account or Fyers has failed meanwhile."""
        failures = self._failures
        async with AsyncExitStack() as stack:
            if is_failing:
                # Several hanging calls would use up the account's concurrent calls.
                await stack.enter_async_context(self._failing)
            if is_off_hours:
                await stack.enter_async_context(self._off_hours)
                await self._wait_for_next()
            yield failures == self._failures

    def record(self, failure: Outcome | None) -> None:
        """Record a failure of the account or of Fyers, which drops the waiting calls, or an answered call."""
        self.failure = failure
        self._failures += failure is not None

    async def _wait_for_next(self) -> None:
        if (wait_s := self._next_call_s - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait_s)
        self._next_call_s = self._clock.monotonic() + OFF_HOURS_CALL_INTERVAL_S

    def _count(self, change: int) -> None:
        self._awake += change
        if self._awake:
            self._no_call.clear()
        else:
            self._no_call.set()

    def _ended(self, key: FeedKey, task: asyncio.Task[None]) -> None:
        self._tasks.pop(key, None)
        self._count(-1)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = error
