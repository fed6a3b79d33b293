"""Tests that the trading days agree with their library and with the lists of the exchanges."""

import importlib.util
from datetime import date, timedelta
from pathlib import Path

import pytest

from domain.market.calendar.published_days import AUCTION_SINCE, CLOSED_WEEKDAYS, EXTRA_HOURS
from hullwatch.domain.market.calendar import nse_calendar

TOOL = Path(__file__).resolve().parents[4] / "docs" / "tools" / "trading_days.py"
CALENDAR = nse_calendar()


@pytest.fixture(scope="module")
def tool():
    """The tool that writes the closed days, as a module."""
    spec = importlib.util.spec_from_file_location("trading_days", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def all_days():
    """Return every day of the three years."""
    return [date(2024, 1, 1) + timedelta(days=number) for number in range(366 + 365 + 365)]


def test_the_closed_days_are_those_of_the_library(tool):
    """`make calendar` would change no day and not the version of the library."""
    present = tool.FILE.read_text(encoding="utf-8")

    assert tool.holidays_text(present) == present
    assert tool.UNNAMED not in present


def test_the_tool_keeps_names_and_marks_days_without_one(tool):
    """An empty file gets the same days with a placeholder. A name in the file stays."""
    bare = tool.holidays_text("")
    named = tool.holidays_text('[closures]\n2026-01-26 = "The Republic"\n')

    assert bare.count(tool.UNNAMED) == len(CLOSED_WEEKDAYS)
    assert bare.replace('2026-01-26 = "Exchange holiday"', '2026-01-26 = "The Republic"') == named


def test_weekday_closures_are_the_published_ones():
    """A weekday of 2024 to 2026 is closed exactly if the lists of the exchanges close it, and it has a name."""
    assert {day for day in CALENDAR.closures if day.year < 2027} == CLOSED_WEEKDAYS
    assert [
        day
        for day in all_days()
        if day.weekday() < 5 and (day in CLOSED_WEEKDAYS) != (day in CALENDAR.closures)
    ] == []
    assert all(name.strip() and name != "Exchange holiday" for name in CALENDAR.closures.values())


def test_weekends_trade_exactly_on_the_published_days():
    """The Saturdays and Sundays with trading are those of the circulars."""
    found = {day for day in all_days() if day.weekday() >= 5 and CALENDAR.is_trading_day(day)}

    assert found == {day for day in EXTRA_HOURS if day.weekday() >= 5}
    assert not CALENDAR.is_known(date(2026, 11, 8))


def test_regular_hours_change_on_the_published_day():
    """The last Friday of July 2026 has the old hours, and the next Monday has the new ones."""
    assert CALENDAR.sessions_on(AUCTION_SINCE)[0].auction is not None
    assert CALENDAR.sessions_on(AUCTION_SINCE - timedelta(days=3))[0].auction is None
