"""The instruments of the simulated exchange, with names, tokens and ticks."""

import re
import zlib
from dataclasses import dataclass
from typing import NamedTuple

_INDEX_NAMES = {
    "NIFTY50": ("NIFTY50", "Nifty 50", 26000),
    "NIFTY": ("NIFTY50", "Nifty 50", 26000),
    "NIFTYBANK": ("NIFTYBANK", "Nifty Bank", 26009),
    "BANKNIFTY": ("NIFTYBANK", "Nifty Bank", 26009),
    "FINNIFTY": ("FINNIFTY", "Nifty Fin Service", 26037),
    "INDIAVIX": ("INDIAVIX", "India VIX", 26017),
}
_SYMBOL = re.compile(r"[A-Z]{2,4}:[A-Z0-9&._-]{1,40}")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One listed instrument.

    Args:
        symbol: Fyers' symbol, as `NSE:SBIN-EQ`.
        name: The exchange's short name, as `SBIN`.
        description: The long name; for an index the spelling of the data stream's topics.
        token: The exchange's number for it.
        isin: ISIN, empty for an index.
        tick: Smallest price step, INR.
    """

    symbol: str
    name: str
    description: str
    token: int
    isin: str
    tick: float

    @property
    def is_index(self) -> bool:
        """Whether it is an index: no volume, no depth, no bid or ask."""
        return self.symbol.endswith("-INDEX")

    @property
    def fytoken(self) -> str:
        """Fyers' token: exchange 10 (NSE), segment 10 (cash), no expiry, exchange token."""
        return f"1010000000{self.token}"


class Character(NamedTuple):
    """A synthetic instrument's usual price in INR, daily volatility and daily volume in shares."""

    price: float
    volatility: float
    volume: int


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
_INDEX_CHARACTERS = {"NIFTY50": Character(25_900.0, 0.008, 0), "NIFTYBANK": Character(58_800.0, 0.009, 0)}
SYNTHETIC_TICK = 0.05


def instrument_named(name: str, tick: float) -> Instrument:
    """Return the instrument of a name such as `SBIN` or `NIFTY50`; an unlisted name gets its own token."""
    if name in _INDEX_NAMES:
        short, description, token = _INDEX_NAMES[name]
        return Instrument(f"NSE:{short}-INDEX", short, description, token, "", tick)
    if name in _LISTED:
        description, token, isin, _ = _LISTED[name]
    else:
        checksum = zlib.crc32(name.encode())
        description, token, isin = name, 50_000 + checksum % 40_000, f"INE{checksum % 1_000_000:06d}012"
    return Instrument(f"NSE:{name}-EQ", name, description, token, isin, tick)


def synthetic_listing() -> dict[str, tuple[Instrument, Character]]:
    """Return what the synthetic market lists, by symbol."""
    characters = {name: entry[3] for name, entry in _LISTED.items()} | _INDEX_CHARACTERS
    listing = {}
    for name, character in characters.items():
        instrument = instrument_named(name, SYNTHETIC_TICK)
        listing[instrument.symbol] = (instrument, character)
    return listing


def is_symbol_shaped(text: str) -> bool:
    """Return whether text has the form `EXCHANGE:NAME`, listed or not."""
    return _SYMBOL.fullmatch(text) is not None
