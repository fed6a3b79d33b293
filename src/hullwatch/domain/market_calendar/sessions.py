"""Trading sessions and the calendar that finds them; the table of real days is in `nse`.

Moments are aware and leave here in UTC. A day is a day in IST; a session lies within one day.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum
from itertools import pairwise
from typing import Final

IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")
"""Indian Standard Time: a fixed offset, India has had no daylight saving since 1945."""

REGULAR_OPEN: Final = time(9, 15)
REGULAR_CLOSE: Final = time(15, 30)

_ONE_DAY: Final = timedelta(days=1)
_SEARCH_DAYS: Final = 400
_CACHED_DAYS: Final = 4096


class SessionKind(StrEnum):
    """Why there is trading at that time."""

    REGULAR = "regular"
    """The hours of every ordinary trading day."""
    SPECIAL = "special"
    """A full session on a day that is usually closed, such as a Budget Sunday."""
    MUHURAT = "muhurat"
    """The hour on Diwali."""
    DISASTER_RECOVERY_DRILL = "disaster_recovery_drill"
    """A short session in which the exchange moves to its second site."""


@dataclass(frozen=True, slots=True)
class TradingSession:
    """Continuous trading from `opens_at` to just before `closes_at`; both aware, UTC."""

    opens_at: datetime
    closes_at: datetime
    kind: SessionKind = SessionKind.REGULAR

    def __post_init__(self) -> None:
        if not self.opens_at < self.closes_at:
            raise ValueError("a trading session closes after it opens")
        if ist_date(self.opens_at) != ist_date(self.closes_at - timedelta(microseconds=1)):
            raise ValueError("a trading session lies within one day in IST")

    @property
    def day(self) -> date:
        """The exchange's day, in IST."""
        return ist_date(self.opens_at)


def ist_date(moment: datetime) -> date:
    """Return the exchange's calendar day at `moment`; refuses a naive moment, whose day nobody knows."""
    if moment.tzinfo is None:
        raise ValueError("a moment has to be aware")
    return moment.astimezone(IST).date()


def trading_session(
    day: date,
    opens: time = REGULAR_OPEN,
    closes: time = REGULAR_CLOSE,
    kind: SessionKind = SessionKind.REGULAR,
) -> TradingSession:
    """Build the session of `day` from hours in IST."""
    return TradingSession(
        opens_at=datetime.combine(day, opens, IST).astimezone(UTC),
        closes_at=datetime.combine(day, closes, IST).astimezone(UTC),
        kind=kind,
    )


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """The market at one moment, for people: open or not, and what comes next."""

    is_open: bool
    session: TradingSession | None
    """The session under way, if any."""
    next_open_at: datetime
    next_close_at: datetime
    """The end of the session under way, else of the next one."""
    exchange_day: date
    """Today in IST, trading or not."""
    holiday_name: str | None
    """Why a weekday has no regular hours, on the day of a Muhurat hour too; `None` on weekends and ordinary days."""


@dataclass(frozen=True)
class MarketCalendar:
    """Which days trade and when. Years outside `known_years` count every weekday as open, see `warnings`."""

    closures: Mapping[date, str] = field(default_factory=dict)
    """Weekdays without regular trading, and the holiday's name."""
    special_sessions: Mapping[date, tuple[TradingSession, ...]] = field(default_factory=dict)
    """All sessions of a day outside the pattern, in order; they replace the regular hours of that day."""
    hours_unknown: Mapping[date, str] = field(default_factory=dict)
    """Days that trade at hours not known here, and what is known; they count as closed."""
    known_years: frozenset[int] = frozenset()
    regular_hours: tuple[time, time] = (REGULAR_OPEN, REGULAR_CLOSE)
    """IST."""
    _days: dict[date, tuple[TradingSession, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def from_days(
        cls, days: Iterable[date], opens: time = REGULAR_OPEN, closes: time = REGULAR_CLOSE
    ) -> "MarketCalendar":
        """Build a calendar on which exactly `days` trade, weekends too, in all the years that they touch.

        Other years are unknown and therefore count weekdays as open.
        """
        special = {day: (trading_session(day, opens, closes),) for day in days}
        years = frozenset(day.year for day in special)
        closed = {day: "closed" for year in years for day in _weekdays(year) if day not in special}
        return cls(
            closures=closed, special_sessions=special, known_years=years, regular_hours=(opens, closes)
        )

    def with_sessions(self, day: date, *sessions: TradingSession) -> "MarketCalendar":
        """Return the same calendar with exactly these sessions on `day`; without any, the day is closed."""
        ordered = tuple(sorted(sessions, key=lambda session: session.opens_at))
        if any(session.day != day for session in ordered):
            raise ValueError("a session belongs to the day it is filed under")
        if any(later.opens_at < earlier.closes_at for earlier, later in pairwise(ordered)):
            raise ValueError("the sessions of a day follow each other")
        unknown = {other: why for other, why in self.hours_unknown.items() if other != day}
        return replace(self, special_sessions={**self.special_sessions, day: ordered}, hours_unknown=unknown)

    def sessions_on(self, day: date) -> tuple[TradingSession, ...]:
        """Return the sessions of a day in order; empty when it is closed."""
        found = self._days.get(day)
        if found is None:
            if len(self._days) >= _CACHED_DAYS:
                self._days.clear()
            found = self._days[day] = self._look_up(day)
        return found

    def _look_up(self, day: date) -> tuple[TradingSession, ...]:
        special = self.special_sessions.get(day)
        if special is not None:
            return special
        if day.weekday() >= 5 or day in self.closures or day in self.hours_unknown:
            return ()
        return (trading_session(day, *self.regular_hours),)

    def is_trading_day(self, day: date) -> bool:
        """Tell whether there is any trading on `day`."""
        return bool(self.sessions_on(day))

    def session_at(self, moment: datetime) -> TradingSession | None:
        """Return the session under way; its opening belongs to it, its close does not."""
        for session in self.sessions_on(ist_date(moment)):
            if session.opens_at <= moment < session.closes_at:
                return session
        return None

    def next_session(self, moment: datetime) -> TradingSession:
        """Return the first session that opens after `moment`."""
        day = ist_date(moment)
        for _ in range(_SEARCH_DAYS):
            for session in self.sessions_on(day):
                if session.opens_at > moment:
                    return session
            day += _ONE_DAY
        raise LookupError("no trading session within a year after the moment")

    def previous_session(self, moment: datetime) -> TradingSession:
        """Return the last session that closed at or before `moment`."""
        day = ist_date(moment)
        for _ in range(_SEARCH_DAYS):
            for session in reversed(self.sessions_on(day)):
                if session.closes_at <= moment:
                    return session
            day -= _ONE_DAY
        raise LookupError("no trading session within a year before the moment")

    def sessions_between(self, start: datetime, end: datetime) -> Iterator[TradingSession]:
        """Yield the sessions that overlap the span from `start` to `end`, in order."""
        day, last = ist_date(start), ist_date(end)
        while day <= last:
            for session in self.sessions_on(day):
                if session.opens_at < end and session.closes_at > start:
                    yield session
            day += _ONE_DAY

    def trading_day_of(self, moment: datetime) -> date:
        """Return the day in IST if it trades, before the opening too, else the last trading day before it."""
        day = ist_date(moment)
        for _ in range(_SEARCH_DAYS):
            if self.is_trading_day(day):
                return day
            day -= _ONE_DAY
        raise LookupError("no trading day within a year before the moment")

    def status(self, moment: datetime) -> MarketStatus:
        """Describe the market at `moment`."""
        day, session = ist_date(moment), self.session_at(moment)
        upcoming = self.next_session(moment)
        return MarketStatus(
            is_open=session is not None,
            session=session,
            next_open_at=upcoming.opens_at,
            next_close_at=(session or upcoming).closes_at,
            exchange_day=day,
            holiday_name=self.closures.get(day),
        )

    @property
    def covers_until(self) -> date:
        """The last day of the last year in the table; the earliest date there is when the table is empty."""
        return date(max(self.known_years), 12, 31) if self.known_years else date.min

    def is_known(self, day: date) -> bool:
        """Tell whether the table speaks about `day`; if not, weekdays are merely assumed to be open."""
        return day.year in self.known_years and day not in self.hours_unknown

    def warnings(self, now: datetime) -> tuple[str, ...]:
        """Say what about the days around `now` is assumed rather than known, one sentence each.

        The coming year is missed from 1 December, by when the exchange has usually published it.
        """
        today = ist_date(now)
        missing = [year for year in (today.year, today.year + 1) if year not in self.known_years]
        if today.month < 12:
            missing = [year for year in missing if year == today.year]
        sentences = [
            f"The trading days of {year} are not in the calendar: every weekday of {year} counts as open, "
            "holidays included. Update hullwatch."
            for year in missing
        ]
        if today in self.hours_unknown:
            sentences.append(f"{today.isoformat()}: {self.hours_unknown[today]}.")
        return tuple(sentences)


def _weekdays(year: int) -> Iterator[date]:
    day = date(year, 1, 1)
    while day.year == year:
        if day.weekday() < 5:
            yield day
        day += _ONE_DAY
