"""The Hull Moving Average, exact: one value at a time, for a whole list, and for the candle that is still forming.

HMA(n) = WMA(⌊√n⌋) of 2·WMA(⌊n/2⌋) - WMA(n), where WMA(m) weighs the newest close m, the one before m-1, down to 1 (Alan
Hull, "Hull Moving Average", 2005). Half period and root are rounded down, as Hull, TradingView and TA-Lib do; programs that
round them otherwise show other numbers. What a crossing means is in `signals`.

Prices are decimals, so closes are kept as whole numbers of a small step (paise, unless the tick is finer). Every sum
is then a whole number and the average a fraction with a fixed denominator: nothing is rounded until a value is handed out,
the state cannot drift however many closes come in, and "the price equals its average" has a true answer. Both forms
round the same fraction once, and so return the very same floats.

A price between two steps refines the step by powers of ten, for good: the arithmetic stays exact and becomes a little
slower. A float is read as the shortest decimal that denotes it, which is what was written in the broker's answer.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from math import isqrt, lcm
from operator import mul
from typing import Final

from hullwatch.domain.failures import InvalidInput

MIN_PERIOD: Final = 2
MAX_PERIOD: Final = 1000

PAISA: Final = Decimal("0.01")
"""INR; every tick of NSE's and BSE's cash and equity derivatives is a multiple of it."""

_MAX_PRICE: Final = 1e300  # an average may exceed its prices threefold, and must still fit a float
_MAX_EXACT: Final = 9e15  # below 2**53 a whole number of steps and its float determine each other
_MAX_EXACT_SCALE: Final = 10**22  # the largest power of ten that a float holds exactly


def warm_up(period: int) -> int:
    """Return how many closes are needed before the first value: n + ⌊√n⌋ - 1."""
    checked = _checked_period(period)
    return checked + isqrt(checked) - 1


def hull_moving_average(closes: Iterable[float], period: int) -> list[float | None]:
    """Compute the HMA of closes, oldest first, no gaps: one value out per close in.

    Written from the definition over the whole list, with none of the recurrences of `HullMovingAverage`.

    Returns:
        INR; `None` until `warm_up(period)` closes are in.

    Raises:
        InvalidInput: the period is no whole number from 2 to 1000, or a close is no finite positive number.
    """
    length = _checked_period(period)
    half, root = length // 2, isqrt(length)
    units, scale = _in_whole_steps(closes)
    slow, fast = _weighted_sums(units, length), _weighted_sums(units, half)[length - half :]
    slow_divisor, fast_divisor = length * (length + 1) // 2, half * (half + 1) // 2
    # 2·fast/fast_divisor - slow/slow_divisor, over the product of both divisors
    raw = [2 * slow_divisor * near - fast_divisor * far for near, far in zip(fast, slow, strict=True)]
    denominator = slow_divisor * fast_divisor * (root * (root + 1) // 2) * scale
    values = [total / denominator for total in _weighted_sums(raw, root)]
    missing: list[float | None] = [None] * (len(units) - len(values))
    return missing + values


def _weighted_sums(values: Sequence[int], length: int) -> list[int]:
    """Return Σ weight·value over each full window, weights 1 (oldest) to `length` (newest), by prefix sums."""
    plain = [0, *accumulate(values)]
    placed = [0, *accumulate(map(mul, values, range(1, len(values) + 1)))]
    return [
        placed[end] - placed[end - length] - (end - length) * (plain[end] - plain[end - length])
        for end in range(length, len(values) + 1)
    ]


def _checked_period(period: object) -> int:
    if isinstance(period, bool) or not isinstance(period, int) or not MIN_PERIOD <= period <= MAX_PERIOD:
        raise InvalidInput(
            f"The period has to be a whole number from {MIN_PERIOD} to {MAX_PERIOD}.", field="period"
        )
    return int(period)


def _decimal(price: object) -> Decimal:
    """Return the decimal that `price` denotes; raises `InvalidInput` for whatever is not a price."""
    if isinstance(price, (int, float)) and not isinstance(price, bool) and 0 < price < _MAX_PRICE:
        return Decimal(price) if isinstance(price, int) else Decimal(float.__repr__(price))
    raise InvalidInput("A price has to be a finite number above 0.", field="close")


def _places(value: Decimal) -> int:
    """Return the digits behind the decimal point."""
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _power_of_ten(places: int) -> int:
    return int(10**places)


def _steps(price: Decimal, scale: int) -> int | Fraction:
    """Return `price` in steps of 1/`scale`; a fraction if it lies between two. Free of any decimal context."""
    numerator, denominator = price.as_integer_ratio()
    whole, rest = divmod(numerator * scale, denominator)
    return Fraction(numerator * scale, denominator) if rest else whole


def _in_whole_steps(closes: Iterable[float]) -> tuple[list[int], int]:
    """Return all closes in whole steps of one size, and how many such steps make a rupee."""
    exact = [_decimal(close) for close in closes]
    scale = _power_of_ten(max((_places(value) for value in exact), default=0))
    return [int(_steps(value, scale)) for value in exact], scale


class HullMovingAverage:
    """One HMA, fed with closed candles' closes one at a time; constant time each, about 3 kB at period 55.

    Args:
        period: length in candles, 2 to 1000.
        tick_size: smallest price step in INR; paise unless it is finer (currency pairs: 0.0025).

    Raises:
        InvalidInput: the period or the tick size is unusable.
    """

    __slots__ = (
        "_closes",
        "_denominator",
        "_fast_plain",
        "_fast_scale",
        "_fast_weight",
        "_fast_weighted",
        "_half",
        "_numerator",
        "_period",
        "_raw",
        "_raw_at",
        "_raw_plain",
        "_raw_weighted",
        "_root",
        "_scale",
        "_slope",
        "_slow_plain",
        "_slow_weight",
        "_slow_weighted",
        "_span",
        "_warm_up",
        "count",
        "value",
    )

    count: int
    """Closes taken in so far."""
    value: float | None
    """The average after the last close, INR; `None` while warming up."""

    def __init__(self, period: int, tick_size: Decimal | float = PAISA) -> None:
        self._period = _checked_period(period)
        self._half, self._root, self._warm_up = self._period // 2, isqrt(self._period), warm_up(period)
        places = max(_places(PAISA), _places(_checked_tick(tick_size)))
        slow, fast = self._period * (self._period + 1) // 2, self._half * (self._half + 1) // 2
        common = lcm(slow, fast)
        # raw = 2·fast sum/fast - slow sum/slow, kept as a whole number over `common`
        self._fast_weight, self._slow_weight = 2 * common // fast, common // slow
        self._span = common * (self._root * (self._root + 1) // 2)
        self._set_scale(_power_of_ten(places))
        self._closes, self._raw, self._raw_at = [0] * self._period, [0] * self._root, 0
        self._slow_plain = self._slow_weighted = self._fast_plain = self._fast_weighted = 0
        self._raw_plain = self._raw_weighted = 0
        self._numerator: int | None = None
        self._slope: int | None = None
        self.count, self.value = 0, None

    @property
    def period(self) -> int:
        """Length in candles."""
        return self._period

    @property
    def missing(self) -> int:
        """Closes still missing before the first value."""
        return max(0, self._warm_up - self.count)

    @property
    def exact(self) -> Fraction | None:
        """The average as the fraction it is, INR; `None` while warming up."""
        return None if self._numerator is None else Fraction(self._numerator, self._denominator)

    @property
    def slope(self) -> int | None:
        """1, 0 or -1: the last close raised, kept or lowered the average, exactly; `None` before there are two values."""
        return self._slope

    def update(self, close: float) -> float | None:
        """Take in the next closed candle's close and return the average, `None` while warming up.

        Raises:
            InvalidInput: the close is no finite positive number; nothing has changed.
        """
        scale = self._fast_scale
        # The usual close stands on the grid, which two float operations prove; all others go through decimals.
        if (
            type(close) is not float
            or not 0.0 < (scaled := close * scale) < _MAX_EXACT
            or (units := int(scaled + 0.5)) / scale != close
        ):
            units = self._refine(_decimal(close))
        # Each weighted sum gains the newcomer at full weight and loses one weight of everything it held before.
        period, half, count, closes = self._period, self._half, self.count, self._closes
        place = count % period
        self._slow_weighted += period * units - self._slow_plain
        self._slow_plain += units - closes[place]
        self._fast_weighted += half * units - self._fast_plain
        self._fast_plain += units - closes[place - half]
        closes[place] = units
        self.count = count = count + 1
        if count < period:
            return None
        raw = self._fast_weight * self._fast_weighted - self._slow_weight * self._slow_weighted
        raws, raw_at = self._raw, self._raw_at
        self._raw_weighted = numerator = self._raw_weighted + self._root * raw - self._raw_plain
        self._raw_plain += raw - raws[raw_at]
        raws[raw_at] = raw
        self._raw_at = (raw_at + 1) % self._root
        if count < self._warm_up:
            return None
        before = self._numerator
        if before is not None:
            self._slope = _sign(numerator - before)
        self._numerator = numerator
        self.value = value = numerator / self._denominator
        return value

    def preview(self, price: float) -> float | None:
        """Return the value that `update` would return if the forming candle closed at `price`; changes nothing.

        Raises:
            InvalidInput: the price is no finite positive number.
        """
        steps = self._steps_of(price)
        return None if self.missing > 1 else float(self._forming(steps) / self._denominator)

    def compare(self, price: float) -> int | None:
        """Return 1, 0 or -1: `price` is above, exactly on or below the average; `None` while warming up.

        Raises:
            InvalidInput: the price is no finite positive number.
        """
        steps = self._steps_of(price)
        return None if self._numerator is None else _sign(steps * self._span - self._numerator)

    def compare_preview(self, price: float) -> int | None:
        """Return 1, 0 or -1: a forming candle at `price` is above, exactly on or below its own average.

        Returns:
            `None` while even the forming candle would not complete the warm-up.

        Raises:
            InvalidInput: the price is no finite positive number.
        """
        steps = self._steps_of(price)
        return None if self.missing > 1 else _sign(steps * self._span - self._forming(steps))

    def _forming(self, steps: int | Fraction) -> int | Fraction:
        """Return the numerator with `steps` as the next close; it is affine in the price."""
        fast_weight, slow_weight, root = self._fast_weight, self._slow_weight, self._root
        raw_without = fast_weight * (self._fast_weighted - self._fast_plain) - slow_weight * (
            self._slow_weighted - self._slow_plain
        )
        without = self._raw_weighted - self._raw_plain + root * raw_without
        return without + root * (fast_weight * self._half - slow_weight * self._period) * steps

    def _steps_of(self, price: float) -> int | Fraction:
        """Return `price` in steps of the grid, which stays as it is."""
        scale = self._fast_scale
        if type(price) is float and 0.0 < (scaled := price * scale) < _MAX_EXACT:
            units = int(scaled + 0.5)
            if units / scale == price:
                return units
        return _steps(_decimal(price), self._scale)

    def _set_scale(self, scale: int) -> None:
        """Take `scale` steps a rupee; where no float holds it exactly, 0.0 sends every price through decimals."""
        self._scale = scale
        self._fast_scale = float(scale) if scale <= _MAX_EXACT_SCALE else 0.0
        self._denominator = self._span * scale

    def _refine(self, close: Decimal) -> int:
        """Return `close` in whole steps, after making the step so small that it fits."""
        scale = _power_of_ten(_places(close))
        if scale > self._scale:
            factor = scale // self._scale
            self._set_scale(scale)
            self._closes = [factor * units for units in self._closes]
            self._raw = [factor * raw for raw in self._raw]
            self._slow_plain *= factor
            self._slow_weighted *= factor
            self._fast_plain *= factor
            self._fast_weighted *= factor
            self._raw_plain *= factor
            self._raw_weighted *= factor
            if self._numerator is not None:
                self._numerator *= factor
        return int(_steps(close, self._scale))


def _checked_tick(tick_size: object) -> Decimal:
    if isinstance(tick_size, (int, float)) and not isinstance(tick_size, bool):
        tick_size = Decimal(repr(tick_size))
    if (
        isinstance(tick_size, Decimal)
        and tick_size.is_finite()
        and tick_size > 0
        and _places(tick_size) <= 12
    ):
        return tick_size
    raise InvalidInput("The tick size has to be a number above 0 with at most 12 decimals.", field="tickSize")


def _sign(number: int | Fraction) -> int:
    return (number > 0) - (number < 0)
