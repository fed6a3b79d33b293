"""Days and hours of the simulated exchange: NSE's days of 2024 to 2026, weekend sessions included, in IST.

Left out are the hour of Muhurat trading and the two short sessions of a disaster-recovery drill.

A day is an integer: the number of days since 1970-01-01 in India. Moments are seconds since 1970 UTC. India
keeps one offset all year, so both are plain arithmetic.
"""

from datetime import date, datetime, timedelta, timezone

IST = timezone(timedelta(hours=5, minutes=30), "IST")
IST_OFFSET_S = 19_800
DAY_S = 86_400
OPEN_S = 9 * 3600 + 15 * 60
"""09:15, when continuous trading opens, in seconds of the day."""
CLOSE_S = 15 * 3600 + 30 * 60
"""15:30, when it closes."""

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

# Weekday closures of NSE, as the exchange published them year by year.
_CLOSED = {
    2024: "01-22 01-26 03-08 03-25 03-29 04-11 04-17 05-01 05-20 06-17 07-17 08-15 10-02 11-01 11-15 11-20 12-25",
    2025: "02-26 03-14 03-31 04-10 04-14 04-18 05-01 08-15 08-27 10-02 10-21 10-22 11-05 12-25",
    2026: "01-15 01-26 03-03 03-26 03-31 04-03 04-14 05-01 05-28 06-26 09-14 10-02 10-20 11-10 11-24 12-25",
}
NSE_HOLIDAYS = frozenset(
    date.fromisoformat(f"{year}-{month_day}") for year, days in _CLOSED.items() for month_day in days.split()
)
WEEKEND_SESSIONS = frozenset({date(2024, 1, 20), date(2025, 2, 1), date(2026, 2, 1)})
"""Saturdays and Sundays with the hours of a weekday: an exchanged holiday and two Union Budgets."""
LATE_DERIVATIVES_FROM = date(2026, 8, 3)
"""From here on equity derivatives trade ten minutes longer than shares, until 15:40."""


def day_of(epoch: float) -> int:
    """Return the Indian day a moment falls on."""
    return int((epoch + IST_OFFSET_S) // DAY_S)


def moment(day: int, second_of_day: int) -> int:
    """Return the moment of a wall-clock time in India."""
    return day * DAY_S - IST_OFFSET_S + second_of_day


def to_date(day: int) -> date:
    """Return a day number as a calendar date."""
    return date.fromordinal(_EPOCH_ORDINAL + day)


def from_date(calendar_date: date) -> int:
    """Return a calendar date as a day number."""
    return calendar_date.toordinal() - _EPOCH_ORDINAL


def to_ist(epoch: float) -> datetime:
    """Return a moment as an aware datetime in IST."""
    return datetime.fromtimestamp(epoch, IST)


def is_trading_day(day: int) -> bool:
    """Return whether it is a weekday without an NSE holiday, or a special session."""
    if (day + 3) % 7 < 5:
        return to_date(day) not in NSE_HOLIDAYS
    return to_date(day) in WEEKEND_SESSIONS


def derivatives_close(day: int, closes_at: int) -> int:
    """Return when equity derivatives close on a day on which shares close at `closes_at`."""
    return closes_at + (600 if to_date(day) >= LATE_DERIVATIVES_FROM else 0)


def next_at(epoch: float, second_of_day: int) -> int:
    """Return the next moment strictly after `epoch` at which Indian clocks show that second of the day."""
    today = moment(day_of(epoch), second_of_day)
    return today if today > epoch else today + DAY_S
