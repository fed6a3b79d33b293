"""Runs the SDK's data socket against the simulator and prints the messages as one JSON line."""

import json
import os
import sys
import threading

import requests
from fyers_apiv3.FyersWebsocket import data_ws, defines

BASE, ACCOUNT = sys.argv[1:]
STREAM = BASE.replace("http", "ws", 1) + "/hsm/v1-5/prod"
SEEN = []
CHANGED = threading.Condition()
MADE = data_ws.SymbolConversion.__init__


def made_for_the_simulator(self, *arguments):
    """Make a lookup as the SDK does and set its address, which the constructor has fixed."""
    MADE(self, *arguments)
    self.symbols_token_api = f"{BASE}/data/symbol-token"


data_ws.SymbolConversion.__init__ = made_for_the_simulator
defines.INDEX_HSM_MAPPING_API = f"{BASE}/sym_details/index_hsm_mapping.json"


def control(path, body=None):
    """Make a control call of the simulator."""
    answer = requests.post(f"{BASE}/simulator{path}", json=body, timeout=60)
    answer.raise_for_status()
    return answer.json()


def keep(message):
    """Store a message of the socket."""
    with CHANGED:
        SEEN.append(json.loads(json.dumps(message)))
        CHANGED.notify_all()


def wait_for(kind, **fields):
    """Wait until a message of a kind with these fields has arrived; return the count."""

    def came():
        return any(
            message.get("type") == kind and all(message.get(name) == value for name, value in fields.items())
            for message in SEEN
        )

    with CHANGED:
        if not CHANGED.wait_for(came, timeout=60):
            SEEN.append({"type": "missing", "wanted": [kind, fields]})
    return len(SEEN)


control("/accounts", {"fyersId": ACCOUNT, "name": "Asha"})
token = control(f"/accounts/{ACCOUNT}/token")["accessToken"]
opened = threading.Event()
socket = data_ws.FyersDataSocket(
    access_token=f"HULLWATCH-100:{token}", log_path=".", on_connect=opened.set, on_message=keep, on_error=keep,
    on_close=keep, reconnect=False,
)  # fmt: skip
socket._FyersDataSocket__url = STREAM
socket.connect()
opened.wait(60)
socket.subscribe(symbols=["NSE:SBIN-EQ", "NSE:NIFTY50-INDEX", "NSE:NOPE-EQ"], data_type="SymbolUpdate")
wait_for("sf", symbol="NSE:SBIN-EQ")
wait_for("if", symbol="NSE:NIFTY50-INDEX")
before = len(SEEN)
control("/clock", {"advanceSeconds": 300})
with CHANGED:
    CHANGED.wait_for(lambda: {"sf", "if"} <= {message.get("type") for message in SEEN[before:]}, timeout=60)
quote = requests.get(
    f"{BASE}/data/quotes?symbols=NSE:SBIN-EQ", headers={"Authorization": f"HULLWATCH-100:{token}"}, timeout=60
).json()["d"][0]["v"]
later = SEEN[before:]
socket.subscribe(symbols=["NSE:SBIN-EQ"], data_type="DepthUpdate")
wait_for("dp", symbol="NSE:SBIN-EQ")
sys.stdout.write("\n" + json.dumps({"seen": SEEN, "later": later, "quote": quote}) + "\n")
sys.stdout.flush()
os._exit(0)  # closing would wait up to 10 s for the SDK's ping thread
