"""Sentences about quotes: why one is missing, and why one is doubtful."""

from collections.abc import Mapping
from typing import Final

from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import QuoteDoubt
from hullwatch.domain.monitoring.obstacles import outcome_obstacle
from hullwatch.services.texts.obstacles import OBSTACLE_TEXTS

DOUBT_TEXTS: Final[Mapping[QuoteDoubt, str]] = {
    QuoteDoubt.OUTSIDE_LIMITS: "The price is outside today's circuit limits, so it is shown and used for nothing.",
    QuoteDoubt.FAR_FROM_CLOSE: (
        "The price is below half or above double of the previous close, so it is shown and used for nothing."
    ),
    QuoteDoubt.NO_PRICE_STEP: "The price is smaller than any price step, so it is shown and used for nothing.",
}


def describe_missing_quote(symbol: Symbol, outcome: Outcome, suggestion: Symbol | None) -> str:
    """Return why there is no quote for a symbol, and what to do."""
    obstacle = outcome_obstacle(outcome, FailureScope.SYMBOL)
    if obstacle is not None and outcome is not Outcome.BAD_REQUEST:
        text = OBSTACLE_TEXTS[obstacle].fill(symbols=symbol.text)
        return f"{text.sentence} {text.action}"
    advice = f"Did you mean {suggestion.text}?" if suggestion else "Check its spelling."
    return f"Fyers has no quote for {symbol.text}. {advice}"
