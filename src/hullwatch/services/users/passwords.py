"""Password hashes: argon2id in threads."""

import asyncio
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError


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
    """Hashes with argon2id. A hash takes 64 MiB, so services reach it through `HashQueue` only."""

    def __init__(self, argon: PasswordHasher | None = None) -> None:
        self._argon = argon or PasswordHasher()
        self._dummy_hash: str | None = None

    async def hash(self, password: str) -> str:
        """Return a hash with its settings and salt in it."""
        return await self._in_thread(password, None)

    async def is_match(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is right; an unknown user costs one check against a dummy hash."""
        if password_hash is None:
            if self._dummy_hash is None:
                self._dummy_hash = await self._in_thread("nobody has this password", None)
            await self._in_thread(password, self._dummy_hash)
            return False
        return bool(await self._in_thread(password, password_hash))

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash has other settings than the present ones."""
        return self._argon.check_needs_rehash(password_hash)

    async def _in_thread(self, password: str, password_hash: str | None) -> str:
        """Return the hash of a password, or with a hash to check, that hash or "" for a wrong password."""
        return await asyncio.to_thread(self._work, password.encode("utf-8", "surrogatepass"), password_hash)

    def _work(self, password: bytes, password_hash: str | None) -> str:
        if password_hash is None:
            return self._argon.hash(password)
        try:
            self._argon.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return ""
        return password_hash
