"""What the market says, asked through the user's own session: hours, quotes, candles, instruments."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import Field

from hullwatch.domain.failures import InvalidInput, Outcome
from hullwatch.domain.market.calendar import MarketPhase, MarketStatus, SessionKind, TradingSession
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Instrument, Resolution, Segment, Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.watches import MAX_WATCHES
from hullwatch.web.dependencies import ServicesNeeded, SignedIn
from hullwatch.web.payloads import ConnectionPayload, Moment, Payload

router = APIRouter(prefix="/api/market", tags=["market"])

LONGEST_INTRADAY: Final = timedelta(days=100)
LONGEST_DAILY: Final = timedelta(days=366 * 3)


class TradingSessionPayload(Payload):
    """Hours in which the exchange trades."""

    opens_at: datetime
    closes_at: datetime
    kind: SessionKind
    settles_at: datetime = Field(
        description="When its closing price is final; later than closesAt where a closing auction outlasts it."
    )

    @classmethod
    def of(cls, session: TradingSession) -> "TradingSessionPayload":
        """Return the payload of a session."""
        return cls(
            opens_at=session.opens_at,
            closes_at=session.closes_at,
            kind=session.kind,
            settles_at=session.settles_at,
        )


class SegmentStatusPayload(Payload):
    """Whether one segment trades now, by its calendar."""

    is_open: bool
    phase: MarketPhase = Field(
        description="closing_auction also while the auction's orders are matched after the session has closed."
    )
    session: TradingSessionPayload | None
    next_open_at: datetime
    next_close_at: datetime
    changes_at: datetime = Field(description="When the phase changes next, or a session opens or closes.")

    @classmethod
    def values(cls, status: MarketStatus) -> dict[str, Any]:
        """Return what a status says, by field."""
        return {
            "is_open": status.is_open,
            "phase": status.phase,
            "session": status.session and TradingSessionPayload.of(status.session),
            "next_open_at": status.next_open_at,
            "next_close_at": status.next_close_at,
            "changes_at": status.changes_at,
        }


class MarketStatusPayload(SegmentStatusPayload):
    """Whether the exchange trades now, by its calendar: the cash market, and equity derivatives beside it."""

    exchange_day: date
    holiday_name: str | None
    derivatives: SegmentStatusPayload


class QuotePayload(Payload):
    """A snapshot of one instrument; prices in INR, null where Fyers gave none."""

    symbol: str
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

    @classmethod
    def of(cls, quote: Quote) -> "QuotePayload":
        """Return the payload of a quote."""
        return cls(
            symbol=quote.symbol.text,
            ltp=quote.ltp,
            change=quote.change,
            change_percent=quote.change_percent,
            open=quote.open,
            high=quote.high,
            low=quote.low,
            previous_close=quote.previous_close,
            volume=quote.volume,
            bid=quote.bid,
            ask=quote.ask,
            traded_at=quote.traded_at,
        )


class QuotesPayload(Payload):
    """Quotes; an empty list means nothing unless `outcome` is ok."""

    outcome: Outcome
    quotes: list[QuotePayload]
    connection: ConnectionPayload


class CandlePayload(Payload):
    """Prices in INR over one resolution."""

    opened_at: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int

    @classmethod
    def of(cls, candle: Candle) -> "CandlePayload":
        """Return the payload of a candle."""
        return cls(
            opened_at=candle.opened_at,
            open=candle.open,
            high=candle.high,
            low=candle.low,
            close=candle.close,
            volume=candle.volume,
        )


class CandlesPayload(Payload):
    """Closed candles, oldest first, and the one still forming."""

    outcome: Outcome
    candles: list[CandlePayload]
    forming: CandlePayload | None
    connection: ConnectionPayload


class InstrumentPayload(Payload):
    """Something that can be watched."""

    symbol: str
    description: str
    exchange: str
    segment: Segment
    tick_size: Decimal
    isin: str | None

    @classmethod
    def of(cls, instrument: Instrument) -> "InstrumentPayload":
        """Return the payload of an instrument."""
        return cls(
            symbol=instrument.symbol.text,
            description=instrument.description,
            exchange=instrument.exchange,
            segment=instrument.segment,
            tick_size=instrument.tick_size,
            isin=instrument.isin,
        )


class InstrumentsPayload(Payload):
    """What a search found, best first."""

    outcome: Outcome
    instruments: list[InstrumentPayload]


@router.get("/status")
async def market_status(_: SignedIn, services: ServicesNeeded) -> MarketStatusPayload:
    """Return whether the exchange trades now, and what comes next."""
    status = services.market.market_status()
    derivatives = services.market.market_status(Segment.EQUITY_DERIVATIVES)
    return MarketStatusPayload(
        **SegmentStatusPayload.values(status),
        exchange_day=status.exchange_day,
        holiday_name=status.holiday_name,
        derivatives=SegmentStatusPayload(**SegmentStatusPayload.values(derivatives)),
    )


@router.get("/quotes")
async def quotes(
    user: SignedIn,
    services: ServicesNeeded,
    symbols: Annotated[str, Query(max_length=MAX_WATCHES * 65, examples=["NSE:SBIN-EQ,NSE:INFY-EQ"])],
) -> QuotesPayload:
    """Return quotes of the symbols, which are separated by commas."""
    wanted = list(dict.fromkeys(Symbol.parse(text.strip()) for text in symbols.split(",")))
    if len(wanted) > MAX_WATCHES:
        raise InvalidInput(f"At most {MAX_WATCHES} symbols may be asked for at once.", field="symbols")
    answer = await services.market.quotes(user.id, wanted)
    return QuotesPayload(
        outcome=answer.outcome,
        quotes=[QuotePayload.of(quote) for quote in answer.quotes],
        connection=ConnectionPayload.of(answer.connection),
    )


@router.get("/candles")
async def candles(
    *,
    user: SignedIn,
    services: ServicesNeeded,
    symbol: Annotated[str, Query(max_length=100)],
    start: Moment,
    end: Moment,
    resolution: Annotated[str, Query(max_length=8)] = "5",
) -> CandlesPayload:
    """Return the candles that open in [start, end]: at most 100 days of minutes or three years of days."""
    length = Resolution.parse(resolution)
    if end < start:
        raise InvalidInput("The end lies before the start.", field="end")
    if end - start > (LONGEST_INTRADAY if length.is_intraday else LONGEST_DAILY):
        raise InvalidInput("That is too long a time; ask for less at once.", field="start")
    answer = await services.market.candles(user.id, Symbol.parse(symbol), length, start=start, end=end)
    return CandlesPayload(
        outcome=answer.outcome,
        candles=[CandlePayload.of(candle) for candle in answer.candles],
        forming=answer.forming and CandlePayload.of(answer.forming),
        connection=ConnectionPayload.of(answer.connection),
    )


@router.get("/instruments")
async def instruments(
    _: SignedIn,
    services: ServicesNeeded,
    query: Annotated[str, Query(min_length=1, max_length=64)],
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
) -> InstrumentsPayload:
    """Search the instruments of NSE and BSE by symbol, ISIN or description."""
    answer = await services.market.search_instruments(query, limit)
    found = [InstrumentPayload.of(instrument) for instrument in answer.instruments]
    return InstrumentsPayload(outcome=answer.outcome, instruments=found)
