"""The calendar is right for every minute of three years, in every time zone of a server.

The expected minutes come from the days of exchange_calendars and from what the exchanges published (`published_days`). They share no code
and no data file with the package. A process has one time zone, so each zone has a process of its own.

The process in UTC walks all minutes. The others share them: each walks every third minute, and all walk the minutes around each
change of state and around each change of their own clocks.
"""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from limits import PROCESS_LIMIT_S

from domain.market.calendar.published_days import AUCTION_SINCE, CLOSED_WEEKDAYS, EXTRA_HOURS

FIRST, LAST = date(2024, 1, 1), date(2026, 12, 31)
DAYS = (LAST - FIRST).days + 1
MINUTES = DAYS * 1440
CLOSED, OPEN, OPEN_IN_AUCTION, AUCTION_ALONE = 0, 1, 2, 3
SEGMENTS = ("cash", "equity_derivatives")
WALKER = Path(__file__).with_name("minute_walker.py")
ZONES = ["Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"]
AROUND_A_CHANGE = 2
"""Minutes before and after a change of state that every zone walks."""
AROUND_A_CLOCK_CHANGE = 180
"""Minutes before and after a zone's clocks are set forward or back."""


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


def minutes_of(zone: str, states: Iterable[np.ndarray]) -> np.ndarray:
    """Return the minutes that the process of a zone walks, in order."""
    if zone == "UTC":
        return np.arange(MINUTES, dtype=np.uint32)
    chosen = np.zeros(MINUTES, dtype=bool)
    chosen[ZONES.index(zone) :: len(ZONES)] = True
    for changes in states:
        for at in np.flatnonzero(np.diff(changes)) + 1:
            chosen[max(0, at - AROUND_A_CHANGE) : at + AROUND_A_CHANGE] = True
    begin = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) - timedelta(hours=5, minutes=30)
    offsets = [
        (begin + timedelta(hours=hour)).astimezone(ZoneInfo(zone)).utcoffset() for hour in range(DAYS * 24)
    ]
    for hour, (before, after) in enumerate(pairwise(offsets)):
        if before != after:
            chosen[max(0, hour * 60 - AROUND_A_CLOCK_CHANGE) : hour * 60 + AROUND_A_CLOCK_CHANGE] = True
    return np.flatnonzero(chosen).astype(np.uint32)


def walked(zone: str, minutes: np.ndarray) -> dict[str, np.ndarray]:
    """Return for each segment the state of these minutes that a process in this time zone finds."""
    environment = {**os.environ, "TZ": zone}
    done = subprocess.run(
        [sys.executable, WALKER, FIRST.isoformat()],
        env=environment,
        input=minutes.tobytes(),
        capture_output=True,
        timeout=PROCESS_LIMIT_S,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["zone"] == zone
    return {segment: np.frombuffer(bytes.fromhex(answer[segment]), dtype=np.uint8) for segment in SEGMENTS}


@pytest.mark.parametrize("zone", ["UTC", *ZONES])
def test_every_minute_is_right_in_every_time_zone(library_days, zone):
    """The state of each walked minute of 2024 to 2026 is the expected one, in both segments."""
    expected = {
        segment: oracle(library_days, derivatives=segment == "equity_derivatives") for segment in SEGMENTS
    }
    minutes = minutes_of(zone, expected.values())
    found = walked(zone, minutes)

    assert len(minutes) >= MINUTES // 3
    for segment in SEGMENTS:
        assert len(found[segment]) == len(minutes)
        differing = minutes[found[segment] != expected[segment][minutes]]
        assert [
            f"{FIRST + timedelta(days=int(at) // 1440)} {at % 1440 // 60:02}:{at % 60:02}"
            for at in differing[:5]
        ] == []


def test_every_minute_is_walked():
    """Together the zones walk each of the 1,578,240 minutes, and so does the process in UTC alone."""
    states = [np.zeros(MINUTES, dtype=np.uint8)]
    shared = np.concatenate([minutes_of(zone, states) for zone in ZONES])

    assert MINUTES == 1_578_240
    assert len(np.unique(shared)) == len(minutes_of("UTC", states)) == MINUTES


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
