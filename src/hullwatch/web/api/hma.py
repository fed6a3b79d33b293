"""The route of the current Hull Moving Average of an instrument."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import MAX_PERIOD, MIN_PERIOD
from hullwatch.services.market.hma import HmaStatus
from hullwatch.web.dependencies import CurrentConfig, CurrentServices, SignedIn
from hullwatch.web.payloads import Payload, ResolutionText, SymbolText

router = APIRouter(prefix="/api/hma", tags=["hma"])


class HmaPayload(Payload):
    """The average at the last closed candle, in INR."""

    symbol: SymbolText
    status: HmaStatus
    current_hma: float | None = Field(description="Null unless `status` is ACTIVE.")
    period: int
    resolution: ResolutionText
    candles: int = Field(description="Number of closed candles that the average was computed from.")
    missing: int = Field(description="Number of closed candles that the first value still needs.")
    last_update: datetime | None = Field(description="When the last of these candles closed.")
    reason: str | None


@router.get("/{symbol}")
async def hma(
    *,
    symbol: str,
    user: SignedIn,
    services: CurrentServices,
    config: CurrentConfig,
    period: Annotated[
        int | None, Query(ge=MIN_PERIOD, le=MAX_PERIOD, description="Default: the setting HMA_PERIOD, 55.")
    ] = None,
    resolution: Annotated[
        str | None, Query(max_length=8, description="Default: the setting HMA_RESOLUTION, 5.")
    ] = None,
) -> HmaPayload:
    """Return the current average, or the reason why there is none. Fyers is called through the caller's session."""
    reading = await services.hma.hma(
        user.id,
        Symbol.parse(symbol),
        period=period if period is not None else config.hma_period,
        resolution=Resolution.parse(resolution if resolution is not None else config.hma_resolution),
    )
    return HmaPayload.of(reading)
