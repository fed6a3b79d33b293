"""The table of NSE cash trading days, 2024 to 2026; BSE keeps the same days and hours.

Sources: the exchange's yearly holiday circulars for weekday closures (checked against exchange_calendars 4.13 XBOM in the
tests), its circulars on single sessions for the rest. A year enters the table when the exchange has published it, each
December for the next.

Assumed about the close: since 3 August 2026 a closing auction runs 15:15-15:35 for stocks with derivatives, and equity
derivatives trade until 15:40 (NSE circular, May 2026). Candles here keep the continuous session 09:15-15:30 for every
instrument; a candle that the broker dates 15:30 or later lies outside the session and ends a full resolution after it opened.
"""

from datetime import date, time
from functools import cache
from typing import Final

from hullwatch.domain.market_calendar.sessions import (
    MarketCalendar,
    SessionKind,
    TradingSession,
    trading_session,
)

CLOSURES: Final = {
    date(2024, 1, 22): "Consecration of the Ram temple",
    date(2024, 1, 26): "Republic Day",
    date(2024, 3, 8): "Mahashivratri",
    date(2024, 3, 25): "Holi",
    date(2024, 3, 29): "Good Friday",
    date(2024, 4, 11): "Id-ul-Fitr",
    date(2024, 4, 17): "Ram Navami",
    date(2024, 5, 1): "Maharashtra Day",
    date(2024, 5, 20): "General election in Mumbai",
    date(2024, 6, 17): "Bakri Id",
    date(2024, 7, 17): "Muharram",
    date(2024, 8, 15): "Independence Day",
    date(2024, 10, 2): "Mahatma Gandhi Jayanti",
    date(2024, 11, 1): "Diwali Laxmi Pujan",
    date(2024, 11, 15): "Guru Nanak Jayanti",
    date(2024, 11, 20): "Maharashtra assembly election",
    date(2024, 12, 25): "Christmas",
    date(2025, 2, 26): "Mahashivratri",
    date(2025, 3, 14): "Holi",
    date(2025, 3, 31): "Id-ul-Fitr",
    date(2025, 4, 10): "Mahavir Jayanti",
    date(2025, 4, 14): "Dr. Ambedkar Jayanti",
    date(2025, 4, 18): "Good Friday",
    date(2025, 5, 1): "Maharashtra Day",
    date(2025, 8, 15): "Independence Day",
    date(2025, 8, 27): "Ganesh Chaturthi",
    date(2025, 10, 2): "Mahatma Gandhi Jayanti",
    date(2025, 10, 21): "Diwali Laxmi Pujan",
    date(2025, 10, 22): "Diwali Balipratipada",
    date(2025, 11, 5): "Guru Nanak Jayanti",
    date(2025, 12, 25): "Christmas",
    date(2026, 1, 15): "Maharashtra municipal elections",
    date(2026, 1, 26): "Republic Day",
    date(2026, 3, 3): "Holi",
    date(2026, 3, 26): "Ram Navami",
    date(2026, 3, 31): "Mahavir Jayanti",
    date(2026, 4, 3): "Good Friday",
    date(2026, 4, 14): "Dr. Ambedkar Jayanti",
    date(2026, 5, 1): "Maharashtra Day",
    date(2026, 5, 28): "Bakri Id",
    date(2026, 6, 26): "Muharram",
    date(2026, 9, 14): "Ganesh Chaturthi",
    date(2026, 10, 2): "Mahatma Gandhi Jayanti",
    date(2026, 10, 20): "Dussehra",
    date(2026, 11, 10): "Diwali Balipratipada",
    date(2026, 11, 24): "Guru Nanak Jayanti",
    date(2026, 12, 25): "Christmas",
}
"""Weekdays without regular trading; a Muhurat hour may still fall on one, see `SPECIAL_SESSIONS`."""

_DRILL: Final = SessionKind.DISASTER_RECOVERY_DRILL

SPECIAL_SESSIONS: Final = (
    # The two short sessions announced for this Saturday were withdrawn the day before, when Monday the 22nd became a
    # holiday (NSE circular of 2024-01-19). Index feeds show frozen values until 18:16 that day: those are not trading.
    (date(2024, 1, 20), time(9, 15), time(15, 30), SessionKind.SPECIAL, "NSE circular, 2024-01-19"),
    (date(2024, 3, 2), time(9, 15), time(10, 0), _DRILL, "NSE circular, February 2024"),
    (date(2024, 3, 2), time(11, 30), time(12, 30), _DRILL, "NSE circular, February 2024"),
    (date(2024, 5, 18), time(9, 15), time(10, 0), _DRILL, "NSE circular, 2024-05-07, capital market"),
    (date(2024, 5, 18), time(11, 30), time(12, 30), _DRILL, "NSE circular, 2024-05-07, capital market"),
    (date(2024, 11, 1), time(18, 0), time(19, 0), SessionKind.MUHURAT, "NSE circular, October 2024"),
    (
        date(2025, 2, 1),
        time(9, 15),
        time(15, 30),
        SessionKind.SPECIAL,
        "Union Budget; NSE circular, December 2024",
    ),
    (date(2025, 10, 21), time(13, 45), time(14, 45), SessionKind.MUHURAT, "NSE circular, September 2025"),
    (
        date(2026, 2, 1),
        time(9, 15),
        time(15, 30),
        SessionKind.SPECIAL,
        "Union Budget; NSE circular, January 2026",
    ),
)
"""Trading outside the weekly pattern: day, opening and close in IST, kind, source."""

HOURS_UNKNOWN: Final = {
    date(2026, 11, 8): "Muhurat trading took place on this Sunday, but its hour is not in the table",
}
"""Days on which there was or will be trading whose hours are not known here; they count as closed and not known."""

KNOWN_YEARS: Final = frozenset({2024, 2025, 2026})


@cache
def nse_calendar() -> MarketCalendar:
    """Return the calendar of the cash market, one value for the whole process."""
    special: dict[date, tuple[TradingSession, ...]] = {}
    for day, opens, closes, kind, _source in SPECIAL_SESSIONS:
        special[day] = (*special.get(day, ()), trading_session(day, opens, closes, kind))
    return MarketCalendar(
        closures=CLOSURES, special_sessions=special, hours_unknown=HOURS_UNKNOWN, known_years=KNOWN_YEARS
    )
