"""Password hashes: argon2id in threads, only a few at once."""

import asyncio
from typing import Final, Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hullwatch.domain.failures import TooManyAttempts

AT_ONCE: Final = 2
"""One check takes about 155 ms of a core and 64 MiB; more at once would starve everything else on a small machine."""
MOST_WAITING: Final = 200
"""About fifteen seconds of waiting; further logins are refused with a time to retry."""


class HasherPort(Protocol):
    """Hashes passwords and checks them."""

    async def hash(self, password: str) -> str:
        """Return the hash to store."""
        ...

    async def is_match(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is right. Without a hash it does the same work, so that the duration reveals nothing."""
        ...

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with weaker settings than the present ones."""
        ...


class ArgonHasher:
    """Hashes with argon2id.

    Raises:
        TooManyAttempts: From every method that hashes, if too many passwords are waiting.
    """

    def __init__(
        self, argon: PasswordHasher | None = None, *, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING
    ) -> None:
        self._argon = argon or PasswordHasher()
        self._slots = asyncio.Semaphore(at_once)
        self._most_pending = at_once + most_waiting
        self._pending = 0
        self._dummy_hash: str | None = None

    async def hash(self, password: str) -> str:
        """Return a hash with its settings and salt in it."""
        return await self._in_slot(password, None)

    async def is_match(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is right; an unknown user costs one check against a dummy hash."""
        if password_hash is None:
            if self._dummy_hash is None:
                self._dummy_hash = await self._in_slot("nobody has this password", None)
            await self._in_slot(password, self._dummy_hash)
            return False
        return bool(await self._in_slot(password, password_hash))

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash has other settings than the present ones."""
        return self._argon.check_needs_rehash(password_hash)

    async def _in_slot(self, password: str, password_hash: str | None) -> str:
        """Return the hash of a password, or with a hash to check, that hash or "" for a wrong password."""
        if self._pending >= self._most_pending:
            raise TooManyAttempts(
                "Too many users are logging in at this moment. Try again in a few seconds.", retry_after_s=5.0
            )
        self._pending += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(
                    self._work, password.encode("utf-8", "surrogatepass"), password_hash
                )
        finally:
            self._pending -= 1

    def _work(self, password: bytes, password_hash: str | None) -> str:
        if password_hash is None:
            return self._argon.hash(password)
        try:
            self._argon.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return ""
        return password_hash
