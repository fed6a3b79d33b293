"""The trading days of NSE and BSE as the exchanges published them, for the tests alone.

Sources: NSE's yearly circulars on trading holidays of the capital market segment (for 2025 NSE/CMTR/65587 of 2024-12-13; for 2026 NSE/CMTR/71775 of 2025-12-12; those of derivatives, NSE/FAOP/71777,
and BSE's, 20251212-8, name the same days) and the single ones that changed them (2024-01-22, 2024-05-20, 2024-11-20; 2026-01-15 by NSE/CMTR/72260); the
circulars on live trading outside the pattern. Nothing here is read from the package.
"""

from datetime import date

_CLOSED = {
    2024: "01-22 01-26 03-08 03-25 03-29 04-11 04-17 05-01 05-20 06-17 07-17 08-15 10-02 11-01 11-15 11-20 12-25",
    2025: "02-26 03-14 03-31 04-10 04-14 04-18 05-01 08-15 08-27 10-02 10-21 10-22 11-05 12-25",
    2026: "01-15 01-26 03-03 03-26 03-31 04-03 04-14 05-01 05-28 06-26 09-14 10-02 10-20 11-10 11-24 12-25",
}
CLOSED_WEEKDAYS = frozenset(
    date.fromisoformat(f"{year}-{day}") for year, days in _CLOSED.items() for day in days.split()
)

EXTRA_HOURS = {
    date(2024, 1, 20): [(555, 930)],
    date(2024, 3, 2): [(555, 600), (690, 750)],
    date(2024, 5, 18): [(555, 600), (690, 750)],
    date(2024, 11, 1): [(1080, 1140)],
    date(2025, 2, 1): [(555, 930)],
    date(2025, 10, 21): [(825, 885)],
    date(2026, 2, 1): [(555, 930)],
}
"""Day → opening and close in minutes after midnight IST, the same in both segments."""

AUCTION_SINCE = date(2026, 8, 3)
"""From here on the cash market has a closing auction from 15:15 to 15:35, and derivatives trade until 15:40."""
