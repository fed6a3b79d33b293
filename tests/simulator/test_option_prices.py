"""Prices and greeks of options against published numbers."""

import math

import pytest

from hullwatch.simulator.market.option_prices import greeks, option_price

# Fyers API v3 docs, "Option Chain": NIFTY on 20 March 2026 after the close, options of 24 March 2026. The forward is
# that of put-call parity at 23,050: 23,050 + 266.00 - 192.80. The volatilities are Fyers' own.
FORWARD, SECONDS = 23_123.2, 3.97 * 86_400
PUBLISHED = [
    (False, 23_050, 192.80, -0.44, 0.0007, -28.48, 9.51, 23.70),
    (True, 23_050, 266.00, 0.56, 0.0007, -28.52, 9.51, 23.74),
    (False, 23_100, 214.50, -0.48, 0.0007, -28.48, 9.59, 23.51),
    (True, 23_100, 237.35, 0.52, 0.0007, -28.48, 9.59, 23.51),
    (False, 23_150, 237.10, -0.51, 0.0007, -28.16, 9.60, 23.23),
    (True, 23_150, 211.80, 0.49, 0.0007, -28.39, 9.60, 23.42),
]


@pytest.mark.parametrize(("is_call", "strike", "price", "delta", "gamma", "theta", "vega", "iv"), PUBLISHED)
def test_greeks_and_price_fit_fyers_published_chain(is_call, strike, price, delta, gamma, theta, vega, iv):
    """The time of the sample is not published; 3.97 days fit all of its rows."""
    about = {
        "is_call": is_call,
        "forward": FORWARD,
        "strike": strike,
        "seconds": SECONDS,
        "volatility": iv / 100,
    }

    found = greeks(**about)

    assert option_price(**about) == pytest.approx(price, abs=1.5)
    assert found.delta == pytest.approx(delta, abs=0.011)
    assert found.gamma == gamma
    assert found.theta == pytest.approx(theta, abs=0.3)
    assert found.vega == pytest.approx(vega, abs=0.05)
    assert found.iv == iv


def test_the_price_fits_hulls_example():
    """Hull, "Options, Futures, and Other Derivatives": 42, 40, 10 %, 20 %, half a year give 4.76 and 0.81."""
    about = {
        "forward": 42 * math.exp(0.05), "strike": 40, "seconds": 365 * 86_400 / 2, "volatility": 0.2
    }  # fmt: skip

    call, put = (option_price(is_call=is_call, **about) * math.exp(-0.05) for is_call in (True, False))

    assert (round(call, 2), round(put, 2)) == (4.76, 0.81)


def test_at_the_expiry_the_intrinsic_value_is_left():
    """Delta is 1, -1 or 0 then."""
    about = {"forward": 105.0, "strike": 100.0, "seconds": 0, "volatility": 0.2}

    assert option_price(is_call=True, **about) == 5.0
    assert option_price(is_call=False, **about) == 0.0
    assert [greeks(is_call=is_call, **about).delta for is_call in (True, False)] == [1.0, 0.0]
