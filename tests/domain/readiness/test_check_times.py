"""Tests when readiness is checked."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import (
    IST,
    MarketCalendar,
    SessionKind,
    nse_calendar,
    trading_session,
)
from hullwatch.domain.readiness.check_times import read_check_times

TIMES = read_check_times("08:30,08:45,09:00")
YEARS_FROM = datetime(2024, 1, 1, tzinfo=UTC)
MONDAY, DIWALI, SATURDAY = date(2026, 11, 23), date(2026, 11, 8), date(2026, 11, 21)
CALENDAR = (
    MarketCalendar()
    .with_sessions(DIWALI, trading_session(DIWALI, time(18), time(19), SessionKind.MUHURAT))
    .with_sessions(date(2026, 11, 24))
)


def ist(text: str, day: date = MONDAY) -> datetime:
    """Return a time of a day in IST, as UTC."""
    return datetime.combine(day, time.fromisoformat(text), IST).astimezone(UTC)


def test_an_ordinary_day_has_its_three_checks() -> None:
    """The times are those of the setting, and the last check is marked."""
    checks = TIMES.on(MONDAY, CALENDAR)

    assert [check.at for check in checks] == [ist("08:30"), ist("08:45"), ist("09:00")]
    assert [check.is_last for check in checks] == [False, False, True]
    assert {check.opens_at for check in checks} == {ist("09:15")}


def test_no_check_on_a_day_without_trading() -> None:
    """A Saturday and a holiday have none."""
    assert TIMES.on(SATURDAY, CALENDAR) == ()
    assert TIMES.on(date(2026, 11, 24), CALENDAR) == ()


def test_a_special_opening_keeps_the_distance() -> None:
    """Muhurat opens at 18:00 on a Sunday, so the checks are 45, 30 and 15 minutes before."""
    checks = TIMES.on(DIWALI, CALENDAR)

    assert [check.at for check in checks] == [ist(each, DIWALI) for each in ("17:15", "17:30", "17:45")]


def test_a_day_with_two_sessions_is_checked_before_the_first() -> None:
    """The monitoring cycles notice what changes between the sessions."""
    drill = CALENDAR.with_sessions(
        SATURDAY,
        trading_session(SATURDAY, time(9, 15), time(10)),
        trading_session(SATURDAY, time(11, 30), time(12, 30)),
    )

    assert {check.opens_at for check in TIMES.on(SATURDAY, drill)} == {ist("09:15", SATURDAY)}


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("08:29:59", None),
        ("08:30", "08:30"),
        ("08:50", "08:45"),
        ("09:14:59", "09:00"),
        ("09:15", None),
        ("12:00", None),
    ],
)
def test_the_latest_missed_check_is_due_until_the_market_opens(now: str, due: str | None) -> None:
    """Two missed checks are made up for by one, and none after the market open."""
    check = TIMES.due(ist(now), CALENDAR)

    assert (check.at if check else None) == (ist(due) if due else None)


def test_after_fridays_last_check_comes_mondays_first() -> None:
    """The weekend has no checks."""
    assert TIMES.next_after(ist("09:00", date(2026, 11, 20)), CALENDAR).at == ist("08:30")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8:30",
        "08:30;09:00",
        "08:30,08:30",
        "24:00",
        "09:15",
        "05:59",
        "08:30,",
        "0८:30",
        ",".join(f"08:{n:02d}" for n in range(13)),
    ],
)
def test_unusable_times_are_refused_in_a_sentence(text: str) -> None:
    """They have a wrong form, repeat a time, are outside of the morning or are too many."""
    with pytest.raises(InvalidInput, match=r"\.$"):
        read_check_times(text)


def test_the_order_and_spaces_do_not_matter() -> None:
    """The user may write the times in any order."""
    assert read_check_times(" 09:00, 08:30 ,08:45") == TIMES


@given(
    st.integers(0, 1000 * 24 * 60).map(lambda minutes: YEARS_FROM + timedelta(minutes=minutes)),
    st.sets(st.times(time(6), time(9, 14)).map(lambda at: at.strftime("%H:%M")), min_size=1, max_size=4),
)
def test_the_next_check_is_the_first_one_ahead(moment, texts) -> None:
    """This is true for every moment and setting, and on the special days of several years."""
    calendar, times = nse_calendar(), read_check_times(",".join(texts))

    following = times.next_after(moment, calendar)

    assert moment < following.at < following.opens_at
    assert calendar.session_at(following.opens_at) is not None
    assert times.due(following.at, calendar) == following
    assert times.next_after(following.at - timedelta(microseconds=1), calendar) == following
