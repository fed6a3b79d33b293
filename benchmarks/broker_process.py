"""Runs the Fyers simulator in its own process and makes control calls."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

import aiohttp

from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.secrets import AccessToken
from hullwatch.runtime.clock import SystemClock

READY_WITHIN_S = 60.0
AT_ONCE = 32
"""Concurrent control calls."""
SESSION_S = 12 * 3600
"""Lifetime of the sessions."""

T = TypeVar("T")


class BrokerAddress(Protocol):
    """Where a broker is reached."""

    @property
    def base_url(self) -> str:
        """The address without a path."""
        ...


class SessionSource(Protocol):
    """What gives sessions for a broker."""

    async def new_session(self, fyers_id: str) -> tuple[AccessToken, datetime]:
        """Return an access token and its expiry."""
        ...


class BrokerProcess:
    """A running simulator."""

    def __init__(self, base_url: str, process_id: int, http: aiohttp.ClientSession) -> None:
        self.base_url = base_url
        self.process_id = process_id
        self._http = http

    async def control(self, method: str, path: str, order: dict[str, Any] | None = None) -> Any:
        """Make one control call."""
        async with self._http.request(method, f"{self.base_url}/simulator{path}", json=order) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def new_session(self, fyers_id: str) -> tuple[AccessToken, datetime]:
        """Log a Fyers account in, creating it if it is new; return the access token and its expiry."""
        await self.control("POST", "/accounts", {"fyersId": fyers_id})
        answer = await self.control("POST", f"/accounts/{fyers_id}/token", {"lifetimeSeconds": SESSION_S})
        return AccessToken(answer["accessToken"]), datetime.fromisoformat(answer["expiresAt"]).astimezone(UTC)

    async def fault(self, order: dict[str, Any]) -> str:
        """Add a fault and return its id."""
        return str((await self.control("POST", "/faults", order))["id"])

    async def clear_faults(self) -> None:
        """Remove all faults."""
        await self.control("DELETE", "/faults")


@asynccontextmanager
async def broker_process(
    *, starts_at: datetime | None = None, speed: float = 1.0
) -> AsyncIterator[BrokerProcess]:
    """Run the simulator until the block ends."""
    command = [sys.executable, "-m", "hullwatch.simulator", "--port", "0", "--speed", str(speed)]
    if starts_at is not None:
        command += ["--start", starts_at.isoformat()]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the simulator has no output")
        line = (await asyncio.wait_for(process.stdout.readline(), READY_WITHIN_S)).decode()
        if "http://" not in line:
            raise RuntimeError(f"the simulator did not start: {line!r}")
        base_url = line[line.index("http://") :].strip()
        async with aiohttp.ClientSession() as http:
            yield BrokerProcess(base_url, process.pid, http)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def for_each(items: Sequence[T], work: Callable[[T], Awaitable[Any]]) -> list[Any]:
    """Call a function for all items, some concurrently; return the results in order."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(item: T) -> Any:
        async with slots:
            return await work(item)

    return await asyncio.gather(*(one(item) for item in items))


def trading_moment(after_open: timedelta) -> datetime:
    """Return a moment this long after the market open of the last full session, so that the market is always open."""
    return nse_calendar().previous_session(datetime.now(UTC)).opens_at + after_open


class ShiftedClock(SystemClock):
    """The system clock shifted into trading hours; as fast as the one in production."""

    def __init__(self, shows: datetime) -> None:
        self._shift = shows - datetime.now(UTC)

    def now(self) -> datetime:
        """Return the shifted time."""
        return super().now() + self._shift
