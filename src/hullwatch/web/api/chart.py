"""The data of one chart: candles, their average, the signals on them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.hma import MAX_PERIOD, MIN_PERIOD
from hullwatch.domain.signals.signals import Direction, Rule
from hullwatch.services.market.chart import ChartCandle
from hullwatch.web.api.market import CandlePayload
from hullwatch.web.dependencies import ConfigNeeded, ServicesNeeded, SignedIn
from hullwatch.web.payloads import ConnectionPayload, Payload

router = APIRouter(prefix="/api/market", tags=["market"])


class ChartCandlePayload(CandlePayload):
    """A closed candle with the average after it, INR, and what it signalled."""

    hma: float | None = Field(description="Null while warming up.")
    direction: Direction | None = Field(description="Set where the rule finds a signal.")

    @classmethod
    def of_chart(cls, drawn: ChartCandle) -> "ChartCandlePayload":
        """Return the payload of a chart's candle."""
        candle = CandlePayload.of(drawn.candle).model_dump(by_alias=False)
        return cls(**candle, hma=drawn.hma, direction=drawn.direction)


class LinePayload(Payload):
    """The average of the forming candle at a price: ``base + slope * price``."""

    base: float
    slope: float


class ChartPayload(Payload):
    """What a chart shows; empty unless `outcome` is ok."""

    outcome: Outcome
    symbol: str
    resolution: str
    period: int
    rule: Rule
    candles: list[ChartCandlePayload] = Field(description="Closed ones, oldest first.")
    forming: CandlePayload | None
    line: LinePayload | None
    next_close_at: datetime = Field(description="When the forming candle is final.")
    connection: ConnectionPayload
    at: datetime


@router.get("/chart")
async def chart(
    *,
    user: SignedIn,
    services: ServicesNeeded,
    config: ConfigNeeded,
    symbol: Annotated[str, Query(max_length=100)],
    resolution: Annotated[str | None, Query(max_length=8, description="5 unless set otherwise.")] = None,
    period: Annotated[
        int | None, Query(ge=MIN_PERIOD, le=MAX_PERIOD, description="55 unless set otherwise.")
    ] = None,
    rule: Rule = Rule.CROSS,
) -> ChartPayload:
    """Return the last 300 candles with their average and the signals that the rule finds on them."""
    asked = Symbol.parse(symbol)
    length = Resolution.parse(resolution if resolution is not None else config.hma_resolution)
    periods = period if period is not None else config.hma_period
    drawn = await services.chart.chart(user.id, asked, resolution=length, period=periods, rule=rule)
    return ChartPayload(
        outcome=drawn.outcome,
        symbol=asked.text,
        resolution=length.code,
        period=periods,
        rule=rule,
        candles=[ChartCandlePayload.of_chart(candle) for candle in drawn.candles],
        forming=drawn.forming and CandlePayload.of(drawn.forming),
        line=drawn.line and LinePayload(base=drawn.line.base, slope=drawn.line.slope),
        next_close_at=drawn.next_close_at,
        connection=ConnectionPayload.of(drawn.connection),
        at=services.context.clock.now(),
    )
