"""The formats are literal beginnings of files as vendors write them, with the same two or three candles in each."""

import csv
import io
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.candle_files import CandleFile, parse_timezone, read_candle_file, read_candles
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import IST
from hullwatch.domain.market.candles import Candle

FIVE, DAY = timedelta(minutes=5), timedelta(days=1)
OPENED = datetime(2026, 6, 17, 9, 15, tzinfo=IST)
FIRST = Candle(OPENED, 812.5, 814.0, 811.0, 813.25, 1200)
SECOND = Candle(OPENED + FIVE, 813.25, 815.0, 813.0, 814.5, 900)
HEADER = "timestamp,open,high,low,close,volume"
GOOD = "2026-06-17T09:15:00+05:30,812.5,814,811,813.25,1200"

FORMATS = {
    "hullwatch": """timestamp,open,high,low,close,volume
2026-06-17T09:15:00+05:30,812.5,814.0,811.0,813.25,1200
2026-06-17T09:20:00+05:30,813.25,815.0,813.0,814.5,900
""",
    "Fyers with open interest": """timestamp,open,high,low,close,volume,oi
1781667900,812.5,814,811,813.25,1200,55100
1781668200,813.25,815,813,814.5,900,55200
""",
    "Fyers through pandas": """,date,open,high,low,close,volume
0,1781667900.0,812.5,814.0,811.0,813.25,1200.0
1,1781668200.0,813.25,815.0,813.0,814.5,900.0
""",
    "Kite": """Date,Open,High,Low,Close,Volume
2026-06-17T09:15:00+0530,812.5,814,811,813.25,1200
2026-06-17T09:20:00+0530,813.25,815,813,814.5,900
""",
    "Kite through pandas": """,date,open,high,low,close,volume
0,2026-06-17 09:15:00+05:30,812.5,814.0,811.0,813.25,1200
1,2026-06-17 09:20:00+05:30,813.25,815.0,813.0,814.5,900
""",
    "Kite chart": """Date,Open,High,Low,Close,Volume
"Wed Jun 17 2026 09:15:00 GMT+0530 (India Standard Time)",812.5,814,811,813.25,1200
"Wed Jun 17 2026 09:20:00 GMT+0530 (India Standard Time)",813.25,815,813,814.5,900
""",
    "TradingView with epoch": """time,open,high,low,close,HMA,Volume,Volume MA
1781667900,812.5,814,811,813.25,812.1,1200,1100.5
1781668200,813.25,815,813,814.5,NaN,900,
""",
    "TradingView with ISO": """time,open,high,low,close,Volume
2026-06-17T09:15:00+05:30,812.5,814,811,813.25,1200
2026-06-17T09:20:00+05:30,813.25,815,813,814.5,900
""",
    "yfinance with three header lines": """Price,Close,High,Low,Open,Volume
Ticker,SBIN.NS,SBIN.NS,SBIN.NS,SBIN.NS,SBIN.NS
Datetime,,,,,
2026-06-17 03:45:00+00:00,813.25,814.0,811.0,812.5,1200
2026-06-17 03:50:00+00:00,814.5,815.0,813.0,813.25,900
""",
    "yfinance grouped by ticker": """Ticker,SBIN.NS,SBIN.NS,SBIN.NS,SBIN.NS,SBIN.NS
Price,Open,High,Low,Close,Volume
Datetime,,,,,
2026-06-17 03:45:00+00:00,812.5,814.0,811.0,813.25,1200
2026-06-17 03:50:00+00:00,813.25,815.0,813.0,814.5,900
""",
    "yfinance with one header line": """Datetime,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits
2026-06-17 09:15:00+05:30,812.5,814.0,811.0,813.25,799.1,1200,0.0,0.0
2026-06-17 09:20:00+05:30,813.25,815.0,813.0,814.5,799.9,900,0.0,0.0
""",
    "milliseconds": """time,open,high,low,close,volume
1781667900000,812.5,814,811,813.25,1200
1781668200000,813.25,815,813,814.5,900
""",
    "semicolons and decimal commas": """Datum;Time;Open;High;Low;Close;Volume
x;2026-06-17 09:15;812,5;814,00;811,00;813,25;1200
x;2026-06-17 09:20;813,25;815,00;813,00;814,5;900
""",
    "thousands": """Date;Open;High;Low;Close;Volume
17.06.2026 09:15;812,5;814;811;813,25;1.200,0
17.06.2026 09:20;813,25;815;813;814,5;900
""",
    "tabs": """Date\tTime\tOpen\tHigh\tLow\tClose\tVol
17/06/2026\t09:15\t812.5\t814\t811\t813.25\t1200
17/06/2026\t09:20\t813.25\t815\t813\t814.5\t900
""",
    "names of months and grouped numbers": """DATE,CLOSE,OPEN,HIGH,LOW,VOLUME
17-Jun-2026 09:15,813.25,812.5,814.00,811.00,"1,200"
17-Jun-2026 09:20,814.5,813.25,815.00,813.00,900
""",
    "month first": """Date,Open,High,Low,Close,Volume
06/17/2026 09:15:00,812.5,814,811,813.25,1200
06/17/2026 09:20:00,813.25,815,813,814.5,900
""",
    "newest first": """volume,close,low,high,open,timestamp
900,814.5,813,815,813.25,2026-06-17 09:20:00
1200,813.25,811,814,812.5,2026-06-17 09:15:00
""",
}


def read(*lines: str) -> CandleFile:
    """Return what is read from these lines after the usual header."""
    return read_candles([HEADER, *lines], FIVE)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_each_vendors_file_is_read_as_it_comes(tmp_path, name, ending):
    """With and without a byte order mark and Windows lines, which spreadsheets add."""
    path = tmp_path / "candles.csv"
    mark = "\ufeff" if ending == "\r\n" else ""
    path.write_bytes((mark + FORMATS[name].replace("\n", ending)).encode())

    found = read_candle_file(path, FIVE)

    assert found.refused == ()
    assert found.candles == (FIRST, SECOND)


@pytest.mark.parametrize(
    "content",
    [
        "Date,Open,High,Low,Close,Adj Close,Volume\n2026-06-16,1,2,1,2,2,5\n2026-06-17,2,3,2,3,3,5\n",
        "Date,Open,High,Low,Close\n2026-06-16 00:00:00+05:30,1,2,1,2\n2026-06-17 00:00:00+05:30,2,3,2,3\n",
        "time,open,high,low,close\n1781581500,1,2,1,2\n1781667900,2,3,2,3\n",
        "timestamp,open,high,low,close\n1781568000,1,2,1,2\n1781654400,2,3,2,3\n",
        "Price,Close,High,Low,Open\nTicker,A,A,A,A\nDate,,,,\n20260616,2,2,1,1\n2026-06-17,3,3,2,2\n",
    ],
)
@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Tokyo", "America/New_York"])
def test_daily_candles_are_dated_by_their_day(content, zone):
    """Vendors date them midnight UTC, midnight IST or the market open; a plain date belongs to the exchange."""
    found = read_candles(content.splitlines(), DAY, ZoneInfo(zone))

    assert [candle.opened_at for candle in found.candles] == [
        datetime(2026, 6, 16, tzinfo=UTC),
        datetime(2026, 6, 17, tzinfo=UTC),
    ]


def test_times_without_a_zone_are_read_in_the_chosen_one():
    """The note says which zone was used, because half a day of difference changes every candle."""
    lines = [HEADER, "2026-06-17 03:45,1,1,1,1,1"]

    utc = read_candles(lines, FIVE, parse_timezone("UTC"))
    ist = read_candles(lines, FIVE)

    assert utc.candles[0].opened_at == OPENED
    assert ist.candles[0].opened_at == datetime(2026, 6, 17, 3, 45, tzinfo=IST)
    assert utc.notes == ("1 time has no zone, read as UTC. --timezone changes that.",)
    assert "IST (Asia/Kolkata)" in ist.notes[0]
    with pytest.raises(InvalidInput, match="Asia/Kolkata"):
        parse_timezone("Mars/Olympus")


def test_a_missing_volume_is_noted():
    """TradingView exports an index without the column."""
    found = read_candles(["time,open,high,low,close", "1781667900,1,1,1,1"], FIVE)

    assert found.candles[0].volume == 0
    assert found.notes == ("There is no column for the volume, so every volume is 0.",)


@pytest.mark.parametrize(
    ("header", "named_parts"),
    [
        ("", ["Line 1 is empty", "Expected"]),
        (GOOD, ["Line 1", "no column for time, open, high, low and close", "“813.25”"]),
        ("date,price", ["no column for open, high, low and close", "“price”"]),
        ("open,high,low,close", ["no column for time"]),
        (",0,1,2,3,4,5", ["no column"]),
        ("time,open,high,low,close,close", ["column close twice", "columns 5 and 6"]),
        ("\x1b[31m" + "x" * 90, ["Line 1"]),
        ('"unclosed', ["Line 1"]),
    ],
)
def test_an_unusable_header_is_refused_with_what_was_found(header, named_parts):
    """The sentence says what was found and what was expected, and contains no control character."""
    with pytest.raises(InvalidInput) as refusal:
        read_candles([header, "1781667900,1,1,1,1,1"], FIVE)

    assert all(part in str(refusal.value) for part in named_parts)
    assert str(refusal.value).isprintable()


def test_a_file_of_several_symbols_is_refused_by_name():
    """The file of yfinance has them side by side, and no column alone is right."""
    lines = ["Price,Close,Close,Open,Open", "Ticker,SBIN.NS,TCS.NS,SBIN.NS,TCS.NS", "Date,,,,"]

    with pytest.raises(InvalidInput, match=r"2 symbols: “SBIN\.NS”, “TCS\.NS”"):
        read_candles(lines, DAY)


@pytest.mark.parametrize(
    ("line", "named_part"),
    [
        ("20-13-2026 09:20,1,1,1,1,1", "timestamp"),
        ("03/04/2026 09:20,1,1,1,1,1", "which number is the day"),
        ("2026-06-17T09:20:00,1,1,1,1,1", "has no zone"),
        ("17816679,1,1,1,1,1", "timestamp"),
        ("0,1,1,1,1,1", "time"),
        (",1,1,1,1,1", "timestamp"),
        ("1781668200.5,1,1,1,1,1", "timestamp"),
        ("1781668200,nan,1,1,1,1", "open is “nan”"),
        ("1781668200,1,inf,1,1,1", "high is “inf”"),
        ("1781668200,1,1,1_0,1,1", "low"),
        ("1781668200,1,1,1,,1", "close"),
        ("1781668200,1,1,1,\u0661,1", "close"),
        ('1781668200,1,1,1,"1,5",1', "close is “1,5”"),
        ("1781668200,1,1,1,1,x", "volume is “x”"),
        ("1781668200,1,1,1,1,-5", "volume"),
        ("1781668200,1,1,1,1,1.5", "volume"),
        ("1781668200,0,1,1,1,1", "open"),
        ("1781668200,1,1e300,1,1,1", "high"),
        ("1781668200,5,4,6,5,1", "high"),
        ("1781668200,9,6,4,5,1", "Found: open 9, high 6, low 4, close 5"),
        ("1781668200,1,1,1,1", "5 columns; the header has 6"),
        ("1781668200,1,1,1,1,1,1", "7 columns"),
        ('"1781668200,1,1,1,1,1', "CSV"),
        ("x" * 50_000, "longer"),
        ("\x00,\x00", "columns"),
    ],
)
def test_an_unusable_line_is_refused_by_number(line, named_part):
    """The refusal names the mistake, and the lines around it are used."""
    found = read(GOOD, line, "2026-06-17T09:25:00+05:30,812,812,812,812,1")

    assert len(found.candles) == 2
    (refused,) = found.refused
    assert refused.line == 3
    assert named_part in refused.sentence
    assert len(refused.sentence) < 180
    assert refused.sentence.isprintable()


def test_repeated_openings_are_refused_and_the_last_counts():
    """The others are listed as repetition or contradiction."""
    found = read(GOOD, GOOD, GOOD.replace("813.25", "812.75"))

    assert [candle.close for candle in found.candles] == [812.75]
    assert [(refused.line, refused.sentence) for refused in found.refused] == [
        (2, "This candle is repeated on line 3."),
        (3, "This candle has other numbers on line 4. The last line counts."),
    ]


def test_open_and_close_exchanged_by_a_wrong_header_are_refused():
    """High and low are right in such a file, so each line alone looks usable."""
    prices = [100 + abs(index % 20 - 10) + index % 3 / 4 for index in range(40)]
    lines = [
        f"{1781667900 + 300 * index},{close},{max(opened, close)},{min(opened, close)},{opened},1"
        for index, (opened, close) in enumerate(pairwise(prices))
    ]

    read_candles(["Datetime,Close,High,Low,Open,Volume", *lines], FIVE)
    with pytest.raises(InvalidInput, match="open and close are exchanged"):
        read_candles([HEADER, *lines], FIVE)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=60), max_size=6))
def test_any_text_is_read_or_refused(lines):
    """After a header no content raises, and each line is a candle or refused."""
    flat = [line.replace("\n", " ").replace("\r", " ") for line in lines]
    found = read(*flat)

    assert len(found.candles) + len(found.refused) == sum(bool(line.strip()) for line in flat)


PRICES = st.integers(1, 10**7).map(lambda paise: paise / 100)
ROWS = st.lists(
    st.tuples(st.integers(0, 10**6), PRICES, PRICES, PRICES, PRICES, st.integers(0, 10**9)),
    max_size=7,
    unique_by=lambda row: row[0],
)


def csv_text(names: list[str], rows: list[dict[str, object]], separator: str) -> str:
    """Write rows with the standard library."""
    out = io.StringIO()
    writer = csv.DictWriter(out, names, delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@settings(deadline=None, max_examples=40)
@given(
    ROWS,
    st.permutations(["time", "open", "high", "low", "close", "volume", "note"]),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["epoch", "milliseconds", "iso", "naive"]),
)
def test_what_is_written_is_read_back(rows, names, separator, form):
    """In any order of columns and rows, with each separator and each form of time."""
    candles = []
    written = []
    for slot, opened, closed, one, other, volume in rows:
        moment = OPENED + slot * FIVE
        high, low = max(opened, closed, one, other), min(opened, closed, one, other)
        candles.append(Candle(moment, opened, high, low, closed, volume))
        at = {
            "epoch": int(moment.timestamp()),
            "milliseconds": int(moment.timestamp()) * 1000,
            "iso": moment.isoformat(),
            "naive": f"{moment:%Y-%m-%d %H:%M}",
        }[form]
        prices = {"open": opened, "high": high, "low": low, "close": closed}
        if separator == ";":
            prices = {name: str(price).replace(".", ",") for name, price in prices.items()}
        written.append({"time": at, "volume": volume, "note": "a,b", **prices})

    found = read_candles(csv_text(names, written, separator).splitlines(), FIVE)

    assert found.refused == ()
    assert list(found.candles) == sorted(candles, key=lambda candle: candle.opened_at)
    assert [written[line - 2]["volume"] for line in found.lines] == [one.volume for one in found.candles]
