"""The official Python SDK's data socket, only its addresses changed, understands the simulator's stream."""

import pytest

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def found(sdk):
    """Return every message the SDK's callbacks were given."""
    return sdk("sdk_stream.py")


def of_type(found, kind):
    """Return the messages of one type."""
    return [message for message in found["seen"] if message.get("type") == kind]


def test_nothing_was_waited_for_in_vain(found):
    """Every message the script waited for came."""
    assert of_type(found, "missing") == []


@pytest.mark.parametrize(
    ("kind", "message"), [("cn", "Authentication done"), ("ful", "Full Mode On"), ("sub", "Subscribed")]
)
def test_requests_are_confirmed(found, kind, message):
    """Login, mode and subscription are confirmed with 200."""
    confirmed = [told["message"] for told in of_type(found, kind) if told["code"] == 200]

    assert confirmed[0] == message


def test_a_symbol_comes_with_its_prices(found):
    """Prices are in rupees, with the change since the previous close."""
    tick = of_type(found, "sf")[0]

    assert tick["symbol"] == "NSE:SBIN-EQ"
    assert tick["low_price"] <= tick["ltp"] <= tick["high_price"]
    assert tick["ch"] == pytest.approx(tick["ltp"] - tick["prev_close_price"], abs=0.001)


def test_updates_agree_with_rest(found):
    """After five minutes the socket has the same day as the quote, whose price may be a second younger."""
    tick, quote = found["later"][-1], found["quote"]

    assert tick["prev_close_price"] == quote["prev_close_price"]
    assert tick["open_price"] == quote["open_price"]
    assert tick["vol_traded_today"] <= quote["volume"]
    assert tick["vol_traded_today"] > of_type(found, "sf")[0]["vol_traded_today"]
    assert tick["ltp"] == pytest.approx(quote["lp"], rel=0.01)


def test_an_index_is_found_by_its_topic_name(found):
    """The index arrives under its own spelling in the stream."""
    tick = of_type(found, "if")[0]

    assert tick["symbol"] == "NSE:NIFTY50-INDEX"
    assert tick["ltp"] > 1_000


def test_depth_has_five_levels(found):
    """Depth arrives best price first."""
    book = of_type(found, "dp")[0]
    bids = [book[f"bid_price{level}"] for level in range(1, 6)]

    assert bids == sorted(bids, reverse=True)
    assert book["ask_price1"] > book["bid_price1"]


def test_an_unlisted_symbol_is_reported(found):
    """The lookup names the symbol nobody knows."""
    [wrong] = [message for message in found["seen"] if message.get("code") == -300]

    assert wrong["invalid_symbols"] == ["NSE:NOPE-EQ"]
