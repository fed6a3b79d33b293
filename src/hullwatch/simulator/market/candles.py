"""One trading day of one instrument, and its state at a moment of that day.

A day may be partly in the future: everything here is asked "as of" a moment and shows nothing later, except
the way the price takes through the candle that is forming.
"""

from bisect import bisect_right
from collections.abc import Sequence
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

    @classmethod
    def of(cls, rows: Sequence[Row], base_s: int) -> "TradingDay":
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
        return cls(rows, [row.start for row in rows], highs, lows, volumes, turnovers, base_s)

    @property
    def opens_at(self) -> int:
        """Moment of the first trade."""
        return self.starts[0]

    @property
    def closes_at(self) -> int:
        """End of the last candle."""
        return self.starts[-1] + self.base_s

    def rows_until(self, now: float, tick: float) -> Sequence[Row]:
        """Return the candles begun by `now`; one that is still forming is shown as far as it has come."""
        if now >= self.closes_at:
            return self.rows
        begun = bisect_right(self.starts, now)
        if begun == 0:
            return ()
        last = self.rows[begun - 1]
        if now >= last.start + self.base_s:
            return self.rows[:begun]
        return [*self.rows[: begun - 1], forming(last, (now - last.start) / self.base_s, tick)]


class CandleSource(Protocol):
    """The source of trading days: files or the synthetic market."""

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Every listed instrument by symbol."""

    def base_seconds(self, symbol: str) -> int:
        """Return the length of the finest candles of a listed symbol."""

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
    see it. Where it turns depends on the candle alone.
    """
    mix = (row.start // 60) * 2_654_435_761
    shares_at = (0.0, 0.15 + (mix & 0xFF) / 1024, 0.55 + ((mix >> 8) & 0xFF) / 1024, 0.98)
    extremes = (row.low, row.high) if row.close >= row.open else (row.high, row.low)
    points = (row.open, *extremes, row.close)
    leg = 0 if fraction < shares_at[1] else 1 if fraction < shares_at[2] else 2
    share = min(1.0, (fraction - shares_at[leg]) / (shares_at[leg + 1] - shares_at[leg]))
    price = points[leg] + (points[leg + 1] - points[leg]) * share
    price = min(max(round(round(price / tick) * tick, 2), row.low), row.high)
    seen = (*points[: leg + 1], price)
    return Row(row.start, row.open, max(seen), min(seen), price, int(row.volume * fraction))
