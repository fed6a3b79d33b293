"""Compares the candles of a file with the resolution and the trading calendar."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from math import gcd
from typing import Final

from hullwatch.candle_files.reader import ONE_DAY, CandleFile
from hullwatch.domain.market.calendar import IST, MarketCalendar, MarketPhase, TradingSession, ist_date

_LONG_HOLE: Final = timedelta(hours=1)
"""A longer hole of several candles inside one session is treated as a missing session."""
_SHOWN: Final = 10
_COARSE_RUN: Final = 8
"""So many equal steps in a row that are too long. A contract that is traded rarely has them by chance once in a
thousand sessions."""
_SHARE_OF_GRID: Final = 0.8
_FEWEST_SHIFTED: Final = 10


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What does not match the expectation, in sentences."""

    other_resolution: str | None = None
    """Where rows of another resolution are."""
    gaps: tuple[str, ...] = ()
    """Missing sessions, and holes of more than an hour."""
    notes: tuple[str, ...] = ()
    """What is only reported, such as single missing candles."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences that refuse a replay unless the user allows gaps."""
        return self.gaps if self.other_resolution is None else (self.other_resolution, *self.gaps)


def check_candles(file: CandleFile, length: timedelta, calendar: MarketCalendar) -> FileCheck:
    """Compare the candles with their expected length and with the sessions of the symbol's calendar.

    Rows of another resolution, missing sessions and holes of more than an hour refuse the run. Other missing
    candles are counted and named. Days of years that the calendar does not know are not expected.
    """
    if not file.candles:
        return FileCheck()
    check = _Intraday(file, length, calendar) if length < ONE_DAY else _Daily(file, calendar)
    return check.result()


class _Daily:
    """Checks daily candles; each is dated 00:00 UTC of its day."""

    def __init__(self, file: CandleFile, calendar: MarketCalendar) -> None:
        self._file = file
        self._calendar = calendar
        self._days = [ist_date(candle.opened_at) for candle in file.candles]

    def result(self) -> FileCheck:
        first, last = self._days[0], self._days[-1]
        if len(self._days) > 2 and _usual(self._days) >= timedelta(days=5):
            lines = self._file.lines
            apart = (
                f"The rows are {_usual(self._days).days} days apart, as lines {lines[0]} and {lines[1]} show"
            )
            return FileCheck(f"{apart}; one for each trading day was expected (resolution 1D).")
        days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
        expected = [day for day in days if self._calendar.is_trading_day(day)]
        present = set(self._days)
        missing = [day for day in expected if day not in present and self._calendar.is_known(day)]
        gaps = []
        if missing:
            many = _count(len(missing), "trading session is", "trading sessions are")
            gaps.append(f"{many} missing, the first on {_date(missing[0])}.")
        outside = [
            line
            for day, line in zip(self._days, self._file.lines, strict=True)
            if not self._calendar.is_trading_day(day)
        ]
        return FileCheck(
            None, tuple(gaps), (*_outside_note(outside), *_unknown_years(expected, self._calendar))
        )


class _Intraday:
    """Checks intraday candles against the grid of each session."""

    def __init__(self, file: CandleFile, length: timedelta, calendar: MarketCalendar) -> None:
        self._file = file
        self._length = length
        self._calendar = calendar
        self._length_s = int(length.total_seconds())
        self._by_session: dict[TradingSession, list[tuple[int, int]]] = {}
        """For each session the seconds since its opening and the line of each candle."""
        self._outside: list[int] = []
        for candle, line in zip(file.candles, file.lines, strict=True):
            session = calendar.session_at(candle.opened_at)
            if session is None:
                self._outside.append(line)
            else:
                offset = int((candle.opened_at - session.opens_at).total_seconds())
                self._by_session.setdefault(session, []).append((offset, line))
        self._phase = self._usual_phase()

    def result(self) -> FileCheck:
        notes = list(_outside_note(self._outside))
        if self._phase:
            notes.append(
                f"Most candles open {self._phase // 60} minutes after the steps that are counted from the market "
                "open. They are used as they are."
            )
        for find in (self._one_row_a_day, self._other_grid, self._coarser_rows):
            reason = find()
            if reason:
                return FileCheck(reason, (), tuple(notes))
        days = [session.day for session in self._expected_sessions()]
        gaps, holes = self._missing()
        return FileCheck(None, tuple(gaps), (*notes, *holes, *_unknown_years(days, self._calendar)))

    def _usual_phase(self) -> int:
        """Return by how many seconds the candles differ from the grid of the session; 0 for almost all files."""
        phases = Counter(
            offset % self._length_s for rows in self._by_session.values() for offset, _ in rows if offset
        )
        if phases.total() < _FEWEST_SHIFTED:
            return 0
        phase, count = phases.most_common(1)[0]
        return phase if count >= _SHARE_OF_GRID * phases.total() else 0

    def _one_row_a_day(self) -> str | None:
        days = Counter(ist_date(candle.opened_at) for candle in self._file.candles)
        if len(days) < 3 or max(days.values()) > 1:
            return None
        return (
            f"The file has one row a day, for example lines {self._file.lines[0]} and {self._file.lines[1]}; "
            f"{self._expected()}."
        )

    def _other_grid(self) -> str | None:
        """Return a sentence if candles open between the steps of the resolution."""
        rows = [row for of_session in self._by_session.values() for row in of_session]
        off = [line for offset, line in rows if offset and offset % self._length_s != self._phase]
        if not off:
            return None
        if len(off) * 2 >= len(rows):
            steps = [step for rows in self._by_session.values() for step, _, _ in _steps(rows)]
            usual = Counter(steps).most_common(1)
            apart = f"are {_minutes(usual[0][0])} apart" if usual else "open at other times"
            return f"Most rows {apart}, for example line {min(off)}; {self._expected()}."
        many = _count(len(off), "row opens", "rows open")
        return (
            f"{many} between the steps of the resolution, the first on line {min(off)}; {self._expected()} "
            "throughout."
        )

    def _coarser_rows(self) -> str | None:
        """Return a sentence if all rows, a session or a long run of rows have a longer step."""
        coarse: list[tuple[int, int]] = []  # line and step of each coarse part
        for session, rows in self._by_session.items():
            step = gcd(*(offset - self._phase for offset, _ in rows if offset or not self._phase))
            is_coarse = len(rows) >= 3 and step > self._length_s
            if is_coarse and len(rows) * step >= _SHARE_OF_GRID * self._span_s(session, step):
                coarse.append((rows[0][1], step))
            else:
                coarse += self._coarse_runs(rows)
        if not coarse:
            return None
        line, step = min(coarse)
        parts = len([rows for rows in self._by_session.values() if len(rows) >= 3])
        if len(coarse) >= parts:
            return (
                f"The rows are {_minutes(step)} apart, for example from line {line} on; {self._expected()}."
            )
        many = _count(len(coarse), "part of the file has", "parts of the file have")
        return f"{many} rows {_minutes(step)} apart, the first from line {line} on; {self._expected()}."

    def _span_s(self, session: TradingSession, step: int) -> float:
        """Return how much of a session the file spans."""
        first, last = self._file.candles[0].opened_at, self._file.candles[-1].opened_at
        ends_at = min(session.closes_at, last + timedelta(seconds=step))
        return (ends_at - max(session.opens_at, first)).total_seconds()

    def _coarse_runs(self, rows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        runs: list[tuple[int, int]] = []
        length, previous = 0, 0
        for step, line, _ in _steps(rows):
            length = length + 1 if step == previous else 1
            previous = step
            if step > self._length_s and length == _COARSE_RUN:
                runs.append((line, step))
        return runs

    def _expected(self) -> str:
        return f"{_minutes(self._length_s)} were expected (resolution {self._length_s // 60})"

    # ---------------------------------------------------------------- missing candles

    def _expected_sessions(self) -> Iterator[TradingSession]:
        first, last = self._file.candles[0].opened_at, self._file.candles[-1].opened_at
        return self._calendar.sessions_between(first, last + timedelta(seconds=1))

    def _missing(self) -> tuple[list[str], list[str]]:
        """Return the sentences about missing sessions and long holes, and those about single candles."""
        sessions: list[TradingSession] = []
        long_holes: list[list[datetime]] = []
        single: list[datetime] = []
        for session in self._expected_sessions():
            if session not in self._by_session:
                if self._calendar.is_known(session.day):
                    sessions.append(session)
                continue
            for hole in self._holes(session):
                if len(hole) > 1 and len(hole) * self._length > _LONG_HOLE:
                    long_holes.append(hole)
                else:
                    single += hole
        gaps = []
        if sessions:
            many = _count(len(sessions), "trading session is", "trading sessions are")
            gaps.append(
                f"{many} missing, the first on {_date(sessions[0].day)}{self._after(sessions[0].opens_at)}."
            )
        if long_holes:
            hole = long_holes[0]
            gaps.append(
                f"{_count(len(long_holes), 'hole is', 'holes are')} longer than an hour, the first from "
                f"{_when(hole[0])} to {_when(hole[-1] + self._length)}{self._after(hole[0])}."
            )
        return gaps, [self._named(single)] if single else []

    def _holes(self, session: TradingSession) -> list[list[datetime]]:
        """Return the runs of missing openings in a session, within the span of the file."""
        first, last = self._file.candles[0].opened_at, self._file.candles[-1].opened_at
        present = {offset for offset, _ in self._by_session[session]}
        holes: list[list[datetime]] = []
        hole: list[datetime] = []
        offset, end = self._phase, int((session.closes_at - session.opens_at).total_seconds())
        while offset < end:
            opened_at = session.opens_at + timedelta(seconds=offset)
            # Stocks with derivatives have no trades in the closing auction before its single trade.
            in_auction = session.phase_at(opened_at) is MarketPhase.CLOSING_AUCTION
            if offset in present or in_auction or not first < opened_at < last:
                hole = []
            else:
                if not hole:
                    holes.append(hole)
                hole.append(opened_at)
            offset += self._length_s
        return holes

    def _named(self, missing: Sequence[datetime]) -> str:
        shown = ", ".join(_when(opened_at) for opened_at in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        many = _count(len(missing), "candle is", "candles are")
        return f"{many} missing: {shown}{more}{self._after(missing[0])}."

    def _after(self, moment: datetime) -> str:
        """Return the line of the last candle before a hole, in brackets."""
        before = [
            line
            for candle, line in zip(self._file.candles, self._file.lines, strict=True)
            if candle.opened_at < moment
        ]
        return f" (after line {before[-1]})" if before else ""


def _steps(rows: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield the step between neighbours with both lines."""
    for (earlier, line), (later, next_line) in pairwise(rows):
        yield later - earlier, line, next_line


def _usual(days: Sequence[date]) -> timedelta:
    return Counter(later - earlier for earlier, later in pairwise(days)).most_common(1)[0][0]


def _outside_note(lines: Sequence[int]) -> tuple[str, ...]:
    if not lines:
        return ()
    many = _count(len(lines), "candle is", "candles are")
    return (f"{many} outside the exchange's trading sessions, the first on line {min(lines)}.",)


def _unknown_years(days: Iterable[date], calendar: MarketCalendar) -> tuple[str, ...]:
    """Return a note about years without known holidays, in which no session can be missed."""
    years = sorted({day.year for day in days if day.year not in calendar.known_years})
    if not years:
        return ()
    named = ", ".join(map(str, years))
    return (f"The trading days of {named} are not known, so missing sessions of {named} are not found.",)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _minutes(seconds: int) -> str:
    return f"{seconds / 60:g} minute{'s' if seconds != 60 else ''}"


def _when(moment: datetime) -> str:
    return f"{moment.astimezone(IST):%H:%M on %d %b %Y}"


def _date(day: date) -> str:
    return f"{day:%a %d %b %Y}"
