"""Candle files as a market: the days, hours and prices are those of the files.

A file is named `<NAME>_<n>min….csv`. A row that cannot be used stops the start, named by file and line. Missing sessions
and rows of another resolution do so too, unless they are allowed: the simulated exchange is closed without candles then.
"""

import logging
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path

from hullwatch.candle_files import check_candles, read_candle_file
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import IST, TradingSession, nse_calendar
from hullwatch.domain.market.candles import Candle
from hullwatch.simulator.config import UnusableConfig
from hullwatch.simulator.market.calendar import OPEN_S, day_of, moment
from hullwatch.simulator.market.candles import Row, TradingDay
from hullwatch.simulator.market.instruments import Instrument, instrument_named, with_unique_tokens

_LOGGER = logging.getLogger("hullwatch.simulator.candles")

_FILE = re.compile(r"(?P<name>[A-Za-z0-9&-]+)_(?P<minutes>\d{1,3})min(?:_.*)?\.csv")
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

    Args:
        folder: Where the files are.
        zone: The zone of times that have none.
        allow_gaps: Whether missing sessions and rows of another resolution are only noted.

    Raises:
        UnusableConfig: There is no folder, no candle file in it, a row that cannot be used, or a gap.
    """

    def __init__(self, folder: Path, zone: tzinfo = IST, *, allow_gaps: bool = False) -> None:
        reader = _FolderReader(zone, allow_gaps=allow_gaps)
        self._series = {series.instrument.symbol: series for series in reader.read(folder)}
        self.notes = tuple(reader.notes)
        """What a user may want to know about the files, in sentences."""
        self._sessions: dict[int, tuple[int, int]] = {}
        for series in self._series.values():
            for day, trading_day in series.by_day.items():
                opens, closes = self._sessions.get(day, (trading_day.opens_at, trading_day.closes_at))
                self._sessions[day] = (min(opens, trading_day.opens_at), max(closes, trading_day.closes_at))

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Every instrument that has a file, by symbol."""
        return {symbol: series.instrument for symbol, series in self._series.items()}

    @property
    def references(self) -> dict[str, Instrument]:
        """Nothing: the files are all there is."""
        return {}

    def close(self, symbol: str, day: int) -> float | None:
        """Return the last price of a day in the symbol's file."""
        found = self.day(symbol, day)
        return None if found is None else found.rows[-1].close

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


class _FolderReader:
    """Reads the files of a folder, and collects what is to be noted about them."""

    def __init__(self, zone: tzinfo, *, allow_gaps: bool) -> None:
        self.notes: list[str] = []
        self._zone = zone
        self._allow_gaps = allow_gaps
        self._calendar = nse_calendar()

    def read(self, folder: Path) -> list[_Series]:
        """Return the series of all names."""
        if not folder.is_dir():
            raise UnusableConfig(f"there is no folder of candle files at {folder}")
        files: dict[str, list[tuple[str, list[Row]]]] = {}
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
            files.setdefault(name, []).append((path.name, self._read_file(path, base_s)))
        if not files:
            raise UnusableConfig(f"no candle file such as SBIN_5min_2026.csv in {folder}")
        rows = {name: self._joined(name, of_name, bases[name]) for name, of_name in files.items()}
        instruments = with_unique_tokens(
            instrument_named(name, _tick_of(of_name)) for name, of_name in rows.items()
        )
        by_symbol = {instrument.symbol: instrument for instrument in instruments}
        return [
            _Series(by_symbol[instrument_named(name, 1.0).symbol], bases[name], of_name)
            for name, of_name in rows.items()
        ]

    def _read_file(self, path: Path, base_s: int) -> list[Row]:
        length = timedelta(seconds=base_s)
        try:
            file = read_candle_file(path, length, self._zone)
        except (OSError, InvalidInput) as error:
            raise UnusableConfig(f"{path.name}: {_within_a_sentence(str(error))}") from error
        if file.refused:
            first = file.refused[0]
            raise UnusableConfig(f"{path.name} line {first.line}: {_within_a_sentence(first.sentence)}")
        if not file.candles:
            raise UnusableConfig(f"{path.name} has no candles")
        check = check_candles(file, length, self._calendar)
        self._check_gaps(path.name, check.reasons)
        for sentence in (*file.notes, *check.notes):
            self._note(f"{path.name}: {sentence}")
        return [_row(candle) for candle in file.candles]

    def _joined(self, name: str, files: list[tuple[str, list[Row]]], base_s: int) -> list[Row]:
        """Return the rows of all files of a name, oldest first."""
        files = sorted(files, key=lambda file: file[1][0].start)
        for (earlier, before), (later, after) in pairwise(files):
            missing = self._sessions_between(before[-1].start, after[0].start)
            if missing:
                days = f"{len(missing)} trading session{'s are' if len(missing) > 1 else ' is'} missing"
                self._check_gaps(
                    name,
                    [f"{days} between {earlier} and {later}, the first on {missing[0].day:%a %d %b %Y}."],
                )
        rows = sorted(row for _, of_file in files for row in of_file)
        for one, other in pairwise(rows):
            if other.start - one.start < base_s:
                raise UnusableConfig(
                    f"the files of {name} overlap: two candles within {base_s // 60} minutes"
                )
        return rows

    def _sessions_between(self, last_s: int, first_s: int) -> list[TradingSession]:
        """Return the sessions that begin and end between two candles."""
        start, end = (datetime.fromtimestamp(moment_s, UTC) for moment_s in (last_s, first_s))
        if start >= end:
            return []
        return [
            session
            for session in self._calendar.sessions_between(start, end)
            if start < session.opens_at and session.closes_at <= end and self._calendar.is_known(session.day)
        ]

    def _check_gaps(self, name: str, reasons: Sequence[str]) -> None:
        if reasons and not self._allow_gaps:
            sentence = _within_a_sentence(" ".join(reasons))
            raise UnusableConfig(f"{name}: {sentence}; --allow-gaps replays it anyway")
        for sentence in reasons:
            self._note(f"{name}: {sentence}")

    def _note(self, sentence: str) -> None:
        self.notes.append(sentence)
        _LOGGER.warning("%s", sentence)


def _within_a_sentence(text: str) -> str:
    return text[:1].lower() + text[1:].removesuffix(".")


def _row(candle: Candle) -> Row:
    return Row(
        start=int(candle.opened_at.timestamp()),
        open=round(candle.open, 2),
        high=round(candle.high, 2),
        low=round(candle.low, 2),
        close=round(candle.close, 2),
        volume=candle.volume,
    )


def _tick_of(rows: Sequence[Row]) -> float:
    """Return the coarsest usual price step that every price is a multiple of."""
    paise = math.gcd(*(round(price * 100) for row in rows for price in row[1:5]))
    return next((tick for tick in _TICKS if paise % round(tick * 100) == 0), 0.01)
