"""Starts the simulator and opens the application against it, on a clock that follows the simulator's."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final

import aiohttp

from hullwatch.app import Application, open_application
from hullwatch.app.followed_clock import FollowedClock, following_clock
from hullwatch.cli.demo.users import DemoFailed, DemoUser, request
from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.sessions.tokens import IST
from hullwatch.settings import Settings, read_settings
from hullwatch.simulator.config import SimulatorConfig
from hullwatch.simulator.server import SimulatorServer

SIMULATOR_PORT = 8765
STARTS_BEFORE_OPEN = timedelta(minutes=51)
"""Time for an expiry warning, three readiness checks and a login by link before the market opens."""
_SYMBOL_COLUMN = 9
"""Of Fyers' symbol master, which has no header (Fyers API v3 docs, symbol master)."""


LOGIN_SPEED: Final = 60.0
"""Simulated seconds per second during logins: a login at Fyers has to be complete within ten minutes."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How to run the demo.

    Args:
        port: The server's port on 127.0.0.1.
        speed: Simulated seconds per second.
        users: Number of users. The session of the second one expires, that of the third one is revoked.
        candles: Folder of candle files to replay; `None` for the synthetic market.
        data_dir: Where to keep the database; `None` for a folder that is removed afterwards.
        days: Trading days to run; `None` to run until Ctrl-C.
        timezone: The zone of times in candle files that have none.
        allow_gaps: Whether candle files may lack sessions, or have rows of another resolution.
    """

    port: int = 8000
    speed: float = 60.0
    users: int = 3
    candles: Path | None = None
    data_dir: Path | None = None
    days: int | None = None
    timezone: tzinfo = IST
    allow_gaps: bool = False


class Simulator:
    """A client of the simulator's control calls."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Make a control call and return its answer."""
        return await request(self._http, method, f"{self.base_url}/simulator{path}", body)

    async def add_account(self, user: DemoUser, lifetime: timedelta | None = None) -> None:
        """Add a user's Fyers account, or change how long its next sessions last; `None`: until 06:00 IST."""
        body: dict[str, Any] = {"fyersId": user.fyers_id, "name": user.full_name}
        if lifetime is not None:
            body["lifetimeSeconds"] = lifetime.total_seconds()
        await self.call("POST", "/accounts", body)

    async def count_calls(self, user: DemoUser) -> int:
        """Return how many calls the simulator has received for a user's account."""
        return int((await self.call("GET", f"/calls?fyersId={user.fyers_id}"))["total"])

    async def symbols(self) -> list[str]:
        """Return the symbols of the market, indices last.

        Raises:
            DemoFailed: The market has no symbol.
        """
        async with self._http.get(f"{self.base_url}/sym_details/NSE_CM.csv") as response:
            rows = [line.split(",") for line in (await response.text()).splitlines()]
        symbols = [row[_SYMBOL_COLUMN] for row in rows if len(row) > _SYMBOL_COLUMN]
        if not symbols:
            raise DemoFailed("The simulator's market has no symbol to watch.")
        return sorted(symbols, key=lambda symbol: symbol.endswith("-INDEX"))


@dataclass(frozen=True, slots=True)
class DemoEnvironment:
    """The running simulator, the open application, and their common clock."""

    simulator: Simulator
    application: Application
    clock: FollowedClock
    notes: tuple[str, ...] = ()
    """What a user may want to know about the candle files."""

    async def set_speed(self, speed: float) -> None:
        """Let the simulator's time and the application's run at another speed."""
        await self.simulator.call("POST", "/clock", {"speed": speed})
        await self.clock.read()

    @asynccontextmanager
    async def at_login_speed(self, speed: float) -> AsyncIterator[None]:
        """Let logins take place at no more than `LOGIN_SPEED`, and go on at `speed`: they expire after ten minutes."""
        if speed > LOGIN_SPEED:
            await self.set_speed(LOGIN_SPEED)
        try:
            yield
        finally:
            if speed > LOGIN_SPEED:
                await self.set_speed(speed)

    async def skip_to(self, moment: datetime) -> None:
        """Move both clocks forward to a time."""
        seconds = (moment - self.clock.now()).total_seconds()
        if seconds > 0:
            await self.simulator.call("POST", "/clock", {"advanceSeconds": seconds})
            await self.clock.read()


@asynccontextmanager
async def open_environment(options: DemoOptions, data_dir: Path) -> AsyncIterator[DemoEnvironment]:
    """Start the simulator with a stopped clock, and open the application against its address.

    Raises:
        UnusableConfig: The candles cannot be used.
        SettingsRefused, DatabaseUnusable, KeysUnusable: The data folder cannot be used.
    """
    config = SimulatorConfig(
        port=SIMULATOR_PORT if _is_free(SIMULATOR_PORT) else 0,
        speed=0.0,
        candles=options.candles,
        starts_at=None if options.candles else _market_open() - STARTS_BEFORE_OPEN,
        lead_s=STARTS_BEFORE_OPEN.total_seconds(),
        timezone=options.timezone,
        allow_gaps=options.allow_gaps,
    )
    async with SimulatorServer(config) as server:
        simulator = Simulator(server.base_url)
        try:
            async with following_clock(f"{server.base_url}/simulator/clock") as clock:
                settings = _settings(options, data_dir, server.base_url)
                async with open_application(settings, clock=clock) as application:
                    yield DemoEnvironment(simulator, application, clock, server.broker.notes)
        finally:
            await simulator.close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _market_open() -> datetime:
    """Return the market open three trading days ago, so that the demo has days to continue with."""
    calendar = nse_calendar()
    opens_at = datetime.combine(datetime.now(IST).date(), time(), IST)
    for _ in range(3):
        opens_at = calendar.previous_session(opens_at).opens_at
    return opens_at


def _settings(options: DemoOptions, data_dir: Path, simulator_url: str) -> Settings:
    """Return settings that reach the simulator only, whatever a real install has in its environment."""
    return read_settings(
        data_dir=data_dir,
        database_url="",
        redis_url="",
        encryption_keys="",
        host="127.0.0.1",
        port=options.port,
        public_url=f"http://127.0.0.1:{options.port}",
        registration="open",
        notify_private_addresses=True,  # the webhook receiver is on this machine
        fyers_base_url=f"{simulator_url}/api/v3",
        fyers_data_url=f"{simulator_url}/data",
        fyers_public_url=simulator_url,
    )
