"""The calendar is right for every minute of three years, in every time zone of a server.

The expected minutes come from the days of exchange_calendars and from what the exchanges published (`published_days`). They share no code
and no data file with the package. A process has one time zone, so each zone has a process of its own.
"""

import json
import os
import subprocess
import sys
import warnings
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from limits import PROCESS_LIMIT_S

from domain.market.calendar.published_days import AUCTION_SINCE, CLOSED_WEEKDAYS, EXTRA_HOURS

FIRST, LAST = date(2024, 1, 1), date(2026, 12, 31)
DAYS = (LAST - FIRST).days + 1
MINUTES = DAYS * 1440
CLOSED, OPEN, OPEN_IN_AUCTION, AUCTION_ALONE = 0, 1, 2, 3
WALKER = Path(__file__).with_name("minute_walker.py")
ZONES = ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"]


@pytest.fixture(scope="module")
def library_days():
    """Return the days on which exchange_calendars has a session."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' warnings about its own future
        import exchange_calendars  # noqa: PLC0415 - two seconds that only this test should pay

        calendar = exchange_calendars.get_calendar("XBOM", start=FIRST.isoformat(), end=LAST.isoformat())
        return frozenset(session.date() for session in calendar.sessions)


def oracle(library_days: frozenset[date], *, derivatives: bool) -> np.ndarray:
    """Return one state for every minute of the three years, in Indian time."""
    states = np.zeros(MINUTES, dtype=np.uint8)
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        minutes = states[number * 1440 : (number + 1) * 1440]
        if day in EXTRA_HOURS:
            for opens, closes in EXTRA_HOURS[day]:
                minutes[opens:closes] = OPEN
        elif day in library_days and day not in CLOSED_WEEKDAYS:
            minutes[555:930] = OPEN
            if day >= AUCTION_SINCE and derivatives:
                minutes[930:940] = OPEN
            elif day >= AUCTION_SINCE:
                minutes[915:930] = OPEN_IN_AUCTION
                minutes[930:935] = AUCTION_ALONE
    return states


def walked(zone: str) -> dict[str, np.ndarray]:
    """Return for each segment the state of every minute that a process in this time zone finds."""
    environment = {**os.environ, "TZ": zone}
    done = subprocess.run(
        [sys.executable, WALKER, FIRST.isoformat(), str(DAYS)],
        env=environment,
        capture_output=True,
        timeout=PROCESS_LIMIT_S,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["zone"] == zone
    return {
        segment: np.frombuffer(bytes.fromhex(answer[segment]), dtype=np.uint8)
        for segment in ("cash", "equity_derivatives")
    }


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_is_right_in_every_time_zone(library_days, zone):
    """The state of all 1,578,240 minutes of 2024 to 2026 is the expected one, in both segments."""
    found = walked(zone)

    for segment in ("cash", "equity_derivatives"):
        expected = oracle(library_days, derivatives=segment == "equity_derivatives")
        assert len(found[segment]) == len(expected) == 1_578_240
        differing = np.flatnonzero(found[segment] != expected)
        assert [
            f"{FIRST + timedelta(days=int(at) // 1440)} {at % 1440 // 60:02}:{at % 60:02}"
            for at in differing[:5]
        ] == []


def test_the_expected_minutes_cover_each_kind_of_day(library_days):
    """The expected minutes hold trading hours, special hours and closing auctions."""
    cash = oracle(library_days, derivatives=False)
    full_days = len(library_days - set(EXTRA_HOURS) - CLOSED_WEEKDAYS) + 3
    short = sum(
        closes - opens for hours in EXTRA_HOURS.values() for opens, closes in hours if closes - opens < 375
    )

    assert np.isin(cash, (OPEN, OPEN_IN_AUCTION)).sum() == full_days * 375 + short
    assert (cash == AUCTION_ALONE).sum() % 5 == 0
    assert (cash == AUCTION_ALONE).sum() > 400
