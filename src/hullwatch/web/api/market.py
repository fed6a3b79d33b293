"""Routes about the market, through the caller's Fyers session: trading hours, quotes, candles, instruments."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Query
from pydantic import Field

from hullwatch.domain.failures import InvalidInput, Outcome
from hullwatch.domain.market.calendar import MarketPhase, SessionKind
from hullwatch.domain.market.instruments import Resolution, Segment, Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.watches import MAX_WATCHES
from hullwatch.services.market.service import QuotesAnswer
from hullwatch.services.services import Services
from hullwatch.services.texts.market import IMPLAUSIBILITY_TEXTS, describe_missing_quote
from hullwatch.services.texts.obstacles import describe_outcome
from hullwatch.web.dependencies import CurrentServices, SignedIn
from hullwatch.web.payloads import ConnectionPayload, Moment, Payload, SymbolText

router = APIRouter(prefix="/api/market", tags=["market"])

LONGEST_INTRADAY: Final = timedelta(days=100)
LONGEST_DAILY: Final = timedelta(days=366 * 3)


class TradingSessionPayload(Payload):
    """The hours of one trading session."""

    opens_at: datetime
    closes_at: datetime
    kind: SessionKind
    settles_at: datetime = Field(
        description="When the closing price is final; later than closesAt if a closing auction follows."
    )


class SegmentStatusPayload(Payload):
    """Whether one segment is open now, by the trading calendar."""

    is_open: bool
    phase: MarketPhase = Field(
        description="closing_auction lasts until the orders of the auction are matched, after the session has closed."
    )
    session: TradingSessionPayload | None
    next_open_at: datetime
    next_close_at: datetime
    changes_at: datetime = Field(
        description="When the phase changes next, or the next session opens or closes."
    )


class MarketStatusPayload(SegmentStatusPayload):
    """Whether the requested segment is open now, by the trading calendar, and the same for equity derivatives."""

    exchange_day: date
    holiday_name: str | None
    derivatives: SegmentStatusPayload


class QuotePayload(Payload):
    """A snapshot of one instrument. Prices are in INR; a value that Fyers did not send is null."""

    symbol: SymbolText
    ltp: float | None
    change: float | None
    change_percent: float | None
    open: float | None
    high: float | None
    low: float | None
    previous_close: float | None
    volume: int | None
    bid: float | None
    ask: float | None
    traded_at: datetime | None
    is_doubtful: bool = Field(
        description="Whether the last price cannot be true; it is shown and used for nothing."
    )
    doubtful_reason: str | None = Field(description="Why it is doubtful, in a sentence; null if it is not.")

    @classmethod
    def of(cls, quote: Quote, /, **explicit: Any) -> Self:
        """Return the payload of a quote."""
        reason = None if quote.implausibility is None else IMPLAUSIBILITY_TEXTS[quote.implausibility]
        return super().of(quote, is_doubtful=reason is not None, doubtful_reason=reason, **explicit)


class MissingQuotePayload(Payload):
    """A requested symbol without a quote."""

    symbol: SymbolText
    reason: str = Field(description="Why there is no quote and what to do, in a sentence or two.")
    suggestion: SymbolText | None = Field(description="The symbol that was probably meant.")


class QuotesPayload(Payload):
    """Quotes, and the symbols without one. An empty list is a result only if `outcome` is ok."""

    outcome: Outcome
    reason: str | None = Field(description="Why there are no quotes and what to do; null if there are.")
    quotes: list[QuotePayload]
    missing: list[MissingQuotePayload] = Field(
        description="Requested symbols without a quote, while Fyers answers for others."
    )
    connection: ConnectionPayload


class CandlePayload(Payload):
    """Prices in INR and the volume of one period."""

    opened_at: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int


class CandlesPayload(Payload):
    """Closed candles, oldest first, and the forming candle."""

    outcome: Outcome
    reason: str | None = Field(description="Why there are no candles and what to do; null if there are.")
    candles: list[CandlePayload]
    forming: CandlePayload | None
    connection: ConnectionPayload


class InstrumentPayload(Payload):
    """An instrument that can be watched."""

    symbol: SymbolText
    description: str
    exchange: str
    segment: Segment
    tick_size: Decimal
    isin: str | None


class InstrumentsPayload(Payload):
    """The instruments that a search found, best match first."""

    outcome: Outcome
    instruments: list[InstrumentPayload]


class SegmentName(StrEnum):
    """A segment in a request."""

    CASH = "cash"
    DERIVATIVES = "derivatives"
    CURRENCY = "currency"
    COMMODITY = "commodity"


_SEGMENTS: Final[Mapping[SegmentName, Segment]] = {
    SegmentName.CASH: Segment.CASH,
    SegmentName.DERIVATIVES: Segment.EQUITY_DERIVATIVES,
}


@router.get("/status")
async def market_status(
    _: SignedIn, services: CurrentServices, segment: SegmentName = SegmentName.CASH
) -> MarketStatusPayload:
    """Return whether a segment is open now, and when it opens and closes next."""
    if segment not in _SEGMENTS:
        raise InvalidInput(
            f"hullwatch does not know the trading hours of the {segment.value} segment yet. "
            "Ask for cash or derivatives.",
            field="segment",
        )
    derivatives = services.market.market_status(Segment.EQUITY_DERIVATIVES)
    return MarketStatusPayload.of(services.market.market_status(_SEGMENTS[segment]), derivatives=derivatives)


@router.get("/quotes")
async def quotes(
    user: SignedIn,
    services: CurrentServices,
    symbols: Annotated[str, Query(max_length=MAX_WATCHES * 65, examples=["NSE:SBIN-EQ,NSE:INFY-EQ"])],
) -> QuotesPayload:
    """Return quotes of the given symbols, which are separated by commas."""
    wanted = list(dict.fromkeys(Symbol.parse(text.strip()) for text in symbols.split(",")))
    if len(wanted) > MAX_WATCHES:
        raise InvalidInput(f"Request at most {MAX_WATCHES} symbols at once.", field="symbols")
    answer = await services.market.quotes(user.id, wanted)
    return QuotesPayload.of(
        answer,
        reason=describe_outcome(
            answer.outcome, answer.scope, symbols=", ".join(symbol.text for symbol in wanted)
        ),
        quotes=[QuotePayload.of(quote) for quote in answer.quotes],
        missing=await _missing(services, answer),
        connection=ConnectionPayload.of(answer.connection),
    )


async def _missing(services: Services, answer: QuotesAnswer) -> list[MissingQuotePayload]:
    missing = []
    for one in answer.missing:
        is_unknown = one.outcome in (Outcome.NO_DATA, Outcome.BAD_REQUEST)
        suggestion = await services.market.suggestion(one.symbol) if is_unknown else None
        reason = describe_missing_quote(one.symbol, one.outcome, suggestion)
        missing.append(MissingQuotePayload(symbol=one.symbol, reason=reason, suggestion=suggestion))
    return missing


@router.get("/candles")
async def candles(
    *,
    user: SignedIn,
    services: CurrentServices,
    symbol: Annotated[str, Query(max_length=100)],
    start: Moment,
    end: Moment,
    resolution: Annotated[str, Query(max_length=8)] = "5",
) -> CandlesPayload:
    """Return the candles that open from `start` to `end`: at most 100 days of intraday candles or three years of daily ones."""
    length = Resolution.parse(resolution)
    if end < start:
        raise InvalidInput("The end is before the start.", field="end")
    if end - start > (LONGEST_INTRADAY if length.is_intraday else LONGEST_DAILY):
        raise InvalidInput("This period is too long. Request a shorter one.", field="start")
    answer = await services.market.candles(user.id, Symbol.parse(symbol), length, start=start, end=end)
    return CandlesPayload.of(
        answer,
        reason=describe_outcome(answer.outcome, answer.scope, symbols=symbol),
        connection=ConnectionPayload.of(answer.connection),
    )


@router.get("/instruments")
async def instruments(
    _: SignedIn,
    services: CurrentServices,
    query: Annotated[str, Query(min_length=1, max_length=64)],
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
) -> InstrumentsPayload:
    """Search the instruments of NSE and BSE by symbol, ISIN or description."""
    return InstrumentsPayload.of(await services.market.search_instruments(query, limit))
