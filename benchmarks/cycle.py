"""Monitoring 2,000 accounts with 20 symbols each: what a cycle costs, and whether one half's trouble slows the other half down.

The accounts that stay healthy are the same in all rounds; rounds with and without trouble among the others alternate.
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

from benchmarks.accounts import SYMBOLS, Account, Watchlist, benchmark_house, link_accounts, log_in_again
from benchmarks.broker_process import BrokerProcess, ShiftedClock, broker_process, for_each, trading_moment
from benchmarks.report import Figure, percentile, spread, tell
from hullwatch.app import Application
from hullwatch.cli.runner import run
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.services.monitoring.service import MonitoringService

TARGET_ACCOUNTS = 2_000
MOST_CPU_S = 2.5
LONGEST_FACTOR = 1.2
DISTANCE_S = 0.1
"""How long every answer takes in half of the rounds: about what a service over the internet takes."""
RESOLUTION = "60"
STARTS_AFTER_OPEN = timedelta(minutes=62)
"""Just after a 60-minute candle closed and settled: no candle closes while cycles are measured."""
WARM_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Cycle:
    """One account's cycle; `outcome` is the status it ended in."""

    user_id: str
    outcome: str
    seconds: float


class CycleMetrics:
    """Notes whose cycle took how long: the runner reports from within the task that it named after the account."""

    def __init__(self, application: Application) -> None:
        self._metrics = application.metrics
        self.cycles: list[Cycle] = []

    def cycle(self, outcome: str, seconds: float) -> None:
        """Note one cycle, and count it as the server does."""
        self._metrics.cycle(outcome, seconds)
        task = asyncio.current_task()
        name = task.get_name() if task else ""
        self.cycles.append(Cycle(name.removeprefix("cycle "), outcome, seconds))

    def signal(self) -> None:
        """Count a signal."""
        self._metrics.signal()


@dataclass(frozen=True, slots=True)
class Round:
    """What one stretch of watching showed."""

    cycles: list[Cycle]
    took_s: float
    cpu_s: float
    broker_cpu_s: float
    missed: int
    """Cycles that fell out because the one before had not ended."""

    def seconds_of(self, users: frozenset[str]) -> list[float]:
        """Return how long these users' cycles took."""
        return [cycle.seconds for cycle in self.cycles if cycle.user_id in users]


@dataclass(frozen=True, slots=True)
class Scene:
    """A running application with everybody being watched."""

    application: Application
    broker: BrokerProcess
    monitoring: MonitoringService
    metrics: CycleMetrics
    accounts: list[Account]
    warm_up_cpu_s: float
    warm_up_s: float

    async def observe(self, seconds: float) -> Round:
        """Let cycles run and return what they showed."""
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
        """Wait until every account's latest cycle went well."""
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
async def watched(count: int, interval_s: float) -> AsyncIterator[Scene]:
    """Have so many accounts watched by the application's own parts, warmed up."""
    starts_at = trading_moment(STARTS_AFTER_OPEN)
    async with broker_process(starts_at=starts_at) as broker:
        answer = await broker.control("GET", "/clock")
        clock = ShiftedClock(starts_at.fromisoformat(answer["now"]))
        async with benchmark_house(broker, clock) as application:
            accounts = await link_accounts(application, broker, count, Watchlist(resolution=RESOLUTION))
            await application.services.connections.load()
            application.services.connections.start_jobs()
            metrics = CycleMetrics(application)
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
            scene = Scene(application, broker, monitoring, metrics, accounts, 0.0, 0.0)
            await scene.all_watching()
            warm_s, warm_cpu_s = time.monotonic() - began, time.process_time() - cpu_began
            yield Scene(application, broker, monitoring, metrics, accounts, warm_cpu_s, warm_s)
            await monitoring.close()


async def trouble(scene: Scene, cohort: Sequence[Account]) -> None:
    """Let a third of these accounts' sessions end at the broker, a third hang and a third be answered with errors, until that is known."""
    ended, hanging, failing = (cohort[start::3] for start in range(3))
    await for_each(
        ended, lambda account: scene.broker.control("POST", f"/accounts/{account.fyers_id}/expire")
    )
    await for_each(hanging, lambda account: scene.broker.fault({"kind": "hang", "fyersId": account.fyers_id}))
    await for_each(
        failing,
        lambda account: scene.broker.fault(
            {"kind": "http_error", "status": 500, "fyersId": account.fyers_id}
        ),
    )
    # The figure is about living beside accounts that are expired, hanging or failing, not about the moment in which they all become so.
    while any(  # noqa: ASYNC110 - nobody tells when the last of them has ended
        scene.application.services.connections.connection(account.user_id).has_session for account in ended
    ):
        await asyncio.sleep(0.5)
    await asyncio.sleep(5.0)


async def relief(scene: Scene, cohort: Sequence[Account]) -> None:
    """End the trouble: no faults, new logins for those whose sessions ended, everybody watched again."""
    await scene.broker.clear_faults()
    await for_each(cohort[0::3], lambda account: log_in_again(scene.application, scene.broker, account))
    await scene.all_watching()
    await asyncio.sleep(5.0)


async def measure(count: int, rounds: int, round_s: float, interval_s: float) -> list[Figure]:
    """Return the figures of alternating rounds, first with a broker that answers at once, then with one at a distance."""
    async with watched(count, interval_s) as scene:
        healthy = frozenset(account.user_id for account in scene.accounts[: count // 2])
        await asyncio.sleep(2 * interval_s)  # what the start left behind has gone by
        near = await _alternate(scene, rounds, round_s, latency_s=0.0)
        far = await _alternate(scene, rounds, round_s, latency_s=DISTANCE_S)
    return [
        *_cost(near[0], count),
        *_isolation(*near, healthy, "answers at once"),
        *_isolation(*far, healthy, f"{DISTANCE_S * 1000:.0f} ms away"),
        *_warm_up(scene, count),
    ]


async def _alternate(
    scene: Scene, rounds: int, round_s: float, *, latency_s: float
) -> tuple[list[Round], list[Round]]:
    """Return rounds without and with trouble, which took turns."""
    cohort = scene.accounts[len(scene.accounts) // 2 :]
    calm: list[Round] = []
    troubled: list[Round] = []
    for _ in range(rounds):
        if latency_s:
            await scene.broker.fault({"kind": "latency", "latencyMs": latency_s * 1000})
        calm.append(await scene.observe(round_s))
        await trouble(scene, cohort)
        troubled.append(await scene.observe(round_s))
        await relief(scene, cohort)
    return calm, troubled


def _cost(calm: list[Round], count: int) -> list[Figure]:
    """Return what a cycle of all accounts costs, in the median round."""
    costs = [each.cpu_s / len(each.cycles) * count for each in calm]
    broker = [each.broker_cpu_s / len(each.cycles) * count for each in calm]
    cost_s = statistics.median(costs)
    outcomes = Counter(cycle.outcome for each in calm for cycle in each.cycles)
    missed = sum(each.missed for each in calm)
    rate = sum(len(each.cycles) for each in calm) / sum(each.took_s for each in calm)
    return [
        Figure(
            "CPU of a cycle, all accounts",
            f"{cost_s:.2f} s ({cost_s / count * 1000:.2f} ms an account; rounds {min(costs):.2f} to {max(costs):.2f})",
            f"<= {MOST_CPU_S * count / TARGET_ACCOUNTS:g} s",
            is_met=cost_s <= MOST_CPU_S * count / TARGET_ACCOUNTS,
        ),
        Figure("CPU of the simulator for it", f"{statistics.median(broker):.2f} s"),
        Figure(
            "cycles without trouble",
            f"{rate:.0f} a second; {dict(outcomes)}; {missed} fell out",
        ),
    ]


def _isolation(
    calm: list[Round], troubled: list[Round], healthy: frozenset[str], broker: str
) -> list[Figure]:
    """Return how healthy accounts fare beside troubled ones; p99 of each round, their medians compared."""
    without = [percentile(each.seconds_of(healthy), 99) for each in calm]
    beside = [percentile(each.seconds_of(healthy), 99) for each in troubled]
    ratio = statistics.median(beside) / statistics.median(without)
    failed = Counter(
        cycle.outcome
        for each in troubled
        for cycle in each.cycles
        if cycle.user_id in healthy and cycle.outcome != WatchStatus.WATCHING.value
    )
    total = sum(len(each.seconds_of(healthy)) for each in troubled)
    return [
        Figure(
            f"healthy p99, Fyers {broker}",
            f"{ratio:.2f} x ({_shown(beside)} against {_shown(without)} ms)",
            f"<= {LONGEST_FACTOR} x without trouble",
            is_met=ratio <= LONGEST_FACTOR,
        ),
        Figure("  healthy cycles that failed", f"{failed.total()} of {total:,}", "none", is_met=not failed),
        Figure("  without trouble", _pooled(calm, healthy)),
        Figure("  beside trouble", _pooled(troubled, healthy)),
    ]


def _pooled(rounds: list[Round], healthy: frozenset[str]) -> str:
    return spread([each for one in rounds for each in one.seconds_of(healthy)], "ms", 1000, 1)


def _shown(p99s: list[float]) -> str:
    return "/".join(f"{value * 1000:.0f}" for value in p99s)


def _warm_up(scene: Scene, count: int) -> list[Figure]:
    fetches = count * len(SYMBOLS)
    return [
        Figure(
            "start from nothing",
            f"{fetches:,} histories in {scene.warm_up_s:.0f} s, {scene.warm_up_cpu_s / fetches * 1000:.2f} ms of CPU each",
        )
    ]


async def profile(count: int, seconds: float, interval_s: float) -> None:
    """Print where the CPU of cycles without trouble goes."""
    async with watched(count, interval_s) as scene:
        profiler = cProfile.Profile()
        profiler.enable()
        seen = await scene.observe(seconds)
        profiler.disable()
    print(
        f"{len(seen.cycles)} cycles, {seen.cpu_s / len(seen.cycles) * 1000:.2f} ms of CPU each with the profiler on"
    )
    for order in ("tottime", "cumulative"):
        pstats.Stats(profiler).sort_stats(order).print_stats(45)


def main(args: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks cycle", description=__doc__)
    parser.add_argument("--accounts", type=int, default=TARGET_ACCOUNTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-seconds", type=float, default=20.0)
    parser.add_argument(
        "--interval", type=float, default=5.0, help="seconds from cycle to cycle of an account"
    )
    parser.add_argument("--quick", action="store_true", help="300 accounts, 2 rounds")
    parser.add_argument("--profile", action="store_true", help="profile cycles without trouble instead")
    chosen = parser.parse_args(args)
    count, rounds = (300, 2) if chosen.quick else (chosen.accounts, chosen.rounds)
    if chosen.profile:
        run(profile(count, chosen.round_seconds, chosen.interval))
        return
    figures = run(measure(count, rounds, chosen.round_seconds, chosen.interval))
    method = (
        f"MonitoringService, MarketService, ConnectionService, FyersClient and SQLite as in the server, every account due "
        f"each {chosen.interval:g} s, against the simulator in another process; {len(SYMBOLS)} symbols an account, no candle "
        "closing meanwhile (the last line tells what fetching and judging candles costs). CPU is the process's own "
        "(process_time, all threads) over the cycles of a round. The same half stays healthy in all rounds; of the other, "
        f"in every second round, a third has ended at the broker (the seconds in which they end are not counted), a third hangs and a third is answered HTTP 500; {rounds} + "
        f"{rounds} rounds of {chosen.round_seconds:g} s in turns, medians of the rounds' p99; once with a simulator that answers at "
        f"once, once with {DISTANCE_S * 1000:.0f} ms added to every answer."
    )
    tell(f"cycle: {count:,} accounts x {len(SYMBOLS)} symbols", figures, method, is_quick=chosen.quick)


if __name__ == "__main__":
    main([])
