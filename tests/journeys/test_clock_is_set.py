"""`hullwatch serve` while the clock of its machine is set by hours and years; Fyers keeps the right time."""

import shutil
import struct
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from limits import PROCESS_LIMIT_S

from hullwatch.simulator.server import SimulatorConfig, SimulatorServer
from journeys.broker import SimulatedBroker
from journeys.browser import Browser
from journeys.environment import ORDINARY_MONDAY, until
from journeys.process import ServerProcess

SOURCE = Path(__file__).with_name("clock_offset.c")
PAST_EXPIRY_S = 20 * 3600
"""Beyond the next 06:00 IST."""

STEPS = {
    -300: "back by 5 minutes",
    3600: "forward by 60 minutes",
    PAST_EXPIRY_S: "forward by 20 hours",
    -30 * 365 * 86_400: "back by 10950 days",
}


class WallClock:
    """The wall clock of the server's process."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._file = folder / "clock_offset"
        self._right_s = (ORDINARY_MONDAY - datetime.now(UTC)).total_seconds()
        self._file.write_bytes(struct.pack("d", self._right_s))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(self._file)}

    def set_wrong(self, seconds: float) -> None:
        """Set the clock so many seconds ahead of the right time."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("d", self._right_s + seconds))


class Server:
    """A server whose wall clock the test sets, and one user who is watched."""

    def __init__(self, broker: SimulatedBroker, process: ServerProcess, clock: WallClock) -> None:
        self.broker, self.process, self.clock = broker, process, clock
        self.asha = Browser(process.url, "Asha", "FY00001", ("NSE:SBIN-EQ",))

    async def readiness(self) -> tuple[int, str]:
        """Return the status of `/readyz`, and what it shows about the clock."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.process.url}/readyz") as response:
            dependencies = (await response.json())["dependencies"]
            return response.status, "".join(one["detail"] for one in dependencies if one["name"] == "clock")

    async def shows(self, text: str) -> None:
        """Wait until `/readyz` is ready and shows this text about the clock, or nothing for an empty text."""

        async def is_shown() -> bool:
            status, shown = await self.readiness()
            return status == 200 and (text in shown if text else not shown)

        await until(is_shown, f"/readyz shows {text!r}")

    async def has_cycles(self) -> None:
        """Wait for two further calls and a cycle after them."""
        cycles = (await self.asha.state())["cycles"]
        await self.broker.reset_calls()

        async def have_gone_on() -> bool:
            state = await self.asha.state()
            return await self.broker.total(self.asha.fyers_id) >= 2 and state["cycles"] >= cycles + 2

        await until(have_gone_on, "the cycles go on")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Return the library that moves the wall clock of a process, made from its source."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a C compiler is missing: install gcc and libc6-dev")
    made = tmp_path / "clock_offset.so"
    command = (compiler, "-shared", "-fPIC", "-O2", "-o", made, SOURCE)
    subprocess.run(command, check=True, timeout=PROCESS_LIMIT_S)
    return made


@pytest.fixture
async def server(tmp_path: Path, library: Path) -> AsyncIterator[Server]:
    """Return a server with the right time, which watches a symbol."""
    async with SimulatorServer(SimulatorConfig(port=0, speed=1.0, starts_at=ORDINARY_MONDAY)) as simulator:
        clock = WallClock(tmp_path, library)
        process = ServerProcess(
            tmp_path, simulator.base_url, HULLWATCH_MONITOR_INTERVAL_SECONDS="1", **clock.environment
        )
        server = Server(SimulatedBroker(simulator.base_url), process, clock)
        try:
            await process.start()
            await server.asha.register()
            await server.broker.add_account(server.asha.fyers_id)
            await server.asha.connect()
            await server.asha.watch()
            await server.has_cycles()
            yield server
        finally:
            process.kill()
            await server.asha.close()
            await server.broker.close()


async def test_the_clock_of_the_machine_is_set(server: Server) -> None:
    """Cycles go on, nobody is logged out, and the step is shown while it lasts; a wrong start logs nobody out."""
    asha = server.asha
    for seconds, shown in STEPS.items():
        server.clock.set_wrong(seconds)
        await server.has_cycles()
        await server.shows(f"The clock of the server was set {shown} on")
        assert (await asha.state())["status"] == "watching"
        assert (await asha.connection())["state"] == "connected"
    server.clock.set_wrong(0)
    await server.shows("")
    await server.has_cycles()
    day = await asha.get("/api/monitoring/coverage")
    assert [step["isFollowed"] for step in day["clockSteps"]] == [False] * len(STEPS)
    assert not {one["reason"] for one in day["stretches"]} & {"clock_set", "no_session", "server_down"}
    assert server.process.output.count('"clock.set"') == len(STEPS)

    server.process.kill()
    server.clock.set_wrong(PAST_EXPIRY_S)
    await server.process.start()
    await server.broker.reset_calls()
    await until(lambda: _is_verified(asha), "Fyers has confirmed the session")
    server.clock.set_wrong(0)
    await server.has_cycles()

    assert (await asha.state())["status"] == "watching"
    assert (await asha.connection())["state"] == "connected"
    assert await asha.notices() == []


async def _is_verified(browser: Browser) -> bool:
    connection = await browser.connection()
    return connection["state"] == "connected" and connection["verified"]
