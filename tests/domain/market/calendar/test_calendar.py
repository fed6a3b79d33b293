"""Trading days and trading hours.

Where the days come from is tested in `test_trading_days`, every minute of three years in `test_every_minute`.
"""

import time as os_time
from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.market.calendar import (
    IST,
    MarketCalendar,
    MarketPhase,
    SessionKind,
    TradingSession,
    ist_date,
    nse_calendar,
    session_under_way,
    sessions_of_all,
    trading_session,
)
from hullwatch.domain.market.instruments import Segment, Symbol

CALENDAR = nse_calendar()
DERIVATIVES = CALENDAR.of(Segment.EQUITY_DERIVATIVES)
moments = st.datetimes(datetime(2024, 1, 10), datetime(2026, 12, 20), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


def ist(*parts: int) -> datetime:
    """Return a moment in Indian time."""
    return datetime(*parts, tzinfo=IST)


def test_an_ordinary_day_trades_from_0915_to_1530():
    """A Friday has one session in Indian hours, its opening inside and its close outside."""
    (session,) = CALENDAR.sessions_on(date(2026, 11, 20))

    assert (session.opens_at, session.closes_at) == (ist(2026, 11, 20, 9, 15), ist(2026, 11, 20, 15, 30))
    assert session.opens_at.tzinfo is UTC
    assert CALENDAR.session_at(ist(2026, 11, 20, 9, 14, 59)) is None
    assert CALENDAR.session_at(ist(2026, 11, 20, 9, 15)) == session
    assert CALENDAR.session_at(ist(2026, 11, 20, 15, 29, 59)) == session
    assert CALENDAR.session_at(ist(2026, 11, 20, 15, 30)) is None


@pytest.mark.parametrize(
    ("day", "hours", "kind"),
    [
        (date(2024, 1, 20), [("09:15", "15:30")], SessionKind.SPECIAL),
        (date(2024, 3, 2), [("09:15", "10:00"), ("11:30", "12:30")], SessionKind.DISASTER_RECOVERY_DRILL),
        (date(2024, 5, 18), [("09:15", "10:00"), ("11:30", "12:30")], SessionKind.DISASTER_RECOVERY_DRILL),
        (date(2024, 11, 1), [("18:00", "19:00")], SessionKind.MUHURAT),
        (date(2025, 2, 1), [("09:15", "15:30")], SessionKind.SPECIAL),
        (date(2025, 10, 21), [("13:45", "14:45")], SessionKind.MUHURAT),
        (date(2026, 2, 1), [("09:15", "15:30")], SessionKind.SPECIAL),
    ],
)
def test_sessions_outside_the_pattern(day, hours, kind):
    """Budget days, Muhurat hours and drills trade at their own hours, and at no others."""
    sessions = CALENDAR.sessions_on(day)

    spelled = [tuple(f"{at.astimezone(IST):%H:%M}" for at in (s.opens_at, s.closes_at)) for s in sessions]
    assert spelled == hours
    assert {session.kind for session in sessions} == {kind}


def test_real_index_candles_lie_in_the_sessions(market_data):
    """Real one-minute candles of early 2024 lie on trading days only, and within their sessions.

    After the close of 2024-01-20 the feed repeats one frozen value; those rows are the only ones outside.
    """
    lines = (market_data / "1min" / "NIFTY50_1min_20240101_20240315.csv").read_text().splitlines()[1:]
    openings = [datetime.fromisoformat(line.partition(",")[0]) for line in lines]

    outside = {opening for opening in openings if CALENDAR.session_at(opening) is None}
    days = {ist_date(opening) for opening in openings}

    assert {ist_date(opening) for opening in outside} == {date(2024, 1, 20)}
    assert min(outside) == ist(2024, 1, 20, 15, 30)
    assert len(days) == 52
    assert all(CALENDAR.is_trading_day(day) for day in days)


def test_the_day_between_two_short_sessions():
    """Between the two sessions of a drill the market is closed, and the second session is the next."""
    status = CALENDAR.status(ist(2024, 3, 2, 10, 30))

    assert not status.is_open
    assert status.next_open_at == ist(2024, 3, 2, 11, 30)
    assert status.next_close_at == ist(2024, 3, 2, 12, 30)


def test_status_on_a_holiday():
    """A closed weekday has the name of its holiday, and the next session is on the next trading day."""
    status = CALENDAR.status(ist(2026, 11, 24, 10, 0))

    assert (status.is_open, status.session) == (False, None)
    assert status.holiday_name == "Guru Nanak Jayanti"
    assert status.exchange_day == date(2026, 11, 24)
    assert status.next_open_at == ist(2026, 11, 25, 9, 15)
    assert status.next_close_at == ist(2026, 11, 25, 15, 30)


def test_status_while_open():
    """The market closes next at the end of this session and opens next on Monday."""
    status = CALENDAR.status(ist(2026, 11, 20, 11, 0))

    assert status.is_open
    assert status.session is not None
    assert status.next_close_at == ist(2026, 11, 20, 15, 30)
    assert status.next_open_at == ist(2026, 11, 23, 9, 15)
    assert status.holiday_name is None


def test_the_muhurat_hour_is_open_on_a_holiday():
    """During the hour of Diwali the market is open, and the day still carries the holiday's name."""
    status = CALENDAR.status(ist(2025, 10, 21, 14, 0))

    assert status.is_open
    assert status.holiday_name == "Diwali Laxmi Pujan"
    assert status.next_close_at == ist(2025, 10, 21, 14, 45)


def test_the_exchange_day_is_indian():
    """In the late evening of UTC the exchange has the next date."""
    assert CALENDAR.status(datetime(2026, 11, 22, 20, 0, tzinfo=UTC)).exchange_day == date(2026, 11, 23)


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (ist(2026, 11, 23, 8, 0), date(2026, 11, 23)),
        (ist(2026, 11, 23, 23, 59), date(2026, 11, 23)),
        (ist(2026, 11, 24, 12, 0), date(2026, 11, 23)),
        (ist(2026, 11, 22, 12, 0), date(2026, 11, 20)),
    ],
)
def test_trading_day_of(moment, day):
    """A trading day counts before its opening too. A closed day belongs to the trading day before it."""
    assert CALENDAR.trading_day_of(moment) == day


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/Los_Angeles", "Pacific/Kiritimati"])
def test_the_servers_time_zone_does_not_matter(monkeypatch, zone):
    """The time zone of the server does not move a session."""
    monkeypatch.setenv("TZ", zone)
    os_time.tzset()
    try:
        fresh = CALENDAR.with_sessions(date(2026, 1, 1))
        (session,) = fresh.sessions_on(date(2026, 11, 20))
        local = datetime(2026, 11, 20, 3, 45, tzinfo=UTC).astimezone(timezone(timedelta(hours=-8)))
        assert session.opens_at == datetime(2026, 11, 20, 3, 45, tzinfo=UTC)
        assert fresh.session_at(local) == session
    finally:
        monkeypatch.undo()
        os_time.tzset()


@settings(deadline=None)
@given(moments)
def test_neighbouring_sessions_enclose_every_moment(moment):
    """The previous session is closed, the next one has not opened, and no session between them is skipped."""
    before, after, now = (
        CALENDAR.previous_session(moment),
        CALENDAR.next_session(moment),
        CALENDAR.session_at(moment),
    )

    assert before.closes_at <= moment < after.opens_at
    between = list(CALENDAR.sessions_between(before.closes_at, after.opens_at))
    assert between == ([now] if now else [])


@settings(deadline=None)
@given(moments)
def test_status_is_consistent(moment):
    """The market is open during a session. The next close is later than now, and than the next opening if it is closed."""
    status = CALENDAR.status(moment)

    assert status.is_open == (status.session is not None)
    assert moment < status.next_close_at
    assert moment < status.next_open_at
    assert (status.next_close_at < status.next_open_at) == status.is_open


def test_a_day_with_unknown_hours_has_a_warning():
    """The day of Muhurat trading in 2026 counts as closed, with a warning two weeks before."""
    day = date(2026, 11, 8)

    def warned(*moment: int) -> bool:
        return any("2026-11-08" in sentence for sentence in CALENDAR.warnings(ist(*moment)))

    assert not CALENDAR.is_trading_day(day)
    assert not CALENDAR.is_known(day)
    assert CALENDAR.is_known(date(2026, 11, 9))
    assert warned(2026, 11, 8, 23, 59)
    assert warned(2026, 10, 25)
    assert not warned(2026, 10, 24, 23, 59)
    assert not warned(2026, 11, 9)


def test_an_unknown_year_counts_weekdays_as_open_and_warns():
    """The warning for 2027 begins 60 days before and contains what to do."""
    assert CALENDAR.covers_until == date(2026, 12, 31)
    assert CALENDAR.is_trading_day(date(2027, 1, 26))
    assert not CALENDAR.is_trading_day(date(2027, 1, 24))
    assert not CALENDAR.is_known(date(2027, 1, 26))
    assert CALENDAR.warnings(ist(2026, 10, 24, 12, 0)) == ()
    (sentence,) = CALENDAR.warnings(ist(2026, 11, 28, 12, 0))
    assert "2027" in sentence
    assert "HULLWATCH_CALENDAR_FILE" in sentence
    assert not any("2027" in warning for warning in CALENDAR.warnings(ist(2026, 11, 1, 23, 59)))
    assert any("2027" in warning for warning in CALENDAR.warnings(ist(2026, 11, 2, 0, 0)))
    (sentence,) = CALENDAR.warnings(ist(2027, 6, 1, 12, 0))
    assert "2027" in sentence
    assert len(CALENDAR.warnings(ist(2027, 12, 1, 12, 0))) == 2


def test_a_gap_between_known_years_ends_what_is_covered():
    """Known years 2026 and 2028 cover the time until the end of 2026. No known years cover nothing."""
    assert MarketCalendar(known_years=frozenset({2026, 2028})).covers_until == date(2026, 12, 31)
    assert MarketCalendar().covers_until == date.min


# ---- segments


def test_derivatives_trade_the_same_days_and_close_later():
    """From 3 August 2026 on they trade until 15:40, and before that until 15:30."""
    day = date(2024, 1, 1)
    while day.year < 2027:
        cash, derivatives = CALENDAR.sessions_on(day), DERIVATIVES.sessions_on(day)
        assert [session.opens_at for session in cash] == [session.opens_at for session in derivatives]
        if day < date(2026, 8, 3):
            assert cash == derivatives
        elif cash:
            (session,) = derivatives
            assert session.closes_at == datetime.combine(day, time(15, 40), IST)
        day += timedelta(days=1)


@pytest.mark.parametrize(
    ("symbol", "closes"),
    [
        ("NSE:SBIN-EQ", time(15, 30)),
        ("NSE:NIFTY50-INDEX", time(15, 30)),
        ("BSE:SENSEX26NOVFUT", time(15, 40)),
        ("NSE:NIFTY26N2424500CE", time(15, 40)),
        ("MCX:GOLD26DECFUT", time(15, 30)),
    ],
)
def test_a_symbol_has_the_hours_of_its_segment(symbol, closes):
    """Futures and options have the hours of derivatives. All others have those of the cash market."""
    (session,) = CALENDAR.for_symbol(Symbol(symbol)).sessions_on(date(2026, 11, 20))

    assert session.closes_at.astimezone(IST).time() == closes


def test_the_phases_of_a_day_with_a_closing_auction():
    """The auction lasts from 15:15 to 15:35, though the session closes at 15:30. Derivatives have no auction."""
    spelled = []
    for minute in range(9 * 60 + 14, 15 * 60 + 42):
        moment = ist(2026, 11, 20) + timedelta(minutes=minute)
        found = (
            CALENDAR.phase_at(moment),
            CALENDAR.session_at(moment) is not None,
            DERIVATIVES.phase_at(moment),
        )
        if not spelled or spelled[-1][1:] != found:
            spelled.append((f"{moment:%H:%M}", *found))

    closed, continuous, auction = MarketPhase.CLOSED, MarketPhase.CONTINUOUS, MarketPhase.CLOSING_AUCTION
    assert spelled == [
        ("09:14", closed, False, closed),
        ("09:15", continuous, True, continuous),
        ("15:15", auction, True, continuous),
        ("15:30", auction, False, continuous),
        ("15:35", closed, False, continuous),
        ("15:40", closed, False, closed),
    ]


def test_status_contains_its_next_change():
    """A page that reads the status again at this moment never shows an old phase."""
    changes, moment = [], ist(2026, 11, 20, 8)
    while len(changes) < 6:
        moment = CALENDAR.status(moment).changes_at
        changes.append(f"{moment.astimezone(IST):%d %H:%M}")

    assert changes == ["20 09:15", "20 15:15", "20 15:30", "20 15:35", "23 09:15", "23 15:15"]


def test_a_replaced_day_is_replaced_in_both_segments():
    """Derivatives get a closed day or new hours as well."""
    day = date(2026, 11, 20)
    hour = trading_session(day, time(18, 0), time(19, 0), SessionKind.MUHURAT)

    assert CALENDAR.with_sessions(day).of(Segment.EQUITY_DERIVATIVES).sessions_on(day) == ()
    assert CALENDAR.with_sessions(day, hour).of(Segment.EQUITY_DERIVATIVES).sessions_on(day) == (hour,)
    assert MarketCalendar().of(Segment.EQUITY_DERIVATIVES) == MarketCalendar()


def test_sessions_of_several_segments():
    """Sessions of several segments that overlap become one. Others stay apart."""
    day = date(2026, 11, 20)
    (joined,) = sessions_of_all([CALENDAR, DERIVATIVES], day)

    assert (joined.opens_at, joined.closes_at) == (ist(2026, 11, 20, 9, 15), ist(2026, 11, 20, 15, 40))
    assert sessions_of_all([CALENDAR], day) == CALENDAR.sessions_on(day)
    assert len(sessions_of_all([CALENDAR, DERIVATIVES], date(2024, 3, 2))) == 2
    assert sessions_of_all([CALENDAR, DERIVATIVES], date(2026, 11, 24)) == ()
    assert session_under_way([CALENDAR, DERIVATIVES], ist(2026, 11, 20, 15, 35)) is not None
    assert session_under_way([CALENDAR], ist(2026, 11, 20, 15, 35)) is None
    assert session_under_way([CALENDAR, DERIVATIVES], ist(2026, 11, 20, 15, 40)) is None


def test_sessions_can_be_replaced_for_one_day():
    """A changed day changes nothing else, nor the calendar that it came from."""
    day = date(2026, 11, 8)
    hour = trading_session(day, time(18, 0), time(19, 0), SessionKind.MUHURAT)
    changed = CALENDAR.with_sessions(day, hour)

    assert changed.sessions_on(day) == (hour,)
    assert changed.is_known(day)
    assert CALENDAR.sessions_on(day) == ()
    assert changed.sessions_on(date(2026, 11, 9)) == CALENDAR.sessions_on(date(2026, 11, 9))
    assert changed.with_sessions(date(2026, 11, 9)).sessions_on(date(2026, 11, 9)) == ()


def test_impossible_sessions_are_refused():
    """Such a session closes before it opens, spans two days or overlaps another one."""
    day = date(2026, 11, 9)
    with pytest.raises(ValueError):
        trading_session(day, time(10, 0), time(10, 0))
    with pytest.raises(ValueError):
        TradingSession(ist(2026, 11, 9, 22, 0), ist(2026, 11, 10, 1, 0))
    with pytest.raises(ValueError):
        trading_session(day, auction=(time(15, 30), time(15, 35)))
    with pytest.raises(ValueError):
        trading_session(day, auction=(time(15, 15), time(15, 15)))
    with pytest.raises(ValueError):
        CALENDAR.with_sessions(date(2026, 11, 10), trading_session(day))
    with pytest.raises(ValueError):
        CALENDAR.with_sessions(day, trading_session(day), trading_session(day, time(12, 0), time(13, 0)))


def test_a_whole_day_may_trade():
    """A market for tests has a session from midnight to midnight."""
    session = TradingSession(ist(2026, 11, 9), ist(2026, 11, 10))
    calendar = CALENDAR.with_sessions(date(2026, 11, 9), session)

    assert calendar.session_at(ist(2026, 11, 9, 23, 59, 59)) == session


def test_a_naive_moment_is_refused():
    """A moment without a time zone has no date at the exchange."""
    with pytest.raises(ValueError):
        CALENDAR.session_at(datetime(2026, 11, 9, 10, 0))  # noqa: DTZ001 - the very mistake


def test_the_lookup_cache_is_bounded():
    """Queries of very many days do not fill the memory, and the answers stay right."""
    calendar = MarketCalendar()
    for i in range(9_000):
        calendar.sessions_on(date(2000, 1, 1) + timedelta(days=i))

    assert len(calendar._days) <= 4_096
    assert calendar.is_trading_day(date(2000, 1, 3))
