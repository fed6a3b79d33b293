"""Reads candles from CSV lines and finds the signals that they would have given live.

Candles in a file count as closed, and nothing is resampled.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import MarketCalendar, ist_date, nse_calendar
from hullwatch.domain.market.candles import Candle, CandleDefect, closes_at, read_candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import PAISA
from hullwatch.domain.signals.signals import Direction, FeedStatus, Rule, WatchSeries

HEADER: Final = "timestamp,open,high,low,close,volume"

_MAX_LINE: Final = 500
_EPOCH: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class RowRefused:
    """A line of the file without a usable candle; the header is line 1."""

    line: int
    sentence: str


@dataclass(frozen=True, slots=True)
class CandleFile:
    """The content of a file: candles oldest first, each opening once, and the refused lines."""

    candles: tuple[Candle, ...]
    refused: tuple[RowRefused, ...]


def read_candle_file(lines: Iterable[str]) -> CandleFile:
    """Read CSV lines with the header ``timestamp,open,high,low,close,volume``.

    A timestamp is the opening, as ISO 8601 with an offset or as whole epoch seconds. Empty lines are skipped
    and lines are sorted. Of several lines with the same opening the last one counts and the others are
    refused.

    Raises:
        InvalidInput: the header is missing.
    """
    numbered = enumerate(lines, start=1)
    _, header = next(numbered, (1, ""))
    if [name.strip().lower() for name in header.lstrip("\ufeff").split(",")] != HEADER.split(","):
        raise InvalidInput(f"Line 1 must be the header {HEADER}.", field="header")
    kept: dict[datetime, tuple[int, Candle]] = {}
    refused: list[RowRefused] = []
    for number, line in numbered:
        if not line.strip():
            continue
        row = _read_line(line)
        if isinstance(row, str):
            refused.append(RowRefused(number, row))
            continue
        earlier = kept.get(row.opened_at)
        if earlier is not None:
            refused.append(RowRefused(earlier[0], _superseded(earlier[1], row, number)))
        kept[row.opened_at] = (number, row)
    refused.sort(key=lambda entry: entry.line)
    return CandleFile(tuple(kept[opened_at][1] for opened_at in sorted(kept)), tuple(refused))


def _superseded(earlier: Candle, later: Candle, number: int) -> str:
    if earlier == later:
        return f"Line {number} repeats this candle."
    return f"Line {number} has other numbers for this candle. The last line counts."


def _read_line(line: str) -> Candle | str:
    """Return the candle of one line, or a sentence that explains the refusal."""
    if len(line) > _MAX_LINE:
        return f"The line is longer than {_MAX_LINE} characters."
    try:
        cells = [cell.strip() for cell in next(csv.reader((line.strip(),), strict=True), [])]
    except csv.Error:
        return "The line is not CSV."
    if len(cells) != 6:
        return f"The line has {len(cells)} columns instead of 6."
    epoch = _epoch(cells[0])
    if epoch is None:
        return "The timestamp is neither ISO 8601 with an offset nor whole epoch seconds."
    values: list[object] = [epoch]
    for name, cell in zip(HEADER.split(",")[1:], cells[1:], strict=True):
        if not _NUMBER.fullmatch(cell):
            return f"The {name} is not a number."
        values.append(int(cell) if cell.isdigit() else float(cell))
    candle = read_candle(values)
    return candle.sentence if isinstance(candle, CandleDefect) else candle


def _epoch(text: str) -> float | None:
    """Return the moment as epoch seconds; a time without an offset is refused."""
    if _EPOCH.fullmatch(text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else moment.timestamp()
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class ReplayedSignal:
    """A signal as a live watch would have found it; prices in INR, moments aware, UTC."""

    symbol: Symbol
    resolution: Resolution
    period: int
    rule: Rule
    direction: Direction
    candle_opened_at: datetime
    candle_closed_at: datetime
    close: float
    hma: float


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """One candle and the average after it, INR; `None` while warming up."""

    candle: Candle
    hma: float | None


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Everything a replay found, oldest first."""

    symbol: Symbol
    resolution: Resolution
    period: int
    rows: tuple[ReplayRow, ...]
    signals: tuple[ReplayedSignal, ...]
    notes: tuple[str, ...]
    """Sentences about candles that do not match the request; the signals are given anyway."""


def replay(
    candles: Sequence[Candle],
    symbol: Symbol,
    period: int,
    resolution: Resolution,
    rules: Iterable[Rule] = tuple(Rule),
    *,
    tick_size: Decimal | float = PAISA,
    calendar: MarketCalendar | None = None,
) -> ReplayReport:
    """Run the live series of each rule over closed candles, oldest first.

    As in live monitoring, a candle that is not newer than the last one is ignored. The calendar of the
    symbol's segment, NSE's unless given, decides when a candle closed.

    Raises:
        InvalidInput: the period, the tick size or a close is unusable.
    """
    calendar_of_symbol = (nse_calendar() if calendar is None else calendar).for_symbol(symbol)
    series_by_rule = [WatchSeries(period, rule, tick_size) for rule in dict.fromkeys(rules)]
    if not series_by_rule:
        raise InvalidInput("A replay needs at least one rule.", field="rule")
    rows: list[ReplayRow] = []
    signals: list[ReplayedSignal] = []
    for candle in candles:
        answers = [series.feed(candle) for series in series_by_rule]
        if answers[0].status is not FeedStatus.ACCEPTED:
            continue
        rows.append(ReplayRow(candle, answers[0].hma))
        for series, result in zip(series_by_rule, answers, strict=True):
            if result.direction is not None and result.hma is not None:
                signals.append(
                    ReplayedSignal(
                        symbol,
                        resolution,
                        period,
                        series.rule,
                        result.direction,
                        candle.opened_at,
                        closes_at(candle.opened_at, resolution, calendar_of_symbol),
                        candle.close,
                        result.hma,
                    )
                )
    notes = _notes(
        tuple(row.candle for row in rows), resolution, calendar_of_symbol, series_by_rule[0].missing
    )
    return ReplayReport(symbol, resolution, period, tuple(rows), tuple(signals), notes)


def _notes(
    candles: Sequence[Candle], resolution: Resolution, calendar: MarketCalendar, missing: int
) -> tuple[str, ...]:
    """Return sentences about candles that do not match the request."""
    notes: list[str] = []
    if missing:
        notes.append(f"{missing} more candles are needed before the first average.")
    gaps = Counter(later.opened_at - earlier.opened_at for earlier, later in pairwise(candles))
    usual = gaps.most_common(1)[0][0] if gaps else resolution.length
    if usual < resolution.length:
        minutes = usual / timedelta(minutes=1)
        notes.append(f"Most candles are {minutes:g} minutes apart, less than resolution {resolution} has.")
    if resolution.is_intraday:
        outside = sum(calendar.session_at(candle.opened_at) is None for candle in candles)
    else:
        outside = sum(not calendar.is_trading_day(ist_date(candle.opened_at)) for candle in candles)
    if outside:
        notes.append(f"{outside} candles are outside the exchange's trading sessions.")
    return tuple(notes)
