"""Tests symbols, resolutions and the symbol search."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.failures import InvalidInput, UnknownSymbol
from hullwatch.domain.market.instruments import (
    RESOLUTIONS,
    Instrument,
    Resolution,
    Segment,
    Symbol,
    search_instruments,
)

FORMS = """
    NSE:SBIN-EQ NSE:MODIRUBBER-BE BSE:SBIN-A NSE:M&M-EQ NSE:BAJAJ-AUTO-EQ BSE:3MINDIA-A NSE:J&KBANK-EQ
    NSE:NIFTY50-INDEX NSE:NIFTYBANK-INDEX NSE:FINNIFTY-INDEX NSE:INDIAVIX-INDEX BSE:SENSEX-INDEX
    NSE:NIFTY20OCTFUT MCX:CRUDEOIL20OCTFUT BSE:SENSEX23AUGFUT NSE:USDINR20OCTFUT NSE:M&M26NOVFUT
    NSE:NIFTY20OCT11000CE NSE:GBPINR20NOV80.5PE NSE:NIFTY2010811000CE NSE:NIFTY20D1025000CE MCX:GOLD26DEC125000PE
""".split()  # noqa: SIM905 - a table reads better without sixty quotes
HOSTILE = [
    "",
    " ",
    "SBIN",
    "NSE:",
    ":SBIN-EQ",
    "NSE:SBIN",
    "NSE:-EQ",
    "NSE:SBIN-",
    "NSE::SBIN-EQ",
    "nse:sbin-eq",
    " NSE:SBIN-EQ",
    "NSE:SBIN-EQ ",
    "NSE:SBIN-EQ\n",
    "NSE:SBIN-EQ,NSE:TCS-EQ",
    "NSE:SBIN-EQ\x00",
    "NASDAQ:AAPL-EQ",
    "NSE:\uff33BIN-EQ",
    "NSE:SB\u0130N-EQ",
    "NSE:NIFTY20OCT11000",
    "NSE:NIFTY20OCTCE",
    "NSE:../../etc/passwd-EQ",
    "NSE:<script>-EQ",
    "NSE:SBIN'--",
    "%4eSE:SBIN-EQ",
    "NSE:" + "A" * 10_000 + "-EQ",
    "A" * 1_000_000,
    "NSE:" + "1" * 59 + "!",
]


@pytest.mark.parametrize("text", FORMS)
def test_every_form_of_the_documents_round_trips(text):
    """Each form in Fyers' symbology is read and written unchanged."""
    symbol = Symbol.parse(text)

    assert str(symbol) == symbol.text == text
    assert f"{symbol.exchange}:{symbol.name}" == text
    assert symbol == Symbol(text)
    assert hash(symbol) == hash(Symbol(text))


@pytest.mark.parametrize(
    ("text", "segment"),
    [
        ("NSE:SBIN-EQ", Segment.CASH),
        ("BSE:3MINDIA-A", Segment.CASH),
        ("NSE:NIFTY50-INDEX", Segment.CASH),
        ("NSE:BAJAJ-AUTO-EQ", Segment.CASH),
        ("NSE:BAJAJ-AUTO26NOVFUT", Segment.EQUITY_DERIVATIVES),
        ("NSE:M&M26NOVFUT", Segment.EQUITY_DERIVATIVES),
        ("BSE:SENSEX23AUGFUT", Segment.EQUITY_DERIVATIVES),
        ("NSE:NIFTY20D1025000CE", Segment.EQUITY_DERIVATIVES),
        ("NSE:USDINR20OCTFUT", Segment.CURRENCY),
        ("NSE:GBPINR20NOV80.5PE", Segment.CURRENCY),
        ("MCX:CRUDEOIL20OCTFUT", Segment.COMMODITY),
    ],
)
def test_a_symbols_form_gives_its_segment(text, segment):
    """Shares and indices are cash. Contracts are derivatives, currencies or commodities (MCX)."""
    assert Symbol(text).segment is segment


@pytest.mark.parametrize("text", FORMS)
def test_every_form_has_a_segment(text):
    """Every future and option is outside the cash market."""
    is_contract = text.endswith(("FUT", "CE", "PE"))

    assert (Symbol(text).segment is not Segment.CASH) == is_contract


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
def test_malformed_symbols_are_refused_with_a_short_text(text):
    """Nothing is trimmed, capitalised or guessed, and the text is printable for any input."""
    with pytest.raises(UnknownSymbol) as refusal:
        Symbol.parse(text)

    sentence = str(refusal.value)
    assert sentence.endswith((".", "?"))
    assert len(sentence) < 220
    assert sentence.isprintable()
    assert refusal.value.field == "symbol"


@pytest.mark.parametrize("value", [None, 5, 5.0, b"NSE:SBIN-EQ", ["NSE:SBIN-EQ"], {}, True])
def test_a_value_that_is_not_text_is_refused(value):
    """Any other JSON value is refused like a wrong symbol."""
    with pytest.raises(UnknownSymbol):
        Symbol.parse(value)


@given(st.text(max_size=80))
def test_any_text_is_a_symbol_or_refused(text):
    """It round-trips or raises the one refusal."""
    try:
        symbol = Symbol.parse(text)
    except UnknownSymbol:
        return
    assert str(symbol) == text


@given(st.from_regex(r"(NSE|BSE|MCX):[A-Z0-9]([A-Z0-9&]{0,20}[A-Z0-9])?-(EQ|BE|INDEX|A)", fullmatch=True))
def test_symbols_round_trip(text):
    """Every well-formed equity or index keeps its spelling."""
    assert str(Symbol.parse(text)) == text


def test_refusals_suggest_the_likely_spelling():
    """The cases are a missing series and lower case."""
    with pytest.raises(UnknownSymbol, match=r"Did you mean NSE:SBIN-EQ\?"):
        Symbol.parse("NSE:SBIN")
    with pytest.raises(UnknownSymbol, match=r"Did you mean NSE:SBIN-EQ\?"):
        Symbol.parse("nse:sbin-eq")


def test_symbols_sort_by_text():
    """The whole text counts, with the exchange in front of the name."""
    texts = sorted(FORMS)

    assert [symbol.text for symbol in sorted(map(Symbol, FORMS))] == texts


def test_indices_are_known_by_their_series():
    """Only the INDEX series marks an index."""
    assert Symbol("NSE:NIFTY50-INDEX").is_index
    assert not Symbol("NSE:SBIN-EQ").is_index


@pytest.mark.parametrize("minutes", [1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 120, 180, 240])
def test_minute_resolutions(minutes):
    """Each watched minute resolution lasts its minutes and is intraday."""
    resolution = Resolution.parse(str(minutes))

    assert resolution.length == timedelta(minutes=minutes)
    assert resolution.is_intraday
    assert str(resolution) == resolution.code == str(minutes)


def test_a_day_has_two_spellings_and_one_value():
    """``D`` and ``1D`` are the same resolution, written ``1D``."""
    assert Resolution.parse("D") == Resolution.parse("1D") == Resolution("1D")
    assert Resolution("1D").length == timedelta(days=1)
    assert not Resolution("1D").is_intraday


def test_all_resolutions_are_listed_shortest_first():
    """The list offers fourteen resolutions in order of length."""
    lengths = [resolution.length for resolution in RESOLUTIONS]

    assert len(lengths) == 14
    assert lengths == sorted(lengths)


@pytest.mark.parametrize(
    "text",
    [
        "5S",
        "45S",
        "1W",
        "1M",
        "W",
        "M",
        "",
        "0",
        "4",
        "5 ",
        "05",
        "-5",
        "\u0665",
        "x" * 10_000,
        5,
        None,
        True,
    ],
)
def test_other_resolutions_are_refused(text):
    """The error names the field, and repeats at most a short part of the input."""
    with pytest.raises(InvalidInput) as refusal:
        Resolution.parse(text)

    assert refusal.value.field == "resolution"
    assert len(str(refusal.value)) < 160


def instrument(
    text: str, description: str, segment: Segment = Segment.CASH, isin: str | None = None
) -> Instrument:
    """Return an instrument with the fields that the search reads."""
    symbol = Symbol(text)
    return Instrument(symbol, "10100000003045", description, symbol.exchange, segment, isin=isin)


LISTED = [
    instrument("NSE:SBIN26NOVFUT", "SBIN 24 Nov 26 FUT", Segment.EQUITY_DERIVATIVES),
    instrument("NSE:SBILIFE-EQ", "SBI LIFE INSURANCE CO LTD"),
    instrument("NSE:SBIN-EQ", "STATE BANK OF INDIA", isin="INE062A01020"),
    instrument("BSE:SBIN-A", "State Bank of India", isin="INE062A01020"),
    instrument("NSE:BANKINDIA-EQ", "BANK OF INDIA"),
    instrument("NSE:NIFTYBANK-INDEX", "NIFTY BANK"),
    instrument("NSE:M&M-EQ", "MAHINDRA & MAHINDRA LTD"),
]


def found(query: str, limit: int = 20) -> list[str]:
    """Return the symbols that the search gives."""
    return [item.symbol.text for item in search_instruments(LISTED, query, limit)]


def test_the_exact_name_is_found_first():
    """NSE comes before BSE. Names that begin with the query follow, and contracts are last."""
    assert found("sbin") == ["NSE:SBIN-EQ", "BSE:SBIN-A", "NSE:SBIN26NOVFUT"]
    assert found("NSE:SBIN-EQ") == ["NSE:SBIN-EQ"]


def test_descriptions_isins_and_odd_characters_are_found():
    """A query may be a word of the description, an ISIN or a name with an ampersand."""
    assert found("state bank") == ["NSE:SBIN-EQ", "BSE:SBIN-A"]
    assert found("INE062A01020") == ["NSE:SBIN-EQ", "BSE:SBIN-A"]
    assert found("m&m") == ["NSE:M&M-EQ"]
    assert found("bank")[0] == "NSE:BANKINDIA-EQ"


def test_search_is_bounded():
    """The limit is respected, and an empty query finds nothing."""
    assert found("s", limit=2) == found("s")[:2]
    assert found("") == found("   ") == found("no such thing") == found("x" * 10_000) == []


def test_the_default_tick_size_is_a_paisa():
    """It is used when the symbol master has none."""
    assert LISTED[0].tick_size == Decimal("0.01")
    assert LISTED[5].is_index
