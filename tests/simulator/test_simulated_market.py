"""Candle files, the synthetic market, and the path of a price through its candle."""

import math
import statistics
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.simulator.config import UnusableConfig
from hullwatch.simulator.market.calendar import day_of, from_date, to_ist
from hullwatch.simulator.market.candles import Row, forming
from hullwatch.simulator.market.csv_candles import CsvMarket
from hullwatch.simulator.market.prices import Market
from hullwatch.simulator.market.synthetic import SyntheticMarket

SYMBOL = "NSE:SBIN-EQ"
LAST = from_date(date(2026, 11, 20))


@pytest.fixture(scope="module")
def market():
    """Return a synthetic market with three months of one symbol already made."""
    return SyntheticMarket(seed=1)


def sessions(market, count=60):
    """Return the last sessions of the symbol, oldest first."""
    return [market.day(SYMBOL, day) for day in market.days(SYMBOL, LAST - 2 * count, LAST)][-count:]


def test_a_day_needs_no_other_day(market):
    """The same seed, symbol and day give the same candles in any order of the calls."""
    lone = SyntheticMarket(seed=1).day(SYMBOL, LAST)

    assert lone.rows == sessions(market)[-1].rows
    assert SyntheticMarket(seed=2).day(SYMBOL, LAST).rows != lone.rows


def test_candles_are_well_formed(market):
    """A session has 360 minutes from 09:15 and the closing auction, on the tick grid, open and close within low and high."""
    for session in sessions(market, 10):
        assert len(session.rows) == 361
        assert to_ist(session.opens_at).strftime("%H:%M") == "09:15"
        for row in session.rows:
            assert row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high
            assert all(round(price / 0.05, 6).is_integer() for price in row[1:5])
            assert row.volume >= 0


def test_days_begin_with_gaps(market):
    """The opening differs from the last close, usually by less than the day's own range."""
    days = sessions(market)
    gaps = [abs(math.log(day.rows[0].open / before.rows[-1].close)) for before, day in pairwise(days)]

    assert sum(gap > 0.0005 for gap in gaps) > len(gaps) * 0.8
    assert 0.001 < statistics.median(gaps) < 0.012


def test_the_day_is_busy_at_both_ends(market):
    """Volatility and volume of the first and last half hour are above those of noon."""

    def activity(begin, end):
        rows = [row for session in sessions(market) for row in session.rows[begin:end]]
        return statistics.fmean((row.high - row.low) / row.open for row in rows), statistics.fmean(
            row.volume for row in rows
        )

    first, noon, last = activity(0, 30), activity(160, 210), activity(345, 375)

    assert first[0] > 1.5 * noon[0] < last[0] * 1.5
    assert last[0] > 1.1 * noon[0]
    assert first[1] > 1.5 * noon[1]
    assert last[1] > 1.5 * noon[1]


def test_days_move_like_a_share(market):
    """The close-to-close volatility is near the instrument's own, 1.3 % a day."""
    closes = [session.rows[-1].close for session in sessions(market, 250)]
    changes = [math.log(later / earlier) for earlier, later in pairwise(closes)]

    assert 0.008 < statistics.stdev(changes) < 0.02


@pytest.mark.parametrize("day", ["2026-11-21", "2026-11-24", "2026-01-26", "2010-06-01"])
def test_closed_days_have_no_candles(market, day):
    """These are weekends, NSE holidays and the time before July 2017."""
    assert market.day(SYMBOL, from_date(date.fromisoformat(day))) is None


ticks = st.integers(min_value=1, max_value=400_000)


@given(prices=st.lists(ticks, min_size=4, max_size=4), start=st.integers(0, 2**31), steps=st.integers(2, 400))
def test_a_price_moves_through_its_candle(prices, start, steps):
    """It reaches both extremes and stays on the grid; high, low and volume only grow."""
    low, first, close, high = sorted(prices)
    row = Row(start, first * 0.05, high * 0.05, low * 0.05, close * 0.05, 6_000)
    row = Row(start, *(round(price, 2) for price in row[1:5]), 6_000)

    seen = [forming(row, step / steps, 0.05) for step in range(steps)]

    assert seen[0].close == row.open
    for before, now in pairwise(seen):
        assert row.low <= now.low <= now.close <= now.high <= row.high
        assert (now.high, now.volume) >= (before.high, before.volume)
        assert now.low <= before.low
        assert round(now.close / 0.05, 6).is_integer()
    assert forming(row, 1 - 1e-9, 0.05).close == row.close


async def test_a_replay_starts_two_sessions_before_the_end(replay):
    """The default start is 09:15 of the last day but two."""
    _, answer = await replay.control("GET", "/clock")

    assert answer == {"now": "2026-06-17T09:15:00+05:30", "speed": 1.0}


async def test_a_replay_shows_the_file(replay):
    """Closed candles, aggregates, gaps and the previous close are those of the file."""
    token = await replay.person(lifetimeSeconds=10**6)
    replay.time.value += 25 * 3600
    symbol = {"symbol": "NSE:ACME-EQ"}

    candles = await replay.candles(token, "2026-06-17", **symbol)
    coarse = await replay.candles(token, "2026-06-17", "15", **symbol)
    finer = await replay.candles(token, "2026-06-17", "1", **symbol)
    quote = await replay.quote(token, "NSE:ACME-EQ")

    assert [candle[1:] for candle in candles] == [
        [100.0, 101.0, 99.5, 100.5, 1000], [100.5, 100.6, 100.1, 100.2, 500], [100.2, 102.0, 100.2, 101.9, 700],
    ]  # fmt: skip
    assert [candle[1:] for candle in coarse] == [
        [100.0, 101.0, 99.5, 100.2, 1500], [100.2, 102.0, 100.2, 101.9, 700],
    ]  # fmt: skip
    assert finer == []
    assert quote["prev_close_price"] == 101.9
    assert (quote["lp"], quote["high_price"], quote["low_price"], quote["volume"]) == (
        103.0,
        104.0,
        102.0,
        2000,
    )


async def test_after_the_last_candle_the_price_stays(replay):
    """Quotes keep the last close, and the market is closed."""
    token = await replay.person(lifetimeSeconds=10**7)
    replay.time.value += 10 * 86_400

    quote = await replay.quote(token, "NSE:ACME-EQ")
    _, status = await replay.call("/data/marketStatus", token)

    assert (quote["lp"], quote["prev_close_price"]) == (100.05, 103.0)
    assert {row["status"] for row in status["marketStatus"]} == {"CLOSED"}


HEADER = "timestamp,open,high,low,close,volume\n"
GOOD = "2026-06-17T09:15:00+05:30,100,101,99,100,5\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("time,o,h,l,c,v\n", "line 1"),
        (HEADER + GOOD + "2026-06-17T09:20:00+05:30,100,101,99,100\n", "line 3"),
        (HEADER + GOOD + "2026-06-17T09:20:00+05:30,100,101,99,abc,5\n", "line 3"),
        (HEADER + GOOD + "17.6.26 9h20,100,101,99,100,5\n", "line 3"),
        (HEADER + GOOD + "2026-06-17T09:20:00+05:30,100,99,101,100,5\n", "line 3"),
        (HEADER + GOOD + "2026-06-17T09:20:00+05:30,nan,101,99,100,5\n", "line 3"),
        (HEADER + GOOD + "2026-06-17T09:20:00+05:30,100,101,99,100,-5\n", "line 3"),
        (HEADER + GOOD + "2026-06-17T09:20:00+05:30,0,101,0,100,5\n", "line 3"),
        (HEADER + GOOD + GOOD, "line 3"),
        (HEADER + GOOD + "2026-06-17T09:16:00+05:30,100,101,99,100,5\n", "line 3"),
        (HEADER, "no candles"),
    ],
)
def test_an_unusable_row_stops_the_start(tmp_path, text, line):
    """The refusal names the file and the line."""
    (tmp_path / "ACME_5min_x.csv").write_text(text)

    with pytest.raises(UnusableConfig, match=rf"ACME_5min_x\.csv.*{line}"):
        CsvMarket(tmp_path)


def _session(day: str, rows: int = 75, minutes: int = 5) -> str:
    """Return rows from 09:15 on."""
    opened = [datetime.fromisoformat(f"{day}T09:15") + timedelta(minutes=minutes * n) for n in range(rows)]
    return "".join(f"{one.isoformat()}+05:30,100,101,99,100,5\n" for one in opened)


FIRST, SECOND, THIRD = _session("2026-06-17"), _session("2026-06-18"), _session("2026-06-19")
GAPS = [
    ({"a": FIRST + THIRD}, "ACME_5min_a.csv: 1 trading session is missing, the first on Thu 18 Jun 2026"),
    (
        {"a": _session("2026-06-17", 10) + SECOND},
        "ACME_5min_a.csv: 1 hole is longer than an hour, the first from 10:05 on 17 Jun 2026",
    ),
    (
        {"a": FIRST + _session("2026-06-18", 25, 15)},
        "ACME_5min_a.csv: 1 part of the file has rows 15 minutes",
    ),
    (
        {"b": FIRST, "a": THIRD},
        "ACME: 1 trading session is missing between ACME_5min_b.csv and ACME_5min_a.csv, the first on Thu 18 Jun",
    ),
]


@pytest.mark.parametrize(("files", "sentence"), GAPS)
def test_gaps_stop_the_start_unless_they_are_allowed(tmp_path, files, sentence):
    """The refusal has number and first place; if they are allowed, the same sentence is a note."""
    for name, rows in files.items():
        (tmp_path / f"ACME_5min_{name}.csv").write_text(HEADER + rows)

    with pytest.raises(UnusableConfig, match="--allow-gaps replays it anyway") as refused:
        CsvMarket(tmp_path)

    assert str(refused.value).startswith(sentence)
    allowed = CsvMarket(tmp_path, allow_gaps=True)
    assert any(note.startswith(sentence) for note in allowed.notes)


def test_files_that_follow_each_other_have_no_gap(tmp_path):
    """A weekend between them is none, and a single missing candle is only noted."""
    (tmp_path / "ACME_5min_a.csv").write_text(HEADER + FIRST + SECOND)
    (tmp_path / "ACME_5min_b.csv").write_text(
        HEADER + "".join(row + "\n" for row in THIRD.splitlines() if "T11:00" not in row)
    )
    (tmp_path / "ACME_5min_c.csv").write_text(HEADER + _session("2026-06-22"))

    [note] = CsvMarket(tmp_path).notes

    assert note.startswith("ACME_5min_b.csv: 1 candle is missing: 11:00 on 19 Jun 2026")


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_candles_is_refused(tmp_path, name):
    """The error text describes a missing or an empty folder."""
    with pytest.raises(UnusableConfig, match="candle file"):
        CsvMarket(tmp_path / name)


def test_real_files_are_replayed_as_they_are(market_data: Path):
    """Twelve stocks and the index load; ticks and default start come from the files."""
    source = CsvMarket(market_data / "5min")
    market = Market(source)
    start = source.default_start()

    assert len(source.instruments) == 12
    assert to_ist(start).isoformat() == "2026-06-17T09:15:00+05:30"
    assert source.instruments["NSE:MARUTI-EQ"].tick == 1.0
    assert len(source.days(SYMBOL, 0, day_of(start) - 1)) >= 15
    for second in range(0, 375 * 60, 61):
        shot = market.snapshot(SYMBOL, start + second)
        assert shot.low <= shot.ltp <= shot.high


def test_an_index_file_becomes_an_index(market_data: Path):
    """NIFTY50 is listed as at Fyers, with one-minute candles and no bid or ask."""
    market = Market(CsvMarket(market_data / "1min", allow_gaps=True))
    noon = int(date(2024, 3, 14).strftime("%s")) + 30_600 - 19_800

    value = market.quote("NSE:NIFTY50-INDEX", noon)["v"]

    assert market.source.base_seconds("NSE:NIFTY50-INDEX") == 60
    assert (value["bid"], value["ask"], value["volume"]) == (0.0, 0.0, 0)


async def test_polled_quotes_build_the_candle_that_history_shows(simulator):
    """A poll every second shows the candle's open and close, and never a price outside it."""
    token = await simulator.person(lifetimeSeconds=10**6)
    simulator.time.value += 150
    seen = []
    for _ in range(300):
        seen.append(await simulator.quote(token))
        simulator.time.value += 1
    candle = next(row for row in await simulator.candles(token, "2026-11-23") if row[0] == int(seen[0]["tt"]))
    prices = [quote["lp"] for quote in seen]

    assert (prices[0], prices[-1]) == (candle[1], candle[4])
    assert candle[3] <= min(prices) <= max(prices) <= candle[2]
    assert max(quote["high_price"] for quote in seen) >= candle[2]
    assert len(set(prices)) > 3
    assert [quote["volume"] for quote in seen] == sorted(quote["volume"] for quote in seen)


async def test_the_first_price_is_quoted_before_the_first_candle(early_replay):
    """A replay that starts before its data has no history and a closed market."""
    token = await early_replay.person()

    quote = await early_replay.quote(token, "NSE:ACME-EQ")

    assert (quote["lp"], quote["ch"], quote["volume"]) == (100.0, 0.0, 0)
    assert await early_replay.candles(token, "2026-06-01", symbol="NSE:ACME-EQ") == []
