"""Sentences about quotes: why one is missing, and why one is doubtful."""

from collections.abc import Mapping
from typing import Final

from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Implausibility
from hullwatch.services.texts.obstacles import describe_outcome

IMPLAUSIBILITY_TEXTS: Final[Mapping[Implausibility, str]] = {
    Implausibility.OUTSIDE_LIMITS: "The price is outside today's circuit limits, so it is shown and used for nothing.",
    Implausibility.FAR_FROM_CLOSE: (
        "The price is below half or above double of the previous close, so it is shown and used for nothing."
    ),
    Implausibility.NO_PRICE_STEP: "The price is smaller than any price step, so it is shown and used for nothing.",
}


def describe_missing_quote(symbol: Symbol, outcome: Outcome, suggestion: Symbol | None) -> str:
    """Return why there is no quote for a symbol, and what to do."""
    reason = describe_outcome(outcome, FailureScope.SYMBOL, symbols=symbol.text)
    if reason is not None and outcome is not Outcome.BAD_REQUEST:
        return reason
    advice = f"Did you mean {suggestion.text}?" if suggestion else "Check its spelling."
    return f"Fyers has no quote for {symbol.text}. {advice}"
