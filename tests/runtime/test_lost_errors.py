"""The plugin `lost_errors` fails a test that loses an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from limits import PROCESS_LIMIT_S

TESTS = Path(__file__).resolve().parent.parent
LOSING = '''
import asyncio, gc, socket
import pytest
from lost_errors import GuardedLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": GuardedLoop}


async def fail():
    raise LookupError("lost")


class Ring:
    """A reference cycle: what it holds is released only when garbage is collected."""

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


LOSING_LATE = """
import socket
from lost_errors import MOST_OBJECTS
from test_losing import Ring

KEPT = []


def test_many_objects():
    KEPT.extend(Ring(None) for _ in range(2 * MOST_OBJECTS))
    KEPT.append(Ring(socket.socket()))


def test_many_objects_are_released():
    KEPT.clear()


def test_well():
    pass
"""
ARGUMENTS = ("-q", "-rA", "--tb=no", "-p", "anyio", "-p", "xdist", "-p", "no:cacheprovider")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Other plugins, such as the one of Schemathesis, take seconds to import."""


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests that lose errors, under the guard."""
    (tmp_path / "conftest.py").write_text(
        "from lost_errors import *\nfrom lost_errors import _nothing_is_lost\n"
    )
    (tmp_path / "test_losing.py").write_text(LOSING)
    (tmp_path / "test_losing_late.py").write_text(LOSING_LATE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")

    return subprocess.run(
        (sys.executable, "-m", "pytest", *ARGUMENTS, *arguments),
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PROCESS_LIMIT_S,
    )


def failed_tests(output: str) -> set[str]:
    """Return the names of the tests that the guard failed."""
    return {line.split("::")[1].split()[0] for line in output.splitlines() if line.startswith("ERROR ")}


@pytest.mark.parametrize("processes", ["0", "2"])
def test_the_test_that_loses_an_error_fails(tmp_path: Path, processes: str) -> None:
    """Each way to lose an error fails this test and no other, in one process or several."""
    done = run(tmp_path, "-n", processes, "test_losing.py")

    assert failed_tests(done.stdout) == {
        "test_error_of_a_task", "test_dropped_task", "test_never_awaited", "test_open_socket", "test_shared_fixture",
    }  # fmt: skip
    assert done.returncode == 1


def test_an_error_lost_late_fails_the_last_test(tmp_path: Path) -> None:
    """Objects that the guard has left out are searched at the end of the run."""
    done = run(tmp_path, "test_losing_late.py")

    assert failed_tests(done.stdout) == {"test_well"}
