"""Reads the bodies of Fyers' answers into domain values.

The input is not trusted: text is never turned into a price, and a missing number is `None` and never 0. An
answer whose outer form is not the documented one raises `Unreadable`. A single bad item is left out alone.

Shapes: Fyers API v3 docs ("Profile", "Quotes", "History", "Market status", "Symbol master").
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from hullwatch.domain.failures import UnknownSymbol
from hullwatch.domain.market.candles import MAX_PRICE, MAX_VOLUME, Arranged, arrange
from hullwatch.domain.market.instruments import DEFAULT_TICK_SIZE, Instrument, Segment, Symbol
from hullwatch.domain.market.quotes import CircuitLimits, Quote, QuoteDefect
from hullwatch.domain.secrets import AccessToken, RefreshToken
from hullwatch.domain.sessions.tokens import MAX_TOKEN_LENGTH, FreshLogin, is_fyers_id

_TOKEN: Final = re.compile(rf"[\x21-\x7e]{{1,{MAX_TOKEN_LENGTH}}}")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,23}")
_LATEST_EPOCH: Final = 4_102_444_800  # 2100-01-01
_EARLIEST_EPOCH: Final = 946_684_800  # 2000-01-01


class Unreadable(Exception):  # noqa: N818 - the client turns it into an `UnreadableReply`
    """The answer is not in the documented form; `shape` describes it in keys and types only."""

    def __init__(self, expected: str, body: object) -> None:
        self.shape = describe_shape(body)
        super().__init__(f"expected {expected}, got {self.shape}")
        self.expected = expected


def describe_shape(value: object, *, depth: int = 3) -> str:
    """Return keys and types of parsed JSON for a log; keys that are not plain words are masked."""
    if isinstance(value, dict):
        if depth == 0:
            return "{…}"
        parts = [
            f"{_shown_key(key)}: {describe_shape(item, depth=depth - 1)}"
            for key, item in list(value.items())[:12]
        ]
        return "{" + ", ".join([*parts, *(["…"] if len(value) > 12 else [])]) + "}"
    if isinstance(value, list):
        if not value or depth == 0:
            return f"[{len(value)}]"
        return f"[{len(value)} of {describe_shape(value[0], depth=depth - 1)}]"
    return type(value).__name__


def _shown_key(key: object) -> str:
    return key if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else "?"


def read_access_token(body: Mapping[str, object]) -> AccessToken:
    """Return the access token of a new session."""
    token = body.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise Unreadable("access_token", body)
    return AccessToken(token)


def read_fresh_login(body: Mapping[str, object]) -> FreshLogin:
    """Return the tokens of an exchanged auth code; an impossible refresh token counts as none."""
    token = body.get("refresh_token")
    is_token = isinstance(token, str) and _TOKEN.fullmatch(token) is not None
    return FreshLogin(read_access_token(body), RefreshToken(str(token)) if is_token else None)


def read_profile_id(body: Mapping[str, object]) -> str:
    """Return the Fyers id; hullwatch does not keep the personal data of a profile."""
    data = body.get("data")
    fyers_id = data.get("fy_id") if isinstance(data, dict) else None
    if not is_fyers_id(fyers_id):
        raise Unreadable("data.fy_id", body)
    return fyers_id


def read_funds(body: Mapping[str, object]) -> None:
    """Check that the answer holds funds; the amounts are not read."""
    if not isinstance(body.get("fund_limit"), list):
        raise Unreadable("fund_limit", body)


def read_market_status(body: Mapping[str, object]) -> None:
    """Check that the answer is a market status of any market."""
    if not isinstance(body.get("marketStatus"), list):
        raise Unreadable("marketStatus", body)


@dataclass(frozen=True, slots=True)
class QuotesRead:
    """Quotes in the order of the answer, and the items that are no quotes."""

    quotes: tuple[Quote, ...]
    defects: tuple[QuoteDefect, ...] = ()


def read_quotes(body: Mapping[str, object], requested: Sequence[Symbol]) -> QuotesRead:
    """Return the quotes for the requested symbols; other symbols are left out.

    An item can hold its own error inside an ok answer. An item with text as a price is a defect as a whole.
    """
    items = body.get("d")
    if not isinstance(items, list):
        raise Unreadable("d", body)
    requested_symbols = {symbol.text: symbol for symbol in requested}
    quotes: dict[str, Quote] = {}
    defects: list[QuoteDefect] = []
    for item in items:
        read = _read_quote(item, requested_symbols)
        if isinstance(read, Quote):
            quotes.setdefault(read.symbol.text, read)
        else:
            defects.append(read)
    if items and not quotes and all(defect.code is None for defect in defects):
        raise Unreadable("quotes in d", body)
    return QuotesRead(tuple(quotes.values()), tuple(defects))


def read_circuit_limits(body: Mapping[str, object], symbol: Symbol) -> CircuitLimits | None:
    """Return the circuit limits in the market depth of a symbol; `None` if its own last price contradicts them."""
    depths = body.get("d")
    values = depths.get(symbol.text) if isinstance(depths, dict) else None
    if not isinstance(values, dict):
        raise Unreadable("the symbol in d", body)
    lower, upper, ltp = (_price(values.get(name)) for name in ("lower_ckt", "upper_ckt", "ltp"))
    if lower is None or upper is None or lower >= upper:
        return None
    limits = CircuitLimits(lower, upper)
    return limits if ltp is None or limits.contain(ltp) else None


def _read_quote(item: object, requested_symbols: Mapping[str, Symbol]) -> Quote | QuoteDefect:
    if not isinstance(item, dict):
        return QuoteDefect(None, "The item is not an object.")
    name, values = item.get("n"), item.get("v")
    symbol = requested_symbols.get(name) if isinstance(name, str) else None
    if symbol is None:
        return QuoteDefect(None, "The item is not about a requested symbol.")
    if not isinstance(values, dict):
        return QuoteDefect(symbol, "The item has no values.")
    if item.get("s") != "ok":
        code = values.get("code")
        is_code = isinstance(code, int) and not isinstance(code, bool)
        return QuoteDefect(symbol, "Fyers gave an error for this symbol.", code if is_code else None)
    last = values.get("lp")
    ltp = _price(last)
    if ltp is None and last is not None and not _is_zero(last):
        return QuoteDefect(symbol, "The last price is not a price.")
    return Quote(
        symbol=symbol,
        ltp=ltp,
        change=_signed(values.get("ch")),
        change_percent=_signed(values.get("chp")),
        open=_price(values.get("open_price")),
        high=_price(values.get("high_price")),
        low=_price(values.get("low_price")),
        previous_close=_price(values.get("prev_close_price")),
        volume=None if symbol.is_index else _count(values.get("volume")),
        bid=_price(values.get("bid")),
        ask=_price(values.get("ask")),
        traded_at=_moment(values.get("tt")),
        # Documented for market depth only; read where a quote has them too.
        lower_limit=_price(values.get("lower_ckt")),
        upper_limit=_price(values.get("upper_ckt")),
    )


def _price(value: object) -> float | None:
    """Return a price in INR; `None` for text, impossible numbers and 0, which Fyers sends for "none yet"."""
    if isinstance(value, float | int) and not isinstance(value, bool) and 0 < value <= MAX_PRICE:
        return float(value)
    return None


def _is_zero(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and value == 0


def _signed(value: object) -> float | None:
    if isinstance(value, float | int) and not isinstance(value, bool) and -MAX_PRICE <= value <= MAX_PRICE:
        return float(value)
    return None


def _count(value: object) -> int | None:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_VOLUME:
        return value
    return None


def _moment(value: object) -> datetime | None:
    """Return epoch seconds as a moment; Fyers' docs write them as text."""
    if isinstance(value, str) and len(value) <= 12 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and _EARLIEST_EPOCH <= value < _LATEST_EPOCH:
        return datetime.fromtimestamp(value, UTC)
    return None


def read_history(body: Mapping[str, object], *, start: datetime, end: datetime) -> Arranged:
    """Return the candles that open in [start, end], in order, and counts of the rows that were left out.

    ``no_data`` is a valid answer without candles.
    """
    rows = body.get("candles")
    if not isinstance(rows, list):
        if body.get("s") == "no_data":
            return Arranged(())
        raise Unreadable("candles", body)
    arranged = arrange(rows)
    if rows and not arranged.candles:
        raise Unreadable("rows of candles", body)
    within = tuple(candle for candle in arranged.candles if start <= candle.opened_at <= end)
    return arranged if len(within) == len(arranged.candles) else replace(arranged, candles=within)


MASTER_COLUMNS: Final = 21
_EXCHANGES: Final = {"10": "NSE", "12": "BSE"}
_LONGEST_LINE: Final = 4096
_LONGEST_DESCRIPTION: Final = 160
_LARGEST_LOT: Final = 10_000_000
_LARGEST_TICK: Final = Decimal(1000)


@dataclass(frozen=True, slots=True)
class MasterRead:
    """The instruments of one symbol master, each symbol once, and how many rows could not be used."""

    instruments: tuple[Instrument, ...]
    bad_rows: int


def read_symbol_master(body: bytes) -> MasterRead:
    """Read a cash market's symbol master: CSV of 21 columns without a header.

    A whole market takes a good part of a second, so call it in a thread.
    """
    instruments: dict[str, Instrument] = {}
    bad_rows = 0
    for row in _csv_rows(body):
        read = _read_instrument(row) if row is not None else None
        if read is None:
            bad_rows += 1
        else:
            instruments.setdefault(read.symbol.text, read)
    if not instruments or bad_rows >= len(instruments):
        raise Unreadable(f"a symbol master ({bad_rows} bad rows)", None)
    return MasterRead(tuple(instruments.values()), bad_rows)


def _csv_rows(body: bytes) -> Iterator[list[str] | None]:
    """Yield a row for each line, `None` for a bad one; an open quotation mark spoils one line alone."""
    for line in body.splitlines():
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8")
            yield next(csv.reader([text], strict=True)) if len(line) <= _LONGEST_LINE else None
        except (UnicodeDecodeError, csv.Error):
            yield None


def _read_instrument(row: list[str]) -> Instrument | None:
    """Read the columns fytoken, description, lot (3), tick, ISIN, session, ticker (9), exchange, segment."""
    if len(row) != MASTER_COLUMNS:
        return None
    fytoken, exchange = row[0].strip(), _EXCHANGES.get(row[10].strip())
    if exchange is None or row[11].strip() != "10" or not (fytoken.isascii() and fytoken.isdigit()):
        return None
    try:
        symbol = Symbol(row[9].strip())
    except UnknownSymbol:
        return None
    lot_size, tick_size = _lot(row[3]), _tick(row[4])
    if symbol.is_index:  # an index is not traded, so a 0 in these columns is no defect
        lot_size, tick_size = lot_size or 1, tick_size or DEFAULT_TICK_SIZE
    if lot_size is None or tick_size is None or symbol.exchange != exchange:
        return None
    isin, session = row[5].strip(), row[6].strip()
    return Instrument(
        symbol=symbol,
        fytoken=fytoken[:32],
        description=_plain(row[1])[:_LONGEST_DESCRIPTION],
        exchange=exchange,
        segment=Segment.CASH,
        lot_size=lot_size,
        tick_size=tick_size,
        isin=isin if len(isin) == 12 and isin.isascii() and isin.isalnum() else None,
        trading_session=session if len(session) <= 64 and session.isprintable() else "",
    )


def _plain(text: str) -> str:
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def _lot(text: str) -> int | None:
    text = text.strip()
    if not (len(text) <= 9 and text.isascii() and text.isdigit()):
        return None
    return int(text) if 1 <= int(text) <= _LARGEST_LOT else None


def _tick(text: str) -> Decimal | None:
    try:
        size = Decimal(text.strip()) if len(text) <= 24 else Decimal(-1)
    except InvalidOperation:
        return None
    return size if size.is_finite() and 0 < size <= _LARGEST_TICK else None
