"""Fyers' option chain: an underlying, and the puts and calls of one expiry around its price.

Assumed, because no refusal is published: an unknown underlying, one without options and a timestamp that is no expiry
get the data service's usual refusal. Without a strike count there are 50 strikes on each side (the Node SDK's comment).
"""

import asyncio
from typing import Any

from hullwatch.simulator.answers import Answer, Refusal, success
from hullwatch.simulator.broker import Broker, Call
from hullwatch.simulator.market.calendar import day_of, to_date
from hullwatch.simulator.market.contracts import (
    Expiry,
    Family,
    expiries,
    expiry_moment,
    future,
    future_expiries,
    nearest,
    option,
)
from hullwatch.simulator.market.derivatives import VIX
from hullwatch.simulator.market.instruments import Instrument
from hullwatch.simulator.market.prices import Snapshot, best_prices

MOST_STRIKES = 50
_AT_ONCE = 8


async def option_chain(broker: Broker, call: Call) -> Answer:
    """Return the chain of the nearest expiry, or of the one in `timestamp`; with `greeks=1` the greeks too."""
    symbol = call.query.get("symbol", "").strip()
    family = broker.market.source.family_of(symbol)
    count = call.query.get("strikecount", "") or str(MOST_STRIKES)
    is_count = count.isascii() and count.isdecimal() and 1 <= int(count) <= MOST_STRIKES
    if family is None or not family.step or not is_count:
        return Refusal.DATA_INPUT.answer
    day = day_of(call.now)
    offered = expiries(family, day)
    by_moment = {str(expiry_moment(family, expiry.day, day)): expiry for expiry in offered}
    chosen = by_moment.get(call.query.get("timestamp", "").strip() or next(iter(by_moment)))
    if chosen is None:
        return Refusal.DATA_INPUT.answer
    contracts = _around(broker, family, chosen, int(count), call.now)
    rows = []
    for number, contract in enumerate(contracts):
        if number % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)  # a contract's day may have to be generated first, so let other calls run
        rows.append(_option_row(broker, contract, call, with_greeks=call.query.get("greeks") == "1"))
    calls, puts = _interest(broker, family, chosen, call.now)
    data = {
        "callOi": calls,
        "expiryData": [
            {"date": f"{to_date(expiry.day):%d-%m-%Y}", "expiry": at, "expiry_flag": "M" if expiry.is_monthly else "W"}
            for at, expiry in by_moment.items()
        ],
        "indiavixData": _vix(broker, call.now),
        "optionsChain": [_underlying_row(broker, symbol, family, call.now), *rows],
        "putOi": puts,
    }  # fmt: skip
    return success(data=data)


def _around(broker: Broker, family: Family, expiry: Expiry, count: int, now: float) -> list[Instrument]:
    """Return the puts and calls of the strike nearest to the price and of `count` strikes on each side."""
    strikes = broker.market.source.strikes(family, expiry, day_of(now))
    middle = nearest(strikes, broker.market.snapshot(family.underlying, int(now)).ltp)
    chosen = strikes[max(0, middle - count) : middle + count + 1]
    return [option(family, expiry, strike, kind) for strike in chosen for kind in ("PE", "CE")]


def _price_fields(instrument: Instrument, shot: Snapshot) -> dict[str, Any]:
    bid, ask = best_prices(instrument, shot)
    return {
        "ask": ask, "bid": bid, "fyToken": instrument.fytoken, "ltp": shot.ltp, "ltpch": shot.change,
        "ltpchp": shot.change_percent, "option_type": "", "strike_price": -1, "symbol": instrument.symbol,
    }  # fmt: skip


def _index_fields(instrument: Instrument, shot: Snapshot) -> dict[str, Any]:
    names = {
        "description": instrument.symbol.partition(":")[2], "ex_symbol": instrument.name,
        "exchange": instrument.segment.exchange,
    }  # fmt: skip
    return _price_fields(instrument, shot) | names


def _underlying_row(broker: Broker, symbol: str, family: Family, now: float) -> dict[str, Any]:
    """Return the first row, which has the price of the nearest future as well."""
    near = future(family, future_expiries(family, day_of(now))[0])
    shot = broker.market.snapshot(near.symbol, int(now))
    row = _index_fields(broker.market.instruments[symbol], broker.market.snapshot(symbol, int(now)))
    return row | {"fp": shot.ltp, "fpch": shot.change, "fpchp": shot.change_percent}


def _vix(broker: Broker, now: float) -> dict[str, Any]:
    """Return India VIX; nothing where the simulator replays files without it."""
    instrument = broker.market.instruments.get(VIX)
    return {} if instrument is None else _index_fields(instrument, broker.market.snapshot(VIX, int(now)))


def _option_row(broker: Broker, contract: Instrument, call: Call, *, with_greeks: bool) -> dict[str, Any]:
    market = broker.market
    shot, interest = (
        market.snapshot(contract.symbol, int(call.now)),
        market.interest(contract.symbol, call.now),
    )
    strike = contract.strike
    row = _price_fields(contract, shot) | {
        "option_type": contract.option_type, "strike_price": int(strike) if strike.is_integer() else strike,
        "oi": interest.now, "oich": interest.now - interest.before, "oichp": interest.change_percent,
        "prev_oi": interest.before, "volume": shot.volume,
    }  # fmt: skip
    if with_greeks:
        spot = market.snapshot(contract.underlying, int(call.now)).ltp
        row["greeks"] = market.source.greeks(contract, spot, call.now, day_of(call.now))._asdict()
    return row


def _interest(broker: Broker, family: Family, expiry: Expiry, now: float) -> tuple[int, int]:
    """Return the open interest of all calls and of all puts of an expiry."""
    strikes = broker.market.source.strikes(family, expiry, day_of(now))

    def total(kind: str) -> int:
        symbols = (option(family, expiry, strike, kind).symbol for strike in strikes)
        return sum(broker.market.interest(symbol, now).now for symbol in symbols)

    return total("CE"), total("PE")
