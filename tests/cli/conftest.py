"""An install of its own for each test: a data folder, an empty environment, commands in this process and real ones beside it."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner, Result

from hullwatch.cli.program import program
from hullwatch.domain.accounts import Role, User
from hullwatch.domain.connection import Connection, LoginState
from hullwatch.domain.secrets import AccessToken
from hullwatch.settings import read_settings
from hullwatch.storage.cipher import Cipher
from hullwatch.storage.keys import load_keys
from hullwatch.storage.store import Store
from hullwatch.storage.upgrade import upgrade

PATIENCE_S = 60.0
"""For a process to be ready; cold imports take long on a busy machine."""
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJmeV9pZCI6IkZZMDAwMDEifQ.c2lnbmF0dXJl"
PASSWORD = "correct horse battery"


def wait_until(condition: Callable[[], Any]) -> Any:
    """Return the condition's first true value."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return value


def fetch(url: str, method: str = "GET", body: object = None) -> Any:
    """Return the JSON that an address answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=20) as reply:
        return json.load(reply)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder whose settings say nothing but where the data go; logging is put back afterwards."""
    for name in os.environ:
        if name.startswith(("HULLWATCH_", "FYERS_")) and name != "HULLWATCH_TEST_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HULLWATCH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _logging_put_back() -> Iterator[None]:
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = tuple(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)


@pytest.fixture
def command(home: Path) -> Callable[..., Result]:
    """Run a command in this process."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(program, arguments, input=stdin, prog_name="hullwatch")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@dataclass
class Program:
    """A real process of ours."""

    process: subprocess.Popen[bytes]
    folder: Path
    _outputs: tuple[Path, Path] = field(init=False)

    def __post_init__(self) -> None:
        self._outputs = (self.folder / "out", self.folder / "err")

    @property
    def out(self) -> str:
        """What it has printed."""
        return self._outputs[0].read_text()

    @property
    def err(self) -> str:
        """What it has said beside that."""
        return self._outputs[1].read_text()

    def line(self, part: str) -> str:
        """Wait for a printed line that contains this part."""

        def found() -> str | None:
            assert self.process.poll() is None, self.err
            return next(
                (line for line in self.out.splitlines(keepends=True) if part in line and line.endswith("\n")),
                None,
            )

        return wait_until(found)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Program]]:
    """Start a real command; whatever still runs at the end is killed."""
    programs: list[Program] = []

    def begin(*arguments: str, **environment: str) -> Program:
        folder = home / f"program-{len(programs)}"
        folder.mkdir()
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                (sys.executable, "-m", "hullwatch", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        programs.append(Program(process, folder))
        return programs[-1]

    yield begin
    for each in programs:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()


@pytest.fixture
def served(start: Callable[..., Program]) -> Callable[..., tuple[Program, str]]:
    """Start `hullwatch serve` on a free port; return it and its address once it answers."""

    def begin(**environment: str) -> tuple[Program, str]:
        server = start("serve", "--port", "0", **environment)
        url = server.line("hullwatch is at").split("hullwatch is at ")[1].split(";")[0]
        return server, url

    return begin


def user_named(name: str, *, role: Role = Role.TRADER) -> User:
    """Return a user whose id and e-mail address contain the name."""
    return User(f"usr_{name}", f"{name}@example.com", name.title(), role, datetime(2026, 1, 5, tzinfo=UTC))


def session_of(user: User, **changes: Any) -> Connection:
    """Return a session that lasts for some hours yet."""
    now = datetime.now(UTC).replace(microsecond=0)
    fields: dict[str, Any] = {
        "state": LoginState.CONNECTED,
        "generation": 1,
        "fyers_id": "FY00001",
        "app_id": "HULLWATCH-100",
        "expires_at": now + timedelta(hours=5),
        "connected_at": now - timedelta(hours=1),
    }
    return Connection(user.id, **{**fields, **changes})


def stored(home: Path, *entries: tuple[User, Connection | None], token: str = TOKEN) -> None:
    """Put users and their connections into the install's database."""

    async def store_all() -> None:
        settings = read_settings()
        settings.data_dir.mkdir(mode=0o700, exist_ok=True)
        await upgrade(settings.database)
        store = Store(settings.database, Cipher(load_keys("", settings.data_dir)))
        async with store.begin() as work:
            for user, connection in entries:
                await work.users.add(user, "no hash")
                if connection is not None and connection.has_session:
                    await work.connections.save_login(connection, AccessToken(token))
                elif connection is not None:
                    await work.connections.save(connection)
            await work.commit()
        await store.close()

    asyncio.run(store_all())
