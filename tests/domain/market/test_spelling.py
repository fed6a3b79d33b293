"""Guesses of Fyers' symbol from other spellings."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.failures import UnknownSymbol
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.spelling import closest, guess_symbol


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("NSE:NIFTY50", "NSE:NIFTY50-INDEX"),
        ("NSE:NIFTY50-EQ", "NSE:NIFTY50-INDEX"),
        ("NSE:NIFTY 50", "NSE:NIFTY50-INDEX"),  # Kite
        ("NSE_INDEX|Nifty 50", "NSE:NIFTY50-INDEX"),  # Upstox
        ("NSE:NIFTYBANK", "NSE:NIFTYBANK-INDEX"),
        ("NSE:BANKNIFTY", "NSE:NIFTYBANK-INDEX"),  # TradingView
        ("BSE:SENSEX", "BSE:SENSEX-INDEX"),
        ("NFO:NIFTY26NOVFUT", "NSE:NIFTY26NOVFUT"),  # Kite
        ("NFO:NIFTY26DEC27000CE", "NSE:NIFTY26DEC27000CE"),
        ("BFO:SENSEX26NOVFUT", "BSE:SENSEX26NOVFUT"),
        ("NSE:SBIN", "NSE:SBIN-EQ"),
        ("nse:sbin-eq", "NSE:SBIN-EQ"),
        ("SBIN", "NSE:SBIN-EQ"),
        ("SBIN.NS", "NSE:SBIN-EQ"),  # Yahoo Finance
        ("NSE|SBIN-EQ", "NSE:SBIN-EQ"),  # Shoonya
        ("NSE:M&M", "NSE:M&M-EQ"),
        ("NASDAQ:AAPL", None),
        ("BSE:SBIN", None),
        ("", None),
    ],
)
def test_other_spellings_lead_to_fyers_symbol(text, guess):
    """Users copy symbols from the program that they used before."""
    assert guess_symbol(text) == guess


@pytest.mark.parametrize("text", ["NSE:NIFTY50", "NFO:NIFTY26NOVFUT", "SBIN.NS"])
def test_a_refused_spelling_names_the_guess(text):
    """The sentence is the advice that the user gets."""
    with pytest.raises(UnknownSymbol, match=f"Did you mean {guess_symbol(text)}\\?"):
        Symbol.parse(text)


@settings(max_examples=60)
@given(st.text(max_size=30))
def test_any_text_is_guessed_without_an_error(text):
    """The text comes from a request."""
    guess = guess_symbol(text)

    assert guess is None or ":" in guess


def test_the_closest_listed_symbol_is_found():
    """Another series of the same name comes before a misspelling."""
    listed = ["NSE:TATAMOTORS-EQ", "NSE:TATASTEEL-EQ", "NSE:SBIN-EQ", "BSE:SBIN-A"]

    assert closest("NSE:TATAMOTRS-EQ", listed) == "NSE:TATAMOTORS-EQ"
    assert closest("NSE:SBIN-BE", listed) == "NSE:SBIN-EQ"
    assert closest("BSE:SBIN-B", listed) in {"BSE:SBIN-A", "NSE:SBIN-EQ"}
    assert closest("NSE:ZOMATO-EQ", listed) is None
