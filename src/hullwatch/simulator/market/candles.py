"""One trading day of one instrument, and its state at a moment of that day.

A day may be partly in the future: everything here is asked "as of" a moment and shows nothing later, except
the path of the price through the candle that is forming.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hullwatch.simulator.market.instruments import Instrument


class Row(NamedTuple):
    """One candle: its opening moment (epoch seconds), prices in INR, volume in shares."""

    start: int
    open: float
    high: float
    low: float
    close: float
    volume: int


@dataclass(frozen=True, slots=True)
class TradingDay:
    """The base candles of one instrument on one day, oldest first, with running totals after each of them."""

    rows: Sequence[Row]
    starts: Sequence[int]
    highs: Sequence[float]
    lows: Sequence[float]
    volumes: Sequence[int]
    turnovers: Sequence[float]
    base_s: int
    partial: Callable[[int, float], Row] | None = None
    """Returns a candle by its number as it is at a moment; `None` for the usual path of a price."""
    auction_at: int | None = None
    """When the one trade of the closing auction is reported, the last candle; it is dated earlier."""

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        base_s: int,
        partial: Callable[[int, float], Row] | None = None,
        auction_at: int | None = None,
    ) -> "TradingDay":
        """Build a day from at least one candle of `base_s` seconds."""
        highs: list[float] = []
        lows: list[float] = []
        volumes: list[int] = []
        turnovers: list[float] = []
        high, low, volume, turnover = rows[0].high, rows[0].low, 0, 0.0
        for row in rows:
            high, low = max(high, row.high), min(low, row.low)
            volume += row.volume
            turnover += row.volume * (row.high + row.low + row.close) / 3
            highs.append(high)
            lows.append(low)
            volumes.append(volume)
            turnovers.append(turnover)
        starts = [row.start for row in rows]
        return cls(rows, starts, highs, lows, volumes, turnovers, base_s, partial, auction_at)

    @property
    def opens_at(self) -> int:
        """Moment of the first trade."""
        return self.starts[0]

    @property
    def closes_at(self) -> int:
        """End of the last candle."""
        return self.starts[-1] + self.base_s

    @property
    def final_at(self) -> int:
        """When all trades of the day have been reported."""
        return self.closes_at if self.auction_at is None else max(self.closes_at, self.auction_at)

    def rows_until(self, now: float, tick: float) -> Sequence[Row]:
        """Return the candles begun by `now`; one that is still forming is shown as far as it has come."""
        if now >= self.final_at:
            return self.rows
        begun = bisect_right(self.starts, now)
        if self.auction_at is not None:
            begun = min(begun, len(self.rows) - 1)
        if begun == 0:
            return ()
        if now >= self.rows[begun - 1].start + self.base_s:
            return self.rows[:begun]
        return [*self.rows[: begun - 1], self._forming(begun - 1, now, tick)]

    def _forming(self, number: int, now: float, tick: float) -> Row:
        if self.partial is not None:
            return self.partial(number, now)
        row = self.rows[number]
        return forming(row, (now - row.start) / self.base_s, tick)

    def second_rows(self, now: float, tick: float) -> list[Row]:
        """Return candles of five seconds until `now`. They follow the price through the candles of the day."""
        found: list[Row] = []
        for number, row in enumerate(self.rows_until(now, tick)):
            if self.auction_at is not None and number == len(self.rows) - 1:
                found.append(row)
                continue
            before = Row(row.start, row.open, row.open, row.open, row.open, 0)
            end = row.start + self.base_s
            begun = end if now >= end else int(now) + 1
            for start in range(row.start, begun, SECONDS_GRID):
                until = min(now, start + SECONDS_GRID)
                after = self.rows[number] if until >= end else self._forming(number, until, tick)
                found.append(_between(start, before, after))
                before = after
        return found


SECONDS_GRID = 5
"""Seconds of the shortest candles."""


def _between(start: int, before: Row, after: Row) -> Row:
    """Return the part of a candle between two moments of it."""
    high = after.high if after.high > before.high else max(before.close, after.close)
    low = after.low if after.low < before.low else min(before.close, after.close)
    return Row(start, before.close, high, low, after.close, after.volume - before.volume)


class CandleSource(Protocol):
    """The source of trading days: files or the synthetic market."""

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Every listed instrument by symbol."""

    @property
    def references(self) -> dict[str, Instrument]:
        """Series by symbol that contracts are made of and that are not listed themselves."""

    def base_seconds(self, symbol: str) -> int:
        """Return the length of the finest candles of a listed symbol."""

    def close(self, symbol: str, day: int) -> float | None:
        """Return the last price of a day of a listed symbol, without its candles where that is possible."""

    def day(self, symbol: str, day: int) -> TradingDay | None:
        """Return a day of a listed symbol, or `None` if it did not trade."""

    def days(self, symbol: str, first: int, last: int) -> Sequence[int]:
        """Return the days a listed symbol trades between two days, both included, oldest first."""

    def day_before(self, symbol: str, day: int) -> int | None:
        """Return the last trading day of a listed symbol before `day`."""

    def session(self, day: int) -> tuple[int, int] | None:
        """Return when the exchange opens and closes that day, or `None` on a day without trading."""


def forming(row: Row, fraction: float, tick: float) -> Row:
    """Return a candle as it looks when `fraction` (0 to below 1) of its time has passed.

    The price goes from the open to one extreme, to the other, and to the close: through the low first in a
    rising candle, through the high first in a falling one, so that every value lies on the tick grid within
    the final range and the last one is exactly the close, reached before the last second so that a poll can
    see it. Where it changes its direction depends on the candle alone.
    """
    points = _candle_path(row)
    leg = 0 if fraction < points[1][0] else 1 if fraction < points[2][0] else 2
    (since, before), (until, after) = points[leg : leg + 2]
    price = before + (after - before) * min(1.0, (fraction - since) / (until - since))
    price = min(max(round(round(price / tick) * tick, 2), row.low), row.high)
    seen = (*(each for _, each in points[: leg + 1]), price)
    return Row(row.start, row.open, max(seen), min(seen), price, int(row.volume * fraction))


def row_points(row: Row, base_s: int) -> list[tuple[float, float]]:
    """Return the moments and prices at which the price changes its direction within a candle."""
    return [(row.start + share * base_s, price) for share, price in _candle_path(row)]


def _candle_path(row: Row) -> list[tuple[float, float]]:
    mix = (row.start // 60) * 2_654_435_761
    shares_at = (0.0, 0.15 + (mix & 0xFF) / 1024, 0.55 + ((mix >> 8) & 0xFF) / 1024, 0.98)
    extremes = (row.low, row.high) if row.close >= row.open else (row.high, row.low)
    return list(zip(shares_at, (row.open, *extremes, row.close), strict=True))
