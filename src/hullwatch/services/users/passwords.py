"""Password hashes: argon2id in threads, few at once. What a good password is, and who may try one, is elsewhere."""

import asyncio
from typing import Final, Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hullwatch.domain.failures import TooManyAttempts

AT_ONCE: Final = 2
"""One check takes about 155 ms of a core and 64 MiB; more at once would starve everything else on a small machine."""
MOST_WAITING: Final = 200
"""About fifteen seconds of queue; whoever comes later is asked to come back."""


class HasherPort(Protocol):
    """What accounts need from password hashing."""

    async def hash(self, password: str) -> str:
        """Return a hash fit for storing."""
        ...

    async def is_match(self, password: str, password_hash: str | None) -> bool:
        """Whether the password fits; does the same work when there is no hash, so that time tells nothing."""
        ...

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with weaker settings than today's."""
        ...


class ArgonHasher:
    """Hashes with argon2id.

    Raises:
        TooManyAttempts: from every method that hashes, when too many already wait for their turn.
    """

    def __init__(
        self, argon: PasswordHasher | None = None, *, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING
    ) -> None:
        self._argon = argon or PasswordHasher()
        self._turns = asyncio.Semaphore(at_once)
        self._most_under_way = at_once + most_waiting
        self._under_way = 0
        self._stand_in: str | None = None

    async def hash(self, password: str) -> str:
        """Return a hash with its settings and salt in it."""
        return await self._in_turn(password, None)

    async def is_match(self, password: str, password_hash: str | None) -> bool:
        """Whether the password fits; an unknown user costs one check against a stand-in hash."""
        if password_hash is None:
            if self._stand_in is None:
                self._stand_in = await self._in_turn("nobody has this password", None)
            await self._in_turn(password, self._stand_in)
            return False
        return bool(await self._in_turn(password, password_hash))

    def is_outdated(self, password_hash: str) -> bool:
        """Whether today's settings differ from the hash's."""
        return self._argon.check_needs_rehash(password_hash)

    async def _in_turn(self, password: str, password_hash: str | None) -> str:
        """Hash, or check and return the hash or nothing; a lone surrogate is a wrong password, not a crash."""
        if self._under_way >= self._most_under_way:
            raise TooManyAttempts(
                "Too many people are logging in just now. Try again in a few seconds.", retry_after_s=5.0
            )
        self._under_way += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(
                    self._work, password.encode("utf-8", "surrogatepass"), password_hash
                )
        finally:
            self._under_way -= 1

    def _work(self, password: bytes, password_hash: str | None) -> str:
        if password_hash is None:
            return self._argon.hash(password)
        try:
            self._argon.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return ""
        return password_hash
