"""Candles are on the grid of Wednesday 17 June 2026 and the days after it unless a test says otherwise."""

from datetime import date, datetime, timedelta

import pytest

from hullwatch.candle_files import CandleFile, FileCheck, check_candles, read_candle_file
from hullwatch.domain.market.calendar import IST, MarketCalendar, nse_calendar, trading_session
from hullwatch.domain.market.candles import Candle

FIVE, DAY = timedelta(minutes=5), timedelta(days=1)
WEDNESDAY = datetime(2026, 6, 17, 9, 15, tzinfo=IST)


def file_of(*moments: datetime) -> CandleFile:
    """Return a file with one candle at each moment, from line 2 on."""
    candles = tuple(Candle(moment, 100, 100, 100, 100, 1) for moment in sorted(moments))
    return CandleFile(candles, tuple(range(2, len(candles) + 2)), (), ())


def session(opens: datetime = WEDNESDAY, minutes: int = 5, until: int = 375) -> list[datetime]:
    """Return the openings of one session."""
    return [opens + timedelta(minutes=at) for at in range(0, until, minutes)]


def check(*moments: datetime, length: timedelta = FIVE, calendar: MarketCalendar | None = None) -> FileCheck:
    """Check a file with these openings."""
    return check_candles(file_of(*moments), length, calendar or nse_calendar())


def test_complete_sessions_need_no_note():
    """A weekend and the rest of the first and the last day are no gaps."""
    moments = [at for day in (2, 5, 6) for at in session(WEDNESDAY + day * DAY)]

    assert check(*moments[10:-10]) == FileCheck()
    assert check() == FileCheck()


def test_a_missing_session_is_counted_with_its_line():
    """Friday and Monday are missing; the weekend between them is not."""
    found = check(*session(WEDNESDAY + DAY), *session(WEDNESDAY + 6 * DAY))

    assert found.gaps == ("2 trading sessions are missing, the first on Fri 19 Jun 2026 (after line 76).",)
    assert found.reasons == found.gaps


def test_single_missing_candles_are_named_only():
    """A contract that is traded rarely has many, and its signals are right."""
    moments = [at for at in session() if (at.hour, at.minute) not in {(10, 10), (11, 0), (11, 5)}]
    found = check(*moments)

    assert found.reasons == ()
    assert found.notes == (
        "3 candles are missing: 10:10 on 17 Jun 2026, 11:00 on 17 Jun 2026, 11:05 on 17 Jun 2026 (after line 12).",
    )


def test_a_hole_of_hours_is_a_reason():
    """The average would run across it as if the candles were neighbours."""
    moments = [at for at in session() if not 10 <= at.hour < 14]

    assert check(*moments).gaps == (
        "1 hole is longer than an hour, the first from 10:00 on 17 Jun 2026 to 14:00 on 17 Jun 2026 (after line 10).",
    )


@pytest.mark.parametrize("minutes", [10, 15, 30, 60, 75, 125])
def test_coarser_rows_are_another_resolution(minutes):
    """The sentence names the step that was found, a line, and the expectation."""
    moments = [at for day in (0, 1) for at in session(WEDNESDAY + day * DAY, minutes)]
    found = check(*moments)

    assert found.other_resolution == (
        f"The rows are {minutes} minutes apart, for example from line 2 on; "
        "5 minutes were expected (resolution 5)."
    )


def test_one_row_a_day_is_another_resolution():
    """Whether it is dated midnight or the market open."""
    for opens in (WEDNESDAY, WEDNESDAY.replace(hour=0, minute=0)):
        found = check(opens, opens + DAY, opens + 5 * DAY)

        assert "one row a day" in (found.other_resolution or "")


def test_finer_rows_are_another_resolution():
    """Each would be taken for an hour."""
    found = check(*session(), length=timedelta(hours=1))

    assert found.other_resolution == (
        "Most rows are 5 minutes apart, for example line 3; 60 minutes were expected (resolution 60)."
    )


@pytest.mark.parametrize(
    ("second_day", "line"),
    [
        (session(WEDNESDAY + DAY, 15), 77),
        (session(WEDNESDAY + DAY, 5, 60) + session(WEDNESDAY + DAY + timedelta(hours=1), 15, 180), 88),
    ],
)
def test_mixed_resolutions_are_found_by_session_and_by_stretch(second_day, line):
    """Vendors keep fine candles for recent weeks only."""
    found = check(*session(), *second_day)

    assert found.other_resolution is not None
    assert found.other_resolution.startswith("1 part of the file has rows 15 minutes apart")
    assert abs(int(found.other_resolution.split("line ")[1].split()[0]) - line) <= 8


def test_a_row_between_the_steps_is_named():
    """The last row of a live download is often the moment of the download."""
    moments = session()
    moments[-1] -= timedelta(minutes=2)

    assert check(*moments).other_resolution == (
        "1 row opens between the steps of the resolution, the first on line 76; "
        "5 minutes were expected (resolution 5) throughout."
    )


def test_candles_counted_from_another_minute_are_used():
    """Some vendors date hourly candles by the full hour; their first one is short."""
    moments = [
        at
        for day in range(3)
        for at in (WEDNESDAY + day * DAY, *session(WEDNESDAY.replace(hour=10, minute=0) + day * DAY, 60, 330))
    ]
    found = check(*(at for at in moments if at.weekday() < 5), length=timedelta(hours=1))

    assert found.reasons == ()
    assert "45 minutes after" in found.notes[0]


def test_rare_trades_are_no_other_resolution():
    """Every third or seventh slot has no trade; no step is usual."""
    moments = [at for index, at in enumerate(session()) if index % 3 and index % 7]

    found = check(*moments)

    assert found.reasons == ()
    assert "candles are missing" in found.notes[0]


def test_candles_outside_trading_hours_are_noted():
    """On a calendar that trades the Sunday they are in order."""
    sunday = WEDNESDAY + 4 * DAY
    calendar = MarketCalendar().with_sessions(sunday.date(), trading_session(sunday.date()))

    assert check(*session(sunday), calendar=calendar).reasons == ()
    assert check(*session(sunday)).notes == (
        "75 candles are outside the exchange's trading sessions, the first on line 2.",
    )


def test_candles_of_the_closing_auction_may_be_absent():
    """Since August 2026 stocks with derivatives have no trades from 15:15 until the auction's single one."""
    monday = datetime(2026, 8, 10, 9, 15, tzinfo=IST)
    moments = [*session(monday, until=360), *session(monday + DAY)]

    assert check(*moments) == FileCheck()


def test_sessions_of_unknown_years_are_not_missed():
    """Their holidays are not known, so a weekday without candles proves nothing."""
    monday = datetime(2019, 6, 17, 9, 15, tzinfo=IST)
    found = check(*session(monday), *session(monday + 2 * DAY))

    assert found.reasons == ()
    assert "2019 are not known" in found.notes[-1]


def test_daily_candles_are_compared_with_the_trading_days():
    """A missing day is a missing session, and weekly rows are another resolution."""
    days = [WEDNESDAY.replace(hour=5, minute=30) + day * DAY for day in (0, 1, 5, 6, 7)]

    assert check(*days, length=DAY).gaps == ("1 trading session is missing, the first on Fri 19 Jun 2026.",)
    assert "7 days apart" in str(check(*(days[0] + week * 7 * DAY for week in range(4)), length=DAY))
    assert check(days[0], days[0] + 3 * DAY, length=DAY).notes != ()


def test_real_files_are_complete_or_name_the_missing_session(market_data):
    """The exchange traded on 1 and 2 February 2024, and the one-minute file has neither day."""
    for path in (market_data / "5min").glob("*.csv"):
        assert check_candles(read_candle_file(path, FIVE), FIVE, nse_calendar()) == FileCheck()
    minute = timedelta(minutes=1)
    (path,) = (market_data / "1min").glob("*.csv")
    found = check_candles(read_candle_file(path, minute), minute, nse_calendar())

    assert found.other_resolution is None
    assert len(found.gaps) == 1
    assert f"{date(2024, 2, 1):%a %d %b %Y}" in found.gaps[0]
