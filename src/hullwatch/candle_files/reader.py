"""Reads the candles of a CSV file, and lists the lines that cannot be used."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path
from typing import Final

from hullwatch.candle_files.cells import NUMERIC_DATE, TimeReader, parse_number
from hullwatch.candle_files.columns import LONGEST_LINE, Columns, find_columns, quoted, split_line
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import IST, ist_date
from hullwatch.domain.market.candles import Candle, CandleDefect, DefectKind, read_candle

ONE_DAY: Final = timedelta(days=1)

_PRICE_NAMES: Final = ("open", "high", "low", "close")
_EXCHANGED_PAIRS: Final = 8
_EXCHANGED_RATIO: Final = 2.5
"""In a month of real candles of twelve stocks and an index, the right order has a ratio of 1 to 5 or more."""


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line of the file without a usable candle; the first line is 1."""

    line: int
    sentence: str


@dataclass(frozen=True, slots=True)
class CandleFile:
    """The content of a file: candles oldest first, each opening once, and the refused lines."""

    candles: tuple[Candle, ...]
    lines: tuple[int, ...]
    """The line of each candle."""
    refused: tuple[RefusedLine, ...]
    notes: tuple[str, ...]
    """Sentences about assumptions that the reader made."""


def read_candle_file(path: Path, length: timedelta, zone: tzinfo = IST) -> CandleFile:
    """Read a file as `read_candles` does.

    Raises:
        InvalidInput: the file is no UTF-8 text, or its columns cannot be used.
        OSError: the file cannot be opened.
    """
    try:
        with path.open(encoding="utf-8-sig") as lines:
            return read_candles(lines, length, zone)
    except UnicodeDecodeError:
        raise InvalidInput("The file is not UTF-8 text. Export it as CSV (UTF-8).") from None


def read_candles(lines: Iterable[str], length: timedelta, zone: tzinfo = IST) -> CandleFile:
    """Read the lines of a CSV file with a header. Columns are found by name, and other columns are ignored.

    Times are openings: ISO 8601, the usual date forms, or epoch seconds or milliseconds. Those without a zone
    are read in `zone`. Lines may be in any order and empty ones are skipped. Of several lines with the same
    opening the last one counts and the others are refused. Daily candles are dated 00:00 UTC of their day.

    Raises:
        InvalidInput: a column is missing or unclear, or open and close are exchanged.
    """
    texts = list(lines)
    columns = find_columns(texts[:3])
    numbered = [
        (number, text)
        for number, text in enumerate(texts[columns.header_lines :], start=columns.header_lines + 1)
        if text.strip()
    ]
    found = _Lines(columns, length, zone).read(numbered)
    _refuse_exchanged(found.candles, columns.header_lines)
    return found


class _Lines:
    """Reads the lines below the header."""

    def __init__(self, columns: Columns, length: timedelta, zone: tzinfo) -> None:
        self._columns = columns
        self._is_daily = length >= ONE_DAY
        self._zone = zone
        self._with_zone = False
        self._without_zone: dict[int, str] = {}
        """For each line with a time that has no zone, the sentence if other lines have one."""

    def read(self, numbered: Sequence[tuple[int, str]]) -> CandleFile:
        cells = [(number, self._cells(text)) for number, text in numbered]
        times = TimeReader((self._time(row) for _, row in cells if not isinstance(row, str)), self._zone)
        read = [
            (number, row if isinstance(row, str) else self._candle(number, row, times))
            for number, row in cells
        ]
        if self._without_zone and self._with_zone:
            read = [(number, self._without_zone.get(number, candle)) for number, candle in read]
        kept: dict[datetime, tuple[int, Candle]] = {}
        refused: list[RefusedLine] = []
        for number, candle in read:
            if isinstance(candle, str):
                refused.append(RefusedLine(number, candle))
                continue
            earlier = kept.get(candle.opened_at)
            if earlier is not None:
                refused.append(RefusedLine(earlier[0], _superseded(earlier[1], candle, number)))
            kept[candle.opened_at] = (number, candle)
        refused.sort(key=lambda entry: entry.line)
        ordered = [kept[opened_at] for opened_at in sorted(kept)]
        return CandleFile(
            candles=tuple(candle for _, candle in ordered),
            lines=tuple(number for number, _ in ordered),
            refused=tuple(refused),
            notes=self._notes(),
        )

    def _cells(self, text: str) -> list[str] | str:
        """Return the cells of a line, or a sentence that explains the refusal."""
        if len(text) > LONGEST_LINE:
            return f"The line is longer than {LONGEST_LINE:,} characters."
        try:
            cells = split_line(text, self._columns.separator)
        except csv.Error:
            return "The line is not CSV; a quotation mark is not closed, for example."
        while len(cells) > self._columns.width and not cells[-1]:
            cells.pop()
        if len(cells) != self._columns.width:
            return f"The line has {len(cells)} columns; the header has {self._columns.width}."
        return cells

    def _time(self, cells: Sequence[str]) -> str:
        return " ".join(cells[column] for column in self._columns.time)

    def _candle(self, line: int, cells: Sequence[str], times: TimeReader) -> Candle | str:
        """Return the candle of a line, or a sentence that explains the refusal."""
        text = self._time(cells)
        time_read = times.read(text)
        if time_read is None:
            return _unreadable_time(text, times)
        opened_at, has_zone = time_read
        if has_zone:
            self._with_zone = True
        else:
            self._without_zone[line] = (
                f"The timestamp {quoted(text)} has no zone; those of other lines have one."
            )
        values: list[object] = [opened_at.timestamp()]
        for name, column in zip(_PRICE_NAMES, self._columns.prices, strict=True):
            price = parse_number(cells[column], self._columns.separator)
            if price is None:
                return f"The {name} is {quoted(cells[column])}. Expected a price such as 812.35."
            values.append(price)
        volume = self._volume(cells)
        if volume is None:
            column = self._columns.volume or 0
            return f"The volume is {quoted(cells[column])}. Expected a whole number from 0."
        read = read_candle([*values, volume])
        if isinstance(read, CandleDefect):
            return _sentence(read, values)
        if not self._is_daily:
            return read
        # A date without a zone is the exchange's day, whichever zone the user reads times in.
        day = ist_date(opened_at) if has_zone else opened_at.date()
        return replace(read, opened_at=datetime.combine(day, time(), UTC))

    def _volume(self, cells: Sequence[str]) -> int | float | None:
        if self._columns.volume is None:
            return 0
        return parse_number(cells[self._columns.volume], self._columns.separator)

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if self._without_zone and not self._with_zone:
            zone = "IST (Asia/Kolkata)" if self._zone is IST else str(self._zone)
            count = len(self._without_zone)
            many = "1 time has" if count == 1 else f"{count:,} times have"
            notes.append(f"{many} no zone, read as {zone}. --timezone changes that.")
        if self._columns.volume is None:
            notes.append("There is no column for the volume, so every volume is 0.")
        return tuple(notes)


def _unreadable_time(text: str, times: TimeReader) -> str:
    if times.is_ambiguous and NUMERIC_DATE.match(text):
        return (
            f"The timestamp {quoted(text)} does not show which number is the day and which the month. "
            "Write dates as 2026-06-17."
        )
    return (
        f"The timestamp is {quoted(text)}. Expected for example 2026-06-17T09:15:00+05:30, "
        "2026-06-17 09:15, or epoch seconds or milliseconds."
    )


def _superseded(earlier: Candle, later: Candle, number: int) -> str:
    if earlier == later:
        return f"This candle is repeated on line {number}."
    return f"This candle has other numbers on line {number}. The last line counts."


def _sentence(defect: CandleDefect, values: Sequence[object]) -> str:
    """Return the defect with the prices that were found."""
    if defect.kind is not DefectKind.RANGE:
        return defect.sentence
    found = ", ".join(f"{name} {value}" for name, value in zip(_PRICE_NAMES, values[1:], strict=True))
    return f"{defect.sentence} Found: {found}. Do the names in the header belong to these columns?"


def _refuse_exchanged(candles: Sequence[Candle], header_line: int) -> None:
    """Refuse a file with open and close exchanged, which high and low cannot show.

    A candle opens near the close before it. In such a file it *closes* near the *open* before it.
    """
    if len(candles) <= _EXCHANGED_PAIRS:
        return
    as_named = sum(abs(later.open - earlier.close) for earlier, later in pairwise(candles))
    as_exchanged = sum(abs(later.close - earlier.open) for earlier, later in pairwise(candles))
    if as_exchanged * _EXCHANGED_RATIO < as_named:
        raise InvalidInput(
            f"The columns open and close are exchanged: candles close at the price at which the candle before "
            f"opened. Check the names in line {header_line}; yfinance writes the close before the open.",
            field="header",
        )
