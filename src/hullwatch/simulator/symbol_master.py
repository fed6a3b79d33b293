"""Fyers' symbol masters: what is listed in each market, as 21 columns of CSV without a header and as JSON.

They need no login and have no limits. At Fyers they are on a host of their own; here they have the same path.
The rows have the forms of Fyers' files of September 2026.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson

from hullwatch.simulator.answers import Answer
from hullwatch.simulator.broker import Broker, Call, Endpoint, Family
from hullwatch.simulator.market.calendar import LATE_DERIVATIVES_FROM, day_of, to_date
from hullwatch.simulator.market.contracts import expires_at
from hullwatch.simulator.market.instruments import SEGMENTS, Instrument, Segment

_EVENING = "|1815-1915:"


def _hours(segment: Segment, day: int) -> str:
    match segment.code:
        case 12:
            hours = "0900-1700"
        case 20:
            hours = "0900-2330"
        case 11 if to_date(day) >= LATE_DERIVATIVES_FROM:
            hours = "0915-1540"
        case _:
            hours = "0915-1530"
    return hours + _EVENING


def _listed(broker: Broker, segment: Segment, day: int) -> Iterator[Instrument]:
    yield from (one for one in broker.market.instruments.values() if one.segment == segment)
    yield from broker.market.source.contracts(segment, day)


def _underlying(broker: Broker, instrument: Instrument) -> tuple[int, str]:
    """Return exchange token and Fyers' token of the underlying; a share or index is its own."""
    if instrument.expiry is None:
        return instrument.token, instrument.fytoken
    known = broker.market.instruments
    if instrument.underlying in known:
        return instrument.underlying_token, known[instrument.underlying].fytoken
    if instrument.underlying_token < 0:  # a currency has no token of its own
        return -1, "-1"
    codes = f"{instrument.segment.exchange_code}{instrument.segment.code}"
    return instrument.underlying_token, f"{codes}000000{instrument.underlying_token}"


def _csv_line(broker: Broker, instrument: Instrument, day: int) -> str:
    segment, is_share = instrument.segment, instrument.expiry is None and not instrument.is_index
    token, fytoken = _underlying(broker, instrument)
    expiry = "" if instrument.expiry is None else expires_at(instrument, day)
    columns = (
        instrument.fytoken, instrument.description, instrument.kind, instrument.lot, instrument.tick, instrument.isin,
        _hours(segment, day), to_date(day).isoformat(), expiry, instrument.symbol, segment.exchange_code,
        segment.code, instrument.token, instrument.name, token, instrument.strike, instrument.option_type, fytoken,
        expiry if segment.code == 20 else "None", int(is_share), 0.0,
    )  # fmt: skip
    return ",".join(str(column) for column in columns)


def _series(instrument: Instrument) -> str:
    """Return the series of a share, the part after the dash of its symbol; contracts have none."""
    return "" if instrument.expiry is not None else instrument.symbol.rpartition("-")[2]


def _json_entry(broker: Broker, instrument: Instrument, day: int) -> dict[str, Any]:
    source, segment = broker.market.source, instrument.segment
    before = source.day_before(instrument.symbol, day)
    close = (None if before is None else source.close(instrument.symbol, before)) or 0.0
    limit = 0.1 * (instrument.strike if instrument.is_option else close)
    is_share = instrument.expiry is None and not instrument.is_index
    return {
        "fyToken": instrument.fytoken, "isin": instrument.isin, "exSymbol": instrument.name,
        "symDetails": instrument.description, "symTicker": instrument.symbol, "exchange": segment.exchange_code,
        "segment": segment.code, "exSymName": instrument.name, "exToken": instrument.token,
        "exSeries": _series(instrument), "optType": instrument.option_type, "underSym": instrument.name,
        "underFyTok": _underlying(broker, instrument)[1], "exInstType": instrument.kind,
        "minLotSize": instrument.lot, "tickSize": instrument.tick, "tradingSession": _hours(segment, day),
        "lastUpdate": to_date(day).isoformat(),
        "expiryDate": "" if instrument.expiry is None else str(expires_at(instrument, day)),
        "strikePrice": instrument.strike, "qtyFreeze": "", "tradeStatus": 1, "currencyCode": "INR",
        "upperPrice": round(close + limit, 2), "lowerPrice": round(max(instrument.tick, close - limit), 2),
        "faceValue": 1.0, "qtyMultiplier": 1.0, "previousClose": close,
        "previousOi": float(source.open_interest(instrument.symbol, day, 0.0)), "asmGsmVal": "",
        "exchangeName": segment.exchange, "symbolDesc": instrument.description, "originalExpDate": None,
        "is_mtf_tradable": int(is_share), "mtf_margin": 0.0, "stream": "group1",
    }  # fmt: skip


Handler = Callable[[Broker, Call], Awaitable[Answer]]


def _once_a_day(segment: Segment, form: str, make: Callable[[Broker, int], Answer]) -> Handler:
    """Return a handler that makes a file once a day: Fyers does the same, and thousands of clients get it."""

    async def handle(broker: Broker, call: Call) -> Answer:
        day = day_of(call.now)
        kept = broker.masters.get((segment.stem, form))
        if kept is None or kept[0] != day:
            kept = broker.masters[segment.stem, form] = (day, make(broker, day))
        return kept[1]

    return handle


def _csv(segment: Segment) -> Handler:
    def make(broker: Broker, day: int) -> Answer:
        lines = [_csv_line(broker, one, day) + "\n" for one in _listed(broker, segment, day)]
        return Answer("".join(lines).encode(), content_type="text/csv")

    return _once_a_day(segment, "csv", make)


def _json(segment: Segment) -> Handler:
    def make(broker: Broker, day: int) -> Answer:
        return Answer(
            orjson.dumps({one.symbol: _json_entry(broker, one, day) for one in _listed(broker, segment, day)})
        )

    return _once_a_day(segment, "json", make)


async def index_names(broker: Broker, call: Call) -> Answer:  # noqa: ARG001  names do not depend on the call
    """Map index symbols to their spelling in the data stream's topics."""
    instruments = broker.market.instruments.items()
    return Answer(orjson.dumps({symbol: one.key for symbol, one in instruments if one.is_index}))


ROUTES: dict[tuple[str, str], Endpoint] = {
    **{("GET", f"/sym_details/{one.stem}.csv"): Endpoint(Family.OPEN, _csv(one)) for one in SEGMENTS},
    **{
        ("GET", f"/sym_details/{one.stem}_sym_master.json"): Endpoint(Family.OPEN, _json(one))
        for one in SEGMENTS
    },
    ("GET", "/sym_details/index_hsm_mapping.json"): Endpoint(Family.OPEN, index_names),
}
