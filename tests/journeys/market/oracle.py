"""The signals of final candles, computed at once from the definitions and apart from the product.

HMA(n) is WMA(⌊√n⌋) of 2 · WMA(⌊n/2⌋) less WMA(n) (Alan Hull, 2005). Prices are whole paise and fractions are kept
whole, so a close on its average is a tie here exactly when it is one on paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from math import isqrt

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.signals.signals import Rule


@dataclass(frozen=True)
class TrueSignal:
    """A signal that the final candles give."""

    opened_at: datetime
    direction: str
    close: float
    hma: float


def averages(closes: Sequence[float], period: int) -> list[Fraction | None]:
    """Return the average after each close in paise, `None` while warming up."""
    paise = [round(close * 100) for close in closes]
    half, whole, root = period // 2, period, isqrt(period)
    raw: list[Fraction] = []
    found: list[Fraction | None] = []
    for count in range(1, len(paise) + 1):
        if count < whole:
            found.append(None)
            continue
        raw.append(2 * _weighted(paise[count - half : count]) - _weighted(paise[count - whole : count]))
        found.append(_weighted(raw[-root:]) if len(raw) >= root else None)
    return found


def _weighted(values: Sequence[int | Fraction]) -> Fraction:
    """Return the mean with weights 1, 2, 3, …, the newest value with the largest."""
    count = len(values)
    total = sum(weight * value for weight, value in enumerate(values, 1))
    return Fraction(total) / (count * (count + 1) // 2)


@dataclass(frozen=True)
class Truth:
    """What final candles give under one rule."""

    signals: list[TrueSignal]
    """Oldest first. A signal depends on no later candle."""
    hma: dict[datetime, float | None]
    """Opening → the average after the candle in INR, `None` while warming up."""


def truth_of(
    candles: Sequence[Candle], rule: Rule, period: int, *, restarts: Sequence[datetime] = ()
) -> Truth:
    """Return the signals and averages of closed candles.

    Args:
        candles: Final candles, oldest first.
        rule: `cross`: the close is strictly on the other side of the average than the close before, which may have
            been on it. `turn`: the average moves against its last movement.
        period: Length of the average.
        restarts: Openings at which the average starts anew, after a jump that history leaves unexplained.
    """
    signals: list[TrueSignal] = []
    values: dict[datetime, float | None] = {}
    for part in _parts(candles, restarts):
        hma = averages([candle.close for candle in part], period)
        find = _crossing if rule is Rule.CROSS else _turn
        last: int | None = None
        for index, candle in enumerate(part):
            average = hma[index]
            values[candle.opened_at] = None if average is None else float(average / 100)
            if average is None:
                continue
            last, direction = find(
                last, round(candle.close * 100), average, hma[index - 1] if index else None
            )
            if direction is not None:
                signals.append(TrueSignal(candle.opened_at, direction, candle.close, float(average / 100)))
    return Truth(signals, values)


def true_signals(
    candles: Sequence[Candle], rule: Rule, period: int, *, restarts: Sequence[datetime] = ()
) -> list[TrueSignal]:
    """Return the signals alone, oldest first."""
    return truth_of(candles, rule, period, restarts=restarts).signals


def _parts(candles: Sequence[Candle], restarts: Sequence[datetime]) -> list[list[Candle]]:
    parts: list[list[Candle]] = [[]]
    for candle in candles:
        if candle.opened_at in restarts:
            parts.append([])
        parts[-1].append(candle)
    return parts


def _crossing(
    last: int | None, close: int, average: Fraction, _: Fraction | None
) -> tuple[int | None, str | None]:
    side = (close > average) - (close < average)
    if last is None or side in (0, last):
        return side, None
    return side, "up" if side > 0 else "down"


def _turn(
    last: int | None, _: int, average: Fraction, before: Fraction | None
) -> tuple[int | None, str | None]:
    if before is None or average == before:
        return last, None
    movement = 1 if average > before else -1
    if last is None or movement == last:
        return movement, None
    return movement, "up" if movement > 0 else "down"
