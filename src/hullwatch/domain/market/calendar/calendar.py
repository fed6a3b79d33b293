"""The calendar of one segment: finds sessions, and reports what it assumes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final

from hullwatch.domain.market.calendar.sessions import (
    MarketPhase,
    RegularHours,
    TradingSession,
    in_order,
    ist_date,
    trading_session,
)
from hullwatch.domain.market.instruments import Segment, Symbol

SEGMENTS: Final = (Segment.CASH, Segment.EQUITY_DERIVATIVES)
"""The segments with known hours, the same on NSE and BSE."""
WARN_BEFORE_END: Final = timedelta(days=60)
"""The exchange publishes a year in the first half of the December before it.

The operator needs time for an update or a file.
"""
WARN_BEFORE_UNKNOWN: Final = timedelta(days=14)
"""Hours of a single session are published about a month ahead."""

_ONE_DAY: Final = timedelta(days=1)
_SEARCH_DAYS: Final = 400
_CACHED_DAYS: Final = 4096


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """A segment at one moment: open or not, and its next changes."""

    is_open: bool
    session: TradingSession | None
    """The session under way, if any."""
    phase: MarketPhase
    """A closing auction may end a few minutes after its session: orders are matched and no new ones are accepted."""
    next_open_at: datetime
    next_close_at: datetime
    """The close of the session under way, else of the next one."""
    changes_at: datetime
    """When the phase changes next, or a session opens or closes."""
    exchange_day: date
    """Today in IST, trading or not."""
    holiday_name: str | None
    """The holiday on a weekday without regular hours, also on a day with a Muhurat session; else `None`."""


@dataclass(frozen=True)
class MarketCalendar:
    """The trading days and hours of one segment.

    In years outside `known_years` every weekday counts as open, see `warnings`.
    Services hold the calendar of the cash market; `of` and `for_symbol` return those of the other segments.
    """

    closures: Mapping[date, str] = field(default_factory=dict)
    """Weekdays without regular trading → the holiday's name."""
    special_sessions: Mapping[date, tuple[TradingSession, ...]] = field(default_factory=dict)
    """Day → its sessions in order, which replace its regular hours."""
    hours_unknown: Mapping[date, str] = field(default_factory=dict)
    """Days with unknown hours → what is known of them; they count as closed."""
    known_years: frozenset[int] = frozenset()
    regular: tuple[RegularHours, ...] = (RegularHours(),)
    """The hours of ordinary days, oldest first; the first ones have no beginning."""
    derivatives: "MarketCalendar | None" = None
    """The calendar of equity derivatives, if their hours differ on any day."""
    _days: dict[date, tuple[TradingSession, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def with_sessions(self, day: date, *sessions: TradingSession) -> "MarketCalendar":
        """Return a calendar with exactly these sessions on `day` in every segment; with none the day is closed."""
        unknown = {other: why for other, why in self.hours_unknown.items() if other != day}
        return replace(
            self,
            special_sessions={**self.special_sessions, day: in_order(day, sessions)},
            hours_unknown=unknown,
            derivatives=self.derivatives and self.derivatives.with_sessions(day, *sessions),
        )

    # ---------------------------------------------------------------- segments

    def of(self, segment: Segment) -> "MarketCalendar":
        """Return the calendar of a segment; one with unknown hours is assumed to have those of the cash market."""
        return self.derivatives or self if segment is Segment.EQUITY_DERIVATIVES else self

    def for_symbol(self, symbol: Symbol) -> "MarketCalendar":
        """Return the calendar of the segment that a symbol trades in."""
        return self.of(symbol.segment)

    # ---------------------------------------------------------------- days and sessions

    def sessions_on(self, day: date) -> tuple[TradingSession, ...]:
        """Return the sessions of a day in order; empty if the market is closed."""
        found = self._days.get(day)
        if found is None:
            if len(self._days) >= _CACHED_DAYS:
                self._days.clear()
            found = self._days[day] = self._sessions_on(day)
        return found

    def _sessions_on(self, day: date) -> tuple[TradingSession, ...]:
        special = self.special_sessions.get(day)
        if special is not None:
            return special
        if day.weekday() >= 5 or day in self.closures or day in self.hours_unknown:
            return ()
        hours = next(hours for hours in reversed(self.regular) if hours.since <= day)
        return (trading_session(day, hours.opens, hours.closes, auction=hours.auction),)

    def is_trading_day(self, day: date) -> bool:
        """Return whether `day` has a session."""
        return bool(self.sessions_on(day))

    def session_at(self, moment: datetime) -> TradingSession | None:
        """Return the session under way; its opening is part of it, its close is not."""
        for session in self.sessions_on(ist_date(moment)):
            if session.opens_at <= moment < session.closes_at:
                return session
        return None

    def phase_at(self, moment: datetime) -> MarketPhase:
        """Return the segment's phase at `moment`."""
        for session in self.sessions_on(ist_date(moment)):
            phase = session.phase_at(moment)
            if phase is not MarketPhase.CLOSED:
                return phase
        return MarketPhase.CLOSED

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
        """Return the day in IST if it is a trading day, even before the market open, else the last one before it."""
        day = ist_date(moment)
        for _ in range(_SEARCH_DAYS):
            if self.is_trading_day(day):
                return day
            day -= _ONE_DAY
        raise LookupError("no trading day within a year before the moment")

    def status(self, moment: datetime) -> MarketStatus:
        """Describe the segment at `moment`."""
        day, session = ist_date(moment), self.session_at(moment)
        upcoming = self.next_session(moment)
        changes = [at for one in self.sessions_on(day) for at in one.change_times if at > moment]
        return MarketStatus(
            is_open=session is not None,
            session=session,
            phase=self.phase_at(moment),
            next_open_at=upcoming.opens_at,
            next_close_at=(session or upcoming).closes_at,
            changes_at=min([*changes, upcoming.opens_at]),
            exchange_day=day,
            holiday_name=self.closures.get(day),
        )

    # ---------------------------------------------------------------- what is known

    @property
    def covers_until(self) -> date:
        """The last day before the first unknown year; `date.min` if no year is known."""
        if not self.known_years:
            return date.min
        year = min(self.known_years)
        while year + 1 in self.known_years:
            year += 1
        return date(year, 12, 31)

    def is_known(self, day: date) -> bool:
        """Return whether the hours of `day` are known rather than assumed."""
        return day.year in self.known_years and day not in self.hours_unknown

    def warnings(self, now: datetime) -> tuple[str, ...]:
        """Return one sentence for each coming day or year whose hours are assumed.

        A year is reported from 60 days before it, and a single day from 14 days before it.
        """
        today = ist_date(now)
        sentences = [
            f"The trading days of {year} are not in the calendar, so every weekday of {year} counts as open. {_REMEDY}"
            for year in sorted({today.year, (today + WARN_BEFORE_END).year})
            if year not in self.known_years
        ]
        sentences += [
            f"{day.isoformat()}: {what}. {_REMEDY_FOR_A_DAY}"
            for day, what in sorted(self.hours_unknown.items())
            if today <= day <= today + WARN_BEFORE_UNKNOWN
        ]
        return tuple(sentences)


_REMEDY: Final = (
    "The exchange publishes them in December. Update hullwatch then, or set HULLWATCH_CALENDAR_FILE to a file with the "
    "holidays."
)
_REMEDY_FOR_A_DAY: Final = (
    "When the exchange has published the hours, add them to the file in HULLWATCH_CALENDAR_FILE."
)


def session_under_way(calendars: Iterable[MarketCalendar], moment: datetime) -> TradingSession | None:
    """Return the session under way in any of these segments; of several, the one that opened first."""
    running = [session for calendar in calendars if (session := calendar.session_at(moment)) is not None]
    return min(running, key=lambda session: session.opens_at, default=None)


def sessions_of_all(calendars: Iterable[MarketCalendar], day: date) -> tuple[TradingSession, ...]:
    """Return the sessions of these segments on `day`; overlapping ones are joined."""
    sessions = {session for calendar in calendars for session in calendar.sessions_on(day)}
    joined: list[TradingSession] = []
    for session in sorted(sessions, key=lambda session: (session.opens_at, session.closes_at)):
        if joined and session.opens_at < joined[-1].closes_at:
            last = joined.pop()
            joined.append(
                replace(
                    last,
                    closes_at=max(last.closes_at, session.closes_at),
                    auction=last.auction or session.auction,
                )
            )
        else:
            joined.append(session)
    return tuple(joined)
