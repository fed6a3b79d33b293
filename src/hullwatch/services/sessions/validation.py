"""TokenValidationService: calls Fyers to find out whether sessions are still valid, one by one and for all accounts."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.sessions.connection import Connection, ConnectionChange, DisconnectReason
from hullwatch.domain.sessions.shared_checks import SharingReport
from hullwatch.runtime.clock import clock_timeout
from hullwatch.runtime.single_flight import SingleFlight
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.runtime.ttl_cache import TtlCache
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort, SharedChecks
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.sessions.shared_validation import NotShared, SharedValidation

MAX_CACHED = 20_000
SWEEP_PER_SECOND = 80.0
"""Accounts per second in a sweep: a sixth of the global rate limit, so that monitoring never waits for validations."""
DEADLINE_S = 15.0
"""For one account's validation, including the first result of its verification."""
DECISION_DEADLINE_S = 25.0
"""For the decision about a refused session, which takes `CONFIRM_AGAIN_S` where few accounts have sessions."""


class ValidationResult(StrEnum):
    """The result of a validation."""

    VALID = "valid"
    """Fyers answered a call that needs the token."""
    INVALID = "invalid"
    """There is no session, or Fyers has ended it."""
    UNVERIFIED = "unverified"
    """Fyers could not be reached, or the verification is not complete; the session stays."""


@dataclass(frozen=True, slots=True)
class Validation:
    """One account's validation."""

    user_id: str
    result: ValidationResult
    connection: Connection
    checked_at: datetime
    from_cache: bool


@dataclass(frozen=True, slots=True)
class ValidationTotals:
    """The counts of a sweep; `errors` counts accounts whose validation failed by a defect of the server."""

    total: int
    valid: int
    invalid: int
    unverified: int
    errors: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The cached result of one account."""

    user_id: str
    is_valid: bool
    age_s: float


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The counts and entries of the cache, without tokens and hashes of tokens."""

    size: int
    hits: int
    misses: int
    entries: tuple[CacheEntry, ...]
    shared: SharingReport
    """Whether confirmations of other processes are used."""


class TokenValidationService:
    """Validates sessions on demand and in sweeps.

    A validation is one light call that needs the token. A confirmation is cached under account *and* generation, so
    that it never counts for a newer login. Other results are not cached.

    Args:
        context: Time and randomness.
        connections: Gets every result.
        broker: Fyers.
        metrics: Counts the validations.
        cache_s: Seconds for which a confirmation counts.
        interval_s: Seconds from sweep to sweep.
        shared: Confirmations of other processes; `None` for a single process.
    """

    def __init__(
        self,
        context: Context,
        *,
        connections: ConnectionService,
        broker: BrokerPort,
        metrics: MetricsPort,
        cache_s: float = 300.0,
        interval_s: float = 1800.0,
        shared: SharedChecks | None = None,
    ) -> None:
        self._connections = connections
        self._broker = broker
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._random = context.random
        self._metrics = metrics
        self._cache_s = cache_s
        self._shared = SharedValidation(
            context,
            shared or NotShared(),
            metrics=metrics,
            good_for_s=cache_s,
        )
        self._interval_s = interval_s
        self._cache: TtlCache[tuple[str, int], tuple[datetime, float]] = TtlCache(
            context.clock, ttl_s=cache_s, max_entries=MAX_CACHED
        )
        self._fresh_calls: SingleFlight[tuple[str, int], Validation] = SingleFlight()
        self._calls: SingleFlight[tuple[str, int], Validation] = SingleFlight()
        self._hits: Counter[str] = Counter()
        self._misses: Counter[str] = Counter()
        self._log = structlog.get_logger(component="TokenValidationService")

    # ---------------------------------------------------------------- one account

    def status_from_cache(self, user_id: str) -> Validation | None:
        """Return the account's validation when no call is necessary: without a session, or with a cached confirmation."""
        connection = self._connections.connection(user_id)
        if not connection.has_session:
            return self._invalid(connection)
        cached = self._cached(connection)
        if cached is not None:
            self._hits[user_id] += 1
            self._metrics.cache_hit()
        return cached

    def _cached(self, connection: Connection) -> Validation | None:
        user_id = connection.user_id
        cached = self._cache.get((user_id, connection.generation)) if connection.is_usable else None
        if cached is None:
            return None
        checked_at, checked_s = cached
        # A confirmation of another process was some seconds old when it was put here.
        if self._clock.monotonic() - checked_s >= self._cache_s:
            return None
        return Validation(user_id, ValidationResult.VALID, connection, checked_at, from_cache=True)

    async def validate_fyers_token(
        self, user_id: str, *, fresh: bool = False, until_decided: bool = False
    ) -> Validation:
        """Return whether the account's session is valid; concurrent callers share one call.

        Args:
            user_id: The account.
            fresh: Call Fyers even if there is a cached confirmation.
            until_decided: Wait for the decision about a refused session, `DECISION_DEADLINE_S` at most.
        """
        since_s = self._real_clock.monotonic()
        cached = None if fresh else self.status_from_cache(user_id)
        if cached is not None:
            return cached
        connection = self._connections.connection(user_id)
        if not connection.has_session:
            return self._invalid(connection)
        key = (user_id, connection.generation)
        if fresh:
            validation = await self._fresh_calls.run(key, lambda: self._call(key, since_s))
            return await self._wait_for_decision(validation) if until_decided else validation
        self._misses[user_id] += 1
        return await self._calls.run(key, lambda: self._read_shared_or_call(key, since_s))

    async def _read_shared_or_call(self, key: tuple[str, int], since_s: float) -> Validation:
        """Use an earlier confirmation of another process, or call Fyers."""
        known = self._use_shared(key, await self._shared.recent_confirmation(*key))
        # A caller with `fresh` may have got a confirmation meanwhile.
        known = known or self._cached(self._connections.connection(key[0]))
        return known or await self._fresh_calls.run(key, lambda: self._call(key, since_s))

    async def _call(self, key: tuple[str, int], since_s: float) -> Validation:
        """Call Fyers, unless another process has called since the request began, or its result arrives soon."""
        is_confirmed = False
        try:
            shared = self._use_shared(key, await self._shared.claim_or_await(*key, since_s=since_s))
            if shared is not None:
                return shared
            validation = await self._call_fyers(key[0])
            is_valid = validation.result is ValidationResult.VALID
            is_confirmed = is_valid and validation.connection.generation == key[1]
        finally:
            await self._shared.record_result(*key, is_confirmed=is_confirmed)
        self._metrics.validation(validation.result.value)
        return validation

    async def _call_fyers(self, user_id: str) -> Validation:
        began_at = self._clock.now()
        try:
            async with clock_timeout(self._real_clock, DEADLINE_S):
                credential = self._connections.credential(user_id)
                if credential is not None:
                    result = await self._broker.check_data(credential)
                    self._connections.record_result(credential, result, is_validation=True)
                await self._connections.wait_for_verification(user_id)
        except TimeoutError:
            pass  # Without a result the session stays as it is.
        return self._result(self._connections.connection(user_id), began_at)

    async def _wait_for_decision(self, validation: Validation) -> Validation:
        with suppress(TimeoutError):
            async with clock_timeout(self._real_clock, DECISION_DEADLINE_S):
                await self._connections.wait_for_verification(validation.user_id, until_decided=True)
        connection = self._connections.connection(validation.user_id)
        if connection == validation.connection:
            return validation
        return self._result(connection, validation.checked_at)

    def _use_shared(self, key: tuple[str, int], age_s: float | None) -> Validation | None:
        """Use the confirmation of another process, unless the session is under verification or was replaced."""
        if age_s is None:
            return None
        user_id, generation = key
        checked_at = self._clock.now() - timedelta(seconds=age_s)
        if not self._connections.record_confirmation(user_id, generation, at=checked_at):
            return None
        self._cache.put(key, (checked_at, self._clock.monotonic() - age_s))
        connection = self._connections.connection(user_id)
        return Validation(user_id, ValidationResult.VALID, connection, checked_at, from_cache=True)

    def _result(self, connection: Connection, began_at: datetime) -> Validation:
        """Return the validation; only a confirmation since `began_at` makes a session valid and is cached."""
        now = self._clock.now()
        if not connection.has_session:
            return self._invalid(connection)
        validated_at = connection.last_validated_at
        if connection.is_verified and validated_at is not None and validated_at >= began_at:
            self._cache.put((connection.user_id, connection.generation), (now, self._clock.monotonic()))
            return Validation(connection.user_id, ValidationResult.VALID, connection, now, from_cache=False)
        return Validation(connection.user_id, ValidationResult.UNVERIFIED, connection, now, from_cache=False)

    def _invalid(self, connection: Connection) -> Validation:
        return Validation(
            connection.user_id, ValidationResult.INVALID, connection, self._clock.now(), from_cache=False
        )

    async def mark_user_as_disconnected(
        self, user_id: str, reason: DisconnectReason, *, actor: str
    ) -> Connection:
        """Disconnect an account's session for a reason that a person gave.

        Raises:
            InvalidInput: Only Fyers or the expiry can be the reason.
            StorageUnavailable: The database is unavailable, and this process has not loaded the connections.
        """
        if reason is DisconnectReason.SIGNED_OUT:
            return await self._connections.sign_out(user_id, actor=actor)
        if reason is DisconnectReason.BY_ADMIN:
            return await self._connections.disconnect_by_admin(user_id, actor=actor)
        raise InvalidInput(
            f"Only Fyers or the expiry can disconnect a session as {reason.value}.",
            field="reason",
        )

    # ---------------------------------------------------------------- all accounts

    async def validate_all_active_users(
        self, *, on_progress: Callable[[Validation], None] | None = None
    ) -> ValidationTotals:
        """Validate every account that has a session; one that hangs or fails does not delay the others."""
        active = [
            connection.user_id for connection in self._connections.connections() if connection.has_session
        ]
        return await self.validate_users(active, on_progress=on_progress)

    async def validate_users(
        self,
        user_ids: Iterable[str],
        *,
        on_progress: Callable[[Validation], None] | None = None,
        until_decided: bool = False,
    ) -> ValidationTotals:
        """Validate these accounts without the cache, at `SWEEP_PER_SECOND`, in a random order."""
        began = self._clock.monotonic()
        order = list(user_ids)
        self._random.shuffle(order)

        async def validate(position: int, user_id: str) -> Validation:
            await self._real_clock.sleep(
                (position + self._random.random()) / SWEEP_PER_SECOND if len(order) > 8 else 0
            )
            validation = await self.validate_fyers_token(user_id, fresh=True, until_decided=until_decided)
            if on_progress:
                on_progress(validation)
            return validation

        tasks = [
            asyncio.create_task(validate(position, user_id), name=f"validate:{user_id}")
            for position, user_id in enumerate(order)
        ]
        try:
            results = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for task in tasks:
                task.cancel()
        return self._totals(order, results, duration_ms=round((self._clock.monotonic() - began) * 1000))

    def _totals(
        self, order: list[str], results: list[Validation | BaseException], *, duration_ms: int
    ) -> ValidationTotals:
        counts = dict.fromkeys(ValidationResult, 0)
        errors = 0
        for user_id, result in zip(order, results, strict=True):
            if isinstance(result, Validation):
                counts[result.result] += 1
            else:
                errors += 1
                self._log.error("validation.failed", user_id=user_id, error=type(result).__name__)
        return ValidationTotals(
            total=len(order),
            valid=counts[ValidationResult.VALID],
            invalid=counts[ValidationResult.INVALID],
            unverified=counts[ValidationResult.UNVERIFIED],
            errors=errors,
            duration_ms=duration_ms,
        )

    def start_periodic_validation(self, supervisor: Supervisor) -> None:
        """Start the sweeps: one at the start, then one per interval."""
        supervisor.every("token-validation", self._interval_s, self._sweep, jitter_s=self._interval_s / 60)

    async def _sweep(self) -> None:
        totals = await self.validate_all_active_users()
        self._log.info(
            "validation.swept",
            total=totals.total,
            valid=totals.valid,
            invalid=totals.invalid,
            unverified=totals.unverified,
            errors=totals.errors,
            duration_ms=totals.duration_ms,
        )

    # ---------------------------------------------------------------- the cache

    def get_cache_stats(self, user_id: str | None = None) -> CacheStats:
        """Return the cached results, of all accounts or of one."""
        entries = tuple(
            CacheEntry(item.key[0], is_valid=True, age_s=item.age_s)
            for item in self._cache.items()
            if user_id is None or item.key[0] == user_id
        )
        hits, misses = (
            (self._hits.total(), self._misses.total())
            if user_id is None
            else (self._hits[user_id], self._misses[user_id])
        )
        return CacheStats(len(entries), hits, misses, entries, self._shared.report())

    async def clear_user_cache(self, user_id: str) -> None:
        """Forget the account's cached and shared result, so that the next validation calls Fyers."""
        key = (user_id, self._connections.connection(user_id).generation)
        self._cache.discard(key)
        await self._shared.forget(*key)

    def session_changed(self, change: ConnectionChange) -> None:
        """Forget the cached result of a session that was disconnected or replaced."""
        if not change.after.has_session or change.after.generation != change.before.generation:
            self._cache.discard((change.before.user_id, change.before.generation))
