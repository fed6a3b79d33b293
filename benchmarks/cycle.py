"""Monitoring of 2,000 accounts with 20 symbols each: CPU of a cycle, and whether failing accounts delay healthy ones.

The same accounts stay healthy in all rounds; rounds with and without failures of the others alternate.
"""

import argparse
import asyncio
import cProfile
import pstats
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import psutil

from benchmarks.accounts import (
    SYMBOLS,
    Account,
    Watchlist,
    benchmark_application,
    link_accounts,
    log_in_again,
)
from benchmarks.broker_process import BrokerProcess, ShiftedClock, broker_process, for_each, trading_moment
from benchmarks.report import Figure, percentile, print_report, spread
from hullwatch.app import Application
from hullwatch.cli.runner import run
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.web.metrics import PrometheusMetrics

TARGET_ACCOUNTS = 2_000
MOST_CPU_S = 2.5
LONGEST_FACTOR = 1.2
DISTANCE_S = 0.1
"""Latency of each answer in half of the rounds, like a service over the internet."""
RESOLUTION = "60"
STARTS_AFTER_OPEN = timedelta(minutes=62)
"""Shortly after a 60-minute candle has closed, so that no candle closes during the measurement."""
WARM_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Cycle:
    """One account's cycle; `outcome` is its status."""

    user_id: str
    outcome: str
    seconds: float


class CycleMetrics(PrometheusMetrics):
    """Records the duration of each account's cycles: the scheduler's task is named after the account."""

    def __init__(self) -> None:
        super().__init__()
        self.cycles: list[Cycle] = []

    def cycle(self, outcome: str, seconds: float) -> None:
        """Record one cycle and count it as the server does."""
        super().cycle(outcome, seconds)
        task = asyncio.current_task()
        name = task.get_name() if task else ""
        self.cycles.append(Cycle(name.removeprefix("cycle "), outcome, seconds))


@dataclass(frozen=True, slots=True)
class Round:
    """The results of one round."""

    cycles: list[Cycle]
    took_s: float
    cpu_s: float
    broker_cpu_s: float
    missed: int
    """Cycles that were missed because the one before had not ended."""

    def seconds_of(self, users: frozenset[str]) -> list[float]:
        """Return the durations of these users' cycles."""
        return [cycle.seconds for cycle in self.cycles if cycle.user_id in users]


@dataclass(frozen=True, slots=True)
class MonitoredApplication:
    """A running application that monitors all accounts."""

    application: Application
    broker: BrokerProcess
    monitoring: MonitoringService
    metrics: CycleMetrics
    accounts: list[Account]
    warm_up_cpu_s: float
    warm_up_s: float

    async def observe(self, seconds: float) -> Round:
        """Let cycles run and return the results."""
        broker = psutil.Process(self.broker.process_id)
        self.metrics.cycles.clear()
        missed = self._missed()
        began, cpu_began, broker_began = time.monotonic(), time.process_time(), sum(broker.cpu_times()[:2])
        await asyncio.sleep(seconds)
        took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_began
        broker_cpu_s = sum(broker.cpu_times()[:2]) - broker_began
        return Round(list(self.metrics.cycles), took_s, cpu_s, broker_cpu_s, self._missed() - missed)

    def _missed(self) -> int:
        return sum(self.monitoring.state(account.user_id).missed_cycles for account in self.accounts)

    async def all_watching(self) -> None:
        """Wait until the latest cycle of every account is good."""
        deadline = time.monotonic() + WARM_WITHIN_S
        while any(
            self.monitoring.state(account.user_id).status is not WatchStatus.WATCHING
            for account in self.accounts
        ):
            if time.monotonic() > deadline:
                found = Counter(self.monitoring.state(account.user_id).status for account in self.accounts)
                raise TimeoutError(f"not everybody is watched: {found}")
            await asyncio.sleep(0.5)


@asynccontextmanager
async def watched(count: int, interval_s: float) -> AsyncIterator[MonitoredApplication]:
    """Monitor this many accounts with the application's own services, after the warm-up."""
    starts_at = trading_moment(STARTS_AFTER_OPEN)
    async with broker_process(starts_at=starts_at) as broker:
        answer = await broker.control("GET", "/clock")
        clock = ShiftedClock(starts_at.fromisoformat(answer["now"]))
        async with benchmark_application(broker, clock) as application:
            accounts = await link_accounts(application, broker, count, Watchlist(resolution=RESOLUTION))
            await application.services.connections.load()
            application.services.connections.start_jobs()
            metrics = CycleMetrics()
            monitoring = MonitoringService(
                application.services.context,
                connections=application.services.connections,
                market=application.services.market,
                metrics=metrics,
                interval_s=interval_s,
            )
            await monitoring.load()
            began, cpu_began = time.monotonic(), time.process_time()
            monitoring.start_jobs(application.services.supervisor)
            monitored = MonitoredApplication(application, broker, monitoring, metrics, accounts, 0.0, 0.0)
            await monitored.all_watching()
            warm_s, warm_cpu_s = time.monotonic() - began, time.process_time() - cpu_began
            yield MonitoredApplication(application, broker, monitoring, metrics, accounts, warm_cpu_s, warm_s)
            await monitoring.close()


async def add_failures(monitored: MonitoredApplication, cohort: Sequence[Account]) -> None:
    """Let the broker revoke a third of these sessions, hang for a third and fail for a third; wait until the server shows it."""
    ended, hanging, failing = (cohort[start::3] for start in range(3))
    await for_each(
        ended, lambda account: monitored.broker.control("POST", f"/accounts/{account.fyers_id}/expire")
    )
    await for_each(
        hanging, lambda account: monitored.broker.fault({"kind": "hang", "fyersId": account.fyers_id})
    )
    await for_each(
        failing,
        lambda account: monitored.broker.fault(
            {"kind": "http_error", "status": 500, "fyersId": account.fyers_id}
        ),
    )
    # The figure is about living beside accounts that are expired, hanging or failing, not about the moment in which they all become so.
    while any(  # noqa: ASYNC110 - there is no event for it
        monitored.application.services.connections.connection(account.user_id).has_session
        for account in ended
    ):
        await asyncio.sleep(0.5)
    await asyncio.sleep(5.0)


async def remove_failures(monitored: MonitoredApplication, cohort: Sequence[Account]) -> None:
    """Remove the faults, log disconnected accounts in and wait until all are monitored again."""
    await monitored.broker.clear_faults()
    await for_each(
        cohort[0::3], lambda account: log_in_again(monitored.application, monitored.broker, account)
    )
    await monitored.all_watching()
    await asyncio.sleep(5.0)


async def measure(count: int, rounds: int, round_s: float, interval_s: float) -> list[Figure]:
    """Return the figures of alternating rounds, first with a broker without latency, then with latency."""
    async with watched(count, interval_s) as monitored:
        healthy = frozenset(account.user_id for account in monitored.accounts[: count // 2])
        await asyncio.sleep(2 * interval_s)  # until the effects of the start are gone
        near = await _alternate(monitored, rounds, round_s, latency_s=0.0)
        far = await _alternate(monitored, rounds, round_s, latency_s=DISTANCE_S)
    return [
        *_cost(near[0], count),
        *_isolation(*near, healthy, "answers at once"),
        *_isolation(*far, healthy, f"{DISTANCE_S * 1000:.0f} ms away"),
        *_warm_up(monitored, count),
    ]


async def _alternate(
    monitored: MonitoredApplication, rounds: int, round_s: float, *, latency_s: float
) -> tuple[list[Round], list[Round]]:
    """Return alternating rounds without and with failures."""
    cohort = monitored.accounts[len(monitored.accounts) // 2 :]
    healthy_rounds: list[Round] = []
    failing: list[Round] = []
    for _ in range(rounds):
        if latency_s:
            await monitored.broker.fault({"kind": "latency", "latencyMs": latency_s * 1000})
        healthy_rounds.append(await monitored.observe(round_s))
        await add_failures(monitored, cohort)
        failing.append(await monitored.observe(round_s))
        await remove_failures(monitored, cohort)
    return healthy_rounds, failing


def _cost(healthy_rounds: list[Round], count: int) -> list[Figure]:
    """Return the cost of a cycle of all accounts in the median round."""
    costs = [each.cpu_s / len(each.cycles) * count for each in healthy_rounds]
    broker = [each.broker_cpu_s / len(each.cycles) * count for each in healthy_rounds]
    cost_s = statistics.median(costs)
    outcomes = Counter(cycle.outcome for each in healthy_rounds for cycle in each.cycles)
    missed = sum(each.missed for each in healthy_rounds)
    rate = sum(len(each.cycles) for each in healthy_rounds) / sum(each.took_s for each in healthy_rounds)
    return [
        Figure(
            "CPU of a cycle, all accounts",
            f"{cost_s:.2f} s ({cost_s / count * 1000:.2f} ms an account; rounds {min(costs):.2f} to {max(costs):.2f})",
            f"<= {MOST_CPU_S * count / TARGET_ACCOUNTS:g} s",
            is_met=cost_s <= MOST_CPU_S * count / TARGET_ACCOUNTS,
        ),
        Figure("CPU of the simulator for it", f"{statistics.median(broker):.2f} s"),
        Figure(
            "cycles without failures",
            f"{rate:.0f} a second; {dict(outcomes)}; {missed} missed",
        ),
    ]


def _isolation(
    healthy_rounds: list[Round], failing: list[Round], healthy: frozenset[str], broker: str
) -> list[Figure]:
    """Compare healthy accounts with and without failing ones by the median of each round's p99."""
    without = [percentile(each.seconds_of(healthy), 99) for each in healthy_rounds]
    beside = [percentile(each.seconds_of(healthy), 99) for each in failing]
    ratio = statistics.median(beside) / statistics.median(without)
    failed = Counter(
        cycle.outcome
        for each in failing
        for cycle in each.cycles
        if cycle.user_id in healthy and cycle.outcome != WatchStatus.WATCHING.value
    )
    total = sum(len(each.seconds_of(healthy)) for each in failing)
    return [
        Figure(
            f"healthy p99, Fyers {broker}",
            f"{ratio:.2f} x ({_shown(beside)} against {_shown(without)} ms)",
            f"<= {LONGEST_FACTOR} x without failures",
            is_met=ratio <= LONGEST_FACTOR,
        ),
        Figure("  healthy cycles that failed", f"{failed.total()} of {total:,}", "none", is_met=not failed),
        Figure("  without failures", _pooled(healthy_rounds, healthy)),
        Figure("  beside failures", _pooled(failing, healthy)),
    ]


def _pooled(rounds: list[Round], healthy: frozenset[str]) -> str:
    return spread([each for one in rounds for each in one.seconds_of(healthy)], "ms", 1000, 1)


def _shown(p99s: list[float]) -> str:
    return "/".join(f"{value * 1000:.0f}" for value in p99s)


def _warm_up(monitored: MonitoredApplication, count: int) -> list[Figure]:
    fetches = count * len(SYMBOLS)
    return [
        Figure(
            "start from nothing",
            f"{fetches:,} histories in {monitored.warm_up_s:.0f} s, {monitored.warm_up_cpu_s / fetches * 1000:.2f} ms of CPU each",
        )
    ]


async def profile(count: int, seconds: float, interval_s: float) -> None:
    """Profile cycles without failures."""
    async with watched(count, interval_s) as monitored:
        profiler = cProfile.Profile()
        profiler.enable()
        seen = await monitored.observe(seconds)
        profiler.disable()
    print(
        f"{len(seen.cycles)} cycles, {seen.cpu_s / len(seen.cycles) * 1000:.2f} ms of CPU each with the profiler on"
    )
    for order in ("tottime", "cumulative"):
        pstats.Stats(profiler).sort_stats(order).print_stats(45)


def main(args: list[str]) -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks cycle", description=__doc__)
    parser.add_argument("--accounts", type=int, default=TARGET_ACCOUNTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-seconds", type=float, default=20.0)
    parser.add_argument(
        "--interval", type=float, default=5.0, help="seconds from cycle to cycle of an account"
    )
    parser.add_argument("--quick", action="store_true", help="300 accounts, 2 rounds")
    parser.add_argument("--profile", action="store_true", help="profile cycles without failures instead")
    chosen = parser.parse_args(args)
    count, rounds = (300, 2) if chosen.quick else (chosen.accounts, chosen.rounds)
    if chosen.profile:
        run(profile(count, chosen.round_seconds, chosen.interval))
        return
    figures = run(measure(count, rounds, chosen.round_seconds, chosen.interval))
    method = (
        f"MonitoringService, MarketService, ConnectionService, FyersClient and SQLite as in the server, every account due "
        f"each {chosen.interval:g} s, against the simulator in another process; {len(SYMBOLS)} symbols an account, no candle "
        "closing meanwhile (the last line shows the cost of fetching and evaluating candles). CPU is the process's own "
        "(process_time, all threads) over the cycles of a round. The same half stays healthy in all rounds; of the other, "
        f"in every second round, a third has ended at the broker (the seconds in which they end are not counted), a third hangs and a third is answered HTTP 500; {rounds} + "
        f"{rounds} rounds of {chosen.round_seconds:g} s in turns, medians of the rounds' p99; once with a simulator that answers at "
        f"once, once with {DISTANCE_S * 1000:.0f} ms added to every answer."
    )
    print_report(
        f"cycle: {count:,} accounts x {len(SYMBOLS)} symbols", figures, method, is_quick=chosen.quick
    )


if __name__ == "__main__":
    main([])
