"""Accounts and logins over fakes, for tests."""

from collections.abc import Callable
from itertools import count

from fakes.clock import FakeClock
from fakes.hasher import FakeHasher
from fakes.store import FakeStore

from hullwatch.services.users.accounts import AccountService, Registration
from hullwatch.services.users.authentication import AuthenticationService

PASSWORD = "correct horse battery"
HERE = "10.0.0.1"


def ids() -> Callable[[str], str]:
    """Return a maker of ids that counts."""
    numbers = count(1)
    return lambda prefix: f"{prefix}_{next(numbers)}"


class SessionKeeper:
    """Remembers whose session it was told to forget."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.known_users: frozenset[str] = frozenset()

    def known(self) -> frozenset[str]:
        """Return whom the test says to be known."""
        return self.known_users

    async def forget(self, user_id: str) -> None:
        """Remember it."""
        self.forgotten.append(user_id)


class AccountHouse:
    """Both services over fakes."""

    def __init__(self, registration: Registration = Registration.OPEN) -> None:
        self.clock = FakeClock()
        self.store = FakeStore()
        self.hasher = FakeHasher()
        self.sessions = SessionKeeper()
        new_id = ids()
        self.logins = AuthenticationService(
            store=self.store, clock=self.clock, new_id=new_id, hasher=self.hasher
        )
        self.accounts = AccountService(
            store=self.store,
            clock=self.clock,
            new_id=new_id,
            hasher=self.hasher,
            logins=self.logins,
            connections=self.sessions,
            registration=registration,
        )

    async def register(self, email: str, *, address: str = HERE, invite: str | None = None):
        """Register somebody."""
        return await self.accounts.register(email, PASSWORD, "A Name", address=address, invite=invite)

    @property
    def audit_kinds(self) -> list[str]:
        """What the audit trail says, oldest first."""
        return [entry.kind for entry in self.store.tables.audit]
