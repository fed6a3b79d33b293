"""Reads tables of trading days from TOML text, refuses wrong ones, and builds a calendar from several.

The two files of this package and the operator's own file have the same format, described at the top of
``sessions.toml``.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Final, TypeVar

from hullwatch.domain.market.calendar.calendar import SEGMENTS, MarketCalendar
from hullwatch.domain.market.calendar.sessions import (
    RegularHours,
    SessionKind,
    TradingSession,
    in_order,
    trading_session,
)
from hullwatch.domain.market.instruments import Segment

T = TypeVar("T")

_YEARS: Final = range(2000, 2101)
_KEYS: Final = {
    "table": frozenset({"source", "years", "closures", "hours", "session", "unknown"}),
    "hours": frozenset({"since", "segments", "opens", "closes", "auction", "source"}),
    "session": frozenset({"day", "segments", "opens", "closes", "auction", "kind", "source"}),
    "unknown": frozenset({"day", "what", "source"}),
}
_NEEDED: Final = {
    "hours": ("since", "opens", "closes"),
    "session": ("day", "opens", "closes", "kind", "source"),
    "unknown": ("day", "what"),
}


class TableRefused(ValueError):  # noqa: N818 - a refusal with a text for the author of the table
    """A table cannot be used; the text names the entry and the reason, without a full stop."""


@dataclass(frozen=True, slots=True)
class DayTable:
    """The content of one table."""

    years: frozenset[int]
    """Years with all their closures in the table."""
    closures: Mapping[date, str]
    """Closed days → the reason; weekends only if listed."""
    sessions: Mapping[Segment, Mapping[date, tuple[TradingSession, ...]]]
    hours: Mapping[Segment, tuple[RegularHours, ...]]
    unknown: Mapping[date, str]
    """Days with unknown hours → what is known of them."""


def read_table(text: str) -> DayTable:
    """Read a table.

    Raises:
        TableRefused: It is no TOML or has a wrong entry.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TableRefused(f"it is not TOML: {_plain(error)}") from None
    _check_keys("the table", values, _KEYS["table"])
    years = frozenset(_each("years", values.get("years", []), _year))
    closures = _closures(values.get("closures", {}))
    for year in sorted(years):
        if not any(day.year == year for day in closures):
            raise TableRefused(f"years: {year} is listed, but it has no closed day")
    return DayTable(
        years=years,
        closures=closures,
        sessions=_sessions(_entries("session", values)),
        hours=_hours(_entries("hours", values)),
        unknown={
            _day(where, entry, "day"): _text(where, entry, "what")
            for where, entry in _entries("unknown", values)
        },
    )


def calendar_from(tables: Iterable[DayTable]) -> MarketCalendar:
    """Build the calendar of the cash market, with that of derivatives; a later table has precedence.

    A closed day of a later table removes the sessions of an earlier one. Within one table a day may have
    both, as a holiday with a Muhurat session does.
    """
    ordered = tuple(tables)
    derivatives = _segment_calendar(ordered, Segment.EQUITY_DERIVATIVES, None)
    return _segment_calendar(ordered, Segment.CASH, derivatives)


def _segment_calendar(
    tables: tuple[DayTable, ...], segment: Segment, derivatives: MarketCalendar | None
) -> MarketCalendar:
    closures: dict[date, str] = {}
    sessions: dict[date, tuple[TradingSession, ...]] = {}
    unknown: dict[date, str] = {}
    hours = [RegularHours()]
    for table in tables:
        for day, name in table.closures.items():
            sessions.pop(day, None)
            unknown.pop(day, None)
            if day.weekday() < 5:
                closures[day] = name
        for day, what in table.unknown.items():
            sessions.pop(day, None)
            unknown[day] = what
        for day, of_day in table.sessions.get(segment, {}).items():
            unknown.pop(day, None)
            sessions[day] = of_day
        hours += table.hours.get(segment, ())
    return MarketCalendar(
        closures=closures,
        special_sessions=sessions,
        hours_unknown=unknown,
        known_years=frozenset().union(*(table.years for table in tables)),
        regular=tuple(sorted(hours, key=lambda one: one.since)),
        derivatives=derivatives,
    )


# ---------------------------------------------------------------- entries


def _closures(values: object) -> dict[date, str]:
    if not isinstance(values, dict):
        raise TableRefused('closures: this must be a section of lines like 2027-01-26 = "Republic Day"')
    closures = {}
    for key, name in values.items():
        where = f"closures, {_shown(key)}"
        if not isinstance(name, str) or not name.strip():
            raise TableRefused(f"{where}: the holiday's name must be text")
        closures[_as_day(where, key)] = name.strip()
    return closures


def _sessions(
    entries: list[tuple[str, dict[str, Any]]],
) -> dict[Segment, dict[date, tuple[TradingSession, ...]]]:
    found: dict[Segment, dict[date, tuple[TradingSession, ...]]] = {segment: {} for segment in SEGMENTS}
    for where, entry in entries:
        day = _day(where, entry, "day")
        _text(where, entry, "source")
        kind = _kind(where, entry["kind"])
        session = _built(
            where, trading_session, day, *_open_and_close(where, entry), kind, _auction(where, entry)
        )
        for segment in _segments(where, entry):
            of_day = (*found[segment].get(day, ()), session)
            found[segment][day] = _built(where, in_order, day, of_day)
    return found


def _hours(entries: list[tuple[str, dict[str, Any]]]) -> dict[Segment, tuple[RegularHours, ...]]:
    found: dict[Segment, tuple[RegularHours, ...]] = {}
    for where, entry in entries:
        since = _day(where, entry, "since")
        hours = RegularHours(*_open_and_close(where, entry), _auction(where, entry), since)
        _built(where, trading_session, since, hours.opens, hours.closes, auction=hours.auction)
        for segment in _segments(where, entry):
            found[segment] = (*found.get(segment, ()), hours)
    return found


def _entries(kind: str, values: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the entries of a kind, each with its place in the table for error texts."""
    listed = values.get(kind, [])
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise TableRefused(f"{kind}: each entry must begin with a line [[{kind}]]")
    named = []
    for number, entry in enumerate(listed, start=1):
        day = entry.get("day", entry.get("since"))
        where = f"{kind} {number}" + (f" ({_shown(day)})" if isinstance(day, (date, str)) else "")
        _check_keys(where, entry, _KEYS[kind])
        missing = [key for key in _NEEDED[kind] if key not in entry]
        if missing:
            raise TableRefused(f"{where}: {missing[0]} is missing")
        named.append((where, entry))
    return named


def _check_keys(where: str, values: dict[str, Any], known: frozenset[str]) -> None:
    for key in values:
        if key not in known:
            raise TableRefused(f"{where}: '{_shown(key)}' is unknown; use {', '.join(sorted(known))}")


# ---------------------------------------------------------------- values


def _open_and_close(where: str, entry: dict[str, Any]) -> tuple[time, time]:
    return _as_time(where, "opens", entry["opens"]), _as_time(where, "closes", entry["closes"])


def _auction(where: str, entry: dict[str, Any]) -> tuple[time, time] | None:
    value = entry.get("auction")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise TableRefused(f'{where}: auction must be its begin and end, like ["15:15", "15:35"]')
    return _as_time(where, "auction", value[0]), _as_time(where, "auction", value[1])


def _segments(where: str, entry: dict[str, Any]) -> tuple[Segment, ...]:
    value = entry.get("segments", [segment.value for segment in SEGMENTS])
    known = {segment.value: segment for segment in SEGMENTS}
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(one, str) and one in known for one in value)
    ):
        raise TableRefused(f"{where}: segments must be a list of {' and '.join(known)}")
    return tuple(known[one] for one in dict.fromkeys(value))


def _kind(where: str, value: object) -> SessionKind:
    known = {kind.value: kind for kind in SessionKind}
    if not isinstance(value, str) or value not in known:
        raise TableRefused(f"{where}: kind must be one of {', '.join(known)}")
    return known[value]


def _text(where: str, entry: dict[str, Any], key: str) -> str:
    value = entry[key]
    if not isinstance(value, str) or not value.strip():
        raise TableRefused(f"{where}: {key} must be text")
    return value.strip().removesuffix(".")


def _day(where: str, entry: dict[str, Any], key: str) -> date:
    return _as_day(where, entry[key])


def _as_day(where: str, value: object) -> date:
    """Read a day, as a TOML date or as text."""
    day: object = value
    if isinstance(value, str):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
    if not isinstance(day, date) or isinstance(day, datetime) or day.year not in _YEARS:
        raise TableRefused(f"{where}: {_shown(value)} is no day from 2000 to 2100, like 2027-01-26")
    return day


def _as_time(where: str, key: str, value: object) -> time:
    """Read a minute of the day in IST, as a TOML time or as text."""
    at: object = value
    if isinstance(value, str):
        try:
            at = time.fromisoformat(value)
        except ValueError:
            at = None
    if not isinstance(at, time) or at.tzinfo is not None or at.second or at.microsecond:
        raise TableRefused(f'{where}: {key} must be a minute of the day in IST, like "09:15"')
    return at


def _year(where: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in _YEARS:
        raise TableRefused(f"{where}: {_shown(value)} is no year from 2000 to 2100")
    return value


def _each(where: str, values: object, read: Callable[[str, object], T]) -> list[T]:
    if not isinstance(values, list):
        raise TableRefused(f"{where}: this must be a list")
    return [read(where, value) for value in values]


def _built(where: str, build: Callable[..., T], *values: Any, **named: Any) -> T:
    """Build a value; its own `ValueError` becomes a refusal of the table."""
    try:
        return build(*values, **named)
    except ValueError as error:
        raise TableRefused(f"{where}: {error}") from None


def _shown(value: object) -> str:
    """Return any value of a file as printable text of limited length."""
    text = str(value)[:40]
    return text if text.isprintable() else ascii(text)


def _plain(error: tomllib.TOMLDecodeError) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]
