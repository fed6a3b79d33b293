"""The time from a candle's close to its signal, for an account with 20 symbols at one-minute candles.

All waits are the real ones, measured by the market clock, which runs faster than real time here.
What the CPU and the network take counts as many times over as the market is faster, so the figures are worse than those of real time.
"""

import argparse
import asyncio
import time
from datetime import UTC, datetime, timedelta

from benchmarks.accounts import SYMBOLS, Watchlist, benchmark_application, link_accounts
from benchmarks.broker_process import broker_process, trading_moment
from benchmarks.report import Figure, percentile, print_report, spread
from hullwatch.app import Application
from hullwatch.cli.runner import run
from hullwatch.domain.events import CandleClosed, SignalFired
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.signals.signals import Rule
from hullwatch.runtime.clock import ScaledClock

MOST_P95_S = 6.0
RESOLUTION = "1"
CANDLE = timedelta(minutes=1)
PERIOD = 9
"""Short, so that there are many signals; the calls are the same for every period."""
STARTS_AFTER_OPEN = timedelta(hours=1, seconds=30)
FEWEST_SIGNALS = 100
WARM_WITHIN_S = 120.0


class Delays:
    """Seconds of market time from each candle's close to its evaluation and to its stored and published signal."""

    def __init__(self, application: Application, user_ids: list[str], since: datetime) -> None:
        self._application = application
        self._since = since
        self.evaluated: list[float] = []
        self.signalled: list[float] = []
        self._subscription = application.services.context.hub.subscribe(*user_ids)

    async def listen(self) -> None:
        """Record published events until cancelled."""
        async with self._subscription as deliveries:
            async for delivery in deliveries:
                now = self._application.services.context.clock.now()
                match delivery.message:
                    case CandleClosed(candle=candle):
                        self._note(self.evaluated, candle.opened_at + CANDLE, now)
                    case SignalFired(signal=signal):
                        self._note(self.signalled, signal.candle_closed_at, now)

    def _note(self, found: list[float], closed_at: datetime, now: datetime) -> None:
        if closed_at > self._since:
            found.append((now - closed_at).total_seconds())

    @property
    def was_overrun(self) -> bool:
        """Whether events were published faster than they were recorded."""
        return self._subscription.overrun or self._subscription.missed


async def measure(accounts: int, closes: int, speed: float) -> list[Figure]:
    """Return the figures of this many closes."""
    starts_at = trading_moment(STARTS_AFTER_OPEN)
    watchlist = Watchlist(resolution=RESOLUTION, period=PERIOD, rules=(Rule.CROSS, Rule.TURN))
    async with broker_process(starts_at=starts_at, speed=0.0) as broker:
        clock = ScaledClock(speed=0.0, starts_at=starts_at)
        async with benchmark_application(broker, clock) as application:
            linked = await link_accounts(application, broker, accounts, watchlist)
            await broker.control("POST", "/clock", {"speed": speed})
            answer = await broker.control("GET", "/clock")
            clock.synchronise(datetime.fromisoformat(answer["now"]).astimezone(UTC), speed)
            await application.services.connections.load()
            await application.services.monitoring.load()
            application.services.connections.start_jobs()
            application.services.monitoring.start_jobs(application.services.supervisor)
            users = [account.user_id for account in linked]
            await _all_watching(application, users)
            await broker.control("DELETE", "/calls")
            delays = Delays(application, users, since=clock.now())
            listening = asyncio.create_task(delays.listen(), name="delays")
            await clock.sleep(closes * CANDLE.total_seconds())
            await clock.sleep(20.0)
            listening.cancel()
            calls = await broker.control("GET", "/calls")
    expected = accounts * len(SYMBOLS) * closes
    if delays.was_overrun:
        raise RuntimeError("events were published faster than they were recorded")
    p95 = percentile(delays.signalled, 95)
    history = sum(number for path, number in calls["byPath"].items() if path.endswith("/history"))
    second = history / len(delays.evaluated) - 1
    return [
        Figure(
            "from close to signal, p95",
            f"{p95:.2f} s of market time, {len(delays.signalled):,} signals",
            f"<= {MOST_P95_S:g} s",
            is_met=p95 <= MOST_P95_S if len(delays.signalled) >= FEWEST_SIGNALS else None,
        ),
        Figure("from close to signal", spread(delays.signalled, digits=2)),
        Figure("from close to evaluated candle", spread(delays.evaluated, digits=2)),
        Figure("second readings", f"{second:.1%} of the candles ({history:,} history calls)"),
        Figure("candles evaluated", f"{len(delays.evaluated):,} of about {expected:,}"),
        Figure(
            "calls by HTTP status", ", ".join(f"{status}: {n}" for status, n in calls["byStatus"].items())
        ),
    ]


async def _all_watching(application: Application, users: list[str]) -> None:
    deadline = time.monotonic() + WARM_WITHIN_S
    while any(
        application.services.monitoring.state(user).status is not WatchStatus.WATCHING for user in users
    ):
        if time.monotonic() > deadline:
            raise TimeoutError("not everybody is watched")
        await asyncio.sleep(0.05)


def main(args: list[str]) -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks latency", description=__doc__)
    parser.add_argument("--accounts", type=int, default=1)
    parser.add_argument("--closes", type=int, default=20)
    parser.add_argument("--speed", type=float, default=5.0, help="market seconds in a real second")
    parser.add_argument("--quick", action="store_true", help="8 closes at speed 10")
    chosen = parser.parse_args(args)
    closes, speed = (8, 10.0) if chosen.quick else (chosen.closes, chosen.speed)
    figures = run(measure(chosen.accounts, closes, speed))
    method = (
        f"the application's own parts against the simulator in another process, both at {speed:g} market seconds a second, so that "
        f"CPU and network weigh {speed:g} times; {chosen.accounts} account(s) with {len(SYMBOLS)} symbols, resolution "
        f"{RESOLUTION} and both rules, HMA {PERIOD}; {closes} closes after the first ones; from the candle's close to the "
        "moment at which its signal is stored and published to the event stream. Waiting until the close has settled (3 s) and "
        f"the account's pacing (8 calls a second) are in it."
    )
    print_report(f"latency: {len(SYMBOLS)} symbols an account", figures, method, is_quick=chosen.quick)


if __name__ == "__main__":
    main([])
