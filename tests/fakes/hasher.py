"""A password hasher that costs nothing. Satisfies `hullwatch.services.users.passwords.HasherPort`."""

import asyncio


class FakeHasher:
    """Writes the password backwards; counts hashes, and comparisons also for unknown users."""

    def __init__(self) -> None:
        self.hashes = self.checks = 0
        self.may_end = asyncio.Event()
        """Every hash and comparison waits for it; it is set unless a test clears it."""
        self.may_end.set()
        self.error: Exception | None = None
        self.outdated: set[str] = set()

    async def hash(self, password: str) -> str:
        """Return a 'hash'."""
        self.hashes += 1
        await self._work()
        return f"new:{password[::-1]}"

    async def is_match(self, password: str, password_hash: str | None) -> bool:
        """Compare."""
        self.checks += 1
        await self._work()
        return password_hash is not None and password_hash.partition(":")[2] == password[::-1]

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it is in `outdated`."""
        return password_hash in self.outdated

    async def _work(self) -> None:
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
