"""Each part in virtual time finds nothing in a short run, and finds a fault that is put in."""

import asyncio
from collections import Counter

from hullwatch.storage.keys import EncryptionKey
from prove import detection, false_disconnects, kills, no_calls, recovery
from prove.kill_worker import Database
from prove.parts import PARTS
from prove.virtual_time import run


def test_faulted_probes_disconnect_nobody() -> None:
    """One run with some thousand faults."""
    found = run(1, false_disconnects._run_once)
    assert found.probes >= false_disconnects.PROBES_OF_A_RUN
    assert (found.disconnects, found.not_recovered) == (0, 0)


def test_each_end_of_a_session_is_found() -> None:
    """One run with expiries and revocations."""
    ends = run(1, detection._run_once)
    assert Counter(end.is_expiry for end in ends) == {True: 24, False: 24}
    assert not any(end.is_missed for end in ends)
    assert detection.End("usr_a", ends[0].at, is_expiry=True, generation=1).is_missed


def test_no_call_follows_a_disconnect() -> None:
    """One run; a count that begins before the disconnects shows that calls are found."""
    watched = run(1, no_calls._run_once)
    assert watched.chances > 1000
    assert watched.forbidden_calls() == 0
    watched.calls_before = dict.fromkeys(watched.calls_before, 0)
    assert watched.forbidden_calls() > 0


def test_an_interrupted_server_equals_its_twin() -> None:
    """One pair of servers."""
    pair = run(1, recovery._run_once)
    assert pair.is_equal
    assert pair.signals > 20
    assert pair.interruptions


def test_all_parts_can_be_loaded() -> None:
    """Their names differ, and each module has its function."""
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert all(callable(part.load()) for part in PARTS)


def test_a_run_ends_all_tasks_that_it_began() -> None:
    """Those that are begun by the end of others too."""

    async def begin_another() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            begun.append(asyncio.create_task(asyncio.sleep(3600)))

    async def experiment(seed: int) -> int:
        begun.append(asyncio.create_task(begin_another()))
        await asyncio.sleep(0)
        return seed

    begun: list[asyncio.Task[None]] = []
    assert run(3, experiment) == 3
    assert len(begun) == 2
    assert all(task.cancelled() for task in begun)


def test_killed_processes_lose_and_double_nothing() -> None:
    """Some kills over SQLite; changes had been acknowledged before them."""
    findings: list[str] = []
    with kills._sqlite() as url:
        database = Database(url, EncryptionKey.make().text())
        counts = kills._kill_often(database, 1, 3, findings)
        other = kills._kill_often(database, 2, 1, [])
    assert (counts.kills, counts.wrong, findings) == (3, 0, [])
    assert counts.acknowledged >= 3
    assert other.wrong == 1  # it expects an empty database, so what was stored before it is found
