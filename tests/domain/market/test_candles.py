"""Tests reading, ordering and closing of candles."""

import csv
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.market.calendar import IST, ist_date, nse_calendar, trading_session
from hullwatch.domain.market.candles import (
    Candle,
    CandleDefect,
    DefectKind,
    arrange,
    arrange_candles,
    candle_opening,
    closes_at,
    closes_between,
    last_close_at_or_before,
    next_close_after,
    read_candle,
    split_closed,
)
from hullwatch.domain.market.instruments import RESOLUTIONS, Resolution, Segment, Symbol

CALENDAR = nse_calendar()
FIVE, HOUR, DAY = Resolution("5"), Resolution("60"), Resolution("1D")
GOOD = [1_700_000_100, 100.0, 102.5, 99.05, 101.0, 1200]
CALENDARS = st.sampled_from([CALENDAR, CALENDAR.of(Segment.EQUITY_DERIVATIVES)])
moments = st.datetimes(datetime(2024, 1, 10), datetime(2026, 12, 20), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
resolutions = st.sampled_from(RESOLUTIONS)
PROPERTY = settings(deadline=None)


def ist(*parts: int) -> datetime:
    """Return a moment in Indian time."""
    return datetime(*parts, tzinfo=IST)


def candle(opened_at: datetime, close: float = 100.0) -> Candle:
    """Return a candle with one price."""
    return Candle(opened_at, close, close, close, close, 1)


def with_value(column: int, value: object) -> list[object]:
    """Return the good row with one value changed."""
    row: list[object] = list(GOOD)
    row[column] = value
    return row


def test_a_row_becomes_a_candle():
    """Times are UTC, and whole prices become floats."""
    read = read_candle([1_621_814_400, 417, 423.5, 416, 420.1, 55_000])

    assert read == Candle(datetime(2021, 5, 24, tzinfo=UTC), 417.0, 423.5, 416.0, 420.1, 55_000)
    assert isinstance(read.open, float)


def test_open_interest_and_tuples_are_accepted():
    """The seventh value, the open interest, is ignored, and a tuple is read like a list."""
    assert read_candle([*GOOD, 77]) == read_candle(tuple(GOOD)) == read_candle(GOOD)


@pytest.mark.parametrize(
    "row", [None, 5, "abcdef", b"abcdef", {}, {1: 2}, [], [1], GOOD[:5], [*GOOD, 1, 2], set(GOOD)]
)
def test_a_row_of_another_form_is_a_defect_of_shape(row):
    """A row has six or seven values."""
    assert read_candle(row).kind is DefectKind.SHAPE


@pytest.mark.parametrize(
    "epoch",
    [
        None,
        True,
        "1700000100",
        -1,
        0,
        946_684_799,
        4_102_444_800,
        1_700_000_100_000,
        10**400,
        1.5,
        math.nan,
        math.inf,
    ],
)
def test_impossible_times_are_defects(epoch):
    """They are outside this century, in milliseconds, fractional or not numbers."""
    assert read_candle(with_value(0, epoch)).kind is DefectKind.TIME


@pytest.mark.parametrize("column", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "price",
    [
        None,
        True,
        False,
        "100.0",
        "",
        math.nan,
        math.inf,
        -math.inf,
        0,
        0.0,
        -0.0,
        -1.0,
        1e12,
        10**400,
        [],
        Decimal(100),
    ],
)
def test_impossible_prices_are_defects(column, price):
    """They are text, booleans, NaN, infinity, zero, negative or far too large."""
    assert read_candle(with_value(column, price)).kind is DefectKind.PRICE


@pytest.mark.parametrize(
    ("column", "price"), [(2, 99.0), (3, 103.0), (1, 102.55), (1, 99.0), (4, 102.55), (4, 99.04)]
)
def test_contradicting_prices_are_defects(column, price):
    """The high is below the low, or the open or close is outside of both."""
    assert read_candle(with_value(column, price)).kind is DefectKind.RANGE


@pytest.mark.parametrize("volume", [None, True, "5", -1, 0.5, math.nan, math.inf, 2**63, 10**400])
def test_impossible_volumes_are_defects(volume):
    """A volume is a whole number from 0 that fits the database."""
    assert read_candle(with_value(5, volume)).kind is DefectKind.VOLUME


def test_an_index_has_volume_zero():
    """Volume 0 and whole floats, as JSON may write them, are accepted."""
    assert read_candle(with_value(5, 0)).volume == 0
    assert read_candle(with_value(5, 1200.0)) == read_candle(GOOD)
    assert read_candle(with_value(0, 1_700_000_100.0)) == read_candle(GOOD)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=8) | st.dictionaries(st.text(max_size=3), children, max_size=3)
    ),
    max_leaves=12,
)


@PROPERTY
@given(json_values)
def test_any_json_gives_a_candle_or_a_defect(value):
    """Reading never raises, and the numbers of a candle are always consistent."""
    read = read_candle(value)

    if isinstance(read, Candle):
        assert (
            0 < read.low <= min(read.open, read.close) <= max(read.open, read.close) <= read.high < math.inf
        )
    else:
        assert isinstance(read, CandleDefect)
        assert read.sentence.endswith(".")


@PROPERTY
@given(
    st.permutations([0, 300, 600, 900, 1200]), st.lists(st.sampled_from([0, 300, 600, 900, 1200]), max_size=5)
)
def test_arranging_undoes_disorder_and_repetition(order, again):
    """Any order and any exact repetitions give the same candles, oldest first."""
    rows = [with_value(0, 1_700_000_100 + offset) for offset in (*order, *again)]
    arranged = arrange(rows)

    assert [c.opened_at.timestamp() for c in arranged.candles] == [1_700_000_100 + i * 300 for i in range(5)]
    assert (arranged.repeated, arranged.replaced, arranged.defects) == (len(again), 0, ())
    assert (arranged.disordered == 0) == (list(order) == sorted(order))


def test_the_last_of_conflicting_rows_counts():
    """Of two rows with the same opening and different numbers the later one is kept and counted."""
    arranged = arrange([GOOD, with_value(4, 100.5), with_value(4, 100.75)])

    assert [c.close for c in arranged.candles] == [100.75]
    assert (arranged.replaced, arranged.repeated) == (2, 0)


def test_defects_have_their_row_and_affect_no_other():
    """A defect is reported by its row, and the rows around it are used."""
    arranged = arrange([GOOD, with_value(4, math.nan), "nonsense", with_value(0, 1_700_000_400)])

    assert len(arranged.candles) == 2
    assert [(d.row, d.kind) for d in arranged.defects] == [(1, DefectKind.PRICE), (2, DefectKind.SHAPE)]


def test_overlapping_answers_are_joined():
    """Candles of two overlapping answers become one series without repetitions."""
    start = ist(2026, 11, 20, 9, 15)
    first = [candle(start + i * FIVE.length) for i in range(4)]
    second = [candle(start + i * FIVE.length) for i in range(2, 6)]

    joined = arrange_candles([*first, *second])

    assert [c.opened_at for c in joined.candles] == [start + i * FIVE.length for i in range(6)]
    assert joined.repeated == 2


@pytest.mark.parametrize(
    ("code", "opened", "closes"),
    [
        ("5", (15, 25), (15, 30)),
        ("60", (9, 15), (10, 15)),
        ("60", (15, 15), (15, 30)),
        ("2", (15, 29), (15, 30)),
        ("240", (13, 15), (15, 30)),
        ("45", (15, 15), (15, 30)),
        ("5", (15, 30), (15, 35)),
        ("60", (8, 45), (9, 45)),
    ],
)
def test_a_candle_ends_no_later_than_its_session(code, opened, closes):
    """The close shortens the last candle of a day. A candle outside the session has its full length."""
    closed_at = closes_at(ist(2026, 11, 20, *opened), Resolution(code), CALENDAR)

    assert closed_at == ist(2026, 11, 20, *closes)


def test_a_daily_candle_closes_with_the_days_last_session():
    """On a drill it closes after the second session, and on an unknown day at midnight."""
    assert closes_at(datetime(2026, 7, 31, tzinfo=UTC), DAY, CALENDAR) == ist(2026, 7, 31, 15, 30)
    assert closes_at(datetime(2024, 3, 2, tzinfo=UTC), DAY, CALENDAR) == ist(2024, 3, 2, 12, 30)
    assert closes_at(datetime(2024, 11, 1, tzinfo=UTC), DAY, CALENDAR) == ist(2024, 11, 1, 19, 0)
    assert closes_at(datetime(2026, 11, 8, tzinfo=UTC), DAY, CALENDAR) == ist(2026, 11, 9, 0, 0)


@pytest.mark.parametrize(
    ("code", "moment", "opening"),
    [
        ("5", (9, 19, 59), (9, 15)),
        ("5", (9, 20), (9, 20)),
        ("60", (15, 29), (15, 15)),
        ("240", (12, 0), (9, 15)),
    ],
)
def test_candles_are_counted_from_the_market_open(code, moment, opening):
    """Openings are whole resolutions after 09:15, not after the full hour."""
    session = trading_session(date(2026, 11, 20))

    assert candle_opening(ist(2026, 11, 20, *moment), Resolution(code), session) == ist(
        2026, 11, 20, *opening
    )


def test_a_daily_candle_opens_at_midnight_utc():
    """The daily candle of a session is dated as Fyers dates it."""
    session = trading_session(date(2026, 11, 20))

    assert candle_opening(ist(2026, 11, 20, 11), DAY, session) == datetime(2026, 11, 20, tzinfo=UTC)


def test_a_daily_candle_waits_for_the_closing_auction():
    """Since August 2026 the closing price of the cash market is final at 15:35."""
    today = candle(datetime(2026, 11, 20, tzinfo=UTC))

    assert closes_at(today.opened_at, DAY, CALENDAR) == ist(2026, 11, 20, 15, 35)
    assert split_closed([today], DAY, ist(2026, 11, 20, 15, 34, 59), CALENDAR) == ((), today)
    assert split_closed([today], DAY, ist(2026, 11, 20, 15, 35), CALENDAR) == ((today,), None)
    assert next_close_after(ist(2026, 11, 20, 15, 32), DAY, CALENDAR) == ist(2026, 11, 20, 15, 35)
    assert closes_between(ist(2026, 11, 20, 15, 32), ist(2026, 11, 20, 16), DAY, CALENDAR) == 1
    assert closes_between(ist(2026, 11, 20, 15, 35), ist(2026, 11, 20, 16), DAY, CALENDAR) == 0


def test_the_forming_candle_is_split_off():
    """A candle that closes exactly now is closed."""
    day = [candle(ist(2026, 11, 20, 9, 15) + i * FIVE.length) for i in range(4)]

    assert split_closed(day, FIVE, ist(2026, 11, 20, 9, 34, 59), CALENDAR) == (tuple(day[:3]), day[3])
    assert split_closed(day, FIVE, ist(2026, 11, 20, 9, 35), CALENDAR) == (tuple(day), None)
    assert split_closed([], FIVE, ist(2026, 11, 20, 9, 35), CALENDAR) == ((), None)


def test_candles_from_the_future_are_left_out():
    """They are neither closed nor forming, because one of the clocks is wrong."""
    day = [candle(ist(2026, 11, 20, 9, 15) + i * FIVE.length) for i in range(4)]

    assert split_closed(day, FIVE, ist(2026, 11, 20, 9, 21), CALENDAR) == ((day[0],), day[1])
    assert split_closed(day, FIVE, ist(2026, 11, 20, 9, 0), CALENDAR) == ((), None)


def test_the_short_last_hour_is_closed_at_the_close():
    """The hour opened at 15:15. Without an auction the daily candle closes with it at 15:30."""
    last_hour, today = candle(ist(2026, 7, 31, 15, 15)), candle(datetime(2026, 7, 31, tzinfo=UTC))

    assert split_closed([last_hour], HOUR, ist(2026, 7, 31, 15, 30), CALENDAR) == ((last_hour,), None)
    assert split_closed([today], DAY, ist(2026, 7, 31, 15, 29, 59), CALENDAR) == ((), today)
    assert split_closed([today], DAY, ist(2026, 7, 31, 15, 30), CALENDAR) == ((today,), None)


@pytest.mark.parametrize(
    ("code", "moment", "expected"),
    [
        ("5", ist(2026, 11, 20, 9, 15), ist(2026, 11, 20, 9, 20)),
        ("5", ist(2026, 11, 20, 15, 30), ist(2026, 11, 23, 9, 20)),
        ("60", ist(2026, 11, 20, 15, 20), ist(2026, 11, 20, 15, 30)),
        ("60", ist(2026, 11, 23, 16, 0), ist(2026, 11, 25, 10, 15)),
        ("1D", ist(2026, 11, 23, 15, 30), ist(2026, 11, 23, 15, 35)),
        ("1D", ist(2026, 11, 23, 15, 35), ist(2026, 11, 25, 15, 35)),
        ("1D", ist(2026, 7, 30, 15, 30), ist(2026, 7, 31, 15, 30)),
        ("1D", ist(2024, 3, 2, 9, 30), ist(2024, 3, 2, 12, 30)),
        ("1D", ist(2024, 3, 2, 10, 30), ist(2024, 3, 2, 12, 30)),
        ("60", ist(2024, 3, 2, 9, 30), ist(2024, 3, 2, 10, 0)),
        ("60", ist(2024, 3, 2, 10, 0), ist(2024, 3, 2, 12, 30)),
        ("240", ist(2024, 10, 31, 16, 0), ist(2024, 11, 1, 19, 0)),
    ],
)
def test_the_next_close_skips_closed_markets(code, moment, expected):
    """The cases are nights, weekends, holidays, drills and the Muhurat session."""
    assert next_close_after(moment, Resolution(code), CALENDAR) == expected


@pytest.mark.parametrize(
    ("code", "moment", "expected"),
    [
        ("5", ist(2026, 11, 20, 9, 20), ist(2026, 11, 20, 9, 20)),
        ("5", ist(2026, 11, 23, 9, 19), ist(2026, 11, 20, 15, 30)),
        ("60", ist(2026, 11, 25, 8, 0), ist(2026, 11, 23, 15, 30)),
        ("1D", ist(2026, 11, 23, 15, 34), ist(2026, 11, 20, 15, 35)),
        ("1D", ist(2026, 11, 23, 15, 35), ist(2026, 11, 23, 15, 35)),
        ("1D", ist(2024, 3, 2, 10, 30), ist(2024, 3, 1, 15, 30)),
    ],
)
def test_the_last_close_skips_closed_markets(code, moment, expected):
    """The day of a drill closes only with its second session."""
    assert last_close_at_or_before(moment, Resolution(code), CALENDAR) == expected


@PROPERTY
@given(moments, resolutions, CALENDARS)
def test_closes_are_neighbours(moment, resolution, calendar):
    """The last and the next close enclose the moment with none between them, in either segment."""
    last = last_close_at_or_before(moment, resolution, calendar)
    coming = next_close_after(moment, resolution, calendar)

    assert last <= moment < coming
    assert next_close_after(last, resolution, calendar) == coming
    assert last_close_at_or_before(coming, resolution, calendar) == coming
    assert closes_between(last, coming, resolution, calendar) == 1
    assert closes_between(last, coming - timedelta(microseconds=1), resolution, calendar) == 0


@PROPERTY
@given(moments, resolutions, CALENDARS)
def test_every_close_is_that_of_the_candle_before_it(moment, resolution, calendar):
    """The candle that contains the moment before a close is the one that closes then."""
    coming = next_close_after(moment, resolution, calendar)
    last_session = calendar.sessions_on(ist_date(coming))[-1]
    before = min(coming, last_session.closes_at) - timedelta(microseconds=1)

    opened_at = candle_opening(before, resolution, calendar.session_at(before))

    assert closes_at(opened_at, resolution, calendar) == coming


@PROPERTY
@given(
    moments,
    st.timedeltas(timedelta(0), timedelta(days=9)),
    st.timedeltas(timedelta(0), timedelta(days=9)),
    resolutions,
)
def test_counts_of_closes_add_up(start, first, second, resolution):
    """Two adjoining spans have as many closes as the whole, and a count equals stepping."""
    middle, end = start + first, start + first + second
    whole = closes_between(start, end, resolution, CALENDAR)

    assert whole == closes_between(start, middle, resolution, CALENDAR) + closes_between(
        middle, end, resolution, CALENDAR
    )
    if whole <= 60:
        stepped, at = 0, next_close_after(start, resolution, CALENDAR)
        while at <= end:
            stepped, at = stepped + 1, next_close_after(at, resolution, CALENDAR)
        assert stepped == whole


def test_a_reversed_span_has_no_closes():
    """The count is 0 and not negative."""
    assert closes_between(ist(2026, 11, 20, 12), ist(2026, 11, 20, 10), FIVE, CALENDAR) == 0


def test_a_day_has_75_five_minute_candles():
    """A regular day closes 75 candles of 5 minutes, 7 of an hour, 9 of 45 minutes, 1 of a day."""
    start, end = ist(2026, 11, 20), ist(2026, 11, 21)

    assert [closes_between(start, end, Resolution(c), CALENDAR) for c in ("5", "60", "45", "1D")] == [
        75,
        7,
        9,
        1,
    ]


def test_a_day_of_derivatives_has_77_five_minute_candles():
    """Since August 2026 the last two open at 15:30 and 15:35, as files of futures show."""
    derivatives = CALENDAR.for_symbol(Symbol("NSE:NIFTY26NOVFUT"))

    def count(code: str, *day: int) -> int:
        return closes_between(ist(*day), ist(*day) + timedelta(days=1), Resolution(code), derivatives)

    assert [count(code, 2026, 11, 20) for code in ("5", "60", "1D")] == [77, 7, 1]
    assert [count(code, 2026, 7, 31) for code in ("5", "60", "1D")] == [75, 7, 1]
    assert closes_at(ist(2026, 11, 20, 15, 30), FIVE, derivatives) == ist(2026, 11, 20, 15, 35)
    assert closes_at(ist(2026, 11, 20, 15, 15), HOUR, derivatives) == ist(2026, 11, 20, 15, 40)


def test_real_candles_are_exactly_those_expected(market_data):
    """The files of a month have no defect and every candle that the calendar expects."""
    files = sorted((market_data / "5min").glob("*.csv"))
    assert files
    for path in files:
        with path.open(newline="") as lines:
            rows = [
                [int(datetime.fromisoformat(r["timestamp"]).timestamp()), *(float(r[k]) for k in ("open", "high", "low", "close", "volume"))]
                for r in csv.DictReader(lines)
            ]  # fmt: skip
        arranged = arrange(rows)

        expected, at = [], next_close_after(ist(2026, 5, 20), FIVE, CALENDAR)
        while at < datetime.combine(date(2026, 6, 20), time(), IST):
            expected.append(at)
            at = next_close_after(at, FIVE, CALENDAR)
        assert arranged.defects == ()
        assert [closes_at(c.opened_at, FIVE, CALENDAR) for c in arranged.candles] == expected
