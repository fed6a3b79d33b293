"""Guesses Fyers' symbol from other spellings: those of other brokers and charts, and common mistakes."""

import difflib
import re
from collections.abc import Iterable
from typing import Final

_INDICES: Final = {
    "NIFTY": "NSE:NIFTY50-INDEX",
    "NIFTY50": "NSE:NIFTY50-INDEX",
    "BANKNIFTY": "NSE:NIFTYBANK-INDEX",
    "NIFTYBANK": "NSE:NIFTYBANK-INDEX",
    "FINNIFTY": "NSE:FINNIFTY-INDEX",
    "MIDCPNIFTY": "NSE:MIDCPNIFTY-INDEX",
    "INDIAVIX": "NSE:INDIAVIX-INDEX",
    "SENSEX": "BSE:SENSEX-INDEX",
    "BANKEX": "BSE:BANKEX-INDEX",
}
"""Names of indices without spaces → Fyers' symbol (Fyers API v3 docs, "Symbology format")."""
_EXCHANGES: Final = {
    "NSE": "NSE",
    "NSE_EQ": "NSE",
    "NSE_INDEX": "NSE",
    "NSE_FO": "NSE",
    "NFO": "NSE",
    "CDS": "NSE",
    "BSE": "BSE",
    "BSE_EQ": "BSE",
    "BSE_INDEX": "BSE",
    "BFO": "BSE",
    "BCD": "BSE",
    "MCX": "MCX",
}
"""Names of segments at other brokers (Kite, Upstox, Shoonya, OpenAlgo) → Fyers' exchange."""
_CONTRACT: Final = re.compile(r"[A-Z0-9&._-]+\d\d[A-Z0-9.]+(?:FUT|CE|PE)")
_NAME: Final = re.compile(r"[A-Z0-9][A-Z0-9&._-]{0,39}")
_CLOSE_ENOUGH: Final = 0.8


def guess_symbol(text: str) -> str | None:
    """Return the symbol in Fyers' form that was probably meant, or `None`; it need not be listed."""
    exchange, name = _parts(text.strip().upper())
    name = name.replace(" ", "")
    if exchange is None or not _NAME.fullmatch(name):
        return None
    base, dash, series = name.rpartition("-")
    index = _INDICES.get(base if dash and series in {"EQ", "INDEX", "I"} else name)
    if index is not None:
        return index
    if exchange == "MCX" or _CONTRACT.fullmatch(name) or (dash and series.isalnum()):
        return f"{exchange}:{name}"
    return f"{exchange}:{name}-EQ" if exchange == "NSE" else None


def _parts(text: str) -> tuple[str | None, str]:
    """Split an exchange from a name; a name without one is of NSE."""
    for suffix, exchange in ((".NS", "NSE"), (".BO", "BSE")):  # Yahoo Finance
        if text.endswith(suffix) and ":" not in text:
            return exchange, text.removesuffix(suffix)
    separator = next((one for one in ":|" if one in text), None)
    if separator is None:
        return "NSE", text.removeprefix("^")
    prefix, _, name = text.partition(separator)
    return _EXCHANGES.get(prefix.strip()), name.strip()


def closest(text: str, listed: Iterable[str]) -> str | None:
    """Return the listed symbol that resembles an unlisted one most: the same name in another series, else a misspelling."""
    exchange, _, name = text.partition(":")
    base = name.rpartition("-")[0] or name
    candidates: dict[str, str] = {}
    for symbol in listed:
        other_exchange, _, other = symbol.partition(":")
        other_base = other.rpartition("-")[0] or other
        if symbol == text or other_base[:2] != base[:2]:
            continue
        if other_exchange == exchange or other_base == base:
            candidates.setdefault(other_base, symbol)
    if base in candidates:
        return candidates[base]
    found = difflib.get_close_matches(base, candidates, n=1, cutoff=_CLOSE_ENOUGH)
    return candidates[found[0]] if found else None
