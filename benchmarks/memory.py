"""Memory of the idle server and of each idle account.

The server is ``hullwatch serve`` in a process of its own; its resident memory is compared between two databases, one without accounts and one
with 2,000 linked accounts that watch nothing. A second figure counts Python's own allocations inside this process.
"""

import argparse
import asyncio
import gc
import os
import statistics
import sys
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.accounts import benchmark_application, link_accounts, settings_for
from benchmarks.broker_process import READY_WITHIN_S, BrokerProcess, broker_process
from benchmarks.report import Figure, print_report
from hullwatch.app import open_application
from hullwatch.cli.runner import run
from hullwatch.runtime.clock import SystemClock

MOST_IDLE_MB = 150.0
MOST_ACCOUNT_KB = 20.0
SWEPT = b"validation.swept"
"""The log line that ends the sweep at the server's start."""
AT_REST_AFTER_S = 35.0
"""After the sweep: its connections to the broker are closed by then."""
SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Rest:
    """An idle server."""

    resident_mb: float
    connections: int


async def measure(count: int) -> list[Figure]:
    """Return the figures for this many accounts."""
    async with broker_process() as broker:
        with TemporaryDirectory(prefix="hullwatch-bench-") as folder:
            empty = await _server_at_rest(broker, Path(folder, "empty"), 0)
            full = await _server_at_rest(broker, Path(folder, "full"), count)
        traced_kb = await _traced_kb(broker, count)
    account_kb = (full.resident_mb - empty.resident_mb) * 1024 / count
    return [
        Figure(
            "idle server, no accounts",
            f"{empty.resident_mb:.0f} MB resident",
            f"< {MOST_IDLE_MB:g} MB",
            is_met=empty.resident_mb < MOST_IDLE_MB,
        ),
        Figure(
            "idle account, by the server's memory",
            f"{account_kb:.1f} kB",
            f"<= {MOST_ACCOUNT_KB:g} kB",
            is_met=account_kb <= MOST_ACCOUNT_KB,
        ),
        Figure(
            "idle account, by what Python allocates",
            f"{traced_kb:.1f} kB",
            f"<= {MOST_ACCOUNT_KB:g} kB",
            is_met=traced_kb <= MOST_ACCOUNT_KB,
        ),
        Figure(
            f"server with {count:,} idle accounts",
            f"{full.resident_mb:.0f} MB resident, {full.connections} connections to the broker",
        ),
    ]


async def _server_at_rest(broker: BrokerProcess, data_dir: Path, count: int) -> Rest:
    settings = settings_for(broker, data_dir)
    async with open_application(settings, clock=SystemClock()) as application:
        await link_accounts(application, broker, count)
    environment = os.environ | {
        "HULLWATCH_DATA_DIR": str(data_dir),
        "HULLWATCH_DATABASE_URL": "",
        "HULLWATCH_ENCRYPTION_KEYS": "",
        "HULLWATCH_FYERS_BASE_URL": settings.fyers_base_url,
        "HULLWATCH_FYERS_DATA_URL": settings.fyers_data_url,
        "HULLWATCH_FYERS_PUBLIC_URL": settings.fyers_public_url,
    }
    command = [sys.executable, "-m", "hullwatch", "serve", "--port", "0"]
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd=data_dir,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        await asyncio.wait_for(_until_swept(process), READY_WITHIN_S + count / 20)
        reading = asyncio.create_task(_read_on(process), name="log")
        await asyncio.sleep(AT_REST_AFTER_S)
        found = await _sample(psutil.Process(process.pid))
        reading.cancel()
        return found
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_swept(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of the first sweep, which validates every account."""
    if process.stderr is None:
        raise RuntimeError("the server has no log")
    async for line in process.stderr:
        if SWEPT in line:
            return
    raise RuntimeError("the server ended before its first sweep did")


async def _read_on(process: asyncio.subprocess.Process) -> None:
    """Read the log, so that the server never blocks on it."""
    while process.stderr is not None and await process.stderr.read(65_536):
        pass


async def _sample(server: psutil.Process) -> Rest:
    found = []
    for _ in range(SAMPLES):
        found.append(server.memory_info().rss / 2**20)
        await asyncio.sleep(0.5)
    connections = sum(each.status == psutil.CONN_ESTABLISHED for each in server.net_connections())
    return Rest(statistics.median(found), connections)


async def _traced_kb(broker: BrokerProcess, count: int) -> float:
    """Return the memory allocated for each account by loading and validating it."""
    async with benchmark_application(broker) as application:
        await link_accounts(application, broker, count)
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await application.services.connections.load()
            await application.services.monitoring.load()
            await application.services.validation.validate_all_active_users()
            await asyncio.sleep(AT_REST_AFTER_S)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    return (after - before) / 1024 / count


def main(args: list[str]) -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--accounts", type=int, default=2_000)
    parser.add_argument("--quick", action="store_true", help="500 accounts")
    chosen = parser.parse_args(args)
    count = 500 if chosen.quick else chosen.accounts
    figures = run(measure(count))
    method = (
        "hullwatch serve in a process of its own, against the simulator; resident memory (median of "
        f"{SAMPLES} samples) once its first sweep has validated every account and {AT_REST_AFTER_S:g} s have passed, without "
        f"accounts and with {count:,} linked ones without watches that want no monitoring; the difference over their number. "
        "Python's own count is tracemalloc's, over loading and one validation of every account."
    )
    print_report(f"memory: {count:,} idle accounts", figures, method, is_quick=chosen.quick)


if __name__ == "__main__":
    main([])
