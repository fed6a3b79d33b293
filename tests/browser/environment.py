"""Runs the simulator and the server of the browser tests as separate processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta
from datetime import time as day_time
from pathlib import Path
from typing import Any

from limits import ANSWER_LIMIT_S, PROCESS_LIMIT_S

from hullwatch.domain.market.calendar import IST, nse_calendar

HERE = Path(__file__).parent


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def request_json(method: str, url: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """Make one HTTP call and return its JSON."""
    request = urllib.request.Request(
        url, method=method, headers={"Content-Type": "application/json", **(headers or {})}
    )
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(request, data, timeout=ANSWER_LIMIT_S) as response:
        text = response.read()
    return json.loads(text) if text else None


def wait_for(url: str, process: subprocess.Popen) -> None:
    """Wait until the process answers at the address."""
    ends_at = time.monotonic() + PROCESS_LIMIT_S
    while True:
        try:
            request_json("GET", url)
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, f"the process behind {url} ended with {process.returncode}"
            assert time.monotonic() < ends_at, f"nothing answered at {url} for {PROCESS_LIMIT_S} s"
            time.sleep(0.05)
        else:
            return


class BrowserEnvironment:
    """A simulator and a server, and calls that control them."""

    def __init__(
        self,
        folder: Path,
        *,
        speed: float = 20.0,
        after_open: timedelta = timedelta(minutes=25),
        **settings: str,
    ) -> None:
        """Start both; `settings` become environment variables of the server."""
        self.folder = folder
        self._environment = {**os.environ, **settings}
        self.simulator_url = f"http://127.0.0.1:{free_port()}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: subprocess.Popen | None = None
        port = self.simulator_url.rpartition(":")[2]
        self._simulator = self._run(
            "-m",
            "hullwatch.simulator",
            "--port",
            port,
            "--speed",
            "0",
            "--start",
            self._begin(after_open).isoformat(),
        )
        self.start_server()  # the server waits for the simulator
        self.control("POST", "/clock", {"speed": speed})

    @staticmethod
    def _begin(after_open: timedelta) -> datetime:
        """Return a time on the last trading day before today, so that past days and trading hours follow."""
        midnight = datetime.combine(datetime.now(IST).date(), day_time(), IST)
        return nse_calendar().previous_session(midnight).opens_at + after_open

    def _run(self, *arguments: str) -> subprocess.Popen:
        with (self.folder / "processes.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )

    def start_server(self) -> None:
        """Start the server and wait until it answers."""
        self._server = self._run(
            str(HERE / "server_process.py"), str(self.port), str(self.folder), self.simulator_url
        )
        wait_for(f"{self.url}/healthz", self._server)

    def stop_server(self) -> None:
        """Stop the server with SIGTERM."""
        self._end(self._server)

    def close(self) -> None:
        """Stop both processes."""
        self._end(self._server)
        self._end(self._simulator)

    @staticmethod
    def _end(process: subprocess.Popen | None) -> None:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PROCESS_LIMIT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(PROCESS_LIMIT_S)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Make a control call to the simulator."""
        return request_json(method, f"{self.simulator_url}/simulator{path}", body)

    def add_account(self, fyers_id: str, name: str) -> None:
        """Create an account at Fyers."""
        self.control("POST", "/accounts", {"fyersId": fyers_id, "name": name})

    def calls_of(self, fyers_id: str) -> int:
        """Return how many calls Fyers has received for this account."""
        return self.control("GET", f"/calls?fyersId={fyers_id}")["total"]
