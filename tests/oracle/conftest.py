"""Runs the unmodified official Python SDK 3.2.0 against a simulator in another process."""

import json
import os
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
ORACLE = HERE.parent.parent / ".venv-oracle" / "bin" / "python"

Sdk = Callable[[str], dict[str, Any]]


def trading_morning() -> str:
    """Return 10:00 IST of a future trading day. The SDK checks a token's expiry by the real clock."""
    day = datetime.now(UTC).astimezone(IST).date() + timedelta(days=1)
    while not is_trading_day(from_date(day)):
        day += timedelta(days=1)
    return f"{day.isoformat()}T10:00:00+05:30"


@pytest.fixture(scope="session")
def oracle() -> Path:
    """Return the interpreter that has the official SDK, or skip the test."""
    if not ORACLE.exists() or not (ORACLE.parent.parent / ".ready").exists():
        reason = "the official Fyers SDK is not installed: tests/provision.sh puts it into .venv-oracle"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return ORACLE


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """Return the address of a simulator that runs as a program."""
    command = [sys.executable, "-m", "hullwatch.simulator", "--port", "0", "--start", trading_morning()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[3].removesuffix("/api/v3")
        finally:
            process.terminate()
            assert process.wait(PROCESS_LIMIT_S) == 0


@pytest.fixture(scope="module")
def sdk(oracle: Path, base_url: str, tmp_path_factory: pytest.TempPathFactory) -> Sdk:
    """Return a function that runs a script of this folder under the SDK and returns its output."""
    folder = tmp_path_factory.mktemp("sdk")

    def run(script: str) -> dict[str, Any]:
        done = subprocess.run(
            [oracle, HERE / script, base_url],
            cwd=folder, capture_output=True, text=True, timeout=PROCESS_LIMIT_S, check=False, env={**os.environ, "NO_PROXY": "*"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert isinstance(found, dict)
        return found

    return run


@pytest.fixture(scope="module")
def now(base_url: str) -> str:
    """Return the simulated date."""
    with urllib.request.urlopen(f"{base_url}/simulator/clock") as answer:
        return str(json.load(answer)["now"])[:10]
