"""Limits the history calls that one account makes at once."""

import asyncio
from collections.abc import Awaitable, Callable

from hullwatch.domain.failures import Outcome
from hullwatch.runtime.clock import Clock

CONCURRENT_CALLS = 4
"""Of one account in trading hours."""
OFF_HOURS_CALL_INTERVAL_S = 0.2
"""Between two history calls of an account outside trading hours: Fyers refuses calls that arrive in bursts."""


class HistoryRound:
    """The history calls of one cycle; the first failure of the account or of Fyers ends them."""

    def __init__(self, clock: Clock, *, is_off_hours: bool) -> None:
        self._clock = clock
        self._limit = asyncio.Semaphore(1 if is_off_hours else CONCURRENT_CALLS)
        self._interval_s = OFF_HOURS_CALL_INTERVAL_S if is_off_hours else 0.0
        self._next_call_s = 0.0
        self.failure: Outcome | None = None
        """The failure that ended the round."""

    async def run(self, call: Callable[[], Awaitable[Outcome | None]]) -> None:
        """Make a call when its turn comes, unless the round has ended; it returns a failure that ends the round."""
        async with self._limit:
            if self.failure is None:
                await self._wait_for_next()
            # Another call may have failed meanwhile.
            if self.failure is None:
                self.failure = await call()

    async def _wait_for_next(self) -> None:
        if (wait_s := self._next_call_s - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait_s)
        self._next_call_s = self._clock.monotonic() + self._interval_s
