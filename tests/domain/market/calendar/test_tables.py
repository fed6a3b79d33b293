"""Tests the format of tables of trading days and the calendar of several tables."""

from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.market.calendar import (
    IST,
    SessionKind,
    TableRefused,
    calendar_with,
    nse_calendar,
    read_table,
    trading_session,
)
from hullwatch.domain.market.instruments import Segment

YEAR_2027 = """
years = [2027]
source = "NSE circular of December 2026"

[closures]
2027-01-26 = "Republic Day"
2027-03-06 = "Mahashivratri"

[[session]]
day = 2027-02-06
opens = "09:15"
closes = 10:00:00
kind = "disaster_recovery_drill"
source = "NSE circular"

[[session]]
day = "2027-02-06"
opens = "11:30"
closes = "12:30"
segments = ["cash"]
kind = "disaster_recovery_drill"
source = "NSE circular"

[[unknown]]
day = 2027-10-29
what = "Muhurat trading takes place on this Friday, its hour is not published yet."
"""
CASH, DERIVATIVES = Segment.CASH, Segment.EQUITY_DERIVATIVES


def spelled(text: str, day: date, segment: Segment = CASH) -> list[str]:
    """Return the hours of a day in a calendar with this table in it."""
    sessions = calendar_with(read_table(text)).of(segment).sessions_on(day)
    return [f"{s.opens_at.astimezone(IST):%H:%M}-{s.closes_at.astimezone(IST):%H:%M}" for s in sessions]


def test_an_operators_year_is_known_at_once():
    """It has its holidays and its special hours by segment, and the warning is gone."""
    calendar = calendar_with(read_table(YEAR_2027))

    assert calendar.covers_until == date(2027, 12, 31)
    assert calendar.is_known(date(2027, 1, 26))
    assert not calendar.is_trading_day(date(2027, 1, 26))
    assert calendar.closures[date(2027, 1, 26)] == "Republic Day"
    assert calendar.is_trading_day(date(2027, 1, 27))
    assert spelled(YEAR_2027, date(2027, 2, 6)) == ["09:15-10:00", "11:30-12:30"]
    assert spelled(YEAR_2027, date(2027, 2, 6), DERIVATIVES) == ["09:15-10:00"]
    assert calendar.warnings(datetime(2026, 12, 15, tzinfo=UTC)) == ()
    assert not calendar.is_trading_day(date(2027, 10, 29))
    assert any("Muhurat" in warning for warning in calendar.warnings(datetime(2027, 10, 20, tzinfo=UTC)))
    assert nse_calendar().covers_until == date(2026, 12, 31)


def test_a_weekend_holiday_of_a_published_list_may_be_copied():
    """It is closed anyway, and the holiday is not given as the reason."""
    calendar = calendar_with(read_table(YEAR_2027))

    assert not calendar.is_trading_day(date(2027, 3, 6))
    assert date(2027, 3, 6) not in calendar.closures


def test_the_missing_muhurat_hour_can_be_added():
    """A session of the operator's file gives a day its hours, and the day is known from then on."""
    text = """
        [[session]]
        day = 2026-11-08
        opens = "18:00"
        closes = "19:00"
        kind = "muhurat"
        source = "circular"
    """
    calendar = calendar_with(read_table(text))

    assert calendar.sessions_on(date(2026, 11, 8)) == (
        trading_session(date(2026, 11, 8), time(18), time(19), SessionKind.MUHURAT),
    )
    assert calendar.is_known(date(2026, 11, 8))


def test_the_later_table_has_precedence():
    """An added closure removes packaged sessions, and an added session reopens a packaged closure."""
    cancelled = '[closures]\n2026-02-01 = "Budget moved"\n2026-11-30 = "By-election"\n'
    reopened = (
        "[[session]]\nday = 2026-12-25\nopens = '09:15'\ncloses = '15:30'\nkind = 'regular'\nsource = 'x'\n"
    )

    for segment in (CASH, DERIVATIVES):
        assert spelled(cancelled, date(2026, 2, 1), segment) == []
        assert spelled(cancelled, date(2026, 11, 30), segment) == []
        assert spelled(cancelled, date(2026, 12, 1), segment) != []
        assert spelled(reopened, date(2026, 12, 25), segment) == ["09:15-15:30"]


def test_regular_hours_can_change_from_a_day_on():
    """New hours are valid in the named segments from their day on, and can add an auction."""
    text = """
        [[hours]]
        since = 2026-12-01
        segments = ["equity_derivatives"]
        opens = "09:00"
        closes = "15:45"
        auction = ["15:40", "15:50"]
    """

    assert spelled(text, date(2026, 12, 1), DERIVATIVES) == ["09:00-15:45"]
    assert spelled(text, date(2026, 11, 30), DERIVATIVES) == ["09:15-15:40"]
    assert spelled(text, date(2026, 12, 1)) == ["09:15-15:30"]
    (session,) = calendar_with(read_table(text)).of(DERIVATIVES).sessions_on(date(2026, 12, 1))
    assert session.settles_at == datetime(2026, 12, 1, 15, 50, tzinfo=IST)


def test_an_empty_table_changes_nothing():
    """A calendar with it has the same days as without it."""
    assert calendar_with(read_table("# nothing yet\n")) == nse_calendar()


SESSION = "[[session]]\nday = 2027-02-06\nopens = '09:15'\ncloses = '10:00'\nkind = 'special'\nsource = 'x'\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("years = [2027", ("TOML", "unclosed array")),
        ("\n\nyears == 3", ("TOML", "line 3")),
        ("[closures]\n2027-01-26 = 'a'\n2027-01-26 = 'b'\n", ("TOML", "line 3")),
        ("year = [2027]", ("'year'",)),
        ("years = 2027", ("years", "list")),
        ("years = [27]", ("years", "27")),
        ("years = ['2027']", ("years",)),
        ("years = [true]", ("years",)),
        ("years = [2027]", ("2027", "no closed day")),
        ("closures = ['2027-01-26']", ("closures",)),
        ("[closures]\n2027-02-30 = 'x'\n", ("closures, 2027-02-30",)),
        ("[closures]\n2027-01-26 = ''\n", ("closures, 2027-01-26", "name")),
        ("[closures]\n2027-01-26 = true\n", ("closures, 2027-01-26", "name")),
        ("[session]\nday = 2027-02-06\n", ("[[session]]",)),
        ("session = [1]", ("[[session]]",)),
        (SESSION.replace("day = 2027-02-06\n", ""), ("session 1", "day is missing")),
        (SESSION + SESSION.replace("source = 'x'\n", ""), ("session 2 (2027-02-06)", "source is missing")),
        (SESSION.replace("'10:00'", "'09:15'"), ("session 1 (2027-02-06)", "must close after it opens")),
        (SESSION.replace("'10:00'", "'25:00'"), ("session 1 (2027-02-06)", "closes")),
        (SESSION.replace("'10:00'", "10"), ("session 1 (2027-02-06)", "closes")),
        (SESSION.replace("'10:00'", "'10:00:30'"), ("session 1 (2027-02-06)", "closes")),
        (SESSION.replace("'10:00'", "'10:00+05:30'"), ("session 1 (2027-02-06)", "closes")),
        (SESSION.replace("2027-02-06", "2027-02-06T09:15:00"), ("session 1", "no day")),
        (SESSION.replace("2027-02-06", "1027-02-06"), ("session 1", "no day")),
        (SESSION.replace("'special'", "'holiday'"), ("session 1", "kind", "muhurat")),
        (SESSION.replace("'special'", "['special']"), ("session 1", "kind")),
        (SESSION + "segments = ['futures']\n", ("session 1", "segments", "equity_derivatives")),
        (SESSION + "segments = []\n", ("session 1", "segments")),
        (SESSION + "segments = [{}]\n", ("session 1", "segments")),
        (SESSION + "colour = 'red'\n", ("session 1", "'colour'")),
        (SESSION + "auction = '09:50'\n", ("session 1", "auction")),
        (SESSION + "auction = ['10:05', '10:10']\n", ("session 1", "auction")),
        (SESSION + SESSION.replace("09:15", "09:30"), ("session 2", "must not overlap")),
        ("[[hours]]\nsince = 2027-01-01\nopens = '15:30'\ncloses = '09:15'\n", ("hours 1 (2027-01-01)",)),
        ("[[unknown]]\nday = 2027-10-29\n", ("unknown 1 (2027-10-29)", "what is missing")),
        ("[[unknown]]\nday = 2027-10-29\nwhat = 3\n", ("unknown 1", "what")),
    ],
)
def test_an_invalid_table_is_refused_by_its_entry(text, words):
    """The error is one line that names the entry and the mistake."""
    with pytest.raises(TableRefused) as refused:
        read_table(text)

    for word in words:
        assert word in str(refused.value)
    assert str(refused.value).isprintable()


toml_values = st.one_of(
    st.sampled_from(
        ["2027-02-06", "'09:15'", "09:15:00", "true", "[]", "{}", "1.5", "'cash'", "['cash']", "inf", "[[1]]"]
    ),
    st.integers(-5, 3000).map(str),
)
keys = st.sampled_from(
    "day since opens closes kind source segments auction what years closures session hours unknown".split()  # noqa: SIM905
)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["[closures]", "[[session]]", "[[hours]]", "[[unknown]]"]),
            st.builds("{} = {}".format, keys, toml_values),
        ),
        max_size=12,
    ).map("\n".join)
    | st.text(max_size=80)
)
def test_any_text_is_a_table_or_refused(text):
    """Any file is read or refused with an error of its own kind."""
    try:
        table = read_table(text)
    except TableRefused as refusal:
        text = str(refusal)
    else:
        calendar_with(table).status(datetime(2027, 1, 1, tzinfo=UTC))
        text = "usable"

    assert text.isprintable()
    assert len(text) < 300


def test_the_example_in_the_documents_is_a_table():
    """A user can copy the example of `docs/calendar.md`."""
    page = (Path(__file__).resolve().parents[4] / "docs" / "calendar.md").read_text(encoding="utf-8")
    example = page.split("```toml\n")[1].split("```")[0]

    calendar = calendar_with(read_table(example))

    assert calendar.covers_until == date(2027, 12, 31)
    assert calendar.is_trading_day(date(2027, 10, 29))
