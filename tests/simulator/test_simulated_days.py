"""Compares the simulated exchange's days with those of hullwatch, which are written independently."""

from datetime import date

from hullwatch.domain.market.calendar import SessionKind, nse_calendar
from hullwatch.simulator.market.calendar import from_date, is_trading_day, to_date


def test_the_simulated_exchange_has_the_trading_days_of_hullwatch():
    """They agree on 2024 to 2026; short special sessions are not simulated."""
    calendar, differing = nse_calendar(), []
    for day in range(from_date(date(2024, 1, 1)), from_date(date(2027, 1, 1))):
        kinds = {session.kind for session in calendar.sessions_on(to_date(day))}
        if is_trading_day(day) != bool(kinds & {SessionKind.REGULAR, SessionKind.SPECIAL}):
            differing.append(to_date(day))

    assert differing == []
