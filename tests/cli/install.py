"""Shared by the tests of the commands: a database with users, and real processes."""

import asyncio
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from limits import ANSWER_LIMIT_S, PROCESS_LIMIT_S

from hullwatch.domain.secrets import AccessToken
from hullwatch.domain.sessions.connection import Connection, LoginState
from hullwatch.domain.users.accounts import Role, User
from hullwatch.settings import read_settings
from hullwatch.storage.cipher import Cipher
from hullwatch.storage.keys import load_keys
from hullwatch.storage.store import Store, UnitOfWork
from hullwatch.storage.upgrade import upgrade

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJmeV9pZCI6IkZZMDAwMDEifQ.c2lnbmF0dXJl"
PASSWORD = "correct horse battery"


def wait_until(condition: Callable[[], Any]) -> Any:
    """Return the condition's first true value."""
    deadline = time.monotonic() + PROCESS_LIMIT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.02)
    return value


def fetch(url: str, method: str = "GET", body: object = None, **headers: str) -> Any:
    """Return the JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data, {"Content-Type": "application/json", **headers}, method=method
    )
    with urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S) as reply:
        return json.load(reply)


@dataclass
class Program:
    """A hullwatch process."""

    process: subprocess.Popen[bytes]
    folder: Path
    _outputs: tuple[Path, Path] = field(init=False)

    def __post_init__(self) -> None:
        self._outputs = (self.folder / "out", self.folder / "err")

    @property
    def out(self) -> str:
        """Its standard output."""
        return self._outputs[0].read_text()

    @property
    def err(self) -> str:
        """Its standard error."""
        return self._outputs[1].read_text()

    def line(self, part: str) -> str:
        """Wait for a printed line that contains `part`, and return it."""

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
        return self.process.wait(PROCESS_LIMIT_S)


def user_named(name: str, *, role: Role = Role.TRADER) -> User:
    """Return a user whose id and e-mail address contain the name."""
    return User(f"usr_{name}", f"{name}@example.com", name.title(), role, datetime(2026, 1, 5, tzinfo=UTC))


def session_of(user: User, **changes: Any) -> Connection:
    """Return a session that expires in five hours."""
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

    async def store_all(work: UnitOfWork) -> None:
        for user, connection in entries:
            await work.users.add(user, "no hash")
            if connection is not None and connection.has_session:
                await work.connections.save_login(connection, AccessToken(token))
            elif connection is not None:
                await work.connections.save(connection)

    in_database(home, store_all)


def connected(home: Path, user_id: str) -> None:
    """Give a stored user a session."""

    async def store_session(work: UnitOfWork) -> None:
        session = replace(session_of(user_named("any")), user_id=user_id)
        await work.connections.save_login(session, AccessToken(TOKEN))

    in_database(home, store_session)


def in_database(home: Path, change: Callable[[UnitOfWork], Awaitable[None]]) -> None:
    """Make a change to the install's database, as another process would."""

    async def make() -> None:
        settings = read_settings(data_dir=home / "data")
        settings.data_dir.mkdir(mode=0o700, exist_ok=True)
        await upgrade(settings.database)
        store = Store(settings.database, Cipher(load_keys("", settings.data_dir)))
        async with store.begin() as work:
            await change(work)
            await work.commit()
        await store.close()

    asyncio.run(make())
