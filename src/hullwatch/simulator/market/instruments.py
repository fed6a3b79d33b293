"""The instruments of the simulated exchanges, with names, tokens, lots and ticks; `contracts` has the derivatives."""

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

from hullwatch.simulator.market.calendar import to_date


class Segment(NamedTuple):
    """One market of one exchange: the stem of its symbol master, Fyers' codes, its name in stream topics."""

    stem: str
    exchange: str
    exchange_code: int
    code: int
    feed: str

    @property
    def is_cash(self) -> bool:
        """Whether it is a market of shares and indices."""
        return self.code == 10


NSE_CASH = Segment("NSE_CM", "NSE", 10, 10, "nse_cm")
NSE_DERIVATIVES = Segment("NSE_FO", "NSE", 10, 11, "nse_fo")
NSE_CURRENCY = Segment("NSE_CD", "NSE", 10, 12, "cde_fo")
NSE_COMMODITY = Segment("NSE_COM", "NSE", 10, 20, "nse_com")
BSE_CASH = Segment("BSE_CM", "BSE", 12, 10, "bse_cm")
BSE_DERIVATIVES = Segment("BSE_FO", "BSE", 12, 11, "bse_fo")
MCX_COMMODITY = Segment("MCX_COM", "MCX", 11, 20, "mcx_fo")
SEGMENTS = (
    NSE_CASH, NSE_DERIVATIVES, NSE_CURRENCY, NSE_COMMODITY, BSE_CASH, BSE_DERIVATIVES, MCX_COMMODITY
)  # fmt: skip


class Kind(IntEnum):
    """Fyers' exchange instrument types that are used here."""

    EQUITY = 0
    INDEX = 10
    INDEX_FUTURE = 11
    STOCK_FUTURE = 13
    INDEX_OPTION = 14
    STOCK_OPTION = 15
    CURRENCY_FUTURE = 16
    COMMODITY_FUTURE = 30


_INDICES = {
    "NIFTY50": ("NIFTY", "Nifty 50", 26000, NSE_CASH),
    "NIFTY": ("NIFTY", "Nifty 50", 26000, NSE_CASH),
    "NIFTYBANK": ("BANKNIFTY", "Nifty Bank", 26009, NSE_CASH),
    "BANKNIFTY": ("BANKNIFTY", "Nifty Bank", 26009, NSE_CASH),
    "FINNIFTY": ("FINNIFTY", "Nifty Fin Service", 26037, NSE_CASH),
    "INDIAVIX": ("INDIAVIX", "India VIX", 26017, NSE_CASH),
    "SENSEX": ("SENSEX", "SENSEX", 1, BSE_CASH),
}
_TICKERS = {"NIFTY": "NIFTY50", "BANKNIFTY": "NIFTYBANK"}
_SYMBOL = re.compile(r"[A-Z]{2,4}:[A-Z0-9&._-]{1,40}")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One listed instrument.

    Args:
        symbol: Fyers' symbol, as `NSE:SBIN-EQ`.
        name: The exchange's short name, as `SBIN`; of a contract that of its underlying.
        description: The long name.
        token: The exchange's number for it, unique in its segment.
        isin: ISIN, empty for an index and for a contract.
        tick: Smallest price step, INR.
        topic: Its key in the data stream's topics; the token, except for an index.
        expiry: Day of the expiry of a contract, as a day number.
        underlying: Symbol of what a contract is made of.
    """

    symbol: str
    name: str
    description: str
    token: int
    isin: str
    tick: float
    segment: Segment = NSE_CASH
    kind: Kind = Kind.EQUITY
    lot: int = 1
    topic: str = ""
    expiry: int | None = None
    strike: float = -1.0
    option_type: str = "XX"
    underlying: str = ""
    underlying_token: int = 0

    @property
    def is_index(self) -> bool:
        """Whether it is an index: no volume, no depth, no bid or ask."""
        return self.kind == Kind.INDEX and self.segment.is_cash

    @property
    def is_option(self) -> bool:
        """Whether it is a call or a put."""
        return self.option_type != "XX"

    @property
    def is_future(self) -> bool:
        """Whether it is a future."""
        return self.expiry is not None and not self.is_option

    @property
    def decimals(self) -> int:
        """Digits after the point in its prices."""
        return 4 if self.tick < 0.01 else 2

    @property
    def key(self) -> str:
        """The key of its topics in the data stream."""
        return self.topic or str(self.token)

    @property
    def fytoken(self) -> str:
        """Fyers' token: exchange, segment, expiry as YYMMDD, exchange token."""
        expiry = "000000" if self.expiry is None else to_date(self.expiry).strftime("%y%m%d")
        return f"{self.segment.exchange_code}{self.segment.code}{expiry}{self.token}"


class Character(NamedTuple):
    """A synthetic instrument's usual price in INR, daily volatility and daily volume in shares.

    `market_share` is the part of its daily changes that it has in common with the whole market; `hours` are its
    trading hours in seconds of the day, where they are not those of shares.
    """

    price: float
    volatility: float
    volume: int
    market_share: float = 0.6
    hours: tuple[int, int] | None = None


_LISTED: dict[str, tuple[str, int, str, Character]] = {
    "ADANIENT": ("ADANI ENTERPRISES LIMITED", 25, "INE423A01024", Character(2850.0, 0.018, 2_100_000)),
    "ASIANPAINT": ("ASIAN PAINTS LIMITED", 236, "INE021A01026", Character(2450.0, 0.013, 1_300_000)),
    "AXISBANK": ("AXIS BANK LIMITED", 5900, "INE238A01034", Character(1180.0, 0.014, 8_000_000)),
    "BAJFINANCE": ("BAJAJ FINANCE LIMITED", 317, "INE296A01032", Character(940.0, 0.016, 7_500_000)),
    "BHARTIARTL": ("BHARTI AIRTEL LIMITED", 10604, "INE397D01024", Character(1890.0, 0.012, 8_000_000)),
    "HDFCBANK": ("HDFC BANK LTD", 1333, "INE040A01034", Character(960.0, 0.011, 18_000_000)),
    "HINDUNILVR": ("HINDUSTAN UNILEVER LTD.", 1394, "INE030A01027", Character(2380.0, 0.011, 1_600_000)),
    "ICICIBANK": ("ICICI BANK LTD.", 4963, "INE090A01021", Character(1345.0, 0.012, 12_000_000)),
    "INFY": ("INFOSYS LIMITED", 1594, "INE009A01021", Character(1480.0, 0.015, 7_000_000)),
    "ITC": ("ITC LTD", 1660, "INE154A01025", Character(402.0, 0.010, 14_000_000)),
    "KOTAKBANK": ("KOTAK MAHINDRA BANK LTD", 1922, "INE237A01036", Character(2080.0, 0.013, 3_500_000)),
    "LT": ("LARSEN & TOUBRO LTD.", 11483, "INE018A01030", Character(3900.0, 0.013, 1_900_000)),
    "M&M": ("MAHINDRA & MAHINDRA LTD", 2031, "INE101A01026", Character(3550.0, 0.016, 2_200_000)),
    "MARUTI": ("MARUTI SUZUKI INDIA LTD.", 10999, "INE585B01010", Character(15500.0, 0.014, 450_000)),
    "RAYMOND": ("RAYMOND LIMITED", 2859, "INE301A01014", Character(610.0, 0.02, 900_000)),
    "RELIANCE": ("RELIANCE INDUSTRIES LTD", 2885, "INE002A01018", Character(1490.0, 0.013, 11_000_000)),
    "SBIN": ("STATE BANK OF INDIA", 3045, "INE062A01020", Character(970.0, 0.013, 11_000_000)),
    "SUNPHARMA": ("SUN PHARMACEUTICAL IND L", 3351, "INE044A01036", Character(1740.0, 0.013, 2_300_000)),
    "TATASTEEL": ("TATA STEEL LIMITED", 3499, "INE081A01020", Character(178.0, 0.017, 25_000_000)),
    "TCS": ("TATA CONSULTANCY SERV LT", 11536, "INE467B01029", Character(3080.0, 0.013, 2_700_000)),
    "WIPRO": ("WIPRO LTD", 3787, "INE075A01022", Character(245.0, 0.015, 9_000_000)),
}
_INDEX_CHARACTERS = {
    "NIFTY50": Character(25_900.0, 0.008, 0),
    "NIFTYBANK": Character(58_800.0, 0.009, 0),
    "SENSEX": Character(84_500.0, 0.008, 0),
    "INDIAVIX": Character(14.2, 0.03, 0, -0.6),
}
SYNTHETIC_TICK = 0.05
# BSE's scrip codes. A share has the prices of NSE there, because arbitrage keeps them together.
_BSE_TOKENS = {"HDFCBANK": 500180, "INFY": 500209, "RELIANCE": 500325, "SBIN": 500112, "TCS": 532540}


def instrument_named(name: str, tick: float) -> Instrument:
    """Return the instrument of a name such as `SBIN` or `NIFTY50`; an unlisted name gets its own token."""
    if name in _INDICES:
        short, topic, token, segment = _INDICES[name]
        ticker = f"{_TICKERS.get(short, short)}-INDEX"
        return Instrument(
            f"{segment.exchange}:{ticker}", short, ticker, token, "", tick, segment, Kind.INDEX, lot=0, topic=topic
        )  # fmt: skip
    if name in _LISTED:
        description, token, isin, _ = _LISTED[name]
        return Instrument(f"NSE:{name}-EQ", name, description, token, isin, tick)
    return _unlisted(
        Instrument(f"NSE:{name}-EQ", name, name, 0, "", tick), 50_000 + zlib.crc32(name.encode()) % 40_000
    )


def _unlisted(instrument: Instrument, token: int) -> Instrument:
    return replace(instrument, token=token, isin=f"INE{token:06d}012")


def with_unique_tokens(instruments: Iterable[Instrument]) -> list[Instrument]:
    """Give the next free token to each made-up one that another instrument has already."""
    used: set[int] = {entry[1] for entry in _LISTED.values()}
    unique: list[Instrument] = []
    for instrument in sorted(instruments, key=lambda one: one.symbol):
        is_listed = instrument.is_index or instrument.name in _LISTED
        token = instrument.token
        while token in used and not is_listed:
            token += 1
        used.add(token)
        unique.append(instrument if token == instrument.token else _unlisted(instrument, token))
    return unique


def synthetic_listing() -> dict[str, tuple[Instrument, Character]]:
    """Return what the synthetic market lists in the cash markets, by symbol."""
    characters = {name: entry[3] for name, entry in _LISTED.items()} | _INDEX_CHARACTERS
    listing = {}
    for name, character in characters.items():
        instrument = instrument_named(name, 0.01 if name == "INDIAVIX" else SYNTHETIC_TICK)
        listing[instrument.symbol] = (instrument, character)
    return listing


def bse_twin(instrument: Instrument) -> Instrument | None:
    """Return the same share at BSE, `None` if it is not listed there."""
    token = _BSE_TOKENS.get(instrument.name)
    if token is None or instrument.segment != NSE_CASH:
        return None
    return replace(
        instrument,
        symbol=f"BSE:{instrument.name}-A",
        token=token,
        segment=BSE_CASH,
        underlying=instrument.symbol,
    )


def listed_shares() -> dict[str, Character]:
    """Return the shares that have derivatives, by name."""
    return {name: entry[3] for name, entry in _LISTED.items() if name != "RAYMOND"}


def is_symbol_shaped(text: str) -> bool:
    """Return whether text has the form `EXCHANGE:NAME`, listed or not."""
    return _SYMBOL.fullmatch(text) is not None
