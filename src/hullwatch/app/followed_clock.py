"""Keeps the time of a simulator, so that the server can be tried at any hour and speed.

The address is `HULLWATCH_CLOCK_URL`. A jump of its time is not a step of this machine's clock: it moves `now` and
`monotonic` together, and `real` is not affected. Steps of the machine's clock show in `real` alone.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import structlog

from hullwatch.runtime.clock import ScaledClock, seconds_since_boot
from hullwatch.settings import SettingsRefused

READ_EVERY_S: Final = 0.05
"""Real seconds; a jump of the simulator's time is noticed within them."""
ANSWER_WITHIN_S: Final = 10.0
MAX_SPEED: Final = 100_000.0
_NOISE: Final = timedelta(milliseconds=1)
"""Times are written in microseconds and added as floats."""


class UnreadableTime(Exception):  # noqa: N818 - failures are named as facts
    """The answer has no time that can be used."""


class FollowedClock(ScaledClock):
    """A clock that is read from an address; between two readings it runs on at the last speed."""

    def __init__(
        self,
        url: str,
        http: aiohttp.ClientSession,
        real_monotonic: Callable[[], float] = seconds_since_boot,
    ) -> None:
        super().__init__(speed=0.0, starts_at=datetime.fromtimestamp(0, UTC), real_monotonic=real_monotonic)
        self._url = url
        self._http = http
        self._log = structlog.get_logger(component="Supervisor")
        self.is_responding = True

    async def read(self) -> None:
        """Read the time and its speed, and take them over unless this clock agrees.

        A reading belongs to a moment between the request and its answer. If this clock showed that time in
        between, it is as right as the reading; taking over every reading would add the delay of the network.

        Raises:
            aiohttp.ClientError, TimeoutError, UnreadableTime: There is no usable answer.
        """
        before, sent_s = self.now(), self._real()
        async with self._http.get(self._url, allow_redirects=False) as response:
            if response.status != 200:
                raise UnreadableTime(f"it answered with {response.status}")
            now, speed = _time_in(await response.read())
        agrees = speed == self.speed and before - _NOISE <= now <= self.now() + _NOISE
        if not agrees:
            since_middle = timedelta(seconds=(self._real() - sent_s) / 2 * speed)
            self.synchronise(now + since_middle, speed)

    async def follow(self) -> None:
        """Read the time again and again until cancelled; log when the address stops and starts to respond."""
        while True:
            await asyncio.sleep(READ_EVERY_S)
            try:
                await self.read()
            except (aiohttp.ClientError, TimeoutError, UnreadableTime) as failure:
                if self.is_responding:
                    self._log.warning(
                        "clock.failed", url=self._url, error=str(failure) or type(failure).__name__
                    )
                self.is_responding = False
            else:
                if not self.is_responding:
                    self._log.info("clock.recovered", url=self._url)
                self.is_responding = True


@asynccontextmanager
async def following_clock(url: str) -> AsyncIterator[FollowedClock]:
    """Return a clock that follows an address until the block ends.

    Raises:
        SettingsRefused: The address gives no time.
    """
    limit = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
    async with aiohttp.ClientSession(timeout=limit) as http:
        clock = FollowedClock(url, http)
        try:
            await clock.read()
        except (aiohttp.ClientError, TimeoutError, UnreadableTime) as failure:
            why = str(failure) if isinstance(failure, UnreadableTime) else "nothing answers there"
            raise SettingsRefused(
                f"HULLWATCH_CLOCK_URL cannot be used: {why} ({url}). Start the simulator first."
            ) from None
        following = asyncio.create_task(clock.follow(), name="follow the clock")
        try:
            yield clock
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


def _time_in(body: bytes) -> tuple[datetime, float]:
    try:
        answer: Any = json.loads(body)
        now, speed = datetime.fromisoformat(answer["now"]), float(answer["speed"])
    except (KeyError, TypeError, ValueError):
        raise UnreadableTime("it gives no time and speed") from None
    if now.tzinfo is None or not 0 <= speed <= MAX_SPEED:
        raise UnreadableTime("it gives no usable time and speed")
    return now, speed
