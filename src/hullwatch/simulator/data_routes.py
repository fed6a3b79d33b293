"""Fyers' market data service without history and option chain: quotes, depth, market status, symbol tokens."""

from typing import Any

from hullwatch.simulator.answers import Answer, Refusal, success
from hullwatch.simulator.broker import Broker, Call, Endpoint, Family, always, random_for
from hullwatch.simulator.history_route import history
from hullwatch.simulator.market.auction import BEGINS_S, ENDS_S, is_auction_day
from hullwatch.simulator.market.calendar import day_of, derivatives_close, moment
from hullwatch.simulator.market.contracts import COMMODITY_HOURS, CURRENCY_HOURS, expires_at
from hullwatch.simulator.market.instruments import Instrument, is_symbol_shaped
from hullwatch.simulator.market.prices import Snapshot, best_prices
from hullwatch.simulator.option_chain_route import option_chain

MOST_QUOTES = 50
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
    market = broker.market
    known = {symbol for symbol in symbols if market.listed(symbol, call.now) is not None}
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
    instrument = broker.market.listed(symbol, call.now)
    if instrument is None or call.query.get("ohlcv_flag", "0") not in {"", "0", "1"}:
        return Refusal.DATA_INPUT.answer
    shot = broker.market.snapshot(symbol, int(call.now))
    bids, offers = depth_levels(instrument, shot, call.now)
    interest = broker.market.interest(symbol, call.now)
    expiry = "" if instrument.expiry is None else str(expires_at(instrument, day_of(call.now)))
    data = {
        "totalbuyqty": sum(level["volume"] for level in bids) * 20,
        "totalsellqty": sum(level["volume"] for level in offers) * 20,
        "bids": bids, "ask": offers, "o": shot.open, "h": shot.high, "l": shot.low, "c": shot.prev_close,
        "chp": shot.change_percent, "tick_Size": instrument.tick, "ch": shot.change, "ltq": shot.last_quantity,
        "ltt": int(shot.traded_at + call.skew_s), "ltp": shot.ltp, "v": shot.volume, "atp": shot.average,
        "lower_ckt": circuit(instrument, shot, -1), "upper_ckt": circuit(instrument, shot, 1),
        "expiry": expiry, "oi": interest.now, "oiflag": instrument.expiry is not None, "pdoi": interest.before,
        "oipercent": interest.change_percent,
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
        prices = [round(max(best + step * level, instrument.tick), instrument.decimals) for level in range(5)]
        return [
            {"price": price, "volume": chance.randrange(20, 4_000), "ord": chance.randrange(1, 25)}
            for price in prices
        ]

    return side(bid, -instrument.tick), side(ask, instrument.tick)


def circuit(instrument: Instrument, shot: Snapshot, side: int) -> float:
    """Return the day's price limit on the tick grid; 0 for an index.

    It is ten percent off the previous close, for an option the price that ten percent of its strike would add.
    """
    if instrument.is_index:
        return 0.0
    limit = shot.prev_close + 0.1 * side * (instrument.strike if instrument.is_option else shot.prev_close)
    return round(max(1, round(limit / instrument.tick)) * instrument.tick, instrument.decimals)


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
    currency, commodity = during(CURRENCY_HOURS), during(COMMODITY_HOURS)
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


async def symbol_token(broker: Broker, call: Call) -> Answer:
    """Translate symbols into Fyers' tokens for the data stream; every content type is accepted."""
    body = call.json()
    symbols = body.get("symbols") if isinstance(body, dict) else None
    if not isinstance(symbols, list) or not 0 < len(symbols) <= MOST_SYMBOL_TOKENS:
        return Refusal.DATA_INPUT.answer
    texts = [symbol for symbol in symbols if isinstance(symbol, str)]
    found = {symbol: broker.market.listed(symbol, call.now) for symbol in texts}
    valid = {symbol: instrument.fytoken for symbol, instrument in found.items() if instrument is not None}
    return success(validSymbol=valid, invalidSymbol=[symbol for symbol in texts if symbol not in valid])


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
