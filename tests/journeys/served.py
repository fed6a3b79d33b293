"""`hullwatch serve` in its own process against a simulator in this one, both at the simulator's time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from hullwatch.simulator.server import SimulatorConfig, SimulatorServer
from journeys.broker import SimulatedBroker
from journeys.browser import Browser
from journeys.environment import ORDINARY_MONDAY, until
from journeys.process import ServerProcess


@dataclass
class Served:
    """A simulator, its control calls, and a server process that keeps its time."""

    simulator: SimulatorServer
    broker: SimulatedBroker
    server: ServerProcess
    _browsers: list[Browser] = field(default_factory=list)

    async def user(self, name: str, fyers_id: str, *symbols: str) -> Browser:
        """Register a user, log in at Fyers and return the browser; nothing is watched yet."""
        browser = Browser(self.server.url, name, fyers_id, symbols)
        self._browsers.append(browser)
        await browser.register()
        await self.broker.add_account(fyers_id)
        await browser.connect()
        return browser

    async def advance(self, seconds: float) -> None:
        """Move the simulator's clock forward and wait until the server has its time."""
        now, _ = await self.broker.advance(seconds)

        async def has_followed() -> bool:
            return await self.server.time() >= now - timedelta(milliseconds=1)

        await until(has_followed, f"the server's time is {now}")

    async def advance_to(self, moment: datetime) -> None:
        """Move both clocks to a time."""
        now, _ = await self.broker.now()
        await self.advance((moment - now).total_seconds())

    async def close(self) -> None:
        """Close the browsers and kill the server, if it still runs."""
        self.server.kill()
        for browser in self._browsers:
            await browser.close()
        await self.broker.close()


@asynccontextmanager
async def open_served(
    folder: Path,
    *,
    starts_at: datetime | None = ORDINARY_MONDAY,
    candles: Path | None = None,
    speed: float = 0.0,
    launcher: tuple[str, ...] = (),
    **settings: str,
) -> AsyncIterator[Served]:
    """Start a simulator and `hullwatch serve`.

    Args:
        folder: Existing folder for the server's data and its output.
        starts_at: Simulated time of the start; `None` for the simulator's default, as with candle files.
        candles: Folder of candle files, as with `hullwatch simulator --candles`.
        speed: Simulated seconds per second; 0 stops the time until `advance`.
        launcher: The beginning of the command that runs the server.
        settings: More environment variables of the server.
    """
    config = SimulatorConfig(port=0, speed=speed, candles=candles, starts_at=starts_at)
    async with SimulatorServer(config) as simulator:
        clock_url = f"{simulator.base_url}/simulator/clock"
        server = ServerProcess(
            folder, simulator.base_url, launcher=launcher, HULLWATCH_CLOCK_URL=clock_url, **settings
        )
        served = Served(simulator, SimulatedBroker(simulator.base_url), server)
        try:
            await server.start()
            yield served
        finally:
            await served.close()
