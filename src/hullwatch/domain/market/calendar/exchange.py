"""The calendar of NSE and BSE, from the tables that come with the package. Both exchanges keep the same days and hours.

``holidays.toml`` is written from a kept library of exchange calendars when a release is made (``docs/tools/trading_days.py``); ``sessions.toml`` is
kept by hand, for what no library lists. The domain reads no files; these two are the exception because they are part of the code: they
cannot be absent, change or be somebody else's while the process runs, and a table in TOML can be checked and corrected by people who
write no Python. They are read once, when the first calendar is asked for, so that importing the domain costs nothing.

What is assumed about the close since 3 August 2026, when the closing auction began:

- **Derivatives** trade on until 15:40; their last 5-minute candles open at 15:30 and 15:35, as files of September 2026 show.
- **Stocks without derivatives** trade until 15:30 as before.
- **Stocks with derivatives, and the indices made of them**, have no trades between 15:15 and the auction's one print. Another broker's files of the
  first days of August 2026 date it 15:28 or 15:29, so it is the last candle of the session, the one that closes at 15:30, that holds it; those between
  may be absent. Fyers' own files of such a day have not been seen.
- Which of the two a stock is, its symbol does not tell. The session of the cash market therefore ends at 15:30 for all, and candles are counted up to there.
  A candle dated 15:30 or later lies outside and ends a full resolution after it opened.
- **Daily candles** of the cash market are final at 15:35, when the auction's trades have been reported; before that the closing price may change.
"""

from functools import cache
from importlib.resources import files

from hullwatch.domain.market.calendar.calendar import MarketCalendar
from hullwatch.domain.market.calendar.tables import DayTable, calendar_from, read_table


@cache
def packaged_tables() -> tuple[DayTable, ...]:
    """Return the tables that come with the package, the one that is right in doubt last."""
    here = files(__package__)
    return tuple(read_table((here / name).read_text("utf-8")) for name in ("holidays.toml", "sessions.toml"))


@cache
def nse_calendar() -> MarketCalendar:
    """Return the calendar of the cash market, one value for the whole process; it leads to that of derivatives."""
    return calendar_from(packaged_tables())


def calendar_with(own: DayTable) -> MarketCalendar:
    """Return the same calendar with a further table in it, which is right about the days it names."""
    return calendar_from((*packaged_tables(), own))
