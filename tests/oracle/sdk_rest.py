"""Makes the SDK's REST calls and prints their results as one JSON line; runs under the SDK's interpreter."""

import json
import sys
from urllib.parse import parse_qsl, urlsplit

import requests
from fyers_apiv3 import fyersModel

BASE, ACCOUNT = sys.argv[1:]
fyersModel.Config.API = f"{BASE}/api/v3"
fyersModel.Config.DATA_API = f"{BASE}/data"
FOUND = {}


def control(method, path, body=None):
    """Make a control call of the simulator."""
    answer = requests.request(method, f"{BASE}/simulator{path}", json=body, timeout=60)
    answer.raise_for_status()
    return answer.json()


def keep(name, answer):
    """Store a copy of an answer, since the SDK reuses its error object, and wait for the next second."""
    FOUND[name] = json.loads(json.dumps(answer))
    control("POST", "/clock", {"advanceSeconds": 1})


def login(fyers_id):
    """Log in with the SDK's session and return the answer with the token."""
    session = fyersModel.SessionModel(
        client_id="HULLWATCH-100", secret_key="simulator", redirect_uri="http://127.0.0.1:9/back",
        response_type="code", state="s1", grant_type="authorization_code",
    )  # fmt: skip
    location = requests.get(
        session.generate_authcode() + f"&fyersId={fyers_id}", allow_redirects=False, timeout=60
    ).headers["Location"]
    FOUND["redirect"] = dict(parse_qsl(urlsplit(location).query))
    session.set_token(FOUND["redirect"]["auth_code"])
    answer = session.generate_token()
    FOUND["second_exchange"] = session.generate_token()
    return answer


def model(token):
    """Return the SDK's client for a token."""
    return fyersModel.FyersModel(client_id="HULLWATCH-100", token=token)


def history(client, **change):
    """Ask for candles of today."""
    today = control("GET", "/clock")["now"][:10]
    asked = {
        "symbol": "NSE:SBIN-EQ", "resolution": "5", "date_format": "1", "range_from": today, "range_to": today,
        "cont_flag": "1",
    }  # fmt: skip
    return client.history(asked | change)


def good_answers(client):
    """Make every call that monitoring needs."""
    keep("profile", client.get_profile())
    keep("funds", client.funds())
    keep("holdings", client.holdings())
    keep("positions", client.positions())
    keep("orderbook", client.orderbook())
    keep("tradebook", client.tradebook())
    keep("quotes", client.quotes({"symbols": "NSE:SBIN-EQ,NSE:M&M-EQ"}))
    keep("depth", client.depth({"symbol": "NSE:SBIN-EQ", "ohlcv_flag": "1"}))
    keep("market_status", client.market_status())
    keep(
        "optionchain", client.optionchain({"symbol": "NSE:NIFTY50-INDEX", "strikecount": 2, "timestamp": ""})
    )
    keep("history", history(client))
    keep("no_data", history(client, range_from="2017-01-01", range_to="2017-01-02"))


def wrong_calls(client):
    """Make calls with wrong parameters."""
    keep("bad_symbol", history(client, symbol="NSE:NOPE-EQ"))
    keep("bad_range", history(client, range_from="2018-01-01"))
    keep("bad_resolution", history(client, resolution="7"))
    keep("bad_quotes", client.quotes({"symbols": ""}))
    keep("order", client.place_order({"symbol": "NSE:SBIN-EQ", "qty": 1, "type": 2, "side": 1}))


def every_service(client, prefix):
    """Call every service once."""
    for name, call in (
        ("profile", client.get_profile),
        ("funds", client.funds),
        ("quotes", lambda: client.quotes({"symbols": "NSE:SBIN-EQ"})),
        ("market_status", client.market_status),
        ("history", lambda: history(client)),
    ):
        keep(f"{prefix}_{name}", call())


def limited(client):
    """Use up the limit of a second, then call three services."""
    for _ in range(10):
        client.funds()
    FOUND["limited_funds"] = dict(client.funds())
    FOUND["limited_quotes"] = dict(client.quotes({"symbols": "NSE:SBIN-EQ"}))
    FOUND["limited_profile"] = dict(client.get_profile())
    control("POST", "/clock", {"advanceSeconds": 2})


def faults(client):
    """Make calls during faults."""
    for name, order in (
        ("html", {"kind": "html_page", "status": 502}),
        ("edge_limit", {"kind": "address_ban"}),
        ("empty", {"kind": "empty_body"}),
        ("malformed", {"kind": "malformed_json"}),
        ("reset", {"kind": "reset"}),
        ("dropped", {"kind": "drop_after_bytes"}),
        ("hung", {"kind": "hang", "latencyMs": 20}),
        ("auth_error", {"kind": "auth_error"}),
        ("server_error", {
            "kind": "http_error", "status": 500,
            "body": {"s": "error", "code": -99, "message": "Something went wrong. Please contact support"},
        }),
    ):  # fmt: skip
        control("POST", "/faults", order)
        keep(f"fault_{name}", client.quotes({"symbols": "NSE:SBIN-EQ"}))
        control("DELETE", "/faults")
    keep("after_faults", client.quotes({"symbols": "NSE:SBIN-EQ"}))


control("POST", "/accounts", {"fyersId": ACCOUNT, "name": "Asha"})
FOUND["token"] = login(ACCOUNT)
client = model(FOUND["token"]["access_token"])
good_answers(client)
wrong_calls(client)
limited(client)
faults(client)
every_service(model("garbage"), "garbage")
keep("logout", client.logout())
every_service(client, "logged_out")
for ending in ("expire", "revoke"):
    token = control("POST", f"/accounts/{ACCOUNT}/token")["accessToken"]
    control("POST", f"/accounts/{ACCOUNT}/{ending}")
    every_service(model(token), ending)
FOUND["calls"] = control("GET", f"/calls?fyersId={ACCOUNT}")
sys.stdout.write("\n" + json.dumps(FOUND) + "\n")
