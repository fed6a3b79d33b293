"""When readiness is checked: fixed times before the market first opens on an exchange day.

The times are given for the usual market open at 09:15 IST. On a day with another market open, such as the Muhurat session, the checks
keep their distance to it.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import MarketCalendar, ist_date
from hullwatch.domain.market.calendar.sessions import REGULAR_OPEN

EARLIEST: Final = time(6, 0)
"""IST. The sessions of the day before expire then, so an earlier check would find nothing of use."""
MOST_CHECKS: Final = 12
_TIME: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_SEARCH_DAYS: Final = 400
_ONE_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a day."""

    at: datetime
    opens_at: datetime
    """The opening that it is made for."""
    is_last: bool
    """No other follows before the opening."""


@dataclass(frozen=True, slots=True)
class CheckTimes:
    """How long before the opening checks are made, the earliest first."""

    leads: tuple[timedelta, ...]

    def on(self, day: date, calendar: MarketCalendar) -> tuple[Check, ...]:
        """Return the checks for the first opening of a day, in order; none when it is closed."""
        sessions = calendar.sessions_on(day)
        if not sessions:
            return ()
        opens_at = sessions[0].opens_at
        return tuple(Check(opens_at - lead, opens_at, lead == self.leads[-1]) for lead in self.leads)

    def due(self, now: datetime, calendar: MarketCalendar) -> Check | None:
        """Return the latest check whose moment has come and whose opening has not: the one to make if it was missed."""
        checks = self.on(ist_date(now), calendar)
        return next((check for check in reversed(checks) if check.at <= now < check.opens_at), None)

    def next_after(self, now: datetime, calendar: MarketCalendar) -> Check:
        """Return the first check whose moment lies after `now`."""
        day = ist_date(now)
        for _ in range(_SEARCH_DAYS):
            for check in self.on(day, calendar):
                if check.at > now:
                    return check
            day += _ONE_DAY
        raise LookupError("no exchange day within a year after the moment")


def read_check_times(text: str) -> CheckTimes:
    """Read times such as ``08:30,08:45,09:00``, IST, for an opening at 09:15.

    Raises:
        InvalidInput: They cannot be used; the sentence says how they are written.
    """
    words = [word.strip() for word in text.split(",")]
    found = [_TIME.fullmatch(word) for word in words]
    if not all(found) or len(set(words)) != len(words) or len(words) > MOST_CHECKS:
        raise InvalidInput(
            f"Write one to {MOST_CHECKS} different times of the day, IST, with commas between them, such as 08:30,08:45,09:00."
        )
    times = sorted(time.fromisoformat(word) for word in words)
    if times[0] < EARLIEST or times[-1] >= REGULAR_OPEN:
        raise InvalidInput(
            f"Each time has to lie between {EARLIEST:%H:%M}, when Fyers has ended yesterday's sessions, and the opening at "
            f"{REGULAR_OPEN:%H:%M} IST."
        )
    return CheckTimes(tuple(_minutes(REGULAR_OPEN) - _minutes(each) for each in times))


def _minutes(moment: time) -> timedelta:
    return timedelta(hours=moment.hour, minutes=moment.minute)
