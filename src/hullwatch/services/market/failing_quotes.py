"""Remembers the symbols whose quotes calls fail while Fyers answers for others."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.instruments import Symbol
from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.clock import Clock
from hullwatch.runtime.ttl_cache import TtlCache

MAX_ISOLATION_CALLS: Final = 16
"""Calls that may be used to find the failing symbols of one list, at most once a minute and account.

One symbol among 50 is found with 12 calls; Fyers allows an account 200 a minute.
"""
ISOLATE_EVERY_S: Final = 60.0
MAX_RETRIED: Final = 4
"""Failing symbols that are tried again in one round, each with a call of its own."""
RETRY: Final = Backoff(first_s=5.0, factor=2.0, max_s=300.0, jitter=0.2)
MAX_ACCOUNTS: Final = 50_000


@dataclass(slots=True)
class _Failing:
    outcome: Outcome
    failures: int
    retry_at_s: float


@dataclass(slots=True)
class _Account:
    symbols: dict[Symbol, _Failing] = field(default_factory=dict)
    isolated_at_s: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Split:
    """The symbols of a request, by how they are fetched now."""

    together: tuple[Symbol, ...]
    alone: tuple[Symbol, ...]
    """Failing symbols whose next try is due."""
    waiting: dict[Symbol, Outcome]
    """Failing symbols that are not tried now, with the outcome of their last call."""


class FailingQuotes:
    """The failing symbols of each account; forgotten a day after the last failure."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._accounts: TtlCache[str, _Account] = TtlCache(clock, ttl_s=86_400.0, max_entries=MAX_ACCOUNTS)

    def split(self, user_id: str, symbols: Sequence[Symbol]) -> Split:
        """Return which of the symbols are fetched together, alone or not at all."""
        account, now_s = self._accounts.get(user_id), self._clock.monotonic()
        failing = {} if account is None else account.symbols
        due = [symbol for symbol in symbols if symbol in failing and failing[symbol].retry_at_s <= now_s][
            :MAX_RETRIED
        ]
        return Split(
            together=tuple(symbol for symbol in symbols if symbol not in failing),
            alone=tuple(due),
            waiting={
                symbol: failing[symbol].outcome
                for symbol in symbols
                if symbol in failing and symbol not in due
            },
        )

    def record_failure(self, user_id: str, symbol: Symbol, outcome: Outcome) -> None:
        """Record that a call about this symbol alone failed, and plan its next try."""
        account = self._accounts.get(user_id) or _Account()
        before = account.symbols.get(symbol)
        failures = 1 if before is None else before.failures + 1
        retry_at_s = self._clock.monotonic() + RETRY.delay(failures, self._random)
        account.symbols[symbol] = _Failing(outcome, failures, retry_at_s)
        self._accounts.put(user_id, account)

    def record_answer(self, user_id: str, symbols: Sequence[Symbol]) -> None:
        """Record that calls about these symbols are answered again."""
        account = self._accounts.get(user_id)
        if account is not None:
            for symbol in symbols:
                account.symbols.pop(symbol, None)

    def begin_isolation(self, user_id: str) -> bool:
        """Return whether the failing symbols of a list may be searched now."""
        account, now_s = self._accounts.get(user_id) or _Account(), self._clock.monotonic()
        if now_s - account.isolated_at_s < ISOLATE_EVERY_S:
            return False
        account.isolated_at_s = now_s
        self._accounts.put(user_id, account)
        return True
