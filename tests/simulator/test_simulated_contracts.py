"""Futures, options, other exchanges, their symbol masters and the option chain."""

import json
from datetime import date, datetime

import pytest

from hullwatch.fyers.payloads import read_symbol_master
from hullwatch.simulator.market.calendar import from_date, to_date
from hullwatch.simulator.market.contracts import FAMILIES, contract_of, expiries, expiry_moment
from hullwatch.simulator.server import SimulatorConfig
from simulator.conftest import drive

NIFTY = "NSE:NIFTY50-INDEX"
STEMS = ["NSE_CM", "NSE_FO", "NSE_CD", "NSE_COM", "BSE_CM", "BSE_FO", "MCX_COM"]
# Columns of the CSV masters (Fyers API v3 docs, "Symbol master").
FYTOKEN, DETAILS, KIND, LOT, TICK, SESSION, EXPIRY, TICKER = 0, 1, 2, 3, 4, 6, 8, 9
EXCHANGE, SEGMENT, TOKEN, UNDERLYING, STRIKE, OPTION_TYPE, UNDERLYING_FYTOKEN = 10, 11, 12, 13, 15, 16, 17
JSON_KEYS = {
    "fyToken", "isin", "exSymbol", "symDetails", "symTicker", "exchange", "segment", "exSymName", "exToken", "exSeries",
    "optType", "underSym", "underFyTok", "exInstType", "minLotSize", "tickSize", "tradingSession", "lastUpdate",
    "expiryDate", "strikePrice", "qtyFreeze", "tradeStatus", "currencyCode", "upperPrice", "lowerPrice", "faceValue",
    "qtyMultiplier", "previousClose", "previousOi", "asmGsmVal", "exchangeName", "symbolDesc", "originalExpDate",
    "is_mtf_tradable", "mtf_margin", "stream",
}  # fmt: skip
PRICED = [
    NIFTY, "NSE:NIFTYBANK-INDEX", "NSE:INDIAVIX-INDEX", "BSE:SENSEX-INDEX", "BSE:SBIN-A", "NSE:NIFTY26DECFUT",
    "NSE:BANKNIFTY26DECFUT", "NSE:NIFTY26DEC27000CE", "NSE:NIFTY26D0827000PE", "NSE:SBIN26DEC1000CE",
    "BSE:SENSEX26DECFUT", "MCX:CRUDEOIL26DECFUT", "NSE:USDINR26DECFUT",
]  # fmt: skip


def text_of(expiry):
    """Return an expiry as the option chain writes it."""
    return f"{to_date(expiry.day):%d-%m-%Y} {'M' if expiry.is_monthly else 'W'}"


@pytest.fixture
async def december():
    """Return a synthetic market on the morning of 1 December 2026, the day of a weekly expiry."""
    start = datetime.fromisoformat("2026-12-01T11:00:00+05:30")
    async for driver in drive(SimulatorConfig(port=0, starts_at=start)):
        yield driver


async def chain(simulator, token, **query):
    """Return status and data of an option chain."""
    params = {"symbol": NIFTY, "strikecount": "2", **query}
    status, answer = await simulator.call("/data/options-chain-v3", token, params=params)
    return status, answer.get("data", answer)


def test_expiries_are_those_of_fyers_published_chain():
    """Fyers API v3 docs, "Option Chain", sample of March 2026: 18 expiries, three of them moved by holidays."""
    day, family = from_date(date(2026, 3, 24)), FAMILIES["NSE", "NIFTY"]

    found = expiries(family, day)

    assert [text_of(expiry) for expiry in found] == [
        "24-03-2026 W", "30-03-2026 M", "07-04-2026 W", "13-04-2026 W", "21-04-2026 W", "28-04-2026 M", "26-05-2026 M",
        "30-06-2026 M", "29-09-2026 M", "29-12-2026 M", "29-06-2027 M", "28-12-2027 M", "27-06-2028 M", "26-12-2028 M",
        "26-06-2029 M", "24-12-2029 M", "25-06-2030 M", "31-12-2030 M",
    ]  # fmt: skip
    assert [expiry_moment(family, expiry.day, day) for expiry in found[:3]] == [
        1774346400,
        1774864800,
        1775556000,
    ]


@pytest.mark.parametrize(
    ("symbol", "fytoken_begins", "details"),
    [
        ("NSE:NIFTY2632423050PE", "1011260324", "NIFTY 24 Mar 26 23050 PE"),
        ("NSE:NIFTY26SEPFUT", "1011260929", "NIFTY 29 Sep 26 FUT"),
        ("NSE:NIFTY26SEP29200CE", "1011260929", "NIFTY 29 Sep 26 29200 CE"),
        ("NSE:NIFTY26O0622700CE", "1011261006", "NIFTY 06 Oct 26 22700 CE"),
        ("NSE:BANKNIFTY26AUGFUT", "1011260825", "BANKNIFTY 25 Aug 26 FUT"),
        ("NSE:RELIANCE26SEP1400CE", "1011260929", "RELIANCE 29 Sep 26 1400 CE"),
        ("BSE:SENSEX26AUGFUT", "1211260827", "SENSEX 27 Aug 26 FUT"),
        ("NSE:M&M26DECFUT", "1011261229", "M&M 29 Dec 26 FUT"),
        ("NSE:NIFTY25JANFUT", "1011250130", "NIFTY 30 Jan 25 FUT"),
    ],
)
def test_symbols_and_tokens_are_those_of_published_masters(symbol, fytoken_begins, details):
    """The rows were published by others; the weekday of the expiry changed in September 2025."""
    contract = contract_of(symbol)

    assert contract.fytoken.startswith(fytoken_begins)
    assert contract.description == details


@pytest.mark.parametrize(
    "symbol",
    [
        "NSE:NIFTY5026DEC26000CE", "NSE:NIFTY26D2927000CE", "NSE:NIFTY26D0927000CE", "NSE:NIFTY26D9927000CE",
        "NSE:NIFTY26DEC27010CE", "NSE:NIFTY26DEC027000CE", "NSE:NIFTY26DEC0CE", "NSE:NIFTY26XXXFUT",
        "NSE:BANKNIFTY26D0858000CE", "MCX:CRUDEOIL26DEC5400CE", "NSE:ACME26DECFUT", "BSE:NIFTY26DECFUT",
    ],
)  # fmt: skip
def test_symbols_of_no_contract_are_refused(symbol):
    """Wrong dates, strikes between two steps, monthly expiries written as weekly ones, and kinds without options."""
    assert contract_of(symbol) is None


@pytest.mark.parametrize("symbol", PRICED)
async def test_quote_history_and_depth_have_one_price(december, symbol):
    """Each of them may be asked first. Prices lie on the tick grid, and the day's range includes them."""
    token = await december.person()

    candles = await december.candles(token, "2026-12-01", "1", symbol=symbol)
    quote = await december.quote(token, symbol)
    _, answer = await december.call("/data/depth", token, params={"symbol": symbol, "ohlcv_flag": "1"})
    depth = answer["d"][symbol]

    assert quote["lp"] == candles[-1][4] == depth["ltp"]
    assert quote["high_price"] == max(candle[2] for candle in candles) == depth["h"]
    assert quote["low_price"] == min(candle[3] for candle in candles) == depth["l"]
    assert quote["volume"] == sum(candle[5] for candle in candles)
    assert quote["exchange"] == symbol[:3]
    assert depth["lower_ckt"] <= quote["lp"] <= depth["upper_ckt"] or symbol.endswith("-INDEX")


async def test_prices_follow_the_underlying(december):
    """A future is above its index by the interest, and put-call parity holds."""
    token = await december.person()

    spot, future, call, put = [
        (await december.quote(token, symbol))["lp"]
        for symbol in (NIFTY, "NSE:NIFTY26DECFUT", "NSE:NIFTY26DEC27000CE", "NSE:NIFTY26DEC27000PE")
    ]

    assert spot < future < spot * 1.006
    assert call - put == pytest.approx(future - 27_000, abs=0.2)


async def test_an_option_ends_at_its_intrinsic_value(december):
    """On the day of the expiry the time value is gone at 15:40."""
    token = await december.person()
    december.time.value += 5 * 3600
    spot = (await december.candles(token, "2026-12-01", "1", symbol="NSE:NIFTY26DECFUT"))[-1][4]
    call = (await december.quote(token, "NSE:NIFTY26D0127000CE"))["lp"]
    december.time.value += 24 * 3600
    later = await december.person()
    _, answer = await december.call("/data/quotes?symbols=NSE:NIFTY26D0127000CE", later)

    assert 0.05 <= call == pytest.approx(max(0.05, spot / 1.005 - 27_000), abs=40)
    assert answer["d"][0]["v"]["code"] == -300


@pytest.mark.parametrize(
    "symbol",
    [
        "NSE:NIFTY26NOVFUT", "NSE:NIFTY27MARFUT", "NSE:NIFTY26N2426000CE", "NSE:NIFTY27J1226000CE",
        "NSE:NIFTY26DEC90000CE",
    ],
)  # fmt: skip
async def test_expired_and_later_contracts_are_not_listed(december, symbol):
    """Every service refuses them as it does an unknown symbol."""
    token = await december.person()
    today = {"date_format": "1", "range_from": "2026-12-01", "range_to": "2026-12-01", "resolution": "5"}

    _, quote = await december.call("/data/quotes", token, params={"symbols": f"{NIFTY},{symbol}"})
    status, history = await december.call("/data/history", token, params={"symbol": symbol, **today})
    _, tokens = await december.call("/data/symbol-token", token, "POST", json={"symbols": [symbol]})

    assert [item["s"] for item in quote["d"]] == ["ok", "error"]
    assert (status, history["code"]) == (422, -300)
    assert tokens["invalidSymbol"] == [symbol]


async def test_derivatives_trade_until_15_40_since_august_2026(december):
    """Shares stop at 15:30, and commodities have their own hours."""
    december.time.value += 20 * 3600
    token = await december.person()

    def hours(candles):
        ends = (datetime.fromtimestamp(candles[at][0]).astimezone() for at in (0, -1))
        return [int(end.timestamp() + 19_800) % 86_400 // 60 for end in ends]

    future = await december.candles(token, "2026-12-01", symbol="NSE:NIFTY26DECFUT")
    crude = await december.candles(token, "2026-12-01", "60", symbol="MCX:CRUDEOIL26DECFUT")

    assert hours(future) == [9 * 60 + 15, 15 * 60 + 35]
    assert hours(crude) == [9 * 60, 23 * 60]


async def test_a_continuous_series_goes_on_with_earlier_contracts(december):
    """Without the flag, candles begin when the contract was listed: on the day after the third expiry before."""
    token = await december.person()
    query = {"symbol": "NSE:NIFTY26DECFUT", "range_from": "2026-09-25", "resolution": "D"}

    own = await december.candles(token, "2026-10-09", **query)
    joined = await december.candles(token, "2026-10-09", **query, cont_flag="1")

    assert [str(to_date(int(candle[0]) // 86_400))[5:] for candle in own][:2] == ["09-30", "10-01"]
    assert [str(to_date(int(candle[0]) // 86_400))[5:] for candle in joined][:2] == ["09-25", "09-28"]
    assert joined[-len(own) :] == own


async def test_a_thin_contract_has_candles_only_when_it_trades(december):
    """Its last price then is that of the last trade."""
    token = await december.person()

    candles = await december.candles(token, "2026-12-01", "1", symbol="NSE:NIFTY28JUN27000CE")

    assert 2 <= len(candles) < 40
    assert (await december.quote(token, "NSE:NIFTY28JUN27000CE"))["lp"] == candles[-1][4]


async def test_open_interest_is_the_same_everywhere(december):
    """History has it with `oi_flag`, depth and chain always; a share has none."""
    token = await december.person()
    query = {"symbol": "NSE:NIFTY26DEC27000CE", "oi_flag": "1"}

    candles = await december.candles(token, "2026-12-01", "1", **query)
    _, depth = await december.call("/data/depth", token, params=query)
    _, data = await chain(december, token, timestamp="1798538400", strikecount="50")

    level = depth["d"]["NSE:NIFTY26DEC27000CE"]
    row = next((row for row in data.get("optionsChain", ()) if row["symbol"] == query["symbol"]), None)
    assert level["oiflag"] is True
    assert level["oi"] == candles[-1][6] > 0
    assert row is None or row["oi"] == level["oi"]
    assert (await december.candles(token, "2026-12-01", "1", oi_flag="1"))[-1][6] == 0


async def test_the_chain_has_the_form_of_fyers_sample(december):
    """The table F5 of the review of foreign clients, row by row."""
    token = await december.person()

    status, data = await chain(december, token, greeks="1")
    underlying, *rows = data["optionsChain"]
    names = ",".join(row["symbol"] for row in rows)
    _, answer = await december.call("/data/quotes", token, params={"symbols": names})
    quotes = {item["n"]: item["v"] for item in answer["d"]}

    assert status == 200
    assert data.keys() == {"callOi", "expiryData", "indiavixData", "optionsChain", "putOi"}
    assert [row["option_type"] for row in rows] == ["PE", "CE"] * 5
    assert [row["strike_price"] for row in rows[::2]] == [
        rows[0]["strike_price"] + 50 * step for step in range(5)
    ]
    assert abs(rows[4]["strike_price"] - underlying["ltp"]) <= 25
    assert rows[0]["symbol"] == f"NSE:NIFTY26D01{rows[0]['strike_price']}PE"
    assert rows[0]["fyToken"].startswith("1011261201")
    assert {
        symbol: (quote["lp"], quote["bid"], quote["ask"], quote["volume"]) for symbol, quote in quotes.items()
    } == {row["symbol"]: (row["ltp"], row["bid"], row["ask"], row["volume"]) for row in rows}
    assert all(row["greeks"].keys() == {"delta", "gamma", "theta", "vega", "iv"} for row in rows)
    assert rows[4]["greeks"]["delta"] < 0 < rows[5]["greeks"]["delta"]
    assert (underlying["ex_symbol"], underlying["description"]) == ("NIFTY", "NIFTY50-INDEX")
    assert (underlying["option_type"], underlying["strike_price"]) == ("", -1)
    assert {"fp", "fpch", "fpchp"} <= underlying.keys()
    assert underlying["fp"] == (await december.quote(token, "NSE:NIFTY26DECFUT"))["lp"]
    assert len(data["indiavixData"]) == 12
    assert data["indiavixData"]["symbol"] == "NSE:INDIAVIX-INDEX"
    assert {row["expiry_flag"] for row in data["expiryData"]} == {"W", "M"}
    assert data["callOi"] > sum(row["oi"] for row in rows if row["option_type"] == "CE")


async def test_timestamp_selects_the_expiry(december):
    """Every published expiry is accepted; without greeks there are none."""
    token = await december.person()
    _, first = await chain(december, token)

    for expiry in first["expiryData"][:6]:
        _, data = await chain(december, token, timestamp=expiry["expiry"], strikecount="1")
        day, month, year = expiry["date"].split("-")
        assert all(row["fyToken"][4:10] == year[2:] + month + day for row in data["optionsChain"][1:])
        assert not any("greeks" in row for row in data["optionsChain"])


@pytest.mark.parametrize(
    "query",
    [
        {"timestamp": "9"}, {"timestamp": "1796119201"}, {"timestamp": "01-12-2026"}, {"strikecount": "51"},
        {"strikecount": "0"}, {"symbol": "NSE:INDIAVIX-INDEX"}, {"symbol": "NSE:NOPE-EQ"}, {"symbol": ""},
    ],
)  # fmt: skip
async def test_wrong_chain_parameters_are_refused(december, query):
    """A timestamp that is no expiry is refused like any other wrong input."""
    status, answer = await chain(december, await december.person(), **query)

    assert (status, answer["code"], answer["message"]) == (400, -50, "Please provide valid inputs")


async def test_a_share_has_monthly_options_alone(december):
    """The chain of SBIN names no weeks."""
    _, data = await chain(december, await december.person(), symbol="NSE:SBIN-EQ")

    assert [row["expiry_flag"] for row in data["expiryData"]] == ["M"] * 3
    assert len(data["optionsChain"]) == 11


async def masters(simulator, stem):
    """Return a master's rows of CSV and its entries of JSON."""
    async with simulator.http.get(f"/sym_details/{stem}.csv") as response:
        lines = (await response.read()).decode().splitlines()
    async with simulator.http.get(f"/sym_details/{stem}_sym_master.json") as response:
        entries = json.loads(await response.read())
    return [line.split(",") for line in lines], entries


@pytest.mark.parametrize("stem", STEMS)
async def test_every_master_has_its_rows_in_both_forms(december, stem):
    """The columns and keys are the documented ones, and both forms have the same instruments."""
    rows, entries = await masters(december, stem)
    codes = {"NSE": "10", "MCX": "11", "BSE": "12"}, {"CM": "10", "FO": "11", "CD": "12", "COM": "20"}
    exchange, _, segment = stem.partition("_")

    assert rows
    assert {len(row) for row in rows} == {21}
    assert {row[TICKER] for row in rows} == entries.keys()
    assert {(row[EXCHANGE], row[SEGMENT]) for row in rows} == {(codes[0][exchange], codes[1][segment])}
    assert len({row[FYTOKEN] for row in rows}) == len({row[TOKEN] for row in rows}) == len(rows)
    assert all(entry.keys() == JSON_KEYS for entry in entries.values())
    for row in rows[::29]:
        entry = entries[row[TICKER]]
        assert [row[FYTOKEN], row[DETAILS], row[LOT], row[TICK], row[SESSION], row[EXPIRY], row[UNDERLYING_FYTOKEN]] == [
            entry["fyToken"], entry["symDetails"], str(entry["minLotSize"]), str(entry["tickSize"]),
            entry["tradingSession"], entry["expiryDate"], entry["underFyTok"],
        ]  # fmt: skip


PUBLISHED_FORMS = """
NSE_CM 101000000026000,NIFTY50-INDEX,10,0,0.05,,0915-1530|1815-1915:,2026-12-01,,NSE:NIFTY50-INDEX,10,10,26000,NIFTY,\
26000,-1.0,XX,101000000026000,None,0,0.0
NSE_CM 10100000003045,STATE BANK OF INDIA,0,1,0.05,INE062A01020,0915-1530|1815-1915:,2026-12-01,,NSE:SBIN-EQ,10,10,\
3045,SBIN,3045,-1.0,XX,10100000003045,None,1,0.0
BSE_CM 1210000000500209,INFOSYS LIMITED,0,1,0.05,INE009A01021,0915-1530|1815-1915:,2026-12-01,,BSE:INFY-A,12,10,\
500209,INFY,500209,-1.0,XX,1210000000500209,None,1,0.0
NSE_FO 101126122935004,NIFTY 29 Dec 26 FUT,11,65,0.1,,0915-1540|1815-1915:,2026-12-01,1798539000,NSE:NIFTY26DECFUT,\
10,11,35004,NIFTY,26000,-1.0,XX,101000000026000,None,0,0.0
MCX_COM 112026121835000,CRUDEOIL 18 Dec 26 FUT,30,1,1.0,,0900-2330|1815-1915:,2026-12-01,1797616800,\
MCX:CRUDEOIL26DECFUT,11,20,35000,CRUDEOIL,294,-1.0,XX,1120000000294,1797616800,0,0.0
"""


@pytest.mark.parametrize("form", PUBLISHED_FORMS.strip().splitlines(), ids=lambda form: form[:12])
async def test_rows_have_the_form_of_published_ones(december, form):
    """As in files of August and September 2026; the exchange's token numbers and dates are the simulator's own."""
    stem, _, row = form.partition(" ")

    rows, _ = await masters(december, stem)

    assert row.split(",") in rows


@pytest.mark.parametrize("stem", ["NSE_CM", "BSE_CM"])
async def test_hullwatch_reads_the_cash_masters_without_bad_rows(december, stem):
    """The server's own reader accepts every row."""
    async with december.http.get(f"/sym_details/{stem}.csv") as response:
        body = await response.read()

    read = read_symbol_master(body)

    assert read.bad_rows == 0
    assert len(read.instruments) == len(body.splitlines())


async def test_masters_are_those_of_the_day(december):
    """On the next day the expired contracts are gone."""
    before, _ = await masters(december, "NSE_FO")
    december.time.value += 24 * 3600

    after, _ = await masters(december, "NSE_FO")

    gone = {row[TICKER] for row in before} - {row[TICKER] for row in after}
    assert gone
    assert all(symbol.startswith("NSE:NIFTY26D01") for symbol in gone)


async def test_made_up_names_have_tokens_of_their_own(tmp_path):
    """Of 220 names, two had one token; a client of the data stream then got ticks for one of them only."""
    for number in range(220):
        (tmp_path / f"STK{number:03d}_5min.csv").write_text(
            "timestamp,open,high,low,close,volume\n2026-06-17T09:15:00+05:30,100,101,99,100,10\n"
        )
    async for simulator in drive(SimulatorConfig(port=0, candles=tmp_path)):
        rows, _ = await masters(simulator, "NSE_CM")

        assert len({row[TOKEN] for row in rows}) == 220
        assert len({row[FYTOKEN] for row in rows}) == 220


async def test_contracts_of_replayed_files_follow_them(tmp_path):
    """They have the length of the file's candles, also in the minutes after the last one."""
    (tmp_path / "NIFTY50_5min.csv").write_text(
        "timestamp,open,high,low,close,volume\n"
        "2026-11-24T09:15:00+05:30,26000,26010,25990,26005,0\n"
        "2026-11-25T09:15:00+05:30,26000,26010,25990,26005,0\n2026-11-25T09:20:00+05:30,26005,26100,26000,26090,0\n"
    )
    async for simulator in drive(SimulatorConfig(port=0, candles=tmp_path, allow_gaps=True)):
        simulator.time.value += 86_400 * 2
        token = await simulator.person()
        candles = await simulator.candles(token, "2026-11-25", symbol="NSE:NIFTY26DECFUT", cont_flag="1")

        assert candles[1][2] == pytest.approx(26_100 * 1.006, rel=0.002)
        assert len(candles) == 77


async def test_contracts_follow_a_given_price_of_the_underlying(december):
    """A given price for a contract itself is refused with the symbol to change instead."""
    token, symbol = await december.person(), "NSE:NIFTY26DECFUT"

    await december.control("POST", "/prices", {"symbol": NIFTY, "price": 28_000})
    december.time.value += 60
    future = await december.quote(token, symbol)
    status, answer = await december.control("POST", "/prices", {"symbol": symbol, "price": 28_000})

    assert future["lp"] == pytest.approx(28_000 * 1.005, rel=0.001)
    assert (status, answer["field"]) == (422, "symbol")
    assert NIFTY in answer["error"]


async def test_history_of_a_contract_can_be_changed(december):
    """The changes that concern history alone apply to every listed symbol."""
    token, symbol = await december.person(), "NSE:NIFTY26DECFUT"

    status, _ = await december.control("POST", "/candles", {"kind": "empty", "symbol": symbol})

    assert status == 200
    assert await december.candles(token, "2026-12-01", symbol=symbol) == []
