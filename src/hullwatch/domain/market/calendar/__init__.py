"""Trading days and hours of NSE and BSE, cash and equity derivatives; times are shown in IST and kept in UTC.

`sessions` holds the values, `calendar` the rules for looking days up, `tables` the format of the files with days in them, `exchange` the
exchange's own. When a candle closes is the business of `candles`.
"""

from hullwatch.domain.market.calendar.calendar import (
    MarketCalendar,
    MarketStatus,
    session_under_way,
    sessions_of_all,
)
from hullwatch.domain.market.calendar.exchange import calendar_with, nse_calendar
from hullwatch.domain.market.calendar.sessions import (
    IST,
    ClosingAuction,
    MarketPhase,
    RegularHours,
    SessionKind,
    TradingSession,
    day_bounds,
    ist_date,
    trading_session,
)
from hullwatch.domain.market.calendar.tables import DayTable, TableRefused, read_table

__all__ = [
    "IST",
    "ClosingAuction",
    "DayTable",
    "MarketCalendar",
    "MarketPhase",
    "MarketStatus",
    "RegularHours",
    "SessionKind",
    "TableRefused",
    "TradingSession",
    "calendar_with",
    "day_bounds",
    "ist_date",
    "nse_calendar",
    "read_table",
    "session_under_way",
    "sessions_of_all",
    "trading_session",
]
