"""Finds the columns of a candle file by the names in its header."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hullwatch.domain.failures import InvalidInput

LONGEST_LINE: Final = 10_000
"""Characters; exports with many indicator columns stay far below."""

_SEPARATORS: Final = (",", ";", "\t")
_TIMES: Final = ("timestamp", "datetime", "date time", "date", "time")
"""Names of the time column; of several the first one in this order counts."""
_PRICES: Final = ("open", "high", "low", "close")
_VOLUMES: Final = ("volume", "vol")
_LABELS: Final = frozenset({"price", "ticker", "date", "datetime"})
"""First cells of the header lines that yfinance writes."""
_EXPECTED: Final = "a time (timestamp, time, date or datetime), open, high, low and close, in any order"
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the values of a candle are in each line."""

    separator: str
    header_lines: int
    width: int
    """Cells in the header."""
    time: tuple[int, ...]
    """One column, or a date column and a time column."""
    prices: tuple[int, int, int, int]
    """Open, high, low, close."""
    volume: int | None


def split_line(line: str, separator: str) -> list[str]:
    """Return the cells of one line without surrounding spaces.

    Raises:
        csv.Error: the line is not CSV.
    """
    cells = next(csv.reader((line.strip("\r\n"),), delimiter=separator, strict=True), [])
    return [cell.strip() for cell in cells]


def quoted(text: str) -> str:
    """Return text of a file for a message: short, and without control characters."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return f"“{shown[:37]}…”" if len(shown) > 40 else f"“{shown}”"


def find_columns(first_lines: Sequence[str]) -> Columns:
    """Find the columns in the header, which may have up to three lines (yfinance).

    Raises:
        InvalidInput: a column is missing, appears twice, or the file has several symbols.
    """
    if not first_lines or not first_lines[0].strip():
        raise InvalidInput(f"Line 1 is empty. Expected a header with {_EXPECTED}.", field="header")
    separator, rows = _header_rows(first_lines)
    names = next((row for row in rows if set(_PRICES) <= set(row)), rows[0])
    number = rows.index(names) + 1
    _refuse_several_symbols(rows)
    time = _time_columns(names, has_labels=len(rows) > 1)
    prices = [_only_column(names, name, number) for name in _PRICES]
    missing = ([] if time else ["time"]) + [
        name for name, column in zip(_PRICES, prices, strict=True) if column is None
    ]
    if missing:
        raise InvalidInput(
            f"Line {number} has no column for {_listed(missing)}. Found: {_found(names)}. "
            f"Expected: {_EXPECTED}; volume if there is one.",
            field="header",
        )
    opened, high, low, close = (column for column in prices if column is not None)
    volumes = [column for name in _VOLUMES if (column := _only_column(names, name, number)) is not None]
    return Columns(
        separator=separator,
        header_lines=len(rows),
        width=len(names),
        time=time,
        prices=(opened, high, low, close),
        volume=volumes[0] if volumes else None,
    )


def _header_rows(lines: Sequence[str]) -> tuple[str, list[list[str]]]:
    """Return the separator and the names in each line of the header."""
    separator = max(_SEPARATORS, key=lambda one: len(_names(lines[0], one)))
    rows = [_names(lines[0], separator)]
    if rows[0][0] in {"price", "ticker", ""}:
        for line in lines[1:3]:
            names = _names(line, separator)
            if names[0] not in _LABELS:
                break
            rows.append(names)
    return separator, rows


def _names(line: str, separator: str) -> list[str]:
    try:
        cells = split_line(line[:LONGEST_LINE], separator)
    except csv.Error:
        cells = [line]
    return [re.sub(r"[\s_/]+", " ", cell.lstrip("\ufeff").lower()).strip() for cell in cells] or [""]


def _refuse_several_symbols(rows: Sequence[Sequence[str]]) -> None:
    for row in rows:
        symbols = list(dict.fromkeys(name.upper() for name in row[1:] if name))
        if row[0] == "ticker" and not set(_PRICES) <= set(row) and len(symbols) > 1:
            raise InvalidInput(
                f"The file has candles of {len(symbols)} symbols: {_found(symbols)}. "
                "Export one symbol to each file.",
                field="header",
            )


def _time_columns(names: Sequence[str], *, has_labels: bool) -> tuple[int, ...]:
    if has_labels:  # yfinance names the column of the times only below the other names
        return (0,)
    found = [name for name in _TIMES if name in names]
    if found[:2] == ["date", "time"]:
        return (names.index("date"), names.index("time"))
    return (names.index(found[0]),) if found else ()


def _only_column(names: Sequence[str], name: str, line: int) -> int | None:
    columns = [index for index, found in enumerate(names) if found == name]
    if len(columns) > 1:
        where = " and ".join(str(column + 1) for column in columns[:2])
        raise InvalidInput(
            f"Line {line} has the column {name} twice (columns {where}). Remove or rename one of them.",
            field="header",
        )
    return columns[0] if columns else None


def _found(names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _listed(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
