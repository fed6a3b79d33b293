"""Runs `hullwatch serve` with the clock of a simulator, so that it can be killed in trading hours."""

import asyncio
from contextlib import suppress
from datetime import datetime

import aiohttp

from hullwatch.app import open_application
from hullwatch.cli.server import listen_on, serve_application
from hullwatch.runtime.clock import ScaledClock
from hullwatch.runtime.logs import configure_logging
from hullwatch.settings import read_settings


async def main() -> None:
    """Serve until killed."""
    settings = read_settings()
    async with aiohttp.ClientSession(settings.fyers_public_url) as simulator:
        clock = ScaledClock(speed=0.0, starts_at=(await read_clock(simulator))[0])
        following = asyncio.create_task(follow(simulator, clock), name="follow the simulator's clock")
        with listen_on(settings.host, settings.port) as sock:
            async with open_application(settings, clock=clock) as application:
                await application.start()
                await serve_application(application, application.web(application.web_config()), sock)
        following.cancel()


async def follow(simulator: aiohttp.ClientSession, clock: ScaledClock) -> None:
    """Synchronise the clock with the simulator's until cancelled."""
    while True:
        with suppress(aiohttp.ClientError):
            clock.synchronise(*await read_clock(simulator))
        await asyncio.sleep(0.01)


async def read_clock(simulator: aiohttp.ClientSession) -> tuple[datetime, float]:
    """Return the simulated time and its speed."""
    async with simulator.get("/simulator/clock") as response:
        answer = await response.json()
    return datetime.fromisoformat(answer["now"]), float(answer["speed"])


if __name__ == "__main__":
    configure_logging(level="ERROR")
    asyncio.run(main())
