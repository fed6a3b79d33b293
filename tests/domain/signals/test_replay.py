"""Tests reading candle files and replaying them."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import IST, MarketCalendar, nse_calendar, trading_session
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import hull_moving_average, warm_up
from hullwatch.domain.signals.replay import HEADER, CandleFile, RowRefused, read_candle_file, replay
from hullwatch.domain.signals.signals import Direction, FeedStatus, Rule, WatchSeries

SBIN, FIVE = Symbol("NSE:SBIN-EQ"), Resolution("5")
START = datetime(2026, 11, 20, 3, 45, tzinfo=UTC)
GOOD = "2026-11-20T09:15:00+05:30,100.0,102.0,99.0,101.0,500"


def read(*lines: str) -> CandleFile:
    """Return what is read from these lines after a header."""
    return read_candle_file([HEADER + "\n", *(line + "\n" for line in lines)])


def wave(count: int) -> list[Candle]:
    """Return candles whose closes go up and down, on consecutive 5-minute openings."""
    closes = [100 + abs(i % 40 - 20) / 4 + (i * 7_919 % 13) / 100 for i in range(count)]
    return [Candle(START + i * timedelta(minutes=5), c, c, c, c, 1) for i, c in enumerate(closes)]


def test_a_file_of_candles_is_read():
    """ISO times with any offset and epoch seconds become UTC, sorted."""
    found = read("1763612400,1,1,1,1,0", GOOD, "2026-11-20T03:50:00Z,5,6,4,5,7.0", "")

    assert found.refused == ()
    assert [c.opened_at for c in found.candles] == [
        datetime.fromtimestamp(1_763_612_400, UTC),
        START,
        START + timedelta(minutes=5),
    ]
    assert found.candles[1] == Candle(START, 100.0, 102.0, 99.0, 101.0, 500)


def test_byte_order_mark_quotes_and_windows_lines_are_read():
    """Spreadsheets write files in this form."""
    quoted = ",".join(f'"{cell}"' for cell in GOOD.split(","))
    found = read_candle_file(["\ufeff" + HEADER.title() + "\r\n", quoted + "\r\n"])

    assert len(found.candles) == 1
    assert found.refused == ()


@pytest.mark.parametrize(
    "lines", [[], [""], [GOOD], ["time,open,high,low,close,volume"], [HEADER + ",oi"], ["\x00"]]
)
def test_a_file_without_the_header_is_refused(lines):
    """The meaning of its columns is unknown."""
    with pytest.raises(InvalidInput, match="Line 1"):
        read_candle_file(lines)


@pytest.mark.parametrize(
    ("line", "named_part"),
    [
        ("2026-11-20T09:20:00,1,1,1,1,1", "timestamp"),
        ("20-11-2026 09:20,1,1,1,1,1", "timestamp"),
        ("1763612400000,1,1,1,1,1", "timestamp"),
        ("0,1,1,1,1,1", "time"),
        (",1,1,1,1,1", "timestamp"),
        ("1763612400,nan,1,1,1,1", "open"),
        ("1763612400,1,inf,1,1,1", "high"),
        ("1763612400,1,1,1_0,1,1", "low"),
        ("1763612400,1,1,1,,1", "close"),
        ("1763612400,1,1,1,\u0661,1", "close"),
        ("1763612400,1,1,1,1,x", "volume"),
        ("1763612400,1,1,1,1,-5", "volume"),
        ("1763612400,1,1,1,1,1.5", "volume"),
        ("1763612400,0,1,1,1,1", "open"),
        ("1763612400,1,1e300,1,1,1", "high"),
        ("1763612400,5,4,6,5,1", "high"),
        ("1763612400,9,6,4,5,1", "open"),
        ("1763612400,1,1,1,1", "columns"),
        ("1763612400,1,1,1,1,1,1", "columns"),
        ('"1763612400,1,1,1,1,1', "CSV"),
        ("x" * 5_000, "longer"),
        ("\x00,\x00", "columns"),
    ],
)
def test_an_unusable_line_is_refused_by_number(line, named_part):
    """The refusal names the mistake, and the lines around it are used."""
    found = read(GOOD, line, "2026-11-20T09:25:00+05:30,1,1,1,1,1")

    assert len(found.candles) == 2
    (refused,) = found.refused
    assert refused.line == 3
    assert named_part in refused.sentence
    assert len(refused.sentence) < 120


def test_repeated_openings_are_refused_and_the_last_counts():
    """The others are listed as repetition or contradiction."""
    found = read(GOOD, GOOD, GOOD.replace("101.0", "100.5"))

    assert [c.close for c in found.candles] == [100.5]
    assert [refused.line for refused in found.refused] == [2, 3]
    assert found.refused[0] == RowRefused(2, "Line 3 repeats this candle.")
    assert "other numbers" in found.refused[1].sentence


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), max_size=6))
def test_any_text_is_read_or_refused(lines):
    """After a header no content raises, and each line is a candle or refused."""
    flat = [line.replace("\n", " ").replace("\r", " ") for line in lines]
    found = read(*flat)

    assert len(found.candles) + len(found.refused) == sum(bool(line.strip()) for line in flat)


def test_a_replay_equals_the_live_series():
    """Signals and averages are compared candle by candle."""
    candles = wave(300)
    report = replay(candles, SBIN, 9, FIVE)

    expected = []
    series = {rule: WatchSeries(9, rule) for rule in Rule}
    for candle in candles:
        for rule, one in series.items():
            fed = one.feed(candle)
            assert fed.status is FeedStatus.ACCEPTED
            if fed.direction:
                expected.append((rule, fed.direction, candle.opened_at, candle.close, fed.hma))
    assert [(s.rule, s.direction, s.candle_opened_at, s.close, s.hma) for s in report.signals] == expected
    assert [row.hma for row in report.rows] == hull_moving_average([c.close for c in candles], 9)
    assert {s.direction for s in report.signals} == set(Direction)


def test_one_rule_can_be_requested():
    """The result is the part of this rule in a replay of both rules."""
    candles = wave(200)
    both = replay(candles, SBIN, 9, FIVE).signals

    for rule in Rule:
        assert replay(candles, SBIN, 9, FIVE, (rule,)).signals == tuple(s for s in both if s.rule is rule)
    with pytest.raises(InvalidInput):
        replay(candles, SBIN, 9, FIVE, ())


def test_replaying_twice_or_with_repetitions_gives_the_same():
    """Repeated and old candles add neither a signal nor a row."""
    candles = wave(120)
    doubled = [c for candle in candles for c in (candle, candle)] + candles[:5]

    assert replay(candles, SBIN, 9, FIVE) == replay(candles, SBIN, 9, FIVE)
    assert replay(doubled, SBIN, 9, FIVE).signals == replay(candles, SBIN, 9, FIVE).signals
    assert replay(doubled, SBIN, 9, FIVE).rows == replay(candles, SBIN, 9, FIVE).rows


def test_a_signal_is_dated_by_its_candles_close():
    """The last hour of a day is shorter, and its close counts."""
    opened_at = datetime(2026, 11, 20, 15, 15, tzinfo=IST)
    before = [opened_at - timedelta(minutes=60 * i) for i in range(warm_up(2), 0, -1)]
    candles = [Candle(at, 100.0, 100.0, 100.0, 100.0, 1) for at in before]
    candles.append(Candle(opened_at, 100.0, 101.0, 100.0, 101.0, 1))

    (signal,) = replay(candles, SBIN, 2, Resolution("60"), (Rule.TURN, Rule.CROSS)).signals

    # at period 2 the average overshoots a rise, so the close falls below it
    assert (signal.rule, signal.direction) == (Rule.CROSS, Direction.DOWN)
    assert signal.candle_closed_at == datetime(2026, 11, 20, 15, 30, tzinfo=IST)


def test_notes_list_what_does_not_match():
    """They name too few candles, a finer resolution than requested, and candles outside trading hours."""
    few = replay(wave(5), SBIN, 9, FIVE).notes
    fine = replay(wave(60), SBIN, 9, Resolution("60")).notes
    night = replay(wave(150), SBIN, 9, FIVE).notes

    assert few == ("6 more candles are needed before the first average.",)
    assert fine == ("Most candles are 5 minutes apart, less than resolution 60 has.",)
    assert night == ("75 candles are outside the exchange's trading sessions.",)


def test_another_calendar_can_be_given():
    """A Sunday is in order on a calendar that trades it."""
    sunday = [Candle(c.opened_at + timedelta(days=2), c.open, c.high, c.low, c.close, 1) for c in wave(60)]
    day = date(2026, 11, 22)
    calendar = MarketCalendar().with_sessions(day, trading_session(day))

    assert replay(sunday, SBIN, 9, FIVE, calendar=calendar).notes == ()
    assert replay(sunday, SBIN, 9, FIVE).notes != ()


def test_an_unusable_period_is_refused():
    """The period is checked even when there is no candle."""
    with pytest.raises(InvalidInput):
        replay([], SBIN, 1, FIVE)


def test_real_candles_of_each_stock_are_replayed(market_data):
    """A month of real 5-minute candles has no refused rows, and all signals are in trading hours."""
    files = sorted((market_data / "5min").glob("*.csv"))
    for path in files:
        with path.open() as lines:
            found = read_candle_file(lines)
        report = replay(found.candles, SBIN, 55, FIVE)

        assert found.refused == report.notes == ()
        assert len(report.rows) == 1_650
        assert [row.hma for row in report.rows[:61]].count(None) == 60
        assert {signal.rule for signal in report.signals} == set(Rule)
        calendar = nse_calendar()
        assert all(calendar.session_at(signal.candle_opened_at) for signal in report.signals)
    assert len(files) == 12
