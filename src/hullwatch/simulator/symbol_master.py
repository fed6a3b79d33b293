"""Fyers' symbol masters: what is listed, as 21 columns of CSV without a header and as JSON.

They need no login and have no limits. At Fyers they are on a host of their own; here they have the same
path. Only NSE cash has rows, the others are empty.
"""

from typing import Any

import orjson

from hullwatch.simulator.answers import Answer
from hullwatch.simulator.broker import Broker, Call, Endpoint, Family, always
from hullwatch.simulator.market.calendar import day_of, to_date
from hullwatch.simulator.market.instruments import Instrument
from hullwatch.simulator.market.prices import Snapshot

_STEMS = ("NSE_CM", "NSE_FO", "NSE_CD", "NSE_COM", "BSE_CM", "BSE_FO", "MCX_COM")
_HOURS = "0915-1530|1815-1915:"
_EQUITY, _INDEX = 0, 10


def _csv_line(instrument: Instrument, updated_on: str) -> str:
    columns = (
        instrument.fytoken, instrument.description, _INDEX if instrument.is_index else _EQUITY, 1, instrument.tick,
        instrument.isin, _HOURS, updated_on, "", instrument.symbol, 10, 10, instrument.token, instrument.name,
        instrument.token, -1.0, "XX", instrument.fytoken, "None", 0 if instrument.is_index else 1, 0.0,
    )  # fmt: skip
    return ",".join(str(column) for column in columns)


def _json_entry(instrument: Instrument, shot: Snapshot, updated_on: str) -> dict[str, Any]:
    return {
        "fyToken": instrument.fytoken, "isin": instrument.isin, "exSymbol": instrument.name,
        "symDetails": instrument.description, "symTicker": instrument.symbol, "exchange": 10, "segment": 10,
        "exSymName": instrument.name, "exToken": instrument.token,
        "exSeries": "INDEX" if instrument.is_index else "EQ", "optType": "XX", "underSym": instrument.name,
        "underFyTok": instrument.fytoken, "exInstType": _INDEX if instrument.is_index else _EQUITY, "minLotSize": 1,
        "tickSize": instrument.tick, "tradingSession": _HOURS, "lastUpdate": updated_on, "expiryDate": "",
        "strikePrice": -1.0, "qtyFreeze": "", "tradeStatus": 1, "currencyCode": "INR",
        "upperPrice": round(shot.prev_close * 1.1, 2), "lowerPrice": round(shot.prev_close * 0.9, 2),
        "faceValue": 1.0, "qtyMultiplier": 1.0, "previousClose": shot.prev_close, "previousOi": 0.0,
        "asmGsmVal": "", "exchangeName": "NSE", "symbolDesc": instrument.description, "originalExpDate": None,
        "is_mtf_tradable": 0 if instrument.is_index else 1, "mtf_margin": 0.0, "stream": "group1",
    }  # fmt: skip


async def nse_cash_csv(broker: Broker, call: Call) -> Answer:
    """List NSE cash instruments as CSV."""
    updated_on = to_date(day_of(call.now)).isoformat()
    lines = [_csv_line(instrument, updated_on) + "\n" for instrument in broker.market.instruments.values()]
    return Answer("".join(lines).encode(), content_type="text/csv")


async def nse_cash_json(broker: Broker, call: Call) -> Answer:
    """List NSE cash instruments as JSON, keyed by symbol."""
    updated_on = to_date(day_of(call.now)).isoformat()
    entries = {
        symbol: _json_entry(instrument, broker.market.snapshot(symbol, int(call.now)), updated_on)
        for symbol, instrument in broker.market.instruments.items()
    }
    return Answer(orjson.dumps(entries))


async def index_names(broker: Broker, call: Call) -> Answer:  # noqa: ARG001  names do not depend on the call
    """Map index symbols to their spelling in the data stream's topics."""
    names = {
        symbol: instrument.description
        for symbol, instrument in broker.market.instruments.items()
        if instrument.is_index
    }
    return Answer(orjson.dumps(names))


_EMPTY_CSV, _EMPTY_JSON = always(Answer(b"", content_type="text/csv")), always(Answer(b"{}"))

ROUTES: dict[tuple[str, str], Endpoint] = {
    **{("GET", f"/sym_details/{stem}.csv"): Endpoint(Family.OPEN, _EMPTY_CSV) for stem in _STEMS},
    **{
        ("GET", f"/sym_details/{stem}_sym_master.json"): Endpoint(Family.OPEN, _EMPTY_JSON) for stem in _STEMS
    },
    ("GET", "/sym_details/NSE_CM.csv"): Endpoint(Family.OPEN, nse_cash_csv),
    ("GET", "/sym_details/NSE_CM_sym_master.json"): Endpoint(Family.OPEN, nse_cash_json),
    ("GET", "/sym_details/index_hsm_mapping.json"): Endpoint(Family.OPEN, index_names),
}
