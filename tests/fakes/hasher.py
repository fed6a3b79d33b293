"""A password hasher that costs nothing. Satisfies `hullwatch.services.users.passwords.HasherPort`."""


class FakeHasher:
    """Writes the password backwards; `checks` counts the comparisons, those for unknown users included."""

    def __init__(self) -> None:
        self.checks = 0
        self.outdated: set[str] = set()

    async def hash(self, password: str) -> str:
        """Return a 'hash'."""
        return f"new:{password[::-1]}"

    async def is_match(self, password: str, password_hash: str | None) -> bool:
        """Compare."""
        self.checks += 1
        return password_hash is not None and password_hash.partition(":")[2] == password[::-1]

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it is in `outdated`."""
        return password_hash in self.outdated
