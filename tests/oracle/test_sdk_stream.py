"""The data socket of the official Python SDKs understands the stream; only its addresses are changed."""

import pytest

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def found(sdk):
    """Return every message that the SDK gave to its callbacks."""
    return sdk("sdk_stream.py")


def of_type(found, kind, part="seen"):
    """Return the messages of one type."""
    return [message for message in found[part] if message.get("type") == kind]


def test_every_expected_message_arrived(found):
    """The script stops waiting after a time limit and lists what is missing."""
    assert of_type(found, "missing") == []


@pytest.mark.parametrize(
    ("kind", "message"), [("cn", "Authentication done"), ("ful", "Full Mode On"), ("sub", "Subscribed")]
)
def test_requests_are_confirmed(found, kind, message):
    """The SDK gets code 200 for login, mode and subscription."""
    confirmed = [seen["message"] for seen in of_type(found, kind) if seen["code"] == 200]

    assert confirmed[0] == message


def test_a_symbol_arrives_with_its_prices(found):
    """Prices are in rupees, with the change since the previous close."""
    tick = of_type(found, "sf")[0]

    assert tick["symbol"] == "NSE:SBIN-EQ"
    assert tick["low_price"] <= tick["ltp"] <= tick["high_price"]
    assert tick["ch"] == pytest.approx(tick["ltp"] - tick["prev_close_price"], abs=0.001)


def test_updates_agree_with_rest(found):
    """The day's values are those of the quote, whose price may be a second newer."""
    tick, quote = of_type(found, "sf", "later")[-1], found["quote"]

    assert tick["prev_close_price"] == quote["prev_close_price"]
    assert tick["open_price"] == quote["open_price"]
    assert tick["vol_traded_today"] <= quote["volume"]
    assert tick["vol_traded_today"] > of_type(found, "sf")[0]["vol_traded_today"]
    assert tick["ltp"] == pytest.approx(quote["lp"], rel=0.01)


def test_an_index_is_found_by_its_topic_name(found):
    """The stream spells the index in its own form."""
    tick = of_type(found, "if")[0]

    assert tick["symbol"] == "NSE:NIFTY50-INDEX"
    assert tick["ltp"] > 1_000


def test_every_index_update_has_all_six_values(found):
    """SDKs before 3.2.0 show the marker of an unchanged value as the price -21474836.48."""
    first, later = of_type(found, "if")[0], of_type(found, "if", "later")[-1]

    assert {name: later[name] for name in ("prev_close_price", "open_price")} == {
        name: first[name] for name in ("prev_close_price", "open_price")
    }
    assert 0 < later["low_price"] <= later["ltp"] <= later["high_price"]
    assert later["ch"] == pytest.approx(later["ltp"] - later["prev_close_price"], abs=0.011)


def test_depth_has_five_levels(found):
    """The best price comes first."""
    book = of_type(found, "dp")[0]
    bids = [book[f"bid_price{level}"] for level in range(1, 6)]

    assert bids == sorted(bids, reverse=True)
    assert book["ask_price1"] > book["bid_price1"]


def test_an_unlisted_symbol_is_reported(found):
    """The lookup names the unknown symbol."""
    [wrong] = [message for message in found["seen"] if message.get("code") == -300]

    assert wrong["invalid_symbols"] == ["NSE:NOPE-EQ"]
