"""Readiness of 2,000 accounts with 20 cold watches each: time until all are checked and ready, and calls to the broker.

Two runs: a check alone, which makes all calls, and a whole server that starts at the time of the first check.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Self

from benchmarks.accounts import SYMBOLS, Account, Watchlist, benchmark_application, link_accounts
from benchmarks.broker_process import BrokerProcess, ShiftedClock, broker_process, for_each, trading_moment
from benchmarks.report import Figure, percentile, print_report
from hullwatch.app import Application
from hullwatch.cli.runner import run
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.readiness.readiness import ReadinessResult
from hullwatch.domain.sessions.tokens import IST
from hullwatch.services.monitoring.history_calls import OFF_HOURS_CALL_INTERVAL_S
from hullwatch.services.readiness.check import WARM_SHARE
from hullwatch.services.readiness.notices import incident_of

TARGET_ACCOUNTS = 2_000
DISCONNECTED_SHARE = 0.05
LONGEST_FACTOR = 1.5
FIRST_CHECK = timedelta(minutes=45)
"""Time before the market open at which the benchmark begins."""
UNTIL_NEXT_CHECK_S = 900.0
PER_SECOND, PER_MINUTE, TOTAL_PER_SECOND = 8, 170, 500
"""The pacing of the settings; Fyers allows 10 and 200."""
WARM_WITHIN_S = 2_400.0


@dataclass(frozen=True, slots=True)
class Seen:
    """The results of one run."""

    ready_s: float
    """From the begin until all accounts with a session were ready."""
    notified_s: float
    """Until the notices of the others were stored."""
    cpu_s: float
    overview_s: float
    """CPU of one overview for operators."""
    ready: int
    disconnected: int
    calls: int
    disconnected_calls: int
    refusals: int
    """Answers of the broker other than 200."""
    histories: int
    per_minute: list[int]
    """The most calls of each account within 60 s, as the broker counted them."""
    per_second: list[float]
    """Calls of all accounts in each second, as the broker counted them."""


@asynccontextmanager
async def cold_application(
    count: int,
) -> AsyncIterator[tuple[Application, BrokerProcess, list[Account], list[Account]]]:
    """Start monitoring for this many accounts at 08:30 with nothing loaded; some of them have no session."""
    starts_at = trading_moment(-FIRST_CHECK)
    async with broker_process(starts_at=starts_at) as broker:
        answer = await broker.control("GET", "/clock")
        clock = ShiftedClock(starts_at.fromisoformat(answer["now"]))
        async with benchmark_application(broker, clock) as application:
            accounts = await link_accounts(application, broker, count, Watchlist())
            disconnected = accounts[:: round(1 / DISCONNECTED_SHARE)]
            await application.services.connections.load()
            for account in disconnected:
                await application.services.connections.sign_out(account.user_id, actor=account.user_id)
            await broker.control("DELETE", "/calls")
            yield application, broker, accounts, disconnected


class Counting:
    """Reads the broker's count of all calls every second during the block."""

    def __init__(self, broker: BrokerProcess) -> None:
        self._broker = broker
        self._totals: list[tuple[float, int]] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _read(self) -> None:
        while True:
            total = (await self._broker.control("GET", "/calls"))["total"]
            self._totals.append((time.monotonic(), total))
            await asyncio.sleep(1.0)

    @property
    def rates(self) -> list[float]:
        """Calls a second between two readings."""
        return [(late - early) / (end - start) for (start, early), (end, late) in pairwise(self._totals)]


async def observe(count: int, *, is_whole_server: bool) -> Seen:
    """Run a check and return its results."""
    async with cold_application(count) as (application, broker, accounts, disconnected):
        began, cpu_began = time.monotonic(), time.process_time()
        async with Counting(broker) as counting:
            if is_whole_server:
                await application.start()
            else:
                application.services.connections.start_jobs()
                await application.services.monitoring.load()  # its cycles do not run: the check alone fetches
                application.services.readiness.start_jobs()
            notified_s = await _until_notified(application, len(disconnected), began)
            ready_s = await _until_ready(application, count - len(disconnected), began)
        cpu_s = time.process_time() - cpu_began
        total = await broker.control("GET", "/calls")
        reports = await for_each(
            accounts, lambda account: broker.control("GET", f"/calls?fyersId={account.fyers_id}")
        )
        by_account = dict(zip(accounts, reports, strict=True))
        cpu_before = time.process_time()
        states = Counter(
            one.readiness.result for one in (await application.services.readiness.overview()).accounts
        )
        return Seen(
            ready_s=ready_s,
            notified_s=notified_s,
            cpu_s=cpu_s,
            overview_s=time.process_time() - cpu_before,
            ready=states[ReadinessResult.READY],
            disconnected=len(disconnected),
            disconnected_calls=sum(by_account[account]["total"] for account in disconnected),
            calls=total["total"],
            refusals=sum(number for status, number in total["byStatus"].items() if status != "200"),
            histories=total["byPath"].get("/data/history", 0),
            per_minute=[report["perMinuteMax"] for report in reports],
            per_second=counting.rates,
        )


async def _until_notified(application: Application, disconnected: int, began: float) -> float:
    """Wait until all users without a session are notified, and return how long that took."""
    incident_id = incident_of(application.services.context.clock.now().astimezone(IST).date())
    notified: set[str] = set()
    while time.monotonic() - began < WARM_WITHIN_S:
        # On a small machine the database may be too slow at this moment; then the query is repeated.
        with suppress(StorageUnavailable):
            async with application.services.context.store.begin(read_only=True) as work:
                notified = await work.notifications.notified_users(NotificationKind.NOT_READY, incident_id)
        if len(notified) >= disconnected:
            return time.monotonic() - began
        await asyncio.sleep(0.5)
    raise TimeoutError(f"only {len(notified)} of {disconnected} were notified")


async def _until_ready(application: Application, alive: int, began: float) -> float:
    """Wait until all accounts with a session are ready, and return how long that took."""
    while time.monotonic() - began < WARM_WITHIN_S:
        if (await application.services.readiness.overview()).good >= alive:
            return time.monotonic() - began
        await asyncio.sleep(5.0)
    found = Counter(
        one.readiness.reason for one in (await application.services.readiness.overview()).accounts
    )
    raise TimeoutError(f"not everybody is ready: {found}")


def figures(seen: Seen, count: int, *, is_whole_server: bool) -> list[Figure]:
    """Return the figures of a run."""
    alive = count - seen.disconnected
    machine_s = (alive * (len(SYMBOLS) + 1)) / TOTAL_PER_SECOND
    pacing_s = alive * len(SYMBOLS) / (TOTAL_PER_SECOND * WARM_SHARE)
    is_full = count >= TARGET_ACCOUNTS
    return [
        Figure(
            "all ready after",
            f"{seen.ready_s:.0f} s = {seen.ready_s / pacing_s:.2f} x the pacing's {pacing_s:.0f} s (the global rate limit alone: {machine_s:.0f} s)",
            f"<= {LONGEST_FACTOR} x, before the next check"
            if not is_whole_server
            else "before the next check",
            # In a small check one account's own pace weighs more than that of all.
            is_met=seen.ready_s <= (UNTIL_NEXT_CHECK_S if is_whole_server else LONGEST_FACTOR * pacing_s)
            if is_full
            else None,
        ),
        Figure("ready", f"{seen.ready:,} of {alive:,}", "all with a session", is_met=seen.ready == alive),
        Figure(
            "calls for the others",
            f"{seen.disconnected_calls} for {seen.disconnected:,}, all notified within {seen.notified_s:.0f} s",
            "none",
            is_met=seen.disconnected_calls == 0,
        ),
        Figure(
            "answers other than 200", f"{seen.refusals} of {seen.calls:,}", "none", is_met=seen.refusals == 0
        ),
        Figure(
            "histories",
            f"{seen.histories:,} for {alive * len(SYMBOLS):,} lines",
            "one a line",
            is_met=seen.histories == alive * len(SYMBOLS),
        ),
        Figure(
            "calls of one account in 60 s",
            f"at most {max(seen.per_minute)}",
            f"<= {PER_MINUTE}",
            is_met=max(seen.per_minute) <= PER_MINUTE,
        ),
        Figure(
            # The global rate limit applies to sending; arrivals, read once a second, differ by the calls on their way.
            "arrivals in a second, all accounts",
            f"p50 {percentile(seen.per_second, 50):.0f}, p95 {percentile(seen.per_second, 95):.0f}, max {max(seen.per_second):.0f}",
        ),
        Figure(
            "CPU of the server process",
            f"{seen.cpu_s:.0f} s, {seen.cpu_s / seen.histories * 1000:.2f} ms a line; {seen.overview_s * 1000:.0f} ms for an operator's overview",
        ),
    ]


def main(args: list[str]) -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks readiness", description=__doc__)
    parser.add_argument("--accounts", type=int, default=TARGET_ACCOUNTS)
    parser.add_argument(
        "--quick", action="store_true", help="100 accounts; the duration is then not compared"
    )
    chosen = parser.parse_args(args)
    count = 100 if chosen.quick else chosen.accounts
    method = (
        f"ReadinessService, MonitoringService, TokenValidationService, FyersClient and SQLite as in the server, against the simulator in "
        f"another process at 08:30 of a trading day; {len(SYMBOLS)} symbols an account, 5-minute candles, HMA(55), nothing loaded before. "
        f"{DISCONNECTED_SHARE:.0%} of the accounts have no session. The settings' pacing: {PER_SECOND} calls a second and {PER_MINUTE} a minute for an "
        f"account, {TOTAL_PER_SECOND} a second for the machine, of which warming takes {WARM_SHARE:.0%} and {1 / OFF_HOURS_CALL_INTERVAL_S:.0f} a second of one account. All calls are counted by the simulator, "
        f"which refuses the 11th of an account in a second and the 201st in a minute."
    )
    for is_whole_server, title in (
        (False, "a check of cold accounts"),
        (True, "a server that starts at 08:30"),
    ):
        seen = run(observe(count, is_whole_server=is_whole_server))
        figures_of_run = figures(seen, count, is_whole_server=is_whole_server)
        print_report(
            f"readiness: {title}, {count:,} x {len(SYMBOLS)} watches",
            figures_of_run,
            method,
            is_quick=chosen.quick,
        )


if __name__ == "__main__":
    main([])
