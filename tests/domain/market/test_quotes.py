"""Quotes that cannot be true."""

import pytest

from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Implausibility, Quote
from hullwatch.services.texts.market import IMPLAUSIBILITY_TEXTS

SBIN, OPTION = Symbol("NSE:SBIN-EQ"), Symbol("NSE:NIFTY26DEC27000CE")


@pytest.mark.parametrize(
    ("ltp", "previous_close", "limits", "reason"),
    [
        (800.0, 810.0, None, None),
        (400.0, 800.0, None, None),
        (1600.0, 800.0, None, None),
        (399.9, 800.0, None, Implausibility.FAR_FROM_CLOSE),
        (1600.1, 800.0, None, Implausibility.FAR_FROM_CLOSE),
        (880.1, 800.0, (720.0, 880.0), Implausibility.OUTSIDE_LIMITS),
        (719.9, 800.0, (720.0, 880.0), Implausibility.OUTSIDE_LIMITS),
        (300.0, 800.0, (240.0, 1360.0), None),
        (5000.0, None, None, None),
        (8e-7, 8e-7, None, Implausibility.NO_PRICE_STEP),
        (None, 800.0, None, None),
    ],
)
def test_a_price_is_doubtful_outside_limits_or_far_from_the_close(ltp, previous_close, limits, reason):
    """Circuit limits decide where Fyers gives them, else half and double of the previous close."""
    lower, upper = limits or (None, None)
    quote = Quote(SBIN, ltp, previous_close=previous_close, lower_limit=lower, upper_limit=upper)

    assert quote.implausibility is reason
    assert quote.price == (ltp if reason is None else None)


def test_an_option_may_multiply_within_a_day():
    """On an expiry day it does."""
    assert Quote(OPTION, 50.0, previous_close=0.05).implausibility is None
    assert (
        Quote(OPTION, 50.0, lower_limit=0.05, upper_limit=20.0).implausibility
        is Implausibility.OUTSIDE_LIMITS
    )


def test_every_implausibility_has_a_sentence():
    """The page shows why a price is struck out."""
    assert set(IMPLAUSIBILITY_TEXTS) == set(Implausibility)
