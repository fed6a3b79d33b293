"""The calendar of NSE and BSE from the tables in this package. Both exchanges have the same days and hours.

``holidays.toml`` is generated from a library of exchange calendars at each release
(``docs/tools/trading_days.py``). ``sessions.toml`` is written by hand for what no library lists. The domain
reads no files; these two are the exception, because they are part of the code and cannot change while the
process runs. They are read on first use.

Assumptions about the close since 3 August 2026, when the closing auction began:

- **Derivatives** trade until 15:40; their last 5-minute candles open at 15:30 and 15:35, as in files of
  September 2026.
- **Stocks without derivatives** trade until 15:30 as before.
- **Stocks with derivatives, and their indices**, have no trades between 15:15 and the auction's single trade.
  Another broker's files of the first days of August 2026 date it 15:28 or 15:29, so it is in the session's
  last candle, which closes at 15:30; the candles between may be absent. Fyers' own files of such a day have
  not been seen.
- A symbol does not show which of the two a stock is. The session of the cash market therefore ends at 15:30
  for all. A candle dated 15:30 or later is outside the session and has its full length.
- **Daily candles** of the cash market are final at 15:35, when the auction's trades have been reported.
"""

from functools import cache
from importlib.resources import files

from hullwatch.domain.market.calendar.calendar import MarketCalendar
from hullwatch.domain.market.calendar.tables import DayTable, calendar_from, read_table


@cache
def packaged_tables() -> tuple[DayTable, ...]:
    """Return the tables of this package; the last one has precedence."""
    here = files(__package__)
    return tuple(read_table((here / name).read_text("utf-8")) for name in ("holidays.toml", "sessions.toml"))


@cache
def nse_calendar() -> MarketCalendar:
    """Return the calendar of the cash market, with that of derivatives; one value for the whole process."""
    return calendar_from(packaged_tables())


def calendar_with(own: DayTable) -> MarketCalendar:
    """Return the same calendar with a further table, which has precedence for its days."""
    return calendar_from((*packaged_tables(), own))
