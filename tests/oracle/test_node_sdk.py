"""The official Node SDK understands the simulator's answers and its stream; only its addresses are changed."""

from functools import cache

import pytest

pytestmark = pytest.mark.oracle

STOCKS = ["NSE:SBIN-EQ", "NSE:M&M-EQ"]
INDEX = "NSE:NIFTY50-INDEX"
FULL, LITE, DEPTH = "full", "lite", "depth"


@pytest.fixture(scope="module")
def answers(node_sdk):
    """Return the SDK's results by call."""
    return node_sdk("rest.js")


@pytest.fixture(scope="module")
def stream(node_sdk):
    """Return a function that gives the messages of a mode; each mode runs once."""
    return cache(lambda mode: node_sdk("stream.js", mode))


def ticks(found, symbol, part="seen"):
    """Return the ticks of one symbol."""
    return [message for message in found[part] if message.get("symbol") == symbol]


@pytest.mark.parametrize(
    ("call", "key"),
    [
        ("token", "access_token"), ("profile", "data"), ("funds", "fund_limit"), ("quotes", "d"), ("depth", "d"),
        ("history", "candles"), ("marketStatus", "marketStatus"), ("optionChain", "data"), ("logout", "message"),
    ],
)  # fmt: skip
def test_calls_return_their_payload(answers, call, key):
    """The SDK resolves its promise with the simulator's answer."""
    assert answers[call]["s"] == "ok"
    assert key in answers[call]


def test_refusals_reject_the_promise(answers):
    """The reason is the body in Fyers' wording."""
    assert answers["badSymbol"]["rejected"] == {
        "s": "error",
        "code": -300,
        "message": "Invalid symbol provided",
    }
    assert answers["afterLogout"]["rejected"]["code"] == -15


@pytest.mark.parametrize("mode", [FULL, LITE, DEPTH])
def test_every_symbol_gets_a_snapshot_and_an_update(stream, mode):
    """The SDK loses what follows an index in a frame if the snapshot does not end with the topic's key."""
    found = stream(mode)

    assert found["missing"] == []
    assert {message["code"] for message in found["seen"] if message.get("type") in {"cn", "sub"}} == {200}
    assert bool(ticks(found, INDEX)) == (mode != DEPTH)


@pytest.mark.parametrize(
    ("mode", "fields"),
    [
        (FULL, {"ltp", "high_price", "low_price", "open_price", "prev_close_price", "ch", "chp", "vol_traded_today"}),
        (LITE, {"ltp"}),
        (DEPTH, {f"{side}_price{level}" for side in ("bid", "ask") for level in range(1, 6)}),
    ],
)  # fmt: skip
def test_each_mode_has_its_fields(stream, mode, fields):
    """Lite ticks have no high and low price, depth has five levels."""
    tick = ticks(stream(mode), "NSE:SBIN-EQ", "later")[-1]

    assert fields <= tick.keys()
    assert ("high_price" in tick) == (mode == FULL)


@pytest.mark.parametrize("symbol", [*STOCKS, INDEX])
def test_full_ticks_are_consistent(stream, symbol):
    """The SDK computes the change itself, from fields that the stream's configuration describes."""
    for tick in ticks(stream(FULL), symbol):
        assert tick["low_price"] <= tick["ltp"] <= tick["high_price"]
        assert tick["ch"] == pytest.approx(tick["ltp"] - tick["prev_close_price"], abs=0.011)
        assert tick["chp"] == pytest.approx(100 * tick["ch"] / tick["prev_close_price"], abs=0.011)
