"""The official Python SDKs understand every answer of the simulator; only their base address is changed."""

import pytest

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def found(sdk):
    """Return the SDK's results by call."""
    return sdk("sdk_rest.py")


def test_a_login_returns_a_token(found):
    """The SDK's address, redirect and exchange fit together, and a code is valid once."""
    assert found["redirect"]["s"] == "ok"
    assert found["redirect"]["state"] == "s1"
    assert found["token"]["s"] == "ok"
    assert found["token"]["access_token"].count(".") == 2
    assert found["second_exchange"]["code"] == -437


@pytest.mark.parametrize(
    ("call", "key"),
    [
        ("profile", "data"), ("funds", "fund_limit"), ("holdings", "holdings"), ("positions", "netPositions"),
        ("orderbook", "orderBook"), ("tradebook", "tradeBook"), ("quotes", "d"), ("depth", "d"),
        ("market_status", "marketStatus"), ("optionchain", "data"), ("history", "candles"),
    ],
)  # fmt: skip
def test_calls_return_their_payload(found, call, key):
    """The payload has Fyers' name."""
    assert found[call]["s"] == "ok"
    assert key in found[call]


def test_values_pass_through_the_sdk(found):
    """Identity, quotes (one symbol has an ampersand), depth and candles arrive unchanged."""
    assert found["profile"]["data"]["fy_id"].startswith("XA")
    assert [item["n"] for item in found["quotes"]["d"]] == ["NSE:SBIN-EQ", "NSE:M&M-EQ"]
    assert len(found["depth"]["d"]["NSE:SBIN-EQ"]["bids"]) == 5
    assert len(found["history"]["candles"]) == 10
    assert found["no_data"] == {"candles": [], "message": "", "s": "no_data"}


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        ("bad_symbol", -300, "Invalid symbol provided"),
        ("bad_range", -50, "Invalid input"),
        ("bad_resolution", -50, "Invalid input"),
        ("bad_quotes", -50, "Please provide valid inputs"),
        ("limited_funds", -429, "Request limit reached, refresh after few mins"),
        ("limited_quotes", 429, "request limit reached"),
        ("limited_profile", -353, "API Limit exceeded overall per sec (per min)"),
        ("expire_profile", -8, "Your token has expired. Please generate a token"),
        ("revoke_profile", -17, "Could not authenticate the user"),
        ("garbage_profile", -17, "Could not authenticate the user"),
        ("fault_auth_error", -15, "Please provide valid token"),
        ("fault_server_error", -99, "Something went wrong. Please contact support"),
    ],
)
def test_refusals_arrive_in_fyers_wording(found, call, code, message):
    """The SDK's caller gets each kind of refusal with its code and text."""
    assert found[call] == {"s": "error", "code": code, "message": message}


@pytest.mark.parametrize("ending", ["expire", "revoke", "garbage", "logged_out"])
def test_every_service_refuses_an_invalid_token_with_its_code(found, ending):
    """The code is -16 from trading and history, and -15 from the data service."""
    codes = {
        name: found[f"{ending}_{name}"]["code"] for name in ("funds", "history", "quotes", "market_status")
    }

    assert codes == {"funds": -16, "history": -16, "quotes": -15, "market_status": -15}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("html", 502),
        ("edge_limit", 429),
        ("empty", 200),
        ("malformed", 200),
        ("reset", -99),
        ("hung", -99),
        ("dropped", -99),
    ],
)
def test_a_body_without_json_becomes_the_sdks_bad_request(found, fault, code):
    """Pages, empty and broken answers become the SDK's own error, with the status or -99."""
    assert found[f"fault_{fault}"] == {"s": "error", "code": code, "message": "Bad request"}


def test_faults_end(found):
    """The same client gets good answers after the faults."""
    assert found["after_faults"]["s"] == "ok"


def test_orders_are_refused(found):
    """The SDK gets the refusal of an app that may not trade."""
    assert found["order"]["code"] == -50
    assert "Algo orders are not allowed" in found["order"]["message"]


def test_logout_is_confirmed(found):
    """The answer has Fyers' sentence."""
    assert found["logout"]["message"] == "you are successfully logged out"


def test_the_sdks_calls_were_counted(found):
    """The count includes refused calls."""
    by_status = found["calls"]["byStatus"]

    assert by_status["429"] == 4
    assert by_status["401"] >= 16
    assert by_status["422"] == 3
    assert found["calls"]["byPath"]["/data/history"] >= 7
