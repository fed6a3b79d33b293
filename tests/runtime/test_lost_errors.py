"""The plugin `lost_errors` fails a test that loses an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
LOSING = '''
import asyncio, gc, socket
import pytest
from lost_errors import ListeningLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": ListeningLoop}


async def fail():
    raise LookupError("lost")


class Ring:
    """Keeps what it holds until garbage is collected."""

    def __init__(self, held):
        self.itself, self.held = self, held


async def test_well():
    with pytest.raises(LookupError):
        await asyncio.create_task(fail())


async def test_error_of_a_task():
    Ring(asyncio.create_task(fail()))
    await asyncio.sleep(0)


def test_dropped_task():
    loop = asyncio.new_event_loop()
    Ring(loop.create_task(asyncio.sleep(9)))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_never_awaited():
    Ring(fail())


def test_open_socket():
    Ring(socket.socket())


def test_well_too():
    gc.collect()


@pytest.fixture(scope="session")
def shared():
    yield
    loop = asyncio.new_event_loop()
    Ring(loop.create_task(fail()))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_shared_fixture(shared):
    pass
'''


@pytest.mark.parametrize("processes", ["0", "2"])
def test_the_test_that_loses_an_error_fails(tmp_path: Path, processes: str) -> None:
    """Each way to lose an error fails this test and no other, in one process or several."""
    (tmp_path / "conftest.py").write_text(
        "from lost_errors import *\nfrom lost_errors import _nothing_is_lost\n"
    )
    (tmp_path / "test_losing.py").write_text(LOSING)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")

    words = (
        "-m",
        "pytest",
        "-q",
        "-rA",
        "--tb=no",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "-n",
        processes,
    )
    done = subprocess.run(
        (sys.executable, *words, "test_losing.py"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    failed = {
        line.split("::")[1].split()[0] for line in done.stdout.splitlines() if line.startswith("ERROR ")
    }
    assert failed == {
        "test_error_of_a_task", "test_dropped_task", "test_never_awaited", "test_open_socket", "test_shared_fixture",
    }  # fmt: skip
    assert done.returncode == 1
