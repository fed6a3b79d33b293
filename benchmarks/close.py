"""One close of 2,000 accounts with 20 symbols each: when each signal is found, and whether one is missing.

With `--before DIR`, a checkout of an earlier commit, its server goes through the same close in turns with this one.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.broker_process import trading_moment
from benchmarks.close_run import SYMBOLS_OF_MARKET
from benchmarks.report import Figure, percentile, print_report, spread
from hullwatch.cli.runner import run

TARGET_ACCOUNTS = 2_000
SYMBOLS = 20
SHARES = (0.04, 0.30)
"""Of the lines that cross at the close; the target is for the first."""
VISIBLE = 0.8
"""Of the crossing lines: the quotes before the close show it. The others cross after the last quote."""
MOST_P95_S = 10.0
LATENCY_S = 0.05
FYERS_PER_SECOND, FYERS_PER_MINUTE, OWN_AT_ONCE = 10, 200, 4
CALLS_PER_SECOND = 500
HOUR_SPEED = 20.0
CLOSE_AFTER_OPEN = timedelta(minutes=90)
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    accounts: int
    symbols: int
    lead_s: float
    """From the start to the measured close: the warm-up must fit into it."""

    @property
    def lines(self) -> int:
        """All lines of all accounts."""
        return self.accounts * self.symbols


@dataclass(frozen=True, slots=True)
class Close:
    """The result of one close."""

    share: float
    expected: frozenset[tuple[str, str]]
    result: dict[str, Any]

    @property
    def delays(self) -> list[float]:
        """Seconds from the close to each expected signal that was found."""
        return [seconds for user, symbol, seconds in self.result["found"] if (user, symbol) in self.expected]

    @property
    def missing(self) -> int:
        """Expected signals that were not found."""
        return len(self.expected) - len(self.delays)

    @property
    def extra(self) -> int:
        """Signals that the prices do not give."""
        return len(self.result["found"]) - len(self.delays)

    @property
    def history_cpu_ms(self) -> float:
        """CPU of one history call, in milliseconds, without the quotes: each costs what it did before the close."""
        result = self.result
        before = int(result["quotesBefore"])
        quotes = sum(result["counts"]["quotesBySecond"].values()) - before
        of_quotes = float(result["cpuBeforeS"]) / before * quotes if before else 0.0
        return (float(result["cpuS"]) - of_quotes) / self.history_calls * 1000

    @property
    def history_calls(self) -> int:
        """History calls from shortly before the close until it was over."""
        return int(self.result["counts"]["total"].get("history", 0))


def expected_signals(size: Size, crossing: int) -> frozenset[tuple[str, str]]:
    """Return user and symbol of every line that crosses, from the prices that the broker serves."""
    step = SYMBOLS_OF_MARKET // size.symbols
    return frozenset(
        (f"usr_{account:05d}", f"NSE:S{number}-EQ")
        for account in range(size.accounts)
        for number in range(account % step, step * size.symbols, step)
        if number < crossing
    )


async def one_close(size: Size, share: float, source: Path) -> Close:
    """Run one close with the server in `source`."""
    crossing = round(share * SYMBOLS_OF_MARKET)
    close_at = trading_moment(CLOSE_AFTER_OPEN).timestamp()
    options = ["--accounts", str(size.accounts), "--symbols", str(size.symbols)]
    async with close_broker(int(close_at), crossing, size.lead_s) as address:
        result = await run_server(source, ["--broker", address, "--close-at", str(int(close_at)), *options])
    return Close(share, expected_signals(size, crossing), result)


async def calls_of_an_hour(source: Path, symbols: int) -> tuple[int, int]:
    """Return the history and quotes calls of one account in an hour, `HOUR_SPEED` times as fast as in real time."""
    close_at = trading_moment(CLOSE_AFTER_OPEN).timestamp()
    hour = ["--accounts", "1", "--symbols", str(symbols), "--speed", str(HOUR_SPEED), "--hour"]
    # 4 % of the lines cross at one close of the hour.
    async with close_broker(int(close_at), 20, 600.0, speed=HOUR_SPEED) as address:
        result = await run_server(source, ["--broker", address, "--close-at", str(int(close_at)), *hour])
    total = result["calls"]["total"]
    return int(total.get("history", 0)), int(total.get("quotes", 0))


@asynccontextmanager
async def close_broker(
    close_at: int, crossing: int, lead_s: float, *, speed: float = 1.0
) -> AsyncIterator[str]:
    """Run the broker of `close_broker` in its own process, `lead_s` before the close."""
    shift = close_at - lead_s - time.time()
    options = {
        "--close-at": close_at,
        "--crossing": crossing,
        "--visible": round(VISIBLE * crossing),
        "--shift": shift,
        "--speed": speed,
        "--latency": LATENCY_S,
    }
    words = [word for name, value in options.items() for word in (name, str(value))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.close_broker", *words, stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the broker has no output")
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


async def run_server(source: Path, options: Sequence[str]) -> dict[str, Any]:
    """Run `close_run` with the package in `source`, and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.close_run",
        *options,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(source / "src")},
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the run with {source} failed")
    return dict(json.loads(output))


def close_figures(close: Close, size: Size, name: str, *, has_target: bool) -> list[Figure]:
    """Return the figures of one close."""
    result, delays = close.result, close.delays
    counts = result["counts"]
    p95 = percentile(delays, 95) if delays else float("inf")
    is_within = (
        counts["mostInSecond"] <= FYERS_PER_SECOND
        and counts["mostInMinute"] <= FYERS_PER_MINUTE
        and counts["mostAtOnce"] <= OWN_AT_ONCE
    )
    second = max(0, close.history_calls - size.lines) / size.lines
    target = f"<= {MOST_P95_S:g} s" if has_target else ""
    quotes = sum(counts["quotesBySecond"].values()) - result["quotesBefore"]
    return [
        Figure(
            f"{name}{close.share:.0%} cross: close to signal, p95",
            f"{p95:.2f} s; {spread(delays, digits=2) if delays else 'no signal'}",
            target,
            is_met=p95 <= MOST_P95_S if has_target else None,
        ),
        Figure(
            "  signals missing, extra, late",
            f"{close.missing}, {close.extra}, {result['late']} of {len(close.expected):,}",
            "0, 0, 0" if has_target else "",
            is_met=not (close.missing or close.extra or result["late"]) if has_target else None,
        ),
        Figure(
            "  lines evaluated within the candle",
            f"{result['evaluated']:,} of {result['lines']:,}; last call {result['tookS']:.0f} s after the close",
            "all" if has_target else "",
            is_met=result["evaluated"] == result["lines"] if has_target else None,
        ),
        Figure(
            "  most calls of an account",
            f"{counts['mostInSecond']} in 1 s, {counts['mostInMinute']} in 60 s, {counts['mostAtOnce']} at once",
            f"{FYERS_PER_SECOND}, {FYERS_PER_MINUTE}, {OWN_AT_ONCE}" if has_target else "",
            is_met=is_within if has_target else None,
        ),
        Figure(
            "  most calls of the server", f"{counts['mostInSecondOfAll']} in 1 s, limit {CALLS_PER_SECOND}"
        ),
        Figure("  second readings", f"{second:.1%} of the lines ({close.history_calls:,} history calls)"),
        Figure("  quotes calls meanwhile", f"{quotes:,}"),
        Figure("  recorded as blind", str(result["blind"] or "no account")),
        Figure(
            "  CPU of a history call",
            f"{close.history_cpu_ms:.2f} ms; the server took {result['cpuBeforeS'] / result['beforeS']:.0%} of a core before the close",
        ),
    ]


async def measure(
    size: Size, shares: Sequence[float], before: Path | None, *, has_hour: bool
) -> list[Figure]:
    """Return the figures of each close, with the earlier source in turns if there is one."""
    figures: list[Figure] = []
    sources = [("", ROOT)] if before is None else [("before: ", before), ("", ROOT)]
    for share in shares:
        for name, source in sources:
            close = await one_close(size, share, source)
            is_target = source is ROOT and share == SHARES[0]
            figures += close_figures(close, size, name, has_target=is_target)
    if has_hour:
        for name, source in sources:
            history, quotes = await calls_of_an_hour(source, size.symbols)
            figures.append(
                Figure(f"{name}calls of an account in an hour", f"{history} history, {quotes} quotes")
            )
    return figures


def main(args: list[str]) -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks close", description=__doc__)
    parser.add_argument("--accounts", type=int, default=TARGET_ACCOUNTS)
    parser.add_argument("--symbols", type=int, default=SYMBOLS, help="of each account; a divisor of 500")
    parser.add_argument(
        "--shares", type=float, nargs="+", default=list(SHARES), help="of the lines that cross"
    )
    parser.add_argument("--lead", type=float, help="seconds from the start to the close; default: by size")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit, measured in turns")
    parser.add_argument("--no-hour", action="store_true", help="do not count the calls of an hour")
    parser.add_argument("--quick", action="store_true", help="100 accounts")
    chosen = parser.parse_args(args)
    accounts = 100 if chosen.quick else chosen.accounts
    lead_s = chosen.lead or 60 + accounts * chosen.symbols / CALLS_PER_SECOND * 2.5
    size = Size(accounts, chosen.symbols, lead_s)
    figures = run(measure(size, chosen.shares, chosen.before, has_hour=not chosen.no_hour))
    method = (
        "the application's own parts with SQLite, in real time, against a broker in another process that answers after "
        f"{LATENCY_S * 1000:.0f} ms and counts every call; 5-minute candles, rule cross, HMA 55, one page connected for each account. "
        f"Of {SYMBOLS_OF_MARKET} symbols a share jumps by 3 % in the last candle, {VISIBLE:.0%} of them a minute before the close and "
        "the others in its last second, after the last quote; the expected signals follow from these prices. From the close to the moment at "
        "which the signal is stored and published. CPU is the server process's own from the close until the last history call, "
        "less that of the quotes calls: all CPU of the twenty seconds before is counted as that of their quotes. The calls of an hour are those of one account at "
        f"{HOUR_SPEED:g} times real time, with one crossing line."
    )
    print_report(
        f"close: {accounts:,} accounts x {chosen.symbols} symbols", figures, method, is_quick=chosen.quick
    )


if __name__ == "__main__":
    main(sys.argv[1:])
