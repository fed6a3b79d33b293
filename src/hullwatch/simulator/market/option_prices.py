"""Prices and greeks of European options by Black (1976), on the forward price and without discounting.

The greeks that Fyers publishes (API v3 docs, "Option Chain", sample of March 2026) fit this form: delta per rupee of
the underlying, gamma per rupee of delta, theta per calendar day, vega per percentage point of volatility.
"""

import math
from typing import NamedTuple

YEAR_S = 365 * 86_400
_SHORTEST_YEARS = 1e-9


class Greeks(NamedTuple):
    """Sensitivities of one option, with its volatility `iv` in percent."""

    delta: float
    gamma: float
    theta: float
    vega: float
    iv: float


def forward_price(spot: float, seconds: float, rate: float) -> float:
    """Return the price in `seconds` at a yearly interest rate."""
    return spot * math.exp(rate * seconds / YEAR_S)


def option_price(*, is_call: bool, forward: float, strike: float, seconds: float, volatility: float) -> float:
    """Return the price of an option that expires in `seconds`; `volatility` is a share of the price per year."""
    years = seconds / YEAR_S
    inner = forward - strike if is_call else strike - forward
    if years <= _SHORTEST_YEARS:
        return max(0.0, inner)
    spread = volatility * math.sqrt(years)
    first = math.log(forward / strike) / spread + spread / 2
    if is_call:
        return forward * _below(first) - strike * _below(first - spread)
    return strike * _below(spread - first) - forward * _below(-first)


def greeks(*, is_call: bool, forward: float, strike: float, seconds: float, volatility: float) -> Greeks:
    """Return the greeks, rounded as Fyers does; at the expiry only delta is left."""
    years = seconds / YEAR_S
    percent = round(100 * volatility, 2)
    if years <= _SHORTEST_YEARS:
        is_inside = forward > strike if is_call else forward < strike
        delta = (1.0 if is_call else -1.0) if is_inside else 0.0
        return Greeks(delta, 0.0, 0.0, 0.0, percent)
    root = math.sqrt(years)
    first = math.log(forward / strike) / (volatility * root) + volatility * root / 2
    density = math.exp(-first * first / 2) / math.sqrt(2 * math.pi)
    return Greeks(
        round(_below(first) - (0 if is_call else 1), 2),
        round(density / (forward * volatility * root), 4),
        round(-forward * density * volatility / (2 * root) / 365, 2),
        round(forward * density * root / 100, 2),
        percent,
    )


def _below(value: float) -> float:
    """Return the standard normal distribution."""
    return 0.5 * math.erfc(-value / math.sqrt(2))
