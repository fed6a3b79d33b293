"""TokenValidationService: asks Fyers whether sessions are still good, gently and for everybody, and never takes doubt for an answer.

A validation is one light call that truly needs the token. Its result is kept for five minutes under account *and* generation, so that a
new login never meets an old result; trouble is not kept at all. What a refusal leads to is decided in ``connections.py``.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
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

MOST_CACHED = 20_000
SWEEP_PER_SECOND = 80.0
"""Accounts a sweep begins per second: about a sixth of the machine's gate, so that watching never waits for validating."""
DEADLINE_S = 15.0
"""For one account's validation, its second look included."""


class ValidationVerdict(StrEnum):
    """What asking Fyers about a session brought."""

    VALID = "valid"
    """Fyers answered a call that needs the token."""
    INVALID = "invalid"
    """There is no session, or asking showed that it is over."""
    UNVERIFIED = "unverified"
    """Fyers could not be asked or is in doubt; the session goes on."""


@dataclass(frozen=True, slots=True)
class Validation:
    """One account's validation."""

    user_id: str
    verdict: ValidationVerdict
    connection: Connection
    checked_at: datetime
    from_cache: bool


@dataclass(frozen=True, slots=True)
class ValidationTotals:
    """A sweep in numbers; `errors` counts accounts whose validation broke for a reason of our own."""

    total: int
    valid: int
    invalid: int
    unverified: int
    errors: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What the cache holds for one account."""

    user_id: str
    is_valid: bool
    age_s: float


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The cache in numbers; holds no token and no hash of one."""

    size: int
    hits: int
    misses: int
    entries: tuple[CacheEntry, ...]
    shared: SharingReport
    """Whether other processes' confirmations count too."""


class TokenValidationService:
    """Validates sessions on demand and in sweeps."""

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
        """Keep what is needed.

        Args:
            context: Time, randomness, the database and the event hub.
            connections: Where answers lead to.
            broker: Fyers.
            metrics: Where validations are counted.
            cache_s: Seconds for which a confirmation counts.
            interval_s: Seconds from sweep to sweep.
            shared: What other processes of this installation have learned; `None` for a process that is alone.
        """
        self._connections = connections
        self._broker = broker
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._random = context.random
        self._metrics = metrics
        self._cache_for = timedelta(seconds=cache_s)
        self._shared = SharedValidation(
            context,
            shared or NotShared(),
            metrics=metrics,
            good_for_s=cache_s,
        )
        self._interval_s = interval_s
        self._cache: TtlCache[tuple[str, int], datetime] = TtlCache(
            context.clock, ttl_s=cache_s, max_entries=MOST_CACHED
        )
        self._flights: SingleFlight[tuple[str, int], Validation] = SingleFlight()
        self._looks: SingleFlight[tuple[str, int], Validation] = SingleFlight()
        self._hits: Counter[str] = Counter()
        self._misses: Counter[str] = Counter()
        self._log = structlog.get_logger(component="TokenValidationService")

    # ---------------------------------------------------------------- one account

    def status_from_cache(self, user_id: str) -> Validation | None:
        """Return the account's validation where no call is needed: no session, or confirmed lately; else `None`."""
        connection = self._connections.connection(user_id)
        if not connection.has_session:
            return self._over(connection)
        remembered = self._remembered(connection)
        if remembered is not None:
            self._hits[user_id] += 1
            self._metrics.cache_hit()
        return remembered

    def _remembered(self, connection: Connection) -> Validation | None:
        user_id = connection.user_id
        checked_at = self._cache.get((user_id, connection.generation)) if connection.is_usable else None
        # Another process' confirmation was some seconds old already when it was put here.
        if checked_at is None or self._clock.now() - checked_at >= self._cache_for:
            return None
        return Validation(user_id, ValidationVerdict.VALID, connection, checked_at, from_cache=True)

    async def validate_fyers_token(self, user_id: str, *, fresh: bool = False) -> Validation:
        """Return whether the account's session is good; concurrent callers share one call, `fresh` skips the cache."""
        since_s = self._real_clock.monotonic()
        cached = None if fresh else self.status_from_cache(user_id)
        if cached is not None:
            return cached
        connection = self._connections.connection(user_id)
        if not connection.has_session:
            return self._over(connection)
        key = (user_id, connection.generation)
        if fresh:
            return await self._flights.run(key, lambda: self._ask(key, since_s))
        self._misses[user_id] += 1
        return await self._looks.run(key, lambda: self._look_or_ask(key, since_s))

    async def _look_or_ask(self, key: tuple[str, int], since_s: float) -> Validation:
        """Take an earlier confirmation of another process', or ask. Callers who want a fresh answer do not join here, but in asking."""
        known = self._take_over(key, await self._shared.recent_confirmation(*key))
        # Somebody who wanted a fresh answer may have got it meanwhile.
        known = known or self._remembered(self._connections.connection(key[0]))
        return known or await self._flights.run(key, lambda: self._ask(key, since_s))

    async def _ask(self, key: tuple[str, int], since_s: float) -> Validation:
        """Ask Fyers, unless another process has asked since the question was put, or its answer comes soon."""
        is_confirmed = False
        try:
            taken_over = self._take_over(key, await self._shared.claim_or_await(*key, since_s=since_s))
            if taken_over is not None:
                return taken_over
            validation = await self._ask_fyers(key[0])
            is_valid = validation.verdict is ValidationVerdict.VALID
            is_confirmed = is_valid and validation.connection.generation == key[1]
        finally:
            await self._shared.record_result(*key, is_confirmed=is_confirmed)
        self._metrics.validation(validation.verdict.value)
        return validation

    async def _ask_fyers(self, user_id: str) -> Validation:
        began_at = self._clock.now()
        try:
            async with clock_timeout(self._real_clock, DEADLINE_S):
                credential = self._connections.credential(user_id)
                if credential is not None:
                    result = await self._broker.check_data(credential)
                    self._connections.record_result(credential, result, is_validation=True)
                await self._connections.wait_for_verification(user_id)
        except TimeoutError:
            pass  # no verdict: the session stands as it stood
        return self._judge(self._connections.connection(user_id), began_at)

    def _take_over(self, key: tuple[str, int], age_s: float | None) -> Validation | None:
        """Let another process' confirmation, so many seconds old, count here too, unless there is doubt about the session or a newer one."""
        if age_s is None:
            return None
        user_id, generation = key
        checked_at = self._clock.now() - timedelta(seconds=age_s)
        if not self._connections.record_confirmation(user_id, generation, at=checked_at):
            return None
        self._cache.put(key, checked_at)
        connection = self._connections.connection(user_id)
        return Validation(user_id, ValidationVerdict.VALID, connection, checked_at, from_cache=True)

    def _judge(self, connection: Connection, began_at: datetime) -> Validation:
        """Say what is known now; only a confirmation that came since `began_at` makes a session valid and is kept."""
        now = self._clock.now()
        if not connection.has_session:
            return self._over(connection)
        validated_at = connection.last_validated_at
        if connection.is_verified and validated_at is not None and validated_at >= began_at:
            self._cache.put((connection.user_id, connection.generation), now)
            return Validation(connection.user_id, ValidationVerdict.VALID, connection, now, from_cache=False)
        return Validation(connection.user_id, ValidationVerdict.UNVERIFIED, connection, now, from_cache=False)

    def _over(self, connection: Connection) -> Validation:
        """A session that is known to be over: nobody is asked, and the answer is as fresh as the clock."""
        return Validation(
            connection.user_id, ValidationVerdict.INVALID, connection, self._clock.now(), from_cache=False
        )

    async def mark_user_as_disconnected(
        self, user_id: str, reason: DisconnectReason, *, actor: str
    ) -> Connection:
        """End an account's session for a reason that a person gave.

        Raises:
            InvalidInput: The reason is one that only Fyers or the clock can give: nobody may claim it for them.
        """
        if reason is DisconnectReason.SIGNED_OUT:
            return await self._connections.sign_out(user_id, actor=actor)
        if reason is DisconnectReason.BY_ADMIN:
            return await self._connections.disconnect_by_admin(user_id, actor=actor)
        raise InvalidInput(
            f"A session ends as {reason.value} by Fyers' answer or its known end, not by hand.",
            field="reason",
        )

    # ---------------------------------------------------------------- everybody

    async def validate_all_active_users(
        self, *, on_progress: Callable[[Validation], None] | None = None
    ) -> ValidationTotals:
        """Validate every account that has a session; one that hangs or breaks delays nobody."""
        active = [
            connection.user_id for connection in self._connections.connections() if connection.has_session
        ]
        return await self.validate_users(active, on_progress=on_progress)

    async def validate_users(
        self, user_ids: Iterable[str], *, on_progress: Callable[[Validation], None] | None = None
    ) -> ValidationTotals:
        """Validate these accounts afresh, begun at `SWEEP_PER_SECOND` in a random order, each on its own."""
        began = self._clock.monotonic()
        order = list(user_ids)
        self._random.shuffle(order)

        async def in_turn(place: int, user_id: str) -> Validation:
            await self._real_clock.sleep(
                (place + self._random.random()) / SWEEP_PER_SECOND if len(order) > 8 else 0
            )
            validation = await self.validate_fyers_token(user_id, fresh=True)
            if on_progress:
                on_progress(validation)
            return validation

        tasks = [
            asyncio.create_task(in_turn(place, user_id), name=f"validate:{user_id}")
            for place, user_id in enumerate(order)
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
        counts = dict.fromkeys(ValidationVerdict, 0)
        errors = 0
        for user_id, result in zip(order, results, strict=True):
            if isinstance(result, Validation):
                counts[result.verdict] += 1
            else:
                errors += 1
                self._log.error("validation.broke", user_id=user_id, error=type(result).__name__)
        return ValidationTotals(
            total=len(order),
            valid=counts[ValidationVerdict.VALID],
            invalid=counts[ValidationVerdict.INVALID],
            unverified=counts[ValidationVerdict.UNVERIFIED],
            errors=errors,
            duration_ms=duration_ms,
        )

    def start_periodic_validation(self, supervisor: Supervisor) -> None:
        """Sweep at start and then every interval."""
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
        """Return what the cache holds, for all accounts or for one."""
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
        """Forget the account's result, here and where it is shared, so that the next question goes to Fyers."""
        key = (user_id, self._connections.connection(user_id).generation)
        self._cache.discard(key)
        await self._shared.forget(*key)

    def session_changed(self, change: ConnectionChange) -> None:
        """Forget what is known of a session that has ended or was replaced."""
        if not change.after.has_session or change.after.generation != change.before.generation:
            self._cache.discard((change.before.user_id, change.before.generation))
