"""The Hull Moving Average compared with other libraries: time per candle, preview and series, and errors by rounding.

All contenders see the same closes in the same process, in turns; the figure is the median of the rounds, in CPU time, and
the ratio is to ours. A peer that is not installed is named as missing. `make bench` installs TA-Lib, talipp and tulipy;
hexital joins in when it is there.
"""

import argparse
import math
import platform
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hullwatch.domain.signals.hma import HullMovingAverage, hull_moving_average, warm_up

PERIOD = 55
Contender = tuple[str, Callable[[], object]]


def closes_of(kind: str, count: int) -> list[float]:
    """Return a reproducible series: a random walk in ticks of 0.05, or an illiquid one that rarely moves."""
    chance, paise, closes = random.Random(17), 100_000, []
    for _ in range(count):
        if kind == "lively":
            paise = max(5, paise + 5 * chance.randrange(-8, 9))
        elif chance.random() < 0.15:
            paise = max(5, paise + 5 * chance.choice((-1, 1)))
        closes.append(paise / 100)
    return closes


def installed(package: str) -> str | None:
    """Return the version of a library, `None` if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def peer(module: str) -> Any:
    """Return a library's module, `None` if it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        return None


def streaming(closes: list[float], history: int) -> list[Contender]:
    """Return for each library a function that adds all closes and keeps the values after `history`."""
    past, future = closes[:history], closes[history:]

    def ours() -> list[float | None]:
        average = HullMovingAverage(PERIOD)
        for close in past:
            average.update(close)
        return [average.update(close) for close in future]

    peers = (
        ("TA-Lib stream (C)", ta_lib_stream(past, future)),
        ("tulipy, last window (C)", tulipy_stream(past, future)),
        ("talipp (Python)", talipp_stream(past, future)),
        ("hexital (Python)", hexital_stream(past, future)),
    )
    return [("hullwatch, exact", ours), *((name, work) for name, work in peers if work is not None)]


def ta_lib_stream(past: list[float], future: list[float]) -> Callable[[], object] | None:
    """TA-Lib: a handle that is opened on the history and updated."""
    stream, numpy = peer("talib.stream"), peer("numpy")
    if stream is None:
        return None

    def run() -> list[float]:
        handle = stream.HMA(numpy.array(past), PERIOD)
        return [handle.update(close) for close in future]

    return run


def tulipy_stream(past: list[float], future: list[float]) -> Callable[[], object] | None:
    """tulipy: it has no state, so it computes the last window for each close."""
    tulipy, numpy = peer("tulipy"), peer("numpy")
    if tulipy is None:
        return None
    buffer, width = numpy.array(past + future), warm_up(PERIOD)
    ends = range(len(past) + 1, len(past) + len(future) + 1)
    return lambda: [tulipy.hma(buffer[end - width : end], PERIOD)[-1] for end in ends]


def talipp_stream(past: list[float], future: list[float]) -> Callable[[], object] | None:
    """talipp: an indicator that is updated with closes."""
    indicators = peer("talipp.indicators")
    if indicators is None:
        return None

    def run() -> list[float]:
        indicator, values = indicators.HMA(PERIOD, past), []
        for close in future:
            indicator.add(close)
            values.append(indicator[-1])
        return values

    return run


def hexital_stream(past: list[float], future: list[float]) -> Callable[[], object] | None:
    """hexital: an indicator that is updated with whole candles."""
    hexital = peer("hexital")
    if hexital is None:
        return None
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def run() -> list[object]:
        indicator, values = hexital.HMA(candles=[], period=PERIOD), []
        for number, close in enumerate(past + future):
            opened_at = start + timedelta(minutes=5 * number)
            indicator.append(hexital.Candle(close, close, close, close, 1, timestamp=opened_at))
            values.append(indicator.reading())
        return values[len(past) :]

    return run


def previews(closes: list[float], history: int) -> list[Contender]:
    """Return for each library a function that previews each later close as the forming price."""
    past, future = closes[:history], closes[history:]
    average = HullMovingAverage(PERIOD)
    for close in past:
        average.update(close)
    contenders: list[Contender] = [("hullwatch, exact", lambda: [average.preview(close) for close in future])]
    stream, numpy = peer("talib.stream"), peer("numpy")
    if stream is not None:
        handle = stream.HMA(numpy.array(past), PERIOD)
        contenders.append(("TA-Lib peek (C)", lambda: [handle.peek(close) for close in future]))
    return contenders


def batch(closes: list[float]) -> list[Contender]:
    """Return for each library a function that computes the whole list."""
    contenders: list[Contender] = [("hullwatch, exact", lambda: hull_moving_average(closes, PERIOD))]
    numpy, talib, tulipy, talipp = (peer(name) for name in ("numpy", "talib", "tulipy", "talipp.indicators"))
    array = None if numpy is None else numpy.array(closes)
    if talib is not None:
        contenders.append(("TA-Lib (C)", lambda: talib.HMA(array, PERIOD)))
    if tulipy is not None:
        contenders.append(("tulipy (C)", lambda: tulipy.hma(array, PERIOD)))
    if talipp is not None:
        contenders.append(("talipp (Python)", lambda: list(talipp.HMA(PERIOD, closes))))
    return contenders


def measured(contenders: list[Contender], rounds: int) -> dict[str, float]:
    """Return each library's median CPU seconds; they alternate, so that a busy machine slows all of them equally."""
    times: dict[str, list[float]] = {name: [] for name, _ in contenders}
    for _ in range(rounds):
        for name, work in contenders:
            began = time.process_time()
            work()
            times[name].append(time.process_time() - began)
    return {name: statistics.median(taken) for name, taken in times.items()}


def table(title: str, seconds: dict[str, float], operations: int) -> list[str]:
    """Return the lines of one comparison, nanoseconds per operation and the ratio to ours."""
    ours = next(iter(seconds.values()))
    lines = [title]
    for name, taken in seconds.items():
        lines.append(f"  {name:<26}{taken / operations * 1e9:>12,.0f} ns{taken / ours:>10.2f} x")
    return lines


def crossings(closes: list[float], values: list[float | None]) -> set[int]:
    """Return where the close crosses the values, with TradingView's rule for ties."""
    found = set()
    for i in range(1, len(closes)):
        now, before = values[i], values[i - 1]
        if now is None or before is None:
            continue
        up = closes[i] > now and closes[i - 1] <= before
        down = closes[i] < now and closes[i - 1] >= before
        if up or down:
            found.add(i)
    return found


def true_crossings(closes: list[float]) -> set[int]:
    """Return where the close crosses the average by the definition, computed in fractions."""
    half, root = PERIOD // 2, int(PERIOD**0.5)
    exact = [Fraction(round(close * 100)) for close in closes]

    def weighted(values: list[Fraction], length: int) -> list[Fraction]:
        total = length * (length + 1) // 2
        return [
            sum(
                (weight * value for weight, value in enumerate(values[end - length : end], start=1)),
                Fraction(0),
            )
            / total
            for end in range(length, len(values) + 1)
        ]

    raw = [
        2 * near - far
        for near, far in zip(weighted(exact, half)[PERIOD - half :], weighted(exact, PERIOD), strict=True)
    ]
    values = weighted(raw, root)
    sides = [
        (close > value) - (close < value) for close, value in zip(exact[-len(values) :], values, strict=True)
    ]
    start = len(closes) - len(sides)
    return {
        start + i
        for i in range(1, len(sides))
        if (sides[i] > 0 and sides[i - 1] <= 0) or (sides[i] < 0 and sides[i - 1] >= 0)
    }


def tie_errors(count: int) -> list[str]:
    """Return how many false and missing crossings of an illiquid series each library has."""
    closes = closes_of("illiquid", count)
    truth = true_crossings(closes)
    answers: dict[str, list[float | None]] = {"hullwatch": hull_moving_average(closes, PERIOD)}
    numpy, talib, tulipy, talipp = (peer(name) for name in ("numpy", "talib", "tulipy", "talipp.indicators"))
    if talib is not None:
        values = talib.HMA(numpy.array(closes), PERIOD).tolist()
        answers["TA-Lib"] = [None if math.isnan(value) else value for value in values]
    if tulipy is not None:
        late = tulipy.hma(numpy.array(closes), PERIOD).tolist()
        answers["tulipy"] = [None] * (count - len(late)) + late
    if talipp is not None:
        answers["talipp"] = list(talipp.HMA(PERIOD, closes))
    lines = [f"Crossings of an illiquid series, {count:,} candles, {len(truth):,} true ones (false + missed)"]
    for name, values in answers.items():
        found = crossings(closes, values)
        lines.append(f"  {name:<26}{len(found - truth):>8,} + {len(truth - found):,}")
    return lines


def run(rounds: int = 7, candles: int = 4_000) -> str:
    """Run all comparisons and return the report."""
    peers = {name: installed(name) for name in ("TA-Lib", "tulipy", "talipp", "hexital")}
    lines = [
        f"Hull Moving Average, period {PERIOD}: Python {platform.python_version()}, "
        + ", ".join(f"{name} {found or 'not installed'}" for name, found in peers.items()),
        (
            f"CPU time, median of {rounds} rounds in turns, {candles:,} candles a round; "
            "streaming includes opening on 200 candles of history."
        ),
        "",
    ]
    closes = closes_of("lively", 200 + candles)
    lines += table("One closed candle, streaming", measured(streaming(closes, 200), rounds), candles)
    lines += table("One preview of the forming candle", measured(previews(closes, 200), rounds), candles)
    lines += table("A whole list, per close", measured(batch(closes), rounds), len(closes))
    lines += tie_errors(20_000)
    return "\n".join(lines)


def main(args: list[str]) -> None:
    """Print the report; ``--rounds`` and ``--candles`` change its size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks hma", description="HMA beside its peers.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--candles", type=int, default=4_000)
    chosen = parser.parse_args(args)
    print(run(chosen.rounds, chosen.candles))


if __name__ == "__main__":
    main([])
