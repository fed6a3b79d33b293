"""Shares confirmations of sessions through Redis. A failing Redis raises nothing and delays nothing for long.

Keys are ``hullwatch:v1:check:<hash>`` and ``hullwatch:v1:claim:<hash>``. The hash is an HMAC of user id and
generation with a salt of this installation, so that a reader of Redis identifies no user. Values are a number
and the name of a process.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from hullwatch.domain.secrets import SecretText
from hullwatch.domain.sessions.shared_checks import (
    Claim,
    Confirmed,
    SharedAnswer,
    SharingReport,
    SharingUnavailable,
    Unconfirmed,
)
from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.circuit import Circuit, CircuitState, Permit
from hullwatch.runtime.clock import Clock

CLAIM_LASTS_S: Final = 20.0
"""Longer than a validation may take. The claim of a killed process expires after that time."""
_COOL_DOWN: Final = Backoff(first_s=1, factor=2, max_s=15, jitter=0.25)
_PREFIX: Final = "hullwatch:v1"
_RELEASE: Final = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
)
"""Lua makes the comparison and the removal one step: another process may have claimed after ours expired."""

_FAILURES: Final = (
    RedisError,
    OSError,
    TimeoutError,
    # Raised by redis-py for replies of an impossible shape, which it does not check.
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RecursionError,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RedisLimits:
    """Limits of the exchanges with Redis, in real seconds."""

    answer_within_s: float = 0.25
    """For one exchange, connecting included. A Redis slower than Fyers itself would be no help."""
    free_within_s: float = 0.5
    """For a free connection. Too many own requests are no sign that Redis failed."""
    most_connections: int = 16


class _NoAnswer:
    """Redis did not answer, or was not called."""


class RedisChecks:
    """Satisfies `SharedChecks` with one Redis, in real time.

    After failures no call is made for a few seconds; then one call tests whether Redis is back. Nothing is
    connected before the first call. No other process has the name `process`, and a confirmation is valid for
    `good_for_s`.

    Raises:
        ValueError: the address is not one of Redis', or has unknown options. It is not quoted.
    """

    def __init__(
        self,
        url: SecretText,
        *,
        salt: SecretText,
        process: str,
        good_for_s: float,
        clock: Clock,
        random: Random,
        limits: RedisLimits | None = None,
    ) -> None:
        self._limits = limits or RedisLimits()
        self._redis: Any = Redis.from_pool(_pool(url, self._limits))
        self._free = asyncio.Semaphore(self._limits.most_connections)
        self._salt = salt
        self._process = process
        self._good_for_ms = max(1, round(good_for_s * 1000))
        self._circuit = Circuit(clock, opens_after=2, cool_down=_COOL_DOWN, random=random)
        self._log = structlog.get_logger(component="TokenValidationService")

    async def confirmation(self, user_id: str, generation: int) -> SharedAnswer:
        """Return the latest confirmation that is not outdated.

        Its age is the part of the key's lifetime that has passed, by Redis' own clock.
        """
        key = self._key("check", user_id, generation)

        async def read() -> list[Any]:
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.get(key)
            pipeline.pttl(key)
            found: list[Any] = await pipeline.execute()
            return found

        found = await self._call(read)
        return SharingUnavailable() if isinstance(found, _NoAnswer) else _read(found)

    async def claim(self, user_id: str, generation: int) -> Claim:
        """Claim the right to call Fyers about this session."""
        key = self._key("claim", user_id, generation)

        async def set_or_compare() -> bool:
            if await self._redis.set(key, self._process, nx=True, px=round(CLAIM_LASTS_S * 1000)):
                return True
            return bool(await self._redis.get(key) == self._process.encode())

        is_ours = await self._call(set_or_compare)
        if isinstance(is_ours, _NoAnswer):
            return Claim.UNKNOWN
        return Claim.OURS if is_ours else Claim.OTHERS

    async def release(self, user_id: str, generation: int) -> None:
        """Release the claim of this process, if it has one."""
        key = self._key("claim", user_id, generation)
        await self._call(lambda: self._redis.eval(_RELEASE, 1, key, self._process))

    async def confirm(self, user_id: str, generation: int) -> None:
        """Store that Fyers has just confirmed the session."""
        key = self._key("check", user_id, generation)
        await self._call(lambda: self._redis.set(key, self._good_for_ms, px=self._good_for_ms))

    async def forget(self, user_id: str, generation: int) -> None:
        """Remove the confirmation."""
        key = self._key("check", user_id, generation)
        await self._call(lambda: self._redis.delete(key))

    def report(self) -> SharingReport:
        """Return whether Redis answers."""
        return SharingReport(is_used=True, is_answering=self._circuit.state is CircuitState.CLOSED)

    async def ping(self) -> bool:
        """Return whether Redis answers. During the pause after failures it is not called."""
        return not isinstance(await self._call(self._redis.ping), _NoAnswer)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    def _key(self, kind: str, user_id: str, generation: int) -> str:
        session = f"{user_id}:{generation}".encode()
        digest = hmac.new(self._salt.reveal().encode(), session, hashlib.sha256).hexdigest()[:40]
        return f"{_PREFIX}:{kind}:{digest}"

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T | _NoAnswer:
        try:
            async with asyncio.timeout(self._limits.free_within_s):
                await self._free.acquire()
        except TimeoutError:
            return _NoAnswer()
        try:
            return await self._exchange(call)
        finally:
            self._free.release()

    async def _exchange(self, call: Callable[[], Awaitable[T]]) -> T | _NoAnswer:
        """Make one exchange. A refusal by Redis counts as no answer."""
        permit = self._circuit.permit()
        if permit is Permit.REFUSED:
            return _NoAnswer()
        try:
            async with asyncio.timeout(self._limits.answer_within_s):
                answer = await call()
        except _FAILURES as error:
            self._record_result(permit, error)
            return _NoAnswer()
        else:
            self._record_result(permit, None)
            return answer
        finally:
            # A cancelled probe proves nothing: the next call becomes the probe.
            self._circuit.abandoned(permit)

    def _record_result(self, permit: Permit, error: Exception | None) -> None:
        """Report the result to the circuit and log a change once, however many exchanges fail together."""
        before = self._circuit.state
        if error is None:
            self._circuit.succeeded(permit)
        else:
            self._circuit.failed("redis", permit)
        was_closed, is_closed = before is CircuitState.CLOSED, self._circuit.state is CircuitState.CLOSED
        if was_closed and not is_closed:
            self._log.warning("redis.failed", error=type(error).__name__)
        elif is_closed and not was_closed:
            self._log.info("redis.recovered")


def _pool(url: SecretText, limits: RedisLimits) -> Any:
    """Return a pool that connects on demand; raise `ValueError` for an address that cannot work."""
    try:
        pool: Any = BlockingConnectionPool.from_url(
            url.reveal(),
            max_connections=limits.most_connections,
            timeout=limits.answer_within_s,
            socket_timeout=limits.answer_within_s,
            socket_connect_timeout=limits.answer_within_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # understood by every Redis version and by compatible servers
        )
        pool.make_connection()  # connects nothing, but fails on unknown options
    except (RedisError, TypeError, ValueError):
        raise ValueError("not an address of Redis, or it has unknown options") from None
    return pool


def _read(found: list[Any]) -> SharedAnswer:
    """Read a value and the rest of its key's lifetime; anything impossible counts as no confirmation."""
    value, left_ms = (*found, None, None)[:2]
    if not isinstance(value, bytes) or not value.isdigit() or len(value) > 12 or not isinstance(left_ms, int):
        return Unconfirmed()
    age_ms = int(value) - left_ms
    return Confirmed(age_ms / 1000) if left_ms > 0 and age_ms >= 0 else Unconfirmed()
