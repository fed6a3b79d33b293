"""Symbols in Fyers' spelling, resolutions, and the instruments of the symbol masters.

A `Symbol` or `Resolution` is always well formed; whether such an instrument is listed only the symbol master
shows.
"""

import heapq
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from hullwatch.domain.failures import InvalidInput, UnknownSymbol
from hullwatch.domain.market.spelling import guess_symbol

MAX_SYMBOL_LENGTH: Final = 64
"""Characters; the longest ticker in Fyers' symbol masters has fewer than 40."""

_WORD: Final = r"[A-Z0-9](?:[A-Z0-9&._-]*[A-Z0-9])?"
# Fyers API v3 docs, "Symbology format": equities and indices end in a dash and their series. Contracts have no series:
# underlying, two digits of the year, the rest of the expiry, then FUT, or a strike (with decimals) and CE or PE.
_SERIES_FORM: Final = re.compile(rf"(?:NSE|BSE|MCX):{_WORD}-[A-Z0-9]{{1,12}}")
_FUTURE_FORM: Final = re.compile(r"(?:NSE|BSE|MCX):[A-Z0-9][A-Z0-9&._-]*\d\d(?:[A-Z]{3}|[1-9OND]\d\d)FUT")
_OPTION_FORM: Final = re.compile(
    r"(?:NSE|BSE|MCX):[A-Z0-9][A-Z0-9&._-]*\d\d(?:[A-Z]{3}|[1-9OND]\d\d)\d+(?:\.\d+)?(?:CE|PE)"
)
_FORMS: Final = (_SERIES_FORM, _FUTURE_FORM, _OPTION_FORM)
# The currency pairs of NSE and BSE contracts; all their other contracts are equity derivatives.
_CURRENCY_FORM: Final = re.compile(
    r"(?:NSE|BSE):(?:USDINR|EURINR|GBPINR|JPYINR|EURUSD|GBPUSD|USDJPY)\d\d[A-Z0-9.]+"
)


class Segment(StrEnum):
    """The part of an exchange that an instrument trades in."""

    CASH = "cash"
    EQUITY_DERIVATIVES = "equity_derivatives"
    CURRENCY = "currency"
    COMMODITY = "commodity"


@dataclass(frozen=True, slots=True, order=True)
class Symbol:
    """Fyers' name for one instrument, such as ``NSE:SBIN-EQ``.

    Raises:
        UnknownSymbol: the text is in none of Fyers' forms. It is not trimmed or capitalised, because one
            instrument in two spellings would be watched twice.
    """

    text: str

    def __post_init__(self) -> None:
        problem = _problem_with(self.text)
        if problem is not None:
            raise UnknownSymbol(problem, field="symbol")

    @classmethod
    def parse(cls, text: object) -> "Symbol":
        """Read a symbol from any JSON value; raises `UnknownSymbol` with a sentence for the user."""
        if not isinstance(text, str):
            raise UnknownSymbol("A symbol must be text like NSE:SBIN-EQ.", field="symbol")
        return cls(text)

    @property
    def exchange(self) -> str:
        """``NSE``, ``BSE`` or ``MCX``."""
        return self.text.partition(":")[0]

    @property
    def name(self) -> str:
        """The part after the exchange: ``SBIN-EQ``."""
        return self.text.partition(":")[2]

    @property
    def is_index(self) -> bool:
        """Whether this is an index, which has no depth and no volume."""
        return self.text.endswith("-INDEX")

    @property
    def is_option(self) -> bool:
        """Whether this is an option, whose price can double within a day."""
        return _OPTION_FORM.fullmatch(self.text) is not None

    @property
    def segment(self) -> Segment:
        """The segment it trades in, derived from its form."""
        if self.exchange == "MCX":
            return Segment.COMMODITY
        # Contracts first: BAJAJ-AUTO26NOVFUT matches the form of a series too.
        if not (_FUTURE_FORM.fullmatch(self.text) or _OPTION_FORM.fullmatch(self.text)):
            return Segment.CASH
        return Segment.CURRENCY if _CURRENCY_FORM.fullmatch(self.text) else Segment.EQUITY_DERIVATIVES

    def __str__(self) -> str:
        return self.text


def _problem_with(text: str) -> str | None:
    """Return a sentence that explains why `text` is no symbol, or `None` if it is one."""
    if not text:
        return "The symbol is empty. Enter one like NSE:SBIN-EQ."
    if len(text) > MAX_SYMBOL_LENGTH:
        return f"The symbol is longer than {MAX_SYMBOL_LENGTH} characters. Enter one like NSE:SBIN-EQ."
    if any(form.fullmatch(text) for form in _FORMS):
        return None
    if not (text.isascii() and text.isprintable()):
        return "The symbol contains characters that no symbol has. Enter one like NSE:SBIN-EQ."
    guess = guess_symbol(text)
    is_form = guess is not None and any(form.fullmatch(guess) for form in _FORMS)
    advice = f"Did you mean {guess}?" if is_form else "Enter one like NSE:SBIN-EQ."
    return f"{_spelling_problem(text)} {advice}"


def _spelling_problem(text: str) -> str:
    """Return what is wrong with printable text that has none of the forms."""
    exchange, colon, name = text.partition(":")
    if text != text.strip() or " " in text:
        return "The symbol contains spaces."
    if not colon:
        return f"{text!r} has no exchange."
    if any(form.fullmatch(text.upper()) for form in _FORMS):
        return f"{text!r} is not in capitals."
    if exchange not in {"NSE", "BSE", "MCX"}:
        return f"{text!r} is not on NSE, BSE or MCX. Fyers serves only these exchanges."
    if re.fullmatch(_WORD, name):
        return f"{text!r} has no series and is no future or option."
    return f"{text!r} is not a symbol."


WATCHED_MINUTES: Final = (1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 120, 180, 240)
"""Minute resolutions of Fyers' history (API v3 docs, "History", with 45 and 180 from its limits text)."""

_LENGTHS: Final = {str(minutes): timedelta(minutes=minutes) for minutes in WATCHED_MINUTES} | {
    "1D": timedelta(days=1)
}
_KNOWN_UNWATCHED: Final = frozenset({"5S", "10S", "15S", "30S", "45S", "1W", "1M", "W", "M"})


@dataclass(frozen=True, slots=True)
class Resolution:
    """The length of a candle in Fyers' terms: minutes as ``1`` to ``240``, or ``1D``.

    Raises:
        InvalidInput: the code is unknown, or known to Fyers but not watched (seconds, weeks, months).
    """

    code: str

    def __post_init__(self) -> None:
        if self.code in _LENGTHS:
            return
        if self.code in _KNOWN_UNWATCHED:
            raise InvalidInput(
                f"Resolution {self.code} cannot be watched. Use minutes ({_spelled()}) or 1D.",
                field="resolution",
            )
        raise InvalidInput(f"The resolution must be one of {_spelled()} or 1D.", field="resolution")

    @classmethod
    def parse(cls, text: object) -> "Resolution":
        """Read a resolution from any JSON value; ``D``, Fyers' other spelling of a day, becomes ``1D``."""
        if not isinstance(text, str):
            raise InvalidInput(f"The resolution must be one of {_spelled()} or 1D.", field="resolution")
        return cls("1D" if text == "D" else text)

    @property
    def length(self) -> timedelta:
        """Length of a candle that the market close does not shorten."""
        return _LENGTHS[self.code]

    @property
    def is_intraday(self) -> bool:
        """Whether candles are shorter than a day."""
        return self.code != "1D"

    def __str__(self) -> str:
        return self.code


def _spelled() -> str:
    return ", ".join(str(minutes) for minutes in WATCHED_MINUTES)


RESOLUTIONS: Final = tuple(Resolution(code) for code in _LENGTHS)
"""Every resolution that can be watched, shortest first."""


DEFAULT_TICK_SIZE: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One row of a symbol master."""

    symbol: Symbol
    fytoken: str
    """Exchange, segment, expiry and exchange token in one string of digits, e.g. ``10100000003045``."""
    description: str
    exchange: str
    segment: Segment
    lot_size: int = 1
    tick_size: Decimal = DEFAULT_TICK_SIZE
    """Smallest price step in INR."""
    isin: str | None = None
    trading_session: str = ""
    """As the master writes it, IST: ``0915-1530|1815-1915:``."""
    underlying: str | None = None
    expires_at: datetime | None = None
    """Aware, UTC; `None` for cash and indices."""

    @property
    def is_index(self) -> bool:
        """Whether this is an index, which has no depth and no volume."""
        return self.symbol.is_index

    def search_rank(self, query: str) -> tuple[int, int, int, int, str] | None:
        """Return how well `query`, in capitals, matches; smaller is better and `None` means no match.

        The order is: symbol or ISIN; name without its series; start of the name; start of a word of the
        description; part of the name; part of the description. Cash comes before derivatives, NSE before BSE,
        and short names before long ones.
        """
        text, described = self.symbol.text, self.description.upper()
        if not query or not (query in text or query in described or query == self.isin):
            return None
        name = self.symbol.name
        if query in {text, name, self.isin}:
            fit = 0
        elif name.rpartition("-")[0] == query:
            fit = 1
        elif name.startswith(query) or text.startswith(query):
            fit = 2
        elif described.startswith(query) or f" {query}" in described:
            fit = 3
        elif query in name:
            fit = 4
        else:
            fit = 5
        is_elsewhere = not text.startswith("NSE:")
        return fit, int(self.segment is not Segment.CASH), int(is_elsewhere), len(text), text


def search_instruments(instruments: Iterable[Instrument], query: str, limit: int = 20) -> list[Instrument]:
    """Return at most `limit` instruments that match `query`, best first; case is ignored.

    It takes about a tenth of a second for the 100,000 rows of all masters.
    """
    query = query.strip().upper()[:MAX_SYMBOL_LENGTH]
    ranked = ((rank, item) for item in instruments if (rank := item.search_rank(query)) is not None)
    return [item for _, item in heapq.nsmallest(limit, ranked, key=lambda pair: pair[0])]
