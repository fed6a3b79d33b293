"""The present Hull Moving Average of an instrument."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import MAX_PERIOD, MIN_PERIOD
from hullwatch.services.market.hma import HmaStatus
from hullwatch.web.dependencies import ConfigNeeded, ServicesNeeded, SignedIn
from hullwatch.web.payloads import Payload

router = APIRouter(prefix="/api/hma", tags=["hma"])


class HmaPayload(Payload):
    """The average after the last closed candle, INR."""

    symbol: str
    status: HmaStatus
    current_hma: float | None = Field(description="Null unless `status` is ACTIVE.")
    period: int
    resolution: str
    candles: int = Field(description="Closed candles that went into it.")
    missing: int = Field(description="Closed candles still missing for a first value.")
    last_update: datetime | None = Field(description="When the last of these candles closed.")
    reason: str | None


@router.get("/{symbol}")
async def hma(
    *,
    symbol: str,
    user: SignedIn,
    services: ServicesNeeded,
    config: ConfigNeeded,
    period: Annotated[
        int | None, Query(ge=MIN_PERIOD, le=MAX_PERIOD, description="55 unless set otherwise.")
    ] = None,
    resolution: Annotated[str | None, Query(max_length=8, description="5 unless set otherwise.")] = None,
) -> HmaPayload:
    """Return the average through the own session, or the reason why there is none."""
    reading = await services.hma.hma(
        user.id,
        Symbol.parse(symbol),
        period=period if period is not None else config.hma_period,
        resolution=Resolution.parse(resolution if resolution is not None else config.hma_resolution),
    )
    return HmaPayload(
        symbol=reading.symbol.text,
        status=reading.status,
        current_hma=reading.current_hma,
        period=reading.period,
        resolution=reading.resolution.code,
        candles=reading.candles,
        missing=reading.missing,
        last_update=reading.last_update,
        reason=reading.reason,
    )
