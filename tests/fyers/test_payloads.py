from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.market.instruments import Instrument, Segment, Symbol
from hullwatch.domain.market.quotes import CircuitLimits, Quote
from hullwatch.domain.secrets import AccessToken, RefreshToken
from hullwatch.domain.sessions.tokens import FreshLogin
from hullwatch.fyers.payloads import (
    Unreadable,
    describe_shape,
    read_access_token,
    read_circuit_limits,
    read_fresh_login,
    read_funds,
    read_history,
    read_market_status,
    read_profile_id,
    read_quotes,
    read_symbol_master,
)

NO_DEADLINE = settings(deadline=None)  # a busy machine is no failure

SBIN, NIFTY = Symbol("NSE:SBIN-EQ"), Symbol("NSE:NIFTY50-INDEX")
START = datetime(2026, 11, 23, 3, 45, tzinfo=UTC)
EPOCH = int(START.timestamp())
VALUES = {
    "lp": 812.35,
    "ch": -4.15,
    "chp": -0.51,
    "open_price": 815,
    "high_price": 819.9,
    "low_price": 810.05,
    "prev_close_price": 816.5,
    "volume": 8412345,
    "bid": 812.3,
    "ask": 812.4,
    "spread": 0.1,
    "tt": str(EPOCH),
    "symbol": "NSE:SBIN-EQ",
}


def quotes_body(*items: object) -> dict[str, object]:
    """Return a quotes answer with these items."""
    return {"s": "ok", "code": 200, "message": "", "d": list(items)}


def item(symbol: Symbol = SBIN, /, **values: object) -> dict[str, object]:
    """Return one good item of a quotes answer, with the given changes."""
    return {"n": symbol.text, "s": "ok", "v": {**VALUES, **values}}


def test_a_documented_quote_is_read_whole():
    """Prices are in INR and times in UTC."""
    (quote,) = read_quotes(quotes_body(item()), [SBIN]).quotes

    assert quote == Quote(
        symbol=SBIN,
        ltp=812.35,
        change=-4.15,
        change_percent=-0.51,
        open=815.0,
        high=819.9,
        low=810.05,
        previous_close=816.5,
        volume=8412345,
        bid=812.3,
        ask=812.4,
        traded_at=START,
    )


def test_an_index_has_no_volume():
    """Fyers writes 0 for the volume of an index."""
    (quote,) = read_quotes(quotes_body(item(NIFTY, volume=0)), [NIFTY]).quotes

    assert quote.volume is None


def test_an_error_item_leaves_other_quotes():
    """Its code is kept."""
    bad = {"n": "NSE:NIFTY50-INDEX", "s": "error", "v": {"code": -300, "errmsg": "invalid symbol"}}

    read = read_quotes(quotes_body(bad, item()), [SBIN, NIFTY])

    assert [quote.symbol for quote in read.quotes] == [SBIN]
    assert [(defect.symbol, defect.code) for defect in read.defects] == [(NIFTY, -300)]


def test_an_answer_of_errors_alone_is_an_answer():
    """Fyers knows none of the symbols, which is not unreadable."""
    bad = {"n": "NSE:SBIN-EQ", "s": "error", "v": {"code": -300, "errmsg": "invalid symbol"}}

    assert read_quotes(quotes_body(bad), [SBIN]).quotes == ()
    assert read_quotes(quotes_body(), [SBIN]).quotes == ()


@pytest.mark.parametrize("wrong", ["812.35", "", True, [812.35], {}, -1, 1e300, -0.05])
def test_an_impossible_last_price_gives_no_quote(wrong):
    """Text must never become a price; other symbols are read."""
    read = read_quotes(quotes_body(item(lp=wrong), item(NIFTY)), [SBIN, NIFTY])

    assert [quote.symbol for quote in read.quotes] == [NIFTY]
    assert [defect.symbol for defect in read.defects] == [SBIN]


@pytest.mark.parametrize("missing", [None, 0, 0.0])
def test_no_trade_yet_is_no_price(missing):
    """The price is `None` and never 0."""
    (quote,) = read_quotes(quotes_body(item(lp=missing, bid=0, ask=missing)), [SBIN]).quotes

    assert (quote.ltp, quote.bid, quote.ask) == (None, None, None)


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ({"lower_ckt": 730.05, "upper_ckt": 892.3, "ltp": 812.35}, CircuitLimits(730.05, 892.3)),
        ({"lower_ckt": 730, "upper_ckt": 892}, CircuitLimits(730.0, 892.0)),
        ({"lower_ckt": 730.05, "upper_ckt": 892.3, "ltp": 900.0}, None),
        ({"lower_ckt": 0, "upper_ckt": 0, "ltp": 812.35}, None),
        ({"lower_ckt": 892.3, "upper_ckt": 730.05, "ltp": 812.35}, None),
        ({"lower_ckt": "730", "upper_ckt": True, "ltp": 812.35}, None),
        ({}, None),
    ],
)
def test_limits_that_contradict_their_own_price_are_not_used(values, limits):
    """`upper_ckt` and `lower_ckt` of the market depth (Fyers API v3 docs); 0 stands for none."""
    assert read_circuit_limits({"d": {SBIN.text: values}}, SBIN) == limits


@pytest.mark.parametrize("body", [{}, {"d": []}, {"d": {}}, {"d": {NIFTY.text: {}}}])
def test_a_depth_of_another_symbol_is_unreadable(body):
    """The answer is not about the request."""
    with pytest.raises(Unreadable):
        read_circuit_limits(body, SBIN)


def test_quotes_of_other_symbols_are_left_out():
    """A second quote of the same symbol is left out too."""
    read = read_quotes(quotes_body(item(), item(lp=1), item(NIFTY)), [SBIN])

    assert [(quote.symbol, quote.ltp) for quote in read.quotes] == [(SBIN, 812.35)]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"d": None},
        {"d": {"n": "NSE:SBIN-EQ"}},
        {"d": "text"},
        {"d": [1, 2]},
        {"d": [{"n": "NSE:SBIN-EQ"}]},
        {"d": [{"n": "NSE:SBIN-EQ", "s": "ok", "v": {"lp": "812.35"}}]},
    ],
)
def test_an_answer_without_one_readable_item_is_unreadable(body):
    """No quotes would look like unknown symbols."""
    with pytest.raises(Unreadable):
        read_quotes(body, [SBIN])


wild = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just("NSE:SBIN-EQ"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["n", "s", "v", "d", "lp", "tt", "candles", *VALUES]) | st.text(),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
wild_items = st.fixed_dictionaries(
    {
        "n": st.just("NSE:SBIN-EQ"),
        "s": st.just("ok"),
        "v": st.dictionaries(st.sampled_from(sorted(VALUES)), wild),
    }
)


@NO_DEADLINE
@given(
    st.dictionaries(st.sampled_from(["d", "candles", "s"]), wild) | st.builds(quotes_body, wild_items, wild)
)
def test_any_json_gives_plausible_numbers_or_none(body):
    """The input is any JSON value in every field."""
    try:
        quotes = read_quotes(body, [SBIN]).quotes
    except Unreadable:
        return
    for quote in quotes:
        for price in (
            quote.ltp,
            quote.open,
            quote.high,
            quote.low,
            quote.previous_close,
            quote.bid,
            quote.ask,
        ):
            assert price is None or (isinstance(price, float) and 0 < price <= 1e9)
        assert quote.volume is None or (type(quote.volume) is int and quote.volume >= 0)
        assert quote.traded_at is None or quote.traded_at.year < 2100


def test_history_counts_the_rows_it_leaves_out():
    """Candles within the range come in order, each once."""
    rows = [
        [EPOCH + 300, 10, 12, 9, 11, 5],
        [EPOCH, 10, 12, 9, 11, 5],
        [EPOCH, 10, 12, 9, 11, 5],
        [EPOCH + 600, "10", 12, 9, 11, 5],
        [EPOCH + 86_400, 10, 12, 9, 11, 5],
    ]

    arranged = read_history({"s": "ok", "candles": rows}, start=START, end=START + timedelta(hours=1))

    assert [candle.opened_at for candle in arranged.candles] == [START, START + timedelta(minutes=5)]
    assert (len(arranged.defects), arranged.repeated) == (1, 1)


def test_history_without_data_is_empty():
    """``no_data`` may come with or without a list."""
    for body in ({"s": "no_data", "candles": []}, {"s": "no_data"}, {"s": "ok", "candles": []}):
        assert read_history(body, start=START, end=START).candles == ()


@pytest.mark.parametrize(
    "body",
    [
        {"s": "ok"},
        {"s": "ok", "candles": {}},
        {"s": "ok", "candles": "x"},
        {"s": "ok", "candles": [["a"] * 6, 3]},
    ],
)
def test_history_in_another_form_is_unreadable(body):
    """It must not look like an empty history."""
    with pytest.raises(Unreadable):
        read_history(body, start=START, end=START)


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (read_profile_id, {}),
        (read_profile_id, {"data": []}),
        (read_profile_id, {"data": {"fy_id": ""}}),
        (read_profile_id, {"data": {"fy_id": 7}}),
        (read_profile_id, {"data": {"fy_id": "XA\n1"}}),
        (read_profile_id, {"data": {"fy_id": "X" * 99}}),
        (read_access_token, {}),
        (read_access_token, {"access_token": ""}),
        (read_access_token, {"access_token": None}),
        (read_access_token, {"access_token": "a b"}),
        (read_access_token, {"access_token": "a\r\nb"}),
        (read_access_token, {"access_token": "x" * 9000}),
        (read_fresh_login, {"refresh_token": "abc"}),
        (read_funds, {"fund_limit": {}}),
        (read_market_status, {"marketStatus": "OPEN"}),
    ],
)
def test_a_missing_value_is_unreadable(read, body):
    """No value is replaced by a default."""
    with pytest.raises(Unreadable):
        read(body)


def test_an_unreadable_answer_shows_its_shape_and_no_value():
    """Values and odd keys could be secrets."""
    secret = "eyJhbGciOiJIUzI1NiJ9.canary.sig"
    body = {"access_token": [secret], secret: 1, "d": [{"v": {"deep": {"er": 1}}}] * 3}

    with pytest.raises(Unreadable) as caught:
        read_access_token(body)

    shown = str(caught.value) + repr(caught.value) + caught.value.shape
    assert "canary" not in shown
    assert caught.value.shape == "{access_token: [1 of str], ?: int, d: [3 of {v: {…}}]}"
    assert describe_shape({str(n) + "k": n for n in range(50)}).count("?") == 12


def test_an_access_token_is_read_as_a_secret():
    """Its text is masked from the first moment."""
    assert read_access_token({"access_token": "abc.def.ghi"}) == AccessToken("abc.def.ghi")


@pytest.mark.parametrize(
    "missing", [{}, *({"refresh_token": bad} for bad in (None, "", 7, "a b", "a\nb", "x" * 9000))]
)
def test_a_login_counts_without_its_refresh_token(missing):
    """A missing or impossible refresh token must not lose the login."""
    body = {"access_token": "abc.def.ghi"}

    assert read_fresh_login(body | missing) == FreshLogin(AccessToken("abc.def.ghi"), None)
    whole = read_fresh_login(body | {"refresh_token": "re.fre.sh"})
    assert whole == FreshLogin(AccessToken("abc.def.ghi"), RefreshToken("re.fre.sh"))
    assert "re.fre.sh" not in repr(whole)


ROW = (
    "10100000003045,STATE BANK OF INDIA,0,1,0.05,INE062A01020,0915-1530|1815-1915:,2025-05-15,,NSE:SBIN-EQ,10,10,"
    "3045,SBIN,3045,-1.0,XX,10100000003045,None,1,3.6"
)


def changed(column: int, value: str) -> str:
    """Return the documented row with one column changed."""
    columns = ROW.split(",")
    columns[column] = value
    return ",".join(columns)


def test_the_documented_row_of_a_symbol_master_is_read():
    """The row is Fyers' own sample."""
    read = read_symbol_master(ROW.encode())

    assert read.bad_rows == 0
    assert read.instruments == (
        Instrument(
            symbol=SBIN,
            fytoken="10100000003045",
            description="STATE BANK OF INDIA",
            exchange="NSE",
            segment=Segment.CASH,
            lot_size=1,
            tick_size=Decimal("0.05"),
            isin="INE062A01020",
            trading_session="0915-1530|1815-1915:",
        ),
    )


def test_an_index_needs_no_lot():
    """An index with 0 for lot and tick is kept."""
    row = changed(9, "NSE:NIFTY50-INDEX").replace(",0,1,0.05,INE062A01020,", ",10,0,0.0,,")

    (instrument,) = read_symbol_master(row.encode()).instruments

    assert (instrument.is_index, instrument.lot_size, instrument.isin) == (True, 1, None)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "not,a,row",
        changed(0, "abc"),
        changed(3, "0"),
        changed(3, "1e9"),
        changed(4, "NaN"),
        changed(4, "-0.05"),
        changed(4, "Infinity"),
        changed(9, "nse:sbin-eq"),
        changed(9, "BSE:SBIN-A"),
        changed(10, "11"),
        changed(11, "11"),
        changed(1, '"never closed'),
        changed(1, "x" * 5000),
        ROW + ",22nd",
        "\xff\xfe",
    ],
)
def test_a_bad_row_costs_one_row(line):
    """Its neighbours are read, and it is counted."""
    neighbours = [changed(9, f"NSE:T{n}-EQ") for n in range(4)]
    body = "\n".join([*neighbours[:2], line, *neighbours[2:]]).encode("latin-1")

    read = read_symbol_master(body)

    assert len(read.instruments) == 4
    assert read.bad_rows == (1 if line else 0)


@pytest.mark.parametrize(
    "body", [b"", b"<html>\n<body>\nno\n</html>", ROW.encode() + b"\njunk\njunk", b"\x00" * 100]
)
def test_a_file_of_mostly_bad_rows_is_unreadable(body):
    """A page or an empty file gives no instruments at all."""
    with pytest.raises(Unreadable):
        read_symbol_master(body)


@NO_DEADLINE
@given(st.binary(max_size=300))
def test_no_file_breaks_the_reader(body):
    """Any bytes give instruments or are unreadable."""
    try:
        read = read_symbol_master(body)
    except Unreadable:
        return
    assert len(read.instruments) > read.bad_rows


def test_a_symbol_is_listed_once():
    """The first row counts."""
    assert len(read_symbol_master(f"{ROW}\n{ROW}\n{changed(9, 'NSE:TCS-EQ')}".encode()).instruments) == 2
