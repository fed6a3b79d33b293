"""Puts up the demo's stage: simulator and server, two strangers that meet by address, and a clock that follows the simulator's."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import aiohttp

from hullwatch.app import Application, open_application
from hullwatch.cli.demo.options import DemoOptions
from hullwatch.cli.demo.users import DemoTrouble, Simulator
from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.sessions.tokens import IST
from hullwatch.runtime.clock import ScaledClock
from hullwatch.settings import Settings, read_settings
from hullwatch.simulator.config import SimulatorConfig, UnusableConfig
from hullwatch.simulator.server import SimulatorServer

SIMULATOR_PORT = 8765
BEFORE_THE_BELL = timedelta(minutes=51)
"""How long before the market opens the demo begins: time for a warning, three checks of readiness and a login by link."""
SYNCHRONISE_EVERY_S = 0.5
"""Real seconds; in between both clocks run at the same speed."""


@dataclass(frozen=True, slots=True)
class DemoEnvironment:
    """What stands when the play begins."""

    simulator: Simulator
    house: Application
    clock: ScaledClock

    @property
    def base_url(self) -> str:
        """The server's address."""
        return self.house.settings.public_url

    async def set_speed(self, speed: float) -> None:
        """Let the simulator's time, and with it the server's, run at another speed."""
        await self.simulator.call("POST", "/clock", {"speed": speed})
        await synchronise(self.simulator, self.clock)

    async def advance_to(self, moment: datetime) -> None:
        """Skip time that is not worth watching."""
        seconds = (moment - self.clock.now()).total_seconds()
        if seconds > 0:
            await self.simulator.call("POST", "/clock", {"advanceSeconds": seconds})
            await synchronise(self.simulator, self.clock)


@asynccontextmanager
async def open_stage(options: DemoOptions, data_dir: Path) -> AsyncIterator[DemoEnvironment]:
    """Start the simulator, standing still, and build the house against its address.

    Raises:
        UnusableConfig: The candles cannot be used.
        SettingsRefused, DatabaseUnusable, KeysUnusable: The data folder cannot be used.
    """
    async with _simulator(options) as base_url:
        simulator = Simulator(base_url)
        try:
            now, _ = await _simulated_now(simulator)
            clock = ScaledClock(speed=0.0, starts_at=now)
            keeping_time = asyncio.create_task(_keep_time(simulator, clock), name="keep the simulator's time")
            try:
                async with open_application(_settings(options, data_dir, base_url), clock=clock) as house:
                    yield DemoEnvironment(simulator, house, clock)
            finally:
                keeping_time.cancel()
                with suppress(asyncio.CancelledError):
                    await keeping_time
        finally:
            await simulator.close()


@asynccontextmanager
async def _simulator(options: DemoOptions) -> AsyncIterator[str]:
    starts_at = None if options.candles else _last_full_days() - BEFORE_THE_BELL
    port = SIMULATOR_PORT if _is_free(SIMULATOR_PORT) else 0
    config = SimulatorConfig(
        port=port,
        speed=0.0,
        candles=options.candles,
        starts_at=starts_at,
        lead_s=BEFORE_THE_BELL.total_seconds(),
    )
    async with SimulatorServer(config) as server:
        yield server.base_url


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _last_full_days() -> datetime:
    """Return the opening of the third trading day before today: the synthetic market then has days to go on."""
    calendar = nse_calendar()
    session = calendar.previous_session(datetime.combine(datetime.now(IST).date(), time(), IST))
    for _ in range(2):
        session = calendar.previous_session(session.opens_at)
    return session.opens_at


def _settings(options: DemoOptions, data_dir: Path, simulator_url: str) -> Settings:
    """Return settings that reach the simulator only; whatever the environment says of a real install does not count here."""
    return read_settings(
        data_dir=data_dir,
        database_url="",
        redis_url="",
        encryption_keys="",
        host="127.0.0.1",
        port=options.port,
        public_url=f"http://127.0.0.1:{options.port}",
        registration="open",
        notify_private_addresses=True,  # the players' phones are on this machine
        fyers_base_url=f"{simulator_url}/api/v3",
        fyers_data_url=f"{simulator_url}/data",
        fyers_public_url=simulator_url,
    )


async def _keep_time(simulator: Simulator, clock: ScaledClock) -> None:
    while True:
        with suppress(
            aiohttp.ClientError, TimeoutError, DemoTrouble
        ):  # the clock runs on by itself meanwhile
            await synchronise(simulator, clock)
        await asyncio.sleep(SYNCHRONISE_EVERY_S)


async def synchronise(simulator: Simulator, clock: ScaledClock) -> None:
    """Set a clock by the simulator's."""
    clock.synchronise(*await _simulated_now(simulator))


async def _simulated_now(simulator: Simulator) -> tuple[datetime, float]:
    answer = await simulator.call("GET", "/clock")
    return datetime.fromisoformat(answer["now"]).astimezone(UTC), float(answer["speed"])


__all__ = ["DemoEnvironment", "UnusableConfig", "open_stage", "synchronise"]
