"""Quotes, candles and market hours for one account at a time, through that account's own session.

A failure of Fyers is a typed outcome beside an empty list; nothing is raised for it and it is not cached.
Exchange data is never shared between accounts.
"""

from collections import deque
from collections.abc import Callable, Sequence
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
    UnclearRefusal,
)
from hullwatch.domain.market.calendar import MarketStatus
from hullwatch.domain.market.call_priority import MONITORING_QUOTES, ORDINARY_CALL, CallPriority
from hullwatch.domain.market.candles import MAX_PRICE, Arranged, Candle, arrange_candles, split_closed
from hullwatch.domain.market.clock_offset import LARGEST_FOLLOWED_S, NO_OFFSET, ClockOffset
from hullwatch.domain.market.instruments import Instrument, Resolution, Segment, Symbol, search_instruments
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.market.spelling import closest, guess_symbol
from hullwatch.domain.sessions.connection import Connection, Credential
from hullwatch.runtime.clock import clock_timeout
from hullwatch.runtime.single_flight import SingleFlight
from hullwatch.runtime.ttl_cache import TtlCache
from hullwatch.services.context import Context
from hullwatch.services.market.circuit_limits import DayLimits
from hullwatch.services.market.failing_quotes import MAX_ISOLATION_CALLS, FailingQuotes
from hullwatch.services.market.failure_log import FailureLog
from hullwatch.services.market.failure_scope import FailureScopes
from hullwatch.services.ports import BrokerPort
from hullwatch.services.sessions.service import ConnectionService

QUOTE_FRESH_S = 1.0
"""How long a quote is cached for the account that fetched it."""
MAX_CACHED_QUOTES = 50_000
INSTRUMENTS_FRESH_S = 6 * 3600.0
SUGGESTION_WITHIN_S = 3.0
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class MissingQuote:
    """A requested symbol without a quote."""

    symbol: Symbol
    outcome: Outcome
    """*No data* if Fyers answered without a quote for it, else the failure of the call about it."""


@dataclass(frozen=True, slots=True)
class QuotesAnswer:
    """Quotes of one account; empty unless `outcome` is ok.

    The outcome is *no data* if Fyers can quote none of the symbols.
    """

    outcome: Outcome
    quotes: tuple[Quote, ...]
    connection: Connection
    scope: FailureScope | None = None
    """What the failure concerns; `None` if there is none."""
    missing: tuple[MissingQuote, ...] = ()
    """Requested symbols without a quote, unless the failure concerns more than symbols."""


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


HistoryComparison = Callable[[str, Symbol, Resolution, Sequence[Candle]], None]
"""Gets the closed candles that a user's page or program received, to compare them with those that monitoring used."""


class MarketService:
    """Fetches market data with the credential of the account that receives it."""

    def __init__(self, context: Context, *, connections: ConnectionService, broker: BrokerPort) -> None:
        self._connections = connections
        self._broker = broker
        self._failing_quotes = FailingQuotes(context.clock, context.random)
        self._scopes = FailureScopes(context, connections=connections, broker=broker)
        self._calendar = context.calendar
        self._clock = context.clock
        self._limits = DayLimits(context.clock)
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
        offset = self._broker.clock_offset()
        # The market hours follow this server's clock, so beyond that one of both clocks is of no use.
        return NO_OFFSET if offset is None or abs(offset.estimate_s) > LARGEST_FOLLOWED_S else offset

    async def quotes(self, user_id: str, symbols: Sequence[Symbol]) -> QuotesAnswer:
        """Return quotes for these symbols, a second old at most."""
        connection = self._connections.connection(user_id)
        if not connection.has_session:
            return self._without_session(user_id)
        found = {
            symbol: self._quotes.get((user_id, connection.generation, symbol))
            for symbol in dict.fromkeys(symbols)
        }
        absent = [symbol for symbol, quote in found.items() if quote is None]
        missing: tuple[MissingQuote, ...] = ()
        if absent:
            fresh = await self.fresh_quotes(user_id, absent)
            if fresh.scope not in (None, FailureScope.SYMBOL):
                return fresh
            missing = fresh.missing
            found.update((quote.symbol, quote) for quote in fresh.quotes if quote.symbol in found)
        return self._with_quotes(user_id, [quote for quote in found.values() if quote is not None], missing)

    async def fresh_quotes(
        self, user_id: str, symbols: Sequence[Symbol], *, priority: CallPriority = ORDINARY_CALL
    ) -> QuotesAnswer:
        """Fetch quotes in batches of Fyers' limit; a failure that concerns more than symbols ends the whole.

        A batch that fails because of some of its symbols is halved until they are found. They are tried again
        alone and seldom.
        """
        split = self._failing_quotes.split(user_id, list(dict.fromkeys(symbols)))
        size = self._broker.quotes_per_call
        batches = deque(split.together[start : start + size] for start in range(0, len(split.together), size))
        batches.extend((symbol,) for symbol in split.alone)
        quotes: list[Quote] = []
        missing = dict(split.waiting)
        halvings: int | None = None
        while batches:
            batch = batches.popleft()
            result = await self._quotes_of(user_id, batch, priority)
            if isinstance(result, QuotesAnswer):
                return result
            if not isinstance(result, Outcome):
                quotes.extend(result)
                found = {quote.symbol for quote in result}
                missing.update((symbol, Outcome.NO_DATA) for symbol in batch if symbol not in found)
                continue
            if len(batch) == 1:
                self._failing_quotes.record_failure(user_id, batch[0], result)
            elif halvings is None:
                may_search = self._failing_quotes.begin_isolation(user_id)
                halvings = MAX_ISOLATION_CALLS // 2 if may_search else 0
            if len(batch) > 1 and halvings:
                halvings -= 1
                middle = len(batch) // 2
                batches.extendleft((batch[middle:], batch[:middle]))
            else:
                missing.update(dict.fromkeys(batch, result))
        return self._with_quotes(
            user_id, quotes, tuple(MissingQuote(symbol, outcome) for symbol, outcome in missing.items())
        )

    async def _quotes_of(
        self, user_id: str, batch: tuple[Symbol, ...], priority: CallPriority
    ) -> tuple[Quote, ...] | Outcome | QuotesAnswer:
        """Make one call; return the quotes, the outcome of a failure of symbols, or the answer to any other failure."""
        credential = self._connections.credential(user_id)
        if credential is None:
            return self._without_session(user_id)
        result = await self._broker.quotes(credential, batch, priority=priority)
        is_of_symbols = await self._is_refusal_of_symbols(credential, result, *batch)
        name = batch[0] if len(batch) == 1 else None
        self._record_result(credential, result, name, is_of_symbols=is_of_symbols)
        if isinstance(result, Answered):
            self._scopes.record_answer(user_id, BrokerService.DATA, *batch)
            self._failing_quotes.record_answer(user_id, batch)
            quotes = self._limits.applied(result.value)
            for quote in quotes:
                self._quotes.put((user_id, credential.generation, quote.symbol), quote)
            return quotes
        outcome = self._outcome(user_id, result)
        if is_of_symbols:
            return outcome
        scope = await self._scopes.scope_of(user_id, result, *batch)
        if scope is FailureScope.SYMBOL:
            return outcome
        return QuotesAnswer(outcome, (), self._connections.connection(user_id), scope)

    async def read_circuit_limits(self, user_id: str, quotes: Sequence[Quote]) -> None:
        """Read the circuit limits of the quotes that may be outside them, a few at once; later quotes have them."""
        for symbol in self._limits.claim(quotes):
            credential = self._connections.credential(user_id)
            if credential is None:
                return
            result = await self._broker.circuit_limits(credential, symbol, priority=MONITORING_QUOTES)
            is_of_symbol = await self._is_refusal_of_symbols(credential, result, symbol)
            self._record_result(credential, result, None, is_of_symbols=is_of_symbol)
            self._limits.record(symbol, result.value if isinstance(result, Answered) else None)

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
            is_of_symbol = await self._is_refusal_of_symbols(credential, result, symbol)
            self._record_result(credential, result, symbol, resolution, is_of_symbols=is_of_symbol)
            if not isinstance(result, Answered):
                scope = FailureScope.SYMBOL
                if not is_of_symbol:
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

    async def suggestion(self, symbol: Symbol) -> Symbol | None:
        """Return a listed symbol that resembles this one, or an index of this name; `None` without one.

        It waits only briefly for the symbol masters: a quotes request must not depend on a public file.
        """
        guess = guess_symbol(symbol.text)
        if guess is not None and guess != symbol.text:
            return Symbol(guess)
        try:
            async with clock_timeout(self._clock.real, SUGGESTION_WITHIN_S):
                instruments = await self._listed()
        except TimeoutError:
            return None
        if not isinstance(instruments, tuple):
            return None
        found = closest(symbol.text, (one.symbol.text for one in instruments))
        return None if found is None else Symbol(found)

    async def search_instruments(self, query: str, limit: int = 20) -> InstrumentsAnswer:
        """Search the public symbol masters, which are cached for six hours."""
        instruments = await self._listed()
        if not isinstance(instruments, tuple):
            return InstrumentsAnswer(instruments.outcome, ())
        found = search_instruments(instruments, query, limit)
        return InstrumentsAnswer(Outcome.OK if found else Outcome.NO_DATA, tuple(found))

    async def _listed(self) -> tuple[Instrument, ...] | BrokerFailure:
        instruments = self._instruments.get("all")
        if instruments is None:
            result = await self._instrument_flights.run("all", self._broker.instruments)
            if not isinstance(result, Answered):
                return result
            instruments = result.value
            self._instruments.put("all", instruments)
        return instruments

    async def _is_refusal_of_symbols(
        self, credential: Credential, result: BrokerResult[object], *symbols: Symbol
    ) -> bool:
        return isinstance(result, LoginRefused) and await self._scopes.is_refusal_of_symbols(
            credential, result, *symbols
        )

    def _record_result(
        self,
        credential: Credential,
        result: BrokerResult[object],
        symbol: Symbol | None,
        resolution: Resolution | None = None,
        *,
        is_of_symbols: bool,
    ) -> None:
        """Report a result to the connection, and log refusals of the token and of the symbol.

        A refusal of the symbols alone (`is_of_symbols`) is not reported.
        """
        user_id = credential.user_id
        connection = self._connections.connection(user_id)
        if not is_of_symbols:
            self._connections.record_result(credential, result)
        if credential.generation != connection.generation:
            return  # the answer to an older token
        name = None if symbol is None else symbol.text
        fields = {"user_id": user_id, "symbol": name, "incident_id": connection.incident_id}
        if isinstance(result, LoginRefused | UnclearRefusal) and not is_of_symbols:
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
        if isinstance(result, RequestRefused) or (is_of_symbols and isinstance(result, LoginRefused)):
            self._symbol_failures.record_failure(key, f"code_{result.code}", **fields)
        elif isinstance(result, Answered):
            self._symbol_failures.record_success(key, **fields)

    def _with_quotes(
        self, user_id: str, quotes: list[Quote], missing: tuple[MissingQuote, ...]
    ) -> QuotesAnswer:
        """Return the quotes; without any, the outcome is the first failure among the missing symbols."""
        connection = self._connections.connection(user_id)
        failures = [one.outcome for one in missing if one.outcome is not Outcome.NO_DATA]
        if quotes or not failures:
            outcome = Outcome.OK if quotes else Outcome.NO_DATA
            return QuotesAnswer(outcome, tuple(quotes), connection, missing=missing)
        return QuotesAnswer(failures[0], (), connection, FailureScope.SYMBOL, missing)

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
