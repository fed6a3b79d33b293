"""Decides whether a failed call about a symbol concerns the symbol, the account or a service of Fyers.

The failure concerns the symbol if the same service answered the account for another symbol within a minute.
Otherwise one call about an index decides. Callers that ask at the same time share it.
"""

from dataclasses import dataclass, field
from typing import Final

from hullwatch.domain.failures import (
    Answered,
    BrokerFailure,
    BrokerService,
    FailureScope,
    LoginRefused,
    NotPermitted,
    RateLimited,
    RequestRefused,
    SessionDisconnected,
    Unavailable,
    UnclearRefusal,
)
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.sessions.connection import Credential
from hullwatch.runtime.single_flight import SingleFlight
from hullwatch.runtime.ttl_cache import TtlCache
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort
from hullwatch.services.sessions.service import ConnectionService

ANSWER_COUNTS_S: Final = 60.0
"""How long an answer for another symbol shows that the service works."""
DECISION_COUNTS_S: Final = 10.0
"""How long the result of a failed index call is used for the account: at most six such calls a minute."""
REFUSAL_COUNTS_S: Final = 900.0
"""How long after a refusal with HTTP 401 a further one of the same service is compared with an index call first.

Longer than the longest wait between two calls about a failing symbol.
"""
INDICES: Final = (
    Symbol("NSE:NIFTY50-INDEX"),
    Symbol("NSE:NIFTYBANK-INDEX"),
    Symbol("BSE:SENSEX-INDEX"),
)
"""Symbols that Fyers always serves; the next one is used when the one before it fails."""
MAX_ACCOUNTS: Final = 50_000
_HELD_BACK: Final = frozenset({"circuit_open", "cloudflare_blocked"})
_NOT_SENT: Final = frozenset({"too_many_in_flight", "unsendable_header"})


@dataclass(slots=True)
class _Answers:
    """What one service answered one account."""

    latest: list[tuple[Symbol, float]] = field(default_factory=list)
    """The two symbols with the latest answers, and when: enough to know one beside any failing symbol."""
    failed_indices: dict[Symbol, float] = field(default_factory=dict)
    decision: tuple[FailureScope, float] | None = None
    """The scope that the last index call found, and when."""

    def record_answer(self, symbol: Symbol, at_s: float) -> None:
        self.latest = [*(one for one in self.latest if one[0] != symbol), (symbol, at_s)][-2:]
        self.failed_indices.pop(symbol, None)
        self.decision = None

    def record_failure(self, symbol: Symbol, at_s: float) -> None:
        self.latest = [one for one in self.latest if one[0] != symbol]
        if symbol in INDICES:
            self.failed_indices[symbol] = at_s

    def has_answer_since(self, since_s: float) -> bool:
        return any(at_s >= since_s for _, at_s in self.latest)

    def index(self, since_s: float) -> Symbol:
        """Return the first index that has not failed lately; the first of all if each has."""
        usable = (one for one in INDICES if self.failed_indices.get(one, float("-inf")) < since_s)
        return next(usable, INDICES[0])


_Key = tuple[str, BrokerService]


class FailureScopes:
    """Remembers which services answered which accounts, for a minute."""

    def __init__(self, context: Context, *, connections: ConnectionService, broker: BrokerPort) -> None:
        self._clock = context.clock.real
        self._connections = connections
        self._broker = broker
        self._answers: TtlCache[_Key, _Answers] = TtlCache(
            self._clock, ttl_s=2 * ANSWER_COUNTS_S, max_entries=MAX_ACCOUNTS
        )
        self._accounts: dict[BrokerService, dict[str, float]] = {}
        """Service → the two accounts that it answered last, and when."""
        self._refusals: TtlCache[_Key, int] = TtlCache(
            self._clock, ttl_s=REFUSAL_COUNTS_S, max_entries=MAX_ACCOUNTS
        )
        """The generations of the tokens that a service refused lately."""
        self._flights: SingleFlight[tuple[_Key, Symbol], FailureScope] = SingleFlight()

    def record_answer(self, user_id: str, service: BrokerService, *symbols: Symbol) -> None:
        """Record that a service answered an account for these symbols."""
        now_s, answers = self._clock.monotonic(), self._of((user_id, service))
        for symbol in symbols[:2]:
            answers.record_answer(symbol, now_s)
        accounts = self._accounts.setdefault(service, {})
        accounts.pop(user_id, None)
        accounts[user_id] = now_s
        if len(accounts) > 2:
            del accounts[next(iter(accounts))]

    async def scope_of(self, user_id: str, failure: BrokerFailure, *symbols: Symbol) -> FailureScope:
        """Return what the failure of a call about these symbols concerns; makes at most one call."""
        answers = self._of((user_id, failure.service))
        now_s = self._clock.monotonic()
        is_sent = not (isinstance(failure, Unavailable) and failure.cause in _NOT_SENT)
        if is_sent:
            for symbol in symbols:
                answers.record_failure(symbol, now_s)
        if (scope := _scope_of_kind(failure)) is not None:
            return scope
        if answers.has_answer_since(now_s - ANSWER_COUNTS_S):
            return FailureScope.SYMBOL
        if not is_sent:
            return FailureScope.ACCOUNT
        if answers.decision is not None and now_s - answers.decision[1] < DECISION_COUNTS_S:
            return answers.decision[0]
        key, index = (user_id, failure.service), answers.index(now_s - ANSWER_COUNTS_S)
        return await self._flights.run((key, index), lambda: self._decide(key, index))

    async def is_refusal_of_symbols(
        self, credential: Credential, refusal: LoginRefused, *symbols: Symbol
    ) -> bool:
        """Whether a refusal with HTTP 401 concerns these symbols, and says nothing about the session.

        The first refusal is a matter of the session, which is verified by other calls. If the session is kept and
        the same service refuses again, an index call decides. Otherwise one symbol that Fyers refuses in this way
        would have the session verified in every cycle, and the calls about all other symbols would wait for that.
        """
        key = (credential.user_id, refusal.service)
        is_first = self._refusals.get(key) != credential.generation
        self._refusals.put(key, credential.generation)
        if is_first or credential.lease.is_closed or credential.lease.is_under_verification:
            return False
        answers, now_s = self._of(key), self._clock.monotonic()
        for symbol in symbols:
            answers.record_failure(symbol, now_s)
        index = answers.index(now_s - ANSWER_COUNTS_S)
        return await self._flights.run((key, index), lambda: self._decide(key, index)) is FailureScope.SYMBOL

    async def _decide(self, key: _Key, index: Symbol) -> FailureScope:
        user_id, service = key
        credential = self._connections.credential(user_id)
        if credential is None:
            return FailureScope.ACCOUNT
        result = await self._broker.check_symbol(credential, service, index)
        self._connections.record_result(credential, result)
        if isinstance(result, Answered | RequestRefused):
            self.record_answer(user_id, service, index)
            return FailureScope.SYMBOL
        now_s, accounts = self._clock.monotonic(), self._accounts.setdefault(service, {})
        accounts.pop(user_id, None)
        is_of_account = isinstance(
            result, NotPermitted | LoginRefused | UnclearRefusal | SessionDisconnected | RateLimited
        )
        if not _is_held_back(result) and (
            is_of_account or any(now_s - at_s < ANSWER_COUNTS_S for at_s in accounts.values())
        ):
            scope = FailureScope.ACCOUNT
        else:
            scope = FailureScope.SERVICE
        self._of(key).decision = (scope, now_s)
        return scope

    def _of(self, key: _Key) -> _Answers:
        answers = self._answers.get(key) or _Answers()
        self._answers.put(key, answers)
        return answers


def _scope_of_kind(failure: BrokerFailure) -> FailureScope | None:
    """Return the scope of a failure that needs no further evidence."""
    if isinstance(failure, RequestRefused):
        return FailureScope.SYMBOL
    if isinstance(failure, LoginRefused | SessionDisconnected | RateLimited):
        return FailureScope.ACCOUNT
    return FailureScope.SERVICE if _is_held_back(failure) else None


def _is_held_back(failure: BrokerFailure) -> bool:
    """Whether a circuit kept the call from being sent, which several accounts had opened."""
    return isinstance(failure, Unavailable) and failure.http_status is None and failure.cause in _HELD_BACK
