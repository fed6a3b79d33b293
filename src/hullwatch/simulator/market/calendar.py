"""Days and hours of the simulated exchange, in IST.

A day is an integer: the number of days since 1970-01-01 in India. Moments are seconds since 1970 UTC. India keeps one
offset all year, so both are plain arithmetic.
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

# Weekday closures of NSE, as the exchange published them for 2026.
NSE_HOLIDAYS = frozenset(
    date.fromisoformat(f"2026-{month_day}")
    for month_day in (
        "01-15", "01-26", "03-03", "03-26", "03-31", "04-03", "04-14", "05-01",
        "05-28", "06-26", "09-14", "10-02", "10-20", "11-10", "11-24", "12-25",
    )
)  # fmt: skip


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


def is_weekday_open(day: int) -> bool:
    """Say whether the synthetic exchange trades that day: a weekday that is no known NSE holiday."""
    return (day + 3) % 7 < 5 and to_date(day) not in NSE_HOLIDAYS


def next_at(epoch: float, second_of_day: int) -> int:
    """Return the next moment strictly after `epoch` at which Indian clocks show that second of the day."""
    today = moment(day_of(epoch), second_of_day)
    return today if today > epoch else today + DAY_S
