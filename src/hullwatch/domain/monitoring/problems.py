"""Problems of single symbols, which leave the rest of the watchlist monitored."""

from dataclasses import dataclass
from datetime import datetime

from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.obstacles import Obstacle


@dataclass(frozen=True, slots=True)
class SymbolProblem:
    """Why one symbol is not monitored in one resolution while Fyers serves others."""

    symbol: Symbol
    resolution: Resolution
    obstacle: Obstacle
    since: datetime
    """When its calls began to fail."""
