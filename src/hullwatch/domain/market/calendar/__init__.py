"""Trading days and hours of NSE and BSE, cash and equity derivatives.

Times are shown in IST and stored in UTC.
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
