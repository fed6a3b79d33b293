"""`hullwatch serve` as a process that journeys start, kill and start again with the same data."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import aiohttp
from limits import PROCESS_LIMIT_S


class ServerProcess:
    """One server at a fixed address; its output goes to a file."""

    def __init__(
        self, folder: Path, simulator_url: str, *, launcher: tuple[str, ...] = (), **settings: str
    ) -> None:
        """`launcher` is the beginning of the command that runs the server, such as ``prlimit``."""
        self._launcher = launcher
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("HULLWATCH_", "FYERS_"))
            },
            "HULLWATCH_DATA_DIR": str(folder / "data"),
            "HULLWATCH_PORT": str(self._port),
            "HULLWATCH_PUBLIC_URL": self.url,
            "HULLWATCH_FYERS_BASE_URL": f"{simulator_url}/api/v3",
            "HULLWATCH_FYERS_DATA_URL": f"{simulator_url}/data",
            "HULLWATCH_FYERS_PUBLIC_URL": simulator_url,
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """The printed and logged text of all its starts."""
        return (self._folder / "server.log").read_text()

    async def start(self) -> None:
        """Start the server and wait until it answers."""
        process = self._process = self._launch()
        deadline = time.monotonic() + PROCESS_LIMIT_S
        async with aiohttp.ClientSession() as http:
            while not await _answers(http, self.url):
                assert process.poll() is None, self.output
                assert time.monotonic() < deadline, self.output
                await asyncio.sleep(0.02)

    def _launch(self) -> subprocess.Popen[bytes]:
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                (*self._launcher, sys.executable, "-m", "hullwatch", "serve"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
            )

    async def time(self) -> datetime:
        """Return the server's time as `/readyz` shows it; the server keeps a simulator's time."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/readyz") as response:
            dependencies = (await response.json())["dependencies"]
        (clock,) = [one for one in dependencies if one["name"] == "clock"]
        return datetime.fromisoformat(clock["detail"].split(" time is ")[1].split(". ")[0].rstrip("."))

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self._send(signal.SIGKILL)

    async def stop(self) -> int:
        """Stop the server with SIGTERM and return its exit code."""
        return await asyncio.to_thread(self._send, signal.SIGTERM)

    def _send(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(PROCESS_LIMIT_S)


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/readyz") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
