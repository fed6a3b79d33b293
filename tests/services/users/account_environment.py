"""Accounts and logins over fakes, for tests."""

from fakes.resources import fake_resources

from hullwatch.app.services import build_services
from hullwatch.services.users.accounts import Registration

PASSWORD = "correct horse battery"
HERE = "10.0.0.1"


class AccountEnvironment:
    """All services over fakes, with those of accounts as attributes."""

    def __init__(self, registration: Registration = Registration.OPEN) -> None:
        resources = fake_resources()
        services = build_services(resources)
        self.registration = registration
        self.clock, self.store = resources.context.clock, resources.context.store
        self.hasher = resources.hasher
        self.logins, self.accounts = services.authentication, services.accounts
        self.resets = services.password_resets
        self.monitoring = services.monitoring

    async def register(self, email: str, *, address: str = HERE, invite: str | None = None):
        """Register a user."""
        return await self.accounts.register(
            email, PASSWORD, "A Name", address=address, registration=self.registration, invite=invite
        )

    @property
    def audit_kinds(self) -> list[str]:
        """The kinds in the audit trail, oldest first."""
        return [entry.kind for entry in self.store.tables.audit]
