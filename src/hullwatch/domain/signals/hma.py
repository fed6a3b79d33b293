"""The Hull Moving Average, exact: one value at a time, for a whole list, and for the forming candle.

HMA(n) = WMA(⌊√n⌋) of 2·WMA(⌊n/2⌋) - WMA(n), where WMA(m) weighs the newest close m, the one before m-1, down
to 1 (Alan Hull, "Hull Moving Average", 2005). Half period and root are rounded down, as Hull, TradingView and
TA-Lib do; programs that round them otherwise show other numbers.

Prices are decimals, so closes are kept as whole numbers of a small step: paise, or a finer tick. Every sum is
a whole number and the average is a fraction with a fixed denominator. Nothing is rounded until a value is
returned, so the state cannot drift, and a price can be compared with its average exactly. Both forms round
the same fraction once, and so return the same floats.

A price between two steps makes the step smaller by powers of ten, permanently; the arithmetic stays exact and
becomes a little slower. A float is read as the shortest decimal that denotes it, which is what the broker's
answer contains.
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
_MAX_EXACT: Final = 2.0**51  # below it a step more or less is another float, and adding a half rounds nothing
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
    """Return the decimal that `price` denotes; raises `InvalidInput` if it is no price."""
    if isinstance(price, (int, float)) and not isinstance(price, bool) and 0 < price < _MAX_PRICE:
        return Decimal(price) if isinstance(price, int) else Decimal(float.__repr__(price))
    raise InvalidInput("A price has to be a finite number above 0.", field="close")


def _decimals(value: Decimal) -> int:
    """Return the number of decimals."""
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _power_of_ten(decimals: int) -> int:
    return int(10**decimals)


def _steps(price: Decimal, scale: int) -> int | Fraction:
    """Return `price` in steps of 1/`scale`, a fraction if it lies between two; independent of the decimal context."""
    numerator, denominator = price.as_integer_ratio()
    whole, rest = divmod(numerator * scale, denominator)
    return Fraction(numerator * scale, denominator) if rest else whole


def _on_grid(price: object, scale: float) -> int:
    """Return `price` in steps of 1/`scale` if two float operations prove that it is a whole number of them, else 0."""
    if type(price) is float and 0.0 < (scaled := price * scale) < _MAX_EXACT:
        units = int(scaled + 0.5)
        if units / scale == price:
            return units
    return 0


def _in_whole_steps(closes: Iterable[float]) -> tuple[list[int], int]:
    """Return all closes in whole steps of one size, and the number of steps in a rupee."""
    given = list(closes)
    in_paise = [_on_grid(close, 100.0) for close in given]
    if all(in_paise):
        return in_paise, 100
    exact = [_decimal(close) for close in given]
    scale = _power_of_ten(max((_decimals(value) for value in exact), default=0))
    return [int(_steps(value, scale)) for value in exact], scale


class HullMovingAverage:
    """One HMA, updated with one close at a time in constant time; about 3 kB at period 55.

    Args:
        period: length in candles, 2 to 1000.
        tick_size: smallest price step in INR; paise unless it is finer (currency pairs: 0.0025).

    Raises:
        InvalidInput: the period or the tick size is unusable.
    """

    # With x the newest close in steps, S(m) the sum of the last m closes before it, and a, b the weights of both averages in
    # raw = 2·WMA(h) - WMA(n):   raw' = raw + (a·h - b·n)·x - drag,   where drag = a·S(h) - b·S(n).
    # The outer average follows the same pattern with raw in index of x: numerator' = numerator + √n·raw' - raw sum.
    __slots__ = (
        "_before",
        "_closes",
        "_denominator",
        "_drag",
        "_fast_scale",
        "_fast_weight",
        "_half",
        "_newcomer",
        "_numerator",
        "_period",
        "_pull",
        "_raw",
        "_raw_sum",
        "_raws",
        "_root",
        "_scale",
        "_slow_weight",
        "_span",
        "_warm_up",
        "count",
        "value",
    )

    count: int
    """Number of closes so far."""
    value: float | None
    """The average after the last close, INR; `None` while warming up."""

    def __init__(self, period: int, tick_size: Decimal | float = PAISA) -> None:
        self._period = _checked_period(period)
        self._half, self._root, self._warm_up = self._period // 2, isqrt(self._period), warm_up(period)
        decimals = max(_decimals(PAISA), _decimals(_checked_tick(tick_size)))
        slow, fast = self._period * (self._period + 1) // 2, self._half * (self._half + 1) // 2
        common = lcm(slow, fast)
        # raw is kept as a whole number over `common`, the average as one over `_denominator`
        self._fast_weight, self._slow_weight = 2 * common // fast, common // slow
        self._pull = self._fast_weight * self._half - self._slow_weight * self._period
        self._newcomer = self._fast_weight - self._slow_weight
        self._span = common * (self._root * (self._root + 1) // 2)
        self._set_scale(_power_of_ten(decimals))
        self._closes, self._raws = [0] * self._period, [0] * self._root
        self._raw = self._drag = self._raw_sum = self._numerator = self._before = 0
        self.count, self.value = 0, None

    @property
    def period(self) -> int:
        """Length in candles."""
        return self._period

    @property
    def missing(self) -> int:
        """Closes missing before the first value."""
        return max(0, self._warm_up - self.count)

    @property
    def exact(self) -> Fraction | None:
        """The average as an exact fraction, INR; `None` while warming up."""
        return None if self.count < self._warm_up else Fraction(self._numerator, self._denominator)

    @property
    def slope(self) -> int | None:
        """1, 0 or -1: the last close raised, kept or lowered the average, exactly; `None` before there are two values."""
        return _sign(self._numerator - self._before) if self.count > self._warm_up else None

    def update(self, close: float) -> float | None:
        """Add the next closed candle's close; return the average, `None` while warming up.

        Raises:
            InvalidInput: the close is no finite positive number; nothing has changed.
        """
        scale = self._fast_scale
        # `_on_grid`, inlined: this is the hot path
        if (
            type(close) is not float
            or not 0.0 < (scaled := close * scale) < _MAX_EXACT
            or (units := int(scaled + 0.5)) / scale != close
        ):
            units = self._refine(_decimal(close))
        period, count, closes = self._period, self.count, self._closes
        index = count % period
        self._raw = raw = self._raw + self._pull * units - self._drag
        self._drag += (
            self._newcomer * units
            - self._fast_weight * closes[index - self._half]
            + self._slow_weight * closes[index]
        )
        closes[index] = units
        self.count = count = count + 1
        if count < period:
            return None
        raws, root, before = self._raws, self._root, self._numerator
        index = count % root
        self._before = before
        self._numerator = numerator = before + root * raw - self._raw_sum
        self._raw_sum += raw - raws[index]
        raws[index] = raw
        if count < self._warm_up:
            return None
        self.value = value = numerator / self._denominator
        return value

    def preview(self, price: float) -> float | None:
        """Return the value of `update` if the forming candle closed at `price`; nothing is changed.

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
        return None if self.count < self._warm_up else _sign(steps * self._span - self._numerator)

    def compare_forming(self, price: float) -> tuple[int, int] | None:
        """Compare the forming candle, if it closed at `price`, with the average that it would give.

        Returns:
            Whether the price is above (1), on (0) or below (-1) that average, and whether it would raise (1), keep
            (0) or lower (-1) the average; `None` before there are two values.

        Raises:
            InvalidInput: the price is no finite positive number.
        """
        steps = self._steps_of(price)
        if self.count < self._warm_up:
            return None
        numerator = self._forming(steps)
        return _sign(steps * self._span - numerator), _sign(numerator - self._numerator)

    def turning_prices(self) -> tuple[float, float] | None:
        """Return where the forming candle would close on its own average, and where it would keep the average.

        The average is affine in the price, so there is one price of each kind; it may be below 0, which no close
        reaches. `None` before there are two values.
        """
        if self.count < self._warm_up:
            return None
        at_zero, growth = self._forming(0), self._root * self._pull
        scale = self._scale
        crossing = at_zero / ((self._span - growth) * scale)
        return float(crossing), float((self._numerator - at_zero) / (growth * scale))

    def _forming(self, steps: int | Fraction) -> int | Fraction:
        """Return the numerator with `steps` as the next close; it is affine in the price."""
        raw = self._raw + self._pull * steps - self._drag
        return self._numerator + self._root * raw - self._raw_sum

    def _steps_of(self, price: float) -> int | Fraction:
        """Return `price` in steps, without changing their size."""
        return _on_grid(price, self._fast_scale) or _steps(_decimal(price), self._scale)

    def _set_scale(self, scale: int) -> None:
        """Use `scale` steps a rupee; if no float holds it exactly, 0.0 sends every price through decimals."""
        self._scale = scale
        self._fast_scale = float(scale) if scale <= _MAX_EXACT_SCALE else 0.0
        self._denominator = self._span * scale

    def _refine(self, close: Decimal) -> int:
        """Return `close` in whole steps, after making the step small enough."""
        scale = _power_of_ten(_decimals(close))
        if scale > self._scale:
            factor = scale // self._scale
            self._set_scale(scale)
            self._closes = [factor * units for units in self._closes]
            self._raws = [factor * raw for raw in self._raws]
            self._raw *= factor
            self._drag *= factor
            self._raw_sum *= factor
            self._numerator *= factor  # `_before` is overwritten by the update that follows
        return int(_steps(close, self._scale))


def _checked_tick(tick_size: object) -> Decimal:
    if isinstance(tick_size, (int, float)) and not isinstance(tick_size, bool):
        tick_size = Decimal(repr(tick_size))
    if (
        isinstance(tick_size, Decimal)
        and tick_size.is_finite()
        and tick_size > 0
        and _decimals(tick_size) <= 12
    ):
        return tick_size
    raise InvalidInput("The tick size has to be a number above 0 with at most 12 decimals.", field="tickSize")


def _sign(number: int | Fraction) -> int:
    return (number > 0) - (number < 0)
