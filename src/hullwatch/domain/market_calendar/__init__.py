"""Trading days and hours of NSE and BSE; times are shown in IST and kept in UTC.

`sessions` holds the values and the rules for looking days up, `nse` the table of days. When a candle closes is the
business of `candles`.
"""

from hullwatch.domain.market_calendar.nse import nse_calendar
from hullwatch.domain.market_calendar.sessions import (
    IST,
    MarketCalendar,
    MarketStatus,
    SessionKind,
    TradingSession,
    ist_date,
    trading_session,
)

__all__ = [
    "IST",
    "MarketCalendar",
    "MarketStatus",
    "SessionKind",
    "TradingSession",
    "ist_date",
    "nse_calendar",
    "trading_session",
]
