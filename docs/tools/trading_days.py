"""Writes ``holidays.toml``, the closed weekdays of NSE and BSE, from `exchange_calendars`.

Run by ``make calendar``. The library has no names for the days: a name in the file is kept, a new day gets a
general name to be replaced by hand. Sessions that the library does not list, such as those on weekends, are kept
by hand in ``sessions.toml``.
"""

import tomllib
import warnings
from datetime import date, timedelta
from pathlib import Path
from typing import Final

FILE: Final = (
    Path(__file__).resolve().parents[2]
    / "src"
    / "hullwatch"
    / "domain"
    / "market"
    / "calendar"
    / "holidays.toml"
)
FIRST_YEAR: Final = 2024
EXCHANGE: Final = "XBOM"
UNNAMED: Final = "Exchange holiday"

_HEAD: Final = """\
# Closed weekdays of NSE and BSE, which have the same days. Written by docs/tools/trading_days.py (make calendar)
# before a release and compared with the library by a test: do not edit days here. Names may be edited, because the
# library has none. The format is described in sessions.toml.

source = "exchange_calendars {version}, {exchange}"
years = [{years}]

[closures]
"""


def library_closures() -> tuple[str, dict[int, list[date]]]:
    """Return the library's version, and year → closed weekdays for each whole year from `FIRST_YEAR` on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns about its own deprecations
        import exchange_calendars  # noqa: PLC0415 - two seconds and 77 MB, for this call alone

        last_year = exchange_calendars.exchange_calendar_xbom.XBOMExchangeCalendar.bound_max().year
        calendar = exchange_calendars.get_calendar(
            EXCHANGE, start=f"{FIRST_YEAR}-01-01", end=f"{last_year}-12-31"
        )
        trading = {session.date() for session in calendar.sessions}
    closed: dict[int, list[date]] = {}
    for year in range(FIRST_YEAR, last_year + 1):
        days = (date(year, 1, 1) + timedelta(days=number) for number in range(366))
        closed[year] = [day for day in days if day.year == year and day.weekday() < 5 and day not in trading]
    return exchange_calendars.__version__, closed


def holidays_text(present: str) -> str:
    """Return the new text of the file, with the names from its present text."""
    names = tomllib.loads(present).get("closures", {}) if present else {}
    version, closed = library_closures()
    lines = [
        f'{day.isoformat()} = "{names.get(day.isoformat(), UNNAMED)}"'
        for days in closed.values()
        for day in days
    ]
    head = _HEAD.format(version=version, exchange=EXCHANGE, years=", ".join(map(str, closed)))
    return head + "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    FILE.write_text(holidays_text(text), encoding="utf-8")
