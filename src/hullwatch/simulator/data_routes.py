"""Fyers' market data service, but for history: quotes, depth, market status, option chain, symbol tokens."""

import math
from datetime import timedelta
from typing import Any

from hullwatch.simulator.answers import Answer, Refusal, success
from hullwatch.simulator.broker import Broker, Call, Endpoint, Family, always, random_for
from hullwatch.simulator.history_route import history
from hullwatch.simulator.market.auction import BEGINS_S, ENDS_S, is_auction_day
from hullwatch.simulator.market.calendar import day_of, derivatives_close, moment, to_date
from hullwatch.simulator.market.instruments import Instrument, is_symbol_shaped
from hullwatch.simulator.market.prices import Snapshot, best_prices

MOST_QUOTES = 50
MOST_STRIKES = 50
MOST_SYMBOL_TOKENS = 500


async def quotes(broker: Broker, call: Call) -> Answer:
    """Quote up to 50 symbols; one that is not listed gets an error item, the rest their quote."""
    if call.method == "POST":
        body = call.json()
        given = body.get("symbols") if isinstance(body, dict) else None
        symbols = given if isinstance(given, list) and all(isinstance(each, str) for each in given) else []
    else:
        symbols = [text.strip() for text in call.query.get("symbols", "").split(",") if text.strip()]
    if not 0 < len(symbols) <= MOST_QUOTES or not any(is_symbol_shaped(symbol) for symbol in symbols):
        return Refusal.DATA_INPUT.answer
    market, known = broker.market, broker.market.instruments
    if call.skew_s or not all(symbol in known for symbol in symbols):
        items = [
            market.quote(symbol, call.now, call.skew_s) if symbol in known else _unknown(symbol)
            for symbol in symbols
        ]
        return success(d=items)
    pieces = b",".join([market.quote_json(symbol, call.now) for symbol in symbols])
    return Answer(b'{"s":"ok","code":200,"message":"","d":[' + pieces + b"]}")


def _unknown(symbol: str) -> dict[str, Any]:
    value = {"errmsg": "Invalid symbol provided", "code": -300, "symbol": symbol}
    return {"n": symbol, "s": "error", "v": value}


async def depth(broker: Broker, call: Call) -> Answer:
    """Show five levels on each side of one symbol; an index has the levels, all empty."""
    symbol = call.query.get("symbol", "").strip()
    instrument = broker.market.instruments.get(symbol)
    if instrument is None or call.query.get("ohlcv_flag", "0") not in {"", "0", "1"}:
        return Refusal.DATA_INPUT.answer
    shot = broker.market.snapshot(symbol, int(call.now))
    bids, offers = depth_levels(instrument, shot, call.now)
    data = {
        "totalbuyqty": sum(level["volume"] for level in bids) * 20,
        "totalsellqty": sum(level["volume"] for level in offers) * 20,
        "bids": bids, "ask": offers, "o": shot.open, "h": shot.high, "l": shot.low, "c": shot.prev_close,
        "chp": shot.change_percent, "tick_Size": instrument.tick, "ch": shot.change, "ltq": shot.last_quantity,
        "ltt": int(shot.traded_at + call.skew_s), "ltp": shot.ltp, "v": shot.volume, "atp": shot.average,
        "lower_ckt": circuit(instrument, shot, -1), "upper_ckt": circuit(instrument, shot, 1), "expiry": "",
        "oi": 0, "oiflag": False, "pdoi": 0, "oipercent": 0.0,
    }  # fmt: skip
    return success(d={symbol: data})


Level = dict[str, Any]


def depth_levels(instrument: Instrument, shot: Snapshot, now: float) -> tuple[list[Level], list[Level]]:
    """Return five bids and five offers, best first, one tick apart; the same for a whole second."""
    if instrument.is_index:
        empty: list[Level] = [{"price": 0, "volume": 0, "ord": 0} for _ in range(5)]
        return empty, empty
    bid, ask = best_prices(instrument, shot)
    chance = random_for(instrument.symbol, int(now))

    def side(best: float, step: float) -> list[Level]:
        prices = [round(max(best + step * level, instrument.tick), 2) for level in range(5)]
        return [
            {"price": price, "volume": chance.randrange(20, 4_000), "ord": chance.randrange(1, 25)}
            for price in prices
        ]

    return side(bid, -instrument.tick), side(ask, instrument.tick)


def circuit(instrument: Instrument, shot: Snapshot, side: int) -> float:
    """Return the day's price limit, ten percent off the previous close on the tick grid; 0 for an index."""
    if instrument.is_index:
        return 0.0
    return round(round(shot.prev_close * (1 + 0.1 * side) / instrument.tick) * instrument.tick, 2)


# Hours of the other markets, as seconds of the day (NSE currency, MCX); equities follow the candles.
_CURRENCY_HOURS = (9 * 3600, 17 * 3600)
_COMMODITY_HOURS = (9 * 3600, 23 * 3600 + 30 * 60)
_AUCTIONS = ("ODD_LOT", "CALL_AUCTION2", "AUCTION", "SPECIAL")


def equity_status(broker: Broker, now: float) -> str:
    """Return Fyers' status of the equity market: pre-open from 09:00, post-close until 16:00.

    The market is open until 15:30, also on days with a closing auction: stocks without derivatives trade until then.
    """
    session = broker.market.source.session(day_of(now))
    if session is None:
        return "CLOSED"
    opens_at, closes_at = session
    post_close_s = 1_200 if is_auction_day(day_of(now)) else 600
    steps = (
        (opens_at - 900, "CLOSED"), (opens_at - 420, "PREOPEN"), (opens_at, "PREOPEN_CLOSED"), (closes_at, "OPEN"),
        (closes_at + post_close_s, "CLOSED"), (closes_at + 1_800, "POSTCLOSE_START"),
    )  # fmt: skip
    return next((word for until, word in steps if now < until), "CLOSED")


async def market_status(broker: Broker, call: Call) -> Answer:
    """Return the status of each market."""
    day = day_of(call.now)
    session = broker.market.source.session(day)

    def during(hours: tuple[int, int]) -> str:
        is_open = moment(day, hours[0]) <= call.now < moment(day, hours[1])
        return "OPEN" if session is not None and is_open else "CLOSED"

    equity = equity_status(broker, call.now)
    currency, commodity = during(_CURRENCY_HOURS), during(_COMMODITY_HOURS)
    is_open = session is not None and session[0] <= call.now < derivatives_close(day, session[1])
    derivatives = "OPEN" if is_open else "CLOSED"
    normal = (
        (10, 10, equity), (10, 11, derivatives), (10, 12, currency), (11, 20, commodity),
        (12, 10, equity), (12, 11, derivatives), (12, 12, currency),
    )  # fmt: skip
    rows = [
        {"exchange": exchange, "segment": segment, "market_type": "NORMAL", "status": status}
        for exchange, segment, status in normal
    ]
    # How Fyers names the closing auction is not known; this row is an assumption.
    is_auction = session is not None and is_auction_day(day) and during((BEGINS_S, ENDS_S)) == "OPEN"
    rows += [
        {
            "exchange": 10,
            "segment": 10,
            "market_type": kind,
            "status": "OPEN" if is_auction and kind == "AUCTION" else "CLOSED",
        }
        for kind in _AUCTIONS
    ]
    return success(marketStatus=rows)


async def option_chain(broker: Broker, call: Call) -> Answer:
    """Return a plausible chain around the last price: four weekly expiries, time value by distance.

    The options in it are not listed: they have no quotes and no history here.
    """
    symbol = call.query.get("symbol", "").strip()
    instrument = broker.market.instruments.get(symbol)
    count = call.query.get("strikecount", "5") or "5"
    is_count = count.isascii() and count.isdecimal() and 1 <= int(count) <= MOST_STRIKES
    if instrument is None or not is_count:
        return Refusal.DATA_INPUT.answer
    shot = broker.market.snapshot(symbol, int(call.now))
    expiries = _expiries(call.now)
    underlying = {
        "symbol": symbol, "fyToken": instrument.fytoken, "option_type": "", "strike_price": -1, "ltp": shot.ltp,
        "ltpch": shot.change, "ltpchp": shot.change_percent, "bid": best_prices(instrument, shot)[0],
        "ask": best_prices(instrument, shot)[1], "description": instrument.description, "ex_symbol": instrument.name,
        "exchange": "NSE", "fp": round(shot.ltp * 1.002, 2), "fpch": shot.change, "fpchp": shot.change_percent,
    }  # fmt: skip
    step = 10.0 ** math.floor(math.log10(shot.ltp)) / 20
    middle = round(shot.ltp / step) * step
    strikes = [round(middle + step * offset, 2) for offset in range(-int(count), int(count) + 1)]
    stem = f"NSE:{instrument.name}{to_date(day_of(expiries[0])).strftime('%y%b').upper()}"
    rows = [_option(stem, shot.ltp, strike, kind) for strike in strikes for kind in ("CE", "PE")]
    vix = {
        "symbol": "NSE:INDIAVIX-INDEX", "fyToken": "101000000026017", "ltp": 14.2, "ltpch": 0.0, "ltpchp": 0.0,
    }  # fmt: skip
    data = {
        "callOi": sum(row["oi"] for row in rows if row["option_type"] == "CE"),
        "putOi": sum(row["oi"] for row in rows if row["option_type"] == "PE"),
        "expiryData": [
            {"date": to_date(day_of(at)).strftime("%d-%m-%Y"), "expiry": str(at), "expiry_flag": "W"}
            for at in expiries
        ],
        "indiavixData": vix,
        "optionsChain": [underlying, *rows],
    }  # fmt: skip
    return success(data=data)


def _expiries(now: float) -> list[int]:
    """Return 15:30 IST of the next four Tuesdays."""
    today = to_date(day_of(now))
    ahead = (1 - today.weekday()) % 7
    first = moment(day_of(now) + ahead, 15 * 3600 + 1800)
    return [first + int(timedelta(weeks=week).total_seconds()) for week in range(4)]


def _option(stem: str, price: float, strike: float, kind: str) -> dict[str, Any]:
    inner = max(0.0, price - strike if kind == "CE" else strike - price)
    time_value = 0.012 * price * math.exp(-abs(strike - price) / (0.03 * price))
    ltp = round(max(0.05, inner + time_value) / 0.05) * 0.05
    chance = random_for(stem, strike, kind)
    interest = chance.randrange(1_000, 90_000)
    return {
        "symbol": f"{stem}{strike:g}{kind}", "fyToken": f"1011000000{chance.randrange(35_000, 90_000)}",
        "option_type": kind, "strike_price": strike, "ltp": round(ltp, 2), "ltpch": 0.0, "ltpchp": 0.0,
        "bid": round(max(0.05, ltp - 0.05), 2), "ask": round(ltp + 0.05, 2), "oi": interest, "oich": 0, "oichp": 0.0,
        "prev_oi": interest, "volume": chance.randrange(0, 200_000),
    }  # fmt: skip


async def symbol_token(broker: Broker, call: Call) -> Answer:
    """Translate symbols into Fyers' tokens for the data stream; every content type is accepted."""
    body = call.json()
    symbols = body.get("symbols") if isinstance(body, dict) else None
    if not isinstance(symbols, list) or not 0 < len(symbols) <= MOST_SYMBOL_TOKENS:
        return Refusal.DATA_INPUT.answer
    known = broker.market.instruments
    texts = [symbol for symbol in symbols if isinstance(symbol, str)]
    valid = {symbol: known[symbol].fytoken for symbol in texts if symbol in known}
    return success(validSymbol=valid, invalidSymbol=[symbol for symbol in texts if symbol not in known])


def _data(handle: Any) -> Endpoint:
    return Endpoint(Family.DATA, handle)


_OTHER_PATHS = (
    "futures-chain", "history/fno/expired/expiry-dates", "history/fno/expired/underlying-symbols",
    "history/fno/expired/historical-data",
)  # fmt: skip

ROUTES: dict[tuple[str, str], Endpoint] = {
    ("GET", "/data/quotes"): _data(quotes),
    ("POST", "/data/quotes"): _data(quotes),
    ("GET", "/data/depth"): _data(depth),
    ("GET", "/data/marketStatus"): _data(market_status),
    ("GET", "/data/options-chain-v3"): _data(option_chain),
    ("GET", "/data/history"): Endpoint(Family.HISTORY, history),
    ("POST", "/data/symbol-token"): Endpoint(Family.SYMBOL_TOKEN, symbol_token),
    **{("GET", f"/data/{path}"): _data(always(Refusal.NOT_SIMULATED.answer)) for path in _OTHER_PATHS},
}
