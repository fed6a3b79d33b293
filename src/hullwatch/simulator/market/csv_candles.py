"""Candle files as a market: the days, hours and prices are those of the files.

A file is named `<NAME>_<n>min….csv` and holds `timestamp,open,high,low,close,volume`, each timestamp the
opening of the candle with its offset from UTC. A row that cannot be used stops the start, named by file and
line; nothing is corrected.
"""

import csv
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from hullwatch.simulator.config import UnusableConfig
from hullwatch.simulator.market.calendar import OPEN_S, day_of, moment
from hullwatch.simulator.market.candles import Row, TradingDay
from hullwatch.simulator.market.instruments import Instrument, instrument_named

_FILE = re.compile(r"(?P<name>[A-Za-z0-9&-]+)_(?P<minutes>\d{1,3})min(?:_.*)?\.csv")
_COLUMNS = ["timestamp", "open", "high", "low", "close", "volume"]
_TICKS = (5.0, 1.0, 0.5, 0.1, 0.05, 0.01)


class _Series:
    def __init__(self, instrument: Instrument, base_s: int, rows: Sequence[Row]) -> None:
        self.instrument = instrument
        self.base_s = base_s
        grouped: dict[int, list[Row]] = {}
        for row in rows:
            grouped.setdefault(day_of(row.start), []).append(row)
        self.by_day = {day: TradingDay.of(of_day, base_s) for day, of_day in grouped.items()}
        self.days = sorted(self.by_day)


class CsvMarket:
    """A candle source read from a folder, sub-folders included.

    Raises:
        UnusableConfig: There is no folder, no candle file in it, or a row that cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._series = {series.instrument.symbol: series for series in _read_folder(folder)}
        self._sessions: dict[int, tuple[int, int]] = {}
        for series in self._series.values():
            for day, trading_day in series.by_day.items():
                opens, closes = self._sessions.get(day, (trading_day.opens_at, trading_day.closes_at))
                self._sessions[day] = (min(opens, trading_day.opens_at), max(closes, trading_day.closes_at))

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Every instrument that has a file, by symbol."""
        return {symbol: series.instrument for symbol, series in self._series.items()}

    def base_seconds(self, symbol: str) -> int:
        """Return the length of the candles in the symbol's file."""
        return self._series[symbol].base_s

    def day(self, symbol: str, day: int) -> TradingDay | None:
        """Return a day of the symbol's file."""
        return self._series[symbol].by_day.get(day)

    def days(self, symbol: str, first: int, last: int) -> Sequence[int]:
        """Return the days in the symbol's file between two days, both included."""
        days = self._series[symbol].days
        return days[bisect_left(days, first) : bisect_right(days, last)]

    def day_before(self, symbol: str, day: int) -> int | None:
        """Return the last day in the symbol's file before `day`."""
        days = self._series[symbol].days
        index = bisect_left(days, day)
        return days[index - 1] if index else None

    def session(self, day: int) -> tuple[int, int] | None:
        """Return when the first instrument's first candle opens and the last one closes."""
        return self._sessions.get(day)

    def default_start(self) -> int:
        """Return 09:15 IST of the last trading day but two (or of the first), so that two sessions follow."""
        days = sorted(self._sessions)
        return moment(days[max(0, len(days) - 3)], OPEN_S)


def _read_folder(folder: Path) -> list[_Series]:
    if not folder.is_dir():
        raise UnusableConfig(f"there is no folder of candle files at {folder}")
    rows: dict[str, list[Row]] = {}
    bases: dict[str, int] = {}
    for path in sorted(folder.rglob("*.csv")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            continue
        name, base_s = match["name"].upper(), int(match["minutes"]) * 60
        if not (60 <= base_s <= 3600):
            raise UnusableConfig(f"{path.name}: candles of {match['minutes']} minutes cannot be replayed")
        if bases.setdefault(name, base_s) != base_s:
            raise UnusableConfig(f"{path.name}: {name} has another file with candles of another length")
        rows.setdefault(name, []).extend(_read_file(path, base_s))
    if not rows:
        raise UnusableConfig(f"no candle file such as SBIN_5min_2026.csv in {folder}")
    return [_series(name, bases[name], of_name) for name, of_name in rows.items()]


def _series(name: str, base_s: int, rows: list[Row]) -> _Series:
    rows.sort()
    for earlier, later in pairwise(rows):
        if later.start - earlier.start < base_s:
            raise UnusableConfig(f"the files of {name} overlap: two candles within {base_s // 60} minutes")
    return _Series(instrument_named(name, _tick_of(rows)), base_s, rows)


def _read_file(path: Path, base_s: int) -> list[Row]:
    rows: list[Row] = []
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            reader = csv.reader(lines)
            if next(reader, None) != _COLUMNS:
                raise UnusableConfig(f"{path.name} line 1: the columns must be {','.join(_COLUMNS)}")
            for cells in reader:
                row = _row(path.name, reader.line_num, cells)
                if rows and row.start - rows[-1].start < base_s:
                    raise UnusableConfig(
                        f"{path.name} line {reader.line_num}: this candle opens less than "
                        f"{base_s // 60} minutes after the one before"
                    )
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableConfig(f"{path.name} cannot be read: {error}") from error
    if not rows:
        raise UnusableConfig(f"{path.name} holds no candles")
    return rows


def _row(name: str, line: int, cells: list[str]) -> Row:
    try:
        stamp, *numbers = cells
        opens_at = datetime.fromisoformat(stamp)
        first, high, low, close, volume = (float(number) for number in numbers)
    except ValueError as error:
        raise UnusableConfig(f"{name} line {line}: not a candle ({error})") from error
    if opens_at.tzinfo is None:
        raise UnusableConfig(f"{name} line {line}: the timestamp has no offset from UTC")
    prices = (first, high, low, close)
    if not all(math.isfinite(number) for number in (*prices, volume)):
        raise UnusableConfig(f"{name} line {line}: every number must be finite")
    if min(prices) <= 0 or volume < 0 or not volume.is_integer():
        raise UnusableConfig(f"{name} line {line}: prices must be above 0, the volume a whole number from 0")
    if low > min(first, close) or high < max(first, close):
        raise UnusableConfig(f"{name} line {line}: open and close must lie between low and high")
    first, high, low, close = (round(price, 2) for price in prices)
    return Row(int(opens_at.timestamp()), first, high, low, close, int(volume))


def _tick_of(rows: Sequence[Row]) -> float:
    """Return the coarsest usual price step that every price is a multiple of."""
    paise = math.gcd(*(round(price * 100) for row in rows for price in row[1:5]))
    return next((tick for tick in _TICKS if paise % round(tick * 100) == 0), 0.01)
