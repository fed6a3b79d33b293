"""Prices given by control calls: a path of one symbol through time, in place of the market's own prices."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from hullwatch.simulator.market.candles import Row, row_points


class _Leg(NamedTuple):
    """From `starts_at` on: a straight line to `last` at `ends_at`, or the market's own prices times `factor`."""

    starts_at: float
    first: float = 0.0
    last: float = 0.0
    ends_at: float = 0.0
    factor: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A price at a moment; with `is_gap` the price jumps to it, otherwise it gets there in a straight line."""

    at: float
    price: float
    is_gap: bool = False


class PricePath:
    """The legs of one symbol, in order of time; each lasts until the next one starts."""

    def __init__(self) -> None:
        self._legs: list[_Leg] = []

    @property
    def starts_at(self) -> float:
        """When the first given price applies."""
        return self._legs[0].starts_at

    def add(self, points: Sequence[Point], *, factor_after: float | None) -> None:
        """Add a path: it replaces everything from its first point on.

        Args:
            points: In order of time.
            factor_after: After the last point the market goes on with its own prices times this; `None`: it stays.
        """
        begins_at = points[0].at
        self._legs = [leg for leg in self._legs if leg.starts_at < begins_at]
        for here, there in pairwise(points):
            last = here.price if there.is_gap else there.price
            self._legs.append(_Leg(here.at, here.price, last, there.at))
        end = points[-1]
        self._legs.append(_Leg(end.at, end.price, end.price, end.at, factor_after))

    def row(self, row: Row, until: float, base_s: int, tick: float) -> Row:
        """Return a candle as it looks at `until`, with the given prices in the part that they cover."""
        end = min(until, row.start + base_s)
        own = row_points(row, base_s)
        prices = self._prices(own, row.start, end)
        if until < row.start + base_s:  # a price that applies from this very moment on is in it
            prices.append(self._price_at(own, until))
        prices = [_snapped(price, tick) for price in prices]
        share = (end - row.start) / base_s
        volume = row.volume if share >= 1 else int(row.volume * share)
        return Row(row.start, prices[0], max(prices), min(prices), prices[-1], volume)

    def _price_at(self, own: Sequence[tuple[float, float]], at: float) -> float:
        number = bisect_right(self._legs, at, key=lambda leg: leg.starts_at) - 1
        leg = self._legs[number] if number >= 0 else _OWN
        return _on_line(leg, at) if leg.factor is None else leg.factor * _value(own, at)

    def _prices(self, own: Sequence[tuple[float, float]], at: float, end: float) -> list[float]:
        """Return the prices at which the line from `at` to `end` begins, changes its direction, or ends."""
        starts = [leg.starts_at for leg in self._legs]
        prices: list[float] = []
        while True:
            number = bisect_right(starts, at) - 1
            leg = self._legs[number] if number >= 0 else _OWN
            later = starts[number + 1] if number + 1 < len(starts) else float("inf")
            stop = min(later, end)
            if leg.factor is None:
                moments = [at, *([leg.ends_at] if at < leg.ends_at < stop else []), stop]
                prices += [_on_line(leg, moment) for moment in moments]
            else:
                moments = [at, *(moment for moment, _ in own if at < moment < stop), stop]
                prices += [leg.factor * _value(own, moment) for moment in moments]
            if stop >= end:
                return prices
            at = stop


_OWN = _Leg(0.0, factor=1.0)
"""The market's own prices, before the first given one."""


def _on_line(leg: _Leg, moment: float) -> float:
    if moment >= leg.ends_at:
        return leg.last
    return leg.first + (leg.last - leg.first) * (moment - leg.starts_at) / (leg.ends_at - leg.starts_at)


def _value(points: Sequence[tuple[float, float]], moment: float) -> float:
    """Return the price on the line through the points."""
    number = bisect_right(points, (moment, float("inf"))) - 1
    at, price = points[number]
    if number + 1 == len(points):
        return price
    then, next_price = points[number + 1]
    return price + (next_price - price) * (moment - at) / (then - at)


def _snapped(price: float, tick: float) -> float:
    """Return a price on the tick grid; one below a tick stays as it was given, as a wrong price."""
    return round(round(price / tick) * tick, 2) if price >= tick else price
