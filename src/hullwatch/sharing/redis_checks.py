"""Confirmations shared through Redis. Satisfies `SharedChecks`: whatever Redis does, nothing is raised and nothing takes long.

Keys are ``hullwatch:v1:check:<hash>`` and ``hullwatch:v1:turn:<hash>``. The hash is an HMAC of user id and generation under a salt of the
installation's, so that a reader of Redis learns of nobody. Values are a number and the name of a process, both without meaning elsewhere.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from hullwatch.domain.secrets import SecretText
from hullwatch.domain.sessions.shared_checks import (
    Confirmed,
    NotAnswering,
    SharedAnswer,
    SharingReport,
    Turn,
    Unconfirmed,
)
from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.circuit import Circuit, CircuitState, Permit
from hullwatch.runtime.clock import Clock

ANSWER_WITHIN_S: Final = 0.25
"""Real seconds for one exchange, connecting included. A Redis that is slower than asking Fyers would help nobody."""
TURN_LASTS_S: Final = 20.0
"""Longer than a validation may take; a process that dies lets go of its turn after that, and others do not wait so long anyway."""
MOST_CONNECTIONS: Final = 16
FREE_WITHIN_S: Final = 0.5
"""Real seconds to wait for one of these; a crowd of our own making says nothing about Redis."""
_COOL_DOWN: Final = Backoff(first_s=1, factor=2, max_s=15, jitter=0.25)
_PREFIX: Final = "hullwatch:v1"
_END_TURN: Final = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
)
"""Lua, so that looking and removing are one step: a turn that ran out may be another process' by now."""

_NO_ANSWER: Final = (
    RedisError,
    OSError,
    TimeoutError,
    # What redis-py raises over replies of an impossible shape, which it takes on trust.
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RecursionError,
)

T = TypeVar("T")


class _Silence:
    """Stands for the answer that did not come."""


class RedisChecks:
    """Asks one Redis; while it does not answer it is left alone for a few seconds, and one call finds out when it is back."""

    def __init__(
        self,
        url: SecretText,
        *,
        salt: SecretText,
        process: str,
        good_for_s: float,
        wire_clock: Clock,
        random: Random,
        answer_within_s: float = ANSWER_WITHIN_S,
        free_within_s: float = FREE_WITHIN_S,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        """Keep what is needed; nothing is connected before the first question.

        Args:
            url: Redis' address, which may hold a password.
            salt: The installation's secret that keys are hashed with.
            process: A name of this process that no other has.
            good_for_s: Seconds after which a confirmation is outdated.
            wire_clock: Real time.
            random: Source of jitter.
            answer_within_s: Real seconds that an exchange may take.
            free_within_s: Real seconds to wait for a free connection.
            most_connections: How many exchanges are under way at once.

        Raises:
            ValueError: The address is none of Redis', or has options that it does not know; nothing of it is quoted.
        """
        self._redis: Any = Redis.from_pool(_pool(url, most_connections, answer_within_s))
        self._free = asyncio.Semaphore(most_connections)
        self._free_within_s = free_within_s
        self._salt = salt
        self._process = process
        self._good_for_ms = max(1, round(good_for_s * 1000))
        self._answer_within_s = answer_within_s
        self._circuit = Circuit(wire_clock, opens_after=2, cool_down=_COOL_DOWN, random=random)
        self._log = structlog.get_logger(component="TokenValidationService")

    async def look(self, user_id: str, generation: int) -> SharedAnswer:
        """Return the latest confirmation that is not outdated.

        Its age is what has passed of the key's life, by Redis' own clock; what cannot be one counts as none.
        """
        key = self._key("check", user_id, generation)

        async def ask() -> list[Any]:
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.get(key)
            pipeline.pttl(key)
            found: list[Any] = await pipeline.execute()
            return found

        found = await self._ask(ask)
        return NotAnswering() if isinstance(found, _Silence) else _read(found)

    async def take_turn(self, user_id: str, generation: int) -> Turn:
        """Say who asks Fyers about this session now."""
        key = self._key("turn", user_id, generation)

        async def ask() -> bool:
            if await self._redis.set(key, self._process, nx=True, px=round(TURN_LASTS_S * 1000)):
                return True
            return bool(await self._redis.get(key) == self._process.encode())

        is_ours = await self._ask(ask)
        if isinstance(is_ours, _Silence):
            return Turn.UNKNOWN
        return Turn.OURS if is_ours else Turn.OTHERS

    async def end_turn(self, user_id: str, generation: int) -> None:
        """Let another process ask, if this one had the turn."""
        key = self._key("turn", user_id, generation)
        await self._ask(lambda: self._redis.eval(_END_TURN, 1, key, self._process))

    async def confirm(self, user_id: str, generation: int) -> None:
        """Write down that Fyers has just confirmed the session."""
        key = self._key("check", user_id, generation)
        await self._ask(lambda: self._redis.set(key, self._good_for_ms, px=self._good_for_ms))

    async def forget(self, user_id: str, generation: int) -> None:
        """Remove the confirmation."""
        key = self._key("check", user_id, generation)
        await self._ask(lambda: self._redis.delete(key))

    def report(self) -> SharingReport:
        """Return how sharing stands."""
        return SharingReport(is_used=True, is_answering=self._circuit.state is CircuitState.CLOSED)

    async def ping(self) -> bool:
        """Return whether Redis answers; while it is being left alone it is not asked."""
        return not isinstance(await self._ask(self._redis.ping), _Silence)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    def _key(self, what: str, user_id: str, generation: int) -> str:
        named = f"{user_id}:{generation}".encode()
        digest = hmac.new(self._salt.reveal().encode(), named, hashlib.sha256).hexdigest()[:40]
        return f"{_PREFIX}:{what}:{digest}"

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T | _Silence:
        """Make one exchange when a connection is free for it."""
        try:
            async with asyncio.timeout(self._free_within_s):
                await self._free.acquire()
        except TimeoutError:
            return _Silence()
        try:
            return await self._exchange(ask)
        finally:
            self._free.release()

    async def _exchange(self, ask: Callable[[], Awaitable[T]]) -> T | _Silence:
        """Make one exchange; a refusal of Redis' counts like silence, since it will not serve us either way."""
        permit = self._circuit.permit()
        if permit is Permit.REFUSED:
            return _Silence()
        try:
            async with asyncio.timeout(self._answer_within_s):
                answer = await ask()
        except _NO_ANSWER as error:
            self._note(permit, error)
            return _Silence()
        else:
            self._note(permit, None)
            return answer
        finally:
            # A probe that was cancelled has told nothing: the next to ask is one.
            self._circuit.abandoned(permit)

    def _note(self, permit: Permit, error: Exception | None) -> None:
        """Report how an exchange went, and say so where that changes how Redis stands: many may fail in the same moment."""
        before = self._circuit.state
        if error is None:
            self._circuit.succeeded(permit)
        else:
            self._circuit.failed("redis", permit)
        was_well, is_well = before is CircuitState.CLOSED, self._circuit.state is CircuitState.CLOSED
        if was_well and not is_well:
            self._log.warning("redis.lost", error=type(error).__name__)
        elif is_well and not was_well:
            self._log.info("redis.answers_again")


def _pool(url: SecretText, most_connections: int, answer_within_s: float) -> Any:
    """Return connections that are made when they are needed; raises `ValueError` for an address that none can be made to."""
    try:
        pool: Any = BlockingConnectionPool.from_url(
            url.reveal(),
            max_connections=most_connections,
            timeout=answer_within_s,
            socket_timeout=answer_within_s,
            socket_connect_timeout=answer_within_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # understood by every Redis, and by what stands in for it
        )
        pool.make_connection()  # connects nothing, but meets options that do not exist
    except (RedisError, TypeError, ValueError):
        raise ValueError("not an address of Redis, or with options that it does not know") from None
    return pool


def _read(found: list[Any]) -> SharedAnswer:
    """Read a value and what is left of its key's life, both whatever somebody may have put there."""
    value, left_ms = (*found, None, None)[:2]
    if not isinstance(value, bytes) or not value.isdigit() or len(value) > 12 or not isinstance(left_ms, int):
        return Unconfirmed()
    age_ms = int(value) - left_ms
    return Confirmed(age_ms / 1000) if left_ms > 0 and age_ms >= 0 else Unconfirmed()
