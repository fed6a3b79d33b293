"""A clock that stands still until a test advances it. Satisfies `hullwatch.runtime.clock.Clock`."""

import asyncio
import heapq
import itertools
import math
from datetime import UTC, datetime, timedelta

SETTLE_ROUNDS = 25


class FakeClock:
    """Time by hand: `await clock.advance(60)` wakes sleepers in the order of their deadlines.

    Counts whole microseconds, so a sleeper never wakes a rounding error before its moment.
    """

    def __init__(self, now: datetime = datetime(2026, 11, 23, 4, 0, tzinfo=UTC), *, real=None) -> None:
        self._real = real
        self._start = now.astimezone(UTC)
        self._elapsed_us = 0
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._awaited_moments: set[asyncio.Future[None]] = set()
        self.pending_step_s = 0.0

    @property
    def real(self):
        """The clock of the network: this one, unless a test gave another."""
        return self._real or self

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return self._start + timedelta(microseconds=self._elapsed_us)

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self._elapsed_us / 1e6

    def step(self, seconds: float) -> None:
        """Set the machine's clock; `now` follows when the step is accepted."""
        self.pending_step_s += seconds

    def accept_step(self) -> None:
        """Let `now` follow the machine's clock again, and let those who wait for a moment look again."""
        self._start += timedelta(seconds=self.pending_step_s)
        self.pending_step_s = 0.0
        for woken in self._awaited_moments:
            if not woken.done():
                woken.set_result(None)

    @property
    def sleepers(self) -> int:
        """How many sleeps are under way."""
        return sum(not woken.done() for _, _, woken in self._waiting)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced by so many seconds."""
        await self._sleep_us(math.ceil(round(seconds * 1e6, 3)))

    async def sleep_until(self, moment: datetime) -> None:
        """Wait until the clock was advanced to the moment."""
        while True:
            await self._sleep_us((moment - self.now()) // timedelta(microseconds=1), until=True)
            if moment <= self.now():
                return

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking each sleeper at its own moment and letting it act before the next."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        await self.settle()
        target = self._elapsed_us + round(seconds * 1e6)
        while self._waiting and self._waiting[0][0] <= target:
            deadline, _, woken = heapq.heappop(self._waiting)
            if woken.done():
                continue
            self._elapsed_us = max(self._elapsed_us, deadline)
            woken.set_result(None)
            await self.settle()
        self._elapsed_us = target
        await self.settle()

    async def stall(self, seconds: float) -> None:
        """Let time pass while nothing runs, as in a stalled process. All that is due runs at the end."""
        await self.settle()
        self._elapsed_us += round(seconds * 1e6)
        await self.advance(0)

    async def advance_to(self, moment: datetime) -> None:
        """Move time forward to an aware moment."""
        await self.advance((moment - self.now()).total_seconds())

    async def settle(self) -> None:
        """Let everything that can run without time passing do so."""
        loop = asyncio.get_running_loop()
        for _ in range(SETTLE_ROUNDS):
            await asyncio.sleep(0)
            if _is_idle(loop):  # the other rounds would change nothing
                return

    async def _sleep_us(self, microseconds: int, *, until: bool = False) -> None:
        if microseconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self._elapsed_us + microseconds, next(self._order), woken))
        if until:
            self._awaited_moments.add(woken)
        try:
            await woken
        finally:
            self._awaited_moments.discard(woken)


def _is_idle(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether no task is ready and none waits for the network, for a thread or for a short real time."""
    only_wakes_itself = len(loop._selector.get_map()) == 1
    has_timer = bool(loop._scheduled) and loop._scheduled[0].when() - loop.time() < 1
    return not loop._ready and only_wakes_itself and loop._default_executor is None and not has_timer
