"""Quotes, candles and market hours for one account at a time, through that account's own session.

A failure of Fyers is a typed outcome beside an empty list; nothing is raised for it and it is not cached.
Exchange data is never shared between accounts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from hullwatch.domain.failures import (
    Answered,
    BrokerFailure,
    BrokerResult,
    BrokerService,
    FailureScope,
    LoginRefused,
    Outcome,
    RequestRefused,
)
from hullwatch.domain.market.calendar import MarketStatus
from hullwatch.domain.market.call_priority import ORDINARY_CALL, CallPriority
from hullwatch.domain.market.candles import MAX_PRICE, Arranged, Candle, arrange_candles, split_closed
from hullwatch.domain.market.clock_offset import NO_OFFSET, ClockOffset
from hullwatch.domain.market.instruments import Instrument, Resolution, Segment, Symbol, search_instruments
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.sessions.connection import Connection, Credential
from hullwatch.runtime.single_flight import SingleFlight
from hullwatch.runtime.ttl_cache import TtlCache
from hullwatch.services.context import Context
from hullwatch.services.market.failure_log import FailureLog
from hullwatch.services.market.failure_scope import FailureScopes
from hullwatch.services.ports import BrokerPort
from hullwatch.services.sessions.service import ConnectionService

QUOTE_FRESH_S = 1.0
"""How long a quote is cached for the account that fetched it."""
MAX_CACHED_QUOTES = 50_000
INSTRUMENTS_FRESH_S = 6 * 3600.0
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class QuotesAnswer:
    """Quotes of one account; empty unless `outcome` is ok. A symbol that Fyers cannot quote is absent.

    The outcome is *no data* if Fyers can quote none of the symbols.
    """

    outcome: Outcome
    quotes: tuple[Quote, ...]
    connection: Connection
    scope: FailureScope | None = None
    """What the failure concerns; `None` if there is none."""


@dataclass(frozen=True, slots=True)
class CandlesAnswer:
    """Candles of one account, closed ones oldest first; both parts are empty unless `outcome` is ok."""

    outcome: Outcome
    candles: tuple[Candle, ...]
    forming: Candle | None
    connection: Connection
    scope: FailureScope | None = None
    """What the failure concerns; `None` if there is none."""


@dataclass(frozen=True, slots=True)
class InstrumentsAnswer:
    """Instruments that match a search, best first."""

    outcome: Outcome
    instruments: tuple[Instrument, ...]


class MarketService:
    """Fetches market data with the credential of the account that receives it."""

    def __init__(self, context: Context, *, connections: ConnectionService, broker: BrokerPort) -> None:
        self._connections = connections
        self._broker = broker
        self._scopes = FailureScopes(context, connections=connections, broker=broker)
        self._calendar = context.calendar
        self._clock = context.clock
        self._quotes: TtlCache[tuple[str, int, Symbol], Quote] = TtlCache(
            context.clock, ttl_s=QUOTE_FRESH_S, max_entries=MAX_CACHED_QUOTES
        )
        self._instruments: TtlCache[str, tuple[Instrument, ...]] = TtlCache(
            context.clock, ttl_s=INSTRUMENTS_FRESH_S, max_entries=1
        )
        self._instrument_flights: SingleFlight[str, BrokerResult[tuple[Instrument, ...]]] = SingleFlight()
        self._token_failures = FailureLog(
            "MarketService", failed="access_token.refused", recovered="access_token.accepted"
        )
        self._symbol_failures = FailureLog(
            "MarketService", failed="symbol.refused", recovered="symbol.accepted"
        )
        self._log = structlog.get_logger(component="MarketService")

    def market_status(self, segment: Segment = Segment.CASH) -> MarketStatus:
        """Return whether a segment trades now, from its calendar."""
        return self._calendar.of(segment).status(self._clock.now())

    def waits_at_close(self, user_id: str) -> bool:
        """Whether a call of this account waits because this server has many candles to read."""
        credential = self._connections.credential(user_id)
        return credential is not None and self._broker.waits_at_close(credential)

    def clock_offset(self) -> ClockOffset:
        """Return how far Fyers' clock and this server's are apart; `NO_OFFSET` while it is unknown."""
        return self._broker.clock_offset() or NO_OFFSET

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

    async def fresh_quotes(
        self, user_id: str, symbols: Sequence[Symbol], *, priority: CallPriority = ORDINARY_CALL
    ) -> QuotesAnswer:
        """Fetch quotes in batches of Fyers' limit; the first batch that fails is the outcome of the whole."""
        quotes: list[Quote] = []
        for start in range(0, len(symbols), self._broker.quotes_per_call):
            credential = self._connections.credential(user_id)
            if credential is None:
                return self._without_session(user_id)
            batch = symbols[start : start + self._broker.quotes_per_call]
            result = await self._broker.quotes(credential, batch, priority=priority)
            self._record_result(credential, result, batch[0] if len(batch) == 1 else None)
            if not isinstance(result, Answered):
                scope = await self._scopes.scope_of(user_id, result, *batch)
                connection = self._connections.connection(user_id)
                return QuotesAnswer(self._outcome(user_id, result), (), connection, scope)
            self._scopes.record_answer(user_id, BrokerService.DATA, *batch)
            quotes.extend(result.value)
            for quote in result.value:
                self._quotes.put((user_id, credential.generation, quote.symbol), quote)
        return self._with_quotes(user_id, quotes)

    async def candles(
        self,
        user_id: str,
        symbol: Symbol,
        resolution: Resolution,
        *,
        start: datetime,
        end: datetime,
        priority: CallPriority = ORDINARY_CALL,
    ) -> CandlesAnswer:
        """Fetch the candles that open in [start, end], in as many calls as Fyers' range limit requires.

        A candle counts as closed if it closed before the request, since an earlier answer may lack its last
        trades.
        """
        requested_at = self._clock.now()
        rows: list[Candle] = []
        span = self._broker.history_span(resolution)
        while start <= end:
            until = min(end, start + span - _MOMENT)
            credential = self._connections.credential(user_id)
            if credential is None:
                outcome = self._outcome_without_session(user_id)
                return self._no_candles(user_id, outcome, FailureScope.ACCOUNT)
            result = await self._broker.candles(
                credential, symbol, resolution, start=start, end=until, priority=priority
            )
            self._record_result(credential, result, symbol, resolution)
            if not isinstance(result, Answered):
                scope = await self._scopes.scope_of(user_id, result, symbol)
                return self._no_candles(user_id, self._outcome(user_id, result), scope)
            self._scopes.record_answer(user_id, BrokerService.HISTORY, symbol)
            rows.extend(self._usable(symbol, result.value))
            start = until + _MOMENT
        calendar = self._calendar.for_symbol(symbol)
        closed, forming = split_closed(arrange_candles(rows).candles, resolution, requested_at, calendar)
        outcome = Outcome.OK if closed or forming else Outcome.NO_DATA
        return CandlesAnswer(outcome, closed, forming, self._connections.connection(user_id))

    def _usable(self, symbol: Symbol, arranged: Arranged) -> list[Candle]:
        # Checked here too: NaN or zero from any adapter would spoil an average for good.
        usable = [candle for candle in arranged.candles if 0 < candle.close <= MAX_PRICE]
        defective = len(arranged.defects) + len(arranged.candles) - len(usable)
        if defective:
            self._log.warning("candles.defective", symbol=symbol.text, count=defective)
        return usable

    async def search_instruments(self, query: str, limit: int = 20) -> InstrumentsAnswer:
        """Search the public symbol masters, which are cached for six hours."""
        instruments = self._instruments.get("all")
        if instruments is None:
            result = await self._instrument_flights.run("all", self._broker.instruments)
            if not isinstance(result, Answered):
                return InstrumentsAnswer(result.outcome, ())
            instruments = result.value
            self._instruments.put("all", instruments)
        found = search_instruments(instruments, query, limit)
        return InstrumentsAnswer(Outcome.OK if found else Outcome.NO_DATA, tuple(found))

    def _record_result(
        self,
        credential: Credential,
        result: BrokerResult[object],
        symbol: Symbol | None,
        resolution: Resolution | None = None,
    ) -> None:
        """Report a result to the connection, and log refusals of the token and of the symbol."""
        user_id = credential.user_id
        connection = self._connections.connection(user_id)
        self._connections.record_result(credential, result)
        if credential.generation != connection.generation:
            return  # the answer to an older token
        name = None if symbol is None else symbol.text
        fields = {"user_id": user_id, "symbol": name, "incident_id": connection.incident_id}
        if isinstance(result, LoginRefused):
            # One cause for all codes: each part of Fyers refuses the same token with its own.
            self._token_failures.record_failure(
                user_id, "refused", code=result.code, path=result.path, **fields
            )
        elif isinstance(result, Answered):
            self._token_failures.record_success(user_id, **fields)
        if symbol is None:
            return
        key = (user_id, symbol, resolution)
        fields["resolution"] = None if resolution is None else resolution.code
        if isinstance(result, RequestRefused):
            self._symbol_failures.record_failure(key, f"code_{result.code}", **fields)
        elif isinstance(result, Answered):
            self._symbol_failures.record_success(key, **fields)

    def _with_quotes(self, user_id: str, quotes: list[Quote]) -> QuotesAnswer:
        outcome = Outcome.OK if quotes else Outcome.NO_DATA
        return QuotesAnswer(outcome, tuple(quotes), self._connections.connection(user_id))

    def _without_session(self, user_id: str) -> QuotesAnswer:
        outcome = self._outcome_without_session(user_id)
        return QuotesAnswer(outcome, (), self._connections.connection(user_id), FailureScope.ACCOUNT)

    def _no_candles(self, user_id: str, outcome: Outcome, scope: FailureScope) -> CandlesAnswer:
        return CandlesAnswer(outcome, (), None, self._connections.connection(user_id), scope)

    def _outcome_without_session(self, user_id: str) -> Outcome:
        # A session under verification is only unavailable.
        has_session = self._connections.connection(user_id).has_session
        return Outcome.UNAVAILABLE if has_session else Outcome.DISCONNECTED

    def _outcome(self, user_id: str, failure: BrokerFailure) -> Outcome:
        if failure.outcome is Outcome.DISCONNECTED:
            return self._outcome_without_session(user_id)
        return failure.outcome
