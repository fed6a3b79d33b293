"""MarketService: quotes, candles and market hours for one account at a time, through that account's own session.

It never raises for anything that Fyers does: the typed outcome stands beside an empty list. What it learns about the session it tells
the connection; what failed it does not keep. Exchange data belongs to the account it was fetched with and is shared with no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from hullwatch.domain.failures import Answered, BrokerFailure, BrokerResult, Outcome
from hullwatch.domain.market.calendar import MarketStatus
from hullwatch.domain.market.candles import MAX_PRICE, Arranged, Candle, arrange_candles, split_closed
from hullwatch.domain.market.instruments import Instrument, Resolution, Segment, Symbol, search_instruments
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.sessions.connection import Connection
from hullwatch.runtime.single_flight import SingleFlight
from hullwatch.runtime.ttl_cache import TtlCache
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort
from hullwatch.services.sessions.service import ConnectionService

QUOTE_FRESH_S = 1.0
"""Within this time a quote that the same account fetched is given again."""
MOST_QUOTES_KEPT = 50_000
INSTRUMENTS_FRESH_S = 6 * 3600.0
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class QuotesAnswer:
    """Quotes of one account; `quotes` is empty unless `outcome` is ok, and a symbol that Fyers cannot quote is absent.

    Where Fyers can quote none of the symbols the outcome is *no data*.
    """

    outcome: Outcome
    quotes: tuple[Quote, ...]
    connection: Connection


@dataclass(frozen=True, slots=True)
class CandlesAnswer:
    """Candles of one account, closed ones oldest first; both parts are empty unless `outcome` is ok."""

    outcome: Outcome
    candles: tuple[Candle, ...]
    forming: Candle | None
    connection: Connection


@dataclass(frozen=True, slots=True)
class InstrumentsAnswer:
    """Instruments that fit a search, best first."""

    outcome: Outcome
    instruments: tuple[Instrument, ...]


class MarketService:
    """What the market says, told to whoever may hear it."""

    def __init__(self, context: Context, *, connections: ConnectionService, broker: BrokerPort) -> None:
        self._connections = connections
        self._broker = broker
        self._calendar = context.calendar
        self._clock = context.clock
        self._quotes: TtlCache[tuple[str, int, Symbol], Quote] = TtlCache(
            context.clock, ttl_s=QUOTE_FRESH_S, max_entries=MOST_QUOTES_KEPT
        )
        self._instruments: TtlCache[str, tuple[Instrument, ...]] = TtlCache(
            context.clock, ttl_s=INSTRUMENTS_FRESH_S, max_entries=1
        )
        self._instrument_flights: SingleFlight[str, BrokerResult[tuple[Instrument, ...]]] = SingleFlight()
        self._log = structlog.get_logger(component="MarketService")

    def market_status(self, segment: Segment = Segment.CASH) -> MarketStatus:
        """Return whether a segment of the exchange trades now, from its calendar."""
        return self._calendar.of(segment).status(self._clock.now())

    async def quotes(self, user_id: str, symbols: Sequence[Symbol]) -> QuotesAnswer:
        """Return quotes for these symbols, a second old at most."""
        connection = self._connections.connection(user_id)
        if not connection.has_session:
            return self._without_session(user_id)
        found = {
            symbol: self._quotes.get((user_id, connection.generation, symbol))
            for symbol in dict.fromkeys(symbols)
        }
        missing = [symbol for symbol, quote in found.items() if quote is None]
        if missing:
            fresh = await self.fresh_quotes(user_id, missing)
            if fresh.outcome not in (Outcome.OK, Outcome.NO_DATA):
                return fresh
            found.update((quote.symbol, quote) for quote in fresh.quotes if quote.symbol in found)
        return self._with_quotes(user_id, [quote for quote in found.values() if quote is not None])

    async def fresh_quotes(self, user_id: str, symbols: Sequence[Symbol]) -> QuotesAnswer:
        """Fetch quotes in batches of Fyers' limit; the first batch that fails is the outcome of the whole."""
        quotes: list[Quote] = []
        for start in range(0, len(symbols), self._broker.quotes_per_call):
            credential = self._connections.credential(user_id)
            if credential is None:
                return self._without_session(user_id)
            result = await self._broker.quotes(
                credential, symbols[start : start + self._broker.quotes_per_call]
            )
            self._connections.record_result(credential, result)
            if not isinstance(result, Answered):
                return QuotesAnswer(self._outcome(user_id, result), (), self._connections.connection(user_id))
            quotes.extend(result.value)
            for quote in result.value:
                self._quotes.put((user_id, credential.generation, quote.symbol), quote)
        return self._with_quotes(user_id, quotes)

    async def candles(
        self, user_id: str, symbol: Symbol, resolution: Resolution, *, start: datetime, end: datetime
    ) -> CandlesAnswer:
        """Fetch the candles that open in [start, end], in as many calls as Fyers' range limit asks for.

        A candle counts as closed if it was closed before it was asked for: what came just before the close lacks the last trades.
        """
        asked_at = self._clock.now()
        rows: list[Candle] = []
        span = self._broker.history_span(resolution)
        while start <= end:
            until = min(end, start + span - _MOMENT)
            credential = self._connections.credential(user_id)
            if credential is None:
                return self._no_candles(user_id, self._outcome_without_session(user_id))
            result = await self._broker.candles(credential, symbol, resolution, start=start, end=until)
            self._connections.record_result(credential, result)
            if not isinstance(result, Answered):
                return self._no_candles(user_id, self._outcome(user_id, result))
            rows.extend(self._usable(symbol, result.value))
            start = until + _MOMENT
        calendar = self._calendar.for_symbol(symbol)
        closed, forming = split_closed(arrange_candles(rows).candles, resolution, asked_at, calendar)
        outcome = Outcome.OK if closed or forming else Outcome.NO_DATA
        return CandlesAnswer(outcome, closed, forming, self._connections.connection(user_id))

    def _usable(self, symbol: Symbol, arranged: Arranged) -> list[Candle]:
        """Return the candles whose closes are prices: whatever an adapter lets through, NaN and zero never become an average."""
        usable = [candle for candle in arranged.candles if 0 < candle.close <= MAX_PRICE]
        defective = len(arranged.defects) + len(arranged.candles) - len(usable)
        if defective:
            self._log.warning("candles.defective", symbol=symbol.text, count=defective)
        return usable

    async def search_instruments(self, query: str, limit: int = 20) -> InstrumentsAnswer:
        """Search the public symbol masters, which are fetched at most every six hours."""
        instruments = self._instruments.get("all")
        if instruments is None:
            result = await self._instrument_flights.run("all", self._broker.instruments)
            if not isinstance(result, Answered):
                return InstrumentsAnswer(result.outcome, ())
            instruments = result.value
            self._instruments.put("all", instruments)
        found = search_instruments(instruments, query, limit)
        return InstrumentsAnswer(Outcome.OK if found else Outcome.NO_DATA, tuple(found))

    def _with_quotes(self, user_id: str, quotes: list[Quote]) -> QuotesAnswer:
        outcome = Outcome.OK if quotes else Outcome.NO_DATA
        return QuotesAnswer(outcome, tuple(quotes), self._connections.connection(user_id))

    def _without_session(self, user_id: str) -> QuotesAnswer:
        return QuotesAnswer(self._outcome_without_session(user_id), (), self._connections.connection(user_id))

    def _no_candles(self, user_id: str, outcome: Outcome) -> CandlesAnswer:
        return CandlesAnswer(outcome, (), None, self._connections.connection(user_id))

    def _outcome_without_session(self, user_id: str) -> Outcome:
        """No session is *disconnected*; a session that is being looked at a second time is only *unavailable*."""
        has_session = self._connections.connection(user_id).has_session
        return Outcome.UNAVAILABLE if has_session else Outcome.DISCONNECTED

    def _outcome(self, user_id: str, failure: BrokerFailure) -> Outcome:
        if failure.outcome is Outcome.DISCONNECTED:
            return self._outcome_without_session(user_id)
        return failure.outcome
