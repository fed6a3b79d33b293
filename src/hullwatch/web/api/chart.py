"""The route of a chart: candles, their average and the signals on them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import MAX_PERIOD, MIN_PERIOD
from hullwatch.domain.signals.signals import Direction, Rule
from hullwatch.services.texts.obstacles import describe_outcome
from hullwatch.web.api.market import CandlePayload
from hullwatch.web.dependencies import CurrentConfig, CurrentServices, SignedIn
from hullwatch.web.payloads import ConnectionPayload, Payload, ResolutionText, SymbolText

router = APIRouter(prefix="/api/market", tags=["market"])


class ChartCandlePayload(CandlePayload):
    """A closed candle, its average in INR, and its signal if there is one."""

    hma: float | None = Field(description="Null during the warm-up.")
    direction: Direction | None = Field(description="Null where the rule gives no signal.")


class LinePayload(Payload):
    """The average of the forming candle at a price: ``base + slope * price``."""

    base: float
    slope: float


class ChartPayload(Payload):
    """The data of a chart; empty unless `outcome` is ok."""

    outcome: Outcome
    reason: str | None = Field(description="Why there is no chart and what to do; null if there is one.")
    symbol: SymbolText
    resolution: ResolutionText
    period: int
    rule: Rule
    candles: list[ChartCandlePayload] = Field(description="Closed candles, oldest first.")
    forming: CandlePayload | None
    line: LinePayload | None
    next_close_at: datetime = Field(description="When the forming candle closes.")
    connection: ConnectionPayload
    at: datetime


@router.get("/chart")
async def chart(
    *,
    user: SignedIn,
    services: CurrentServices,
    config: CurrentConfig,
    symbol: Annotated[str, Query(max_length=100)],
    resolution: Annotated[
        str | None, Query(max_length=8, description="Default: the setting HMA_RESOLUTION, 5.")
    ] = None,
    period: Annotated[
        int | None, Query(ge=MIN_PERIOD, le=MAX_PERIOD, description="Default: the setting HMA_PERIOD, 55.")
    ] = None,
    rule: Rule = Rule.CROSS,
) -> ChartPayload:
    """Return the last 300 candles, their average, and the signals of the rule on them."""
    instrument = Symbol.parse(symbol)
    length = Resolution.parse(resolution if resolution is not None else config.hma_resolution)
    periods = period if period is not None else config.hma_period
    found = await services.chart.chart(user.id, instrument, resolution=length, period=periods, rule=rule)
    return ChartPayload.of(
        found,
        reason=describe_outcome(found.outcome, found.scope, symbols=instrument.text),
        symbol=instrument,
        resolution=length,
        period=periods,
        rule=rule,
        candles=[
            ChartCandlePayload.of(one.candle, hma=one.hma, direction=one.direction) for one in found.candles
        ],
        connection=ConnectionPayload.of(found.connection),
        at=services.context.clock.now(),
    )
