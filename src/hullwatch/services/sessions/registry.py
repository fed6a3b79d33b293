"""What a running server holds in memory of every account: its connection, and what calls may be made with.

Kept, looked up and let go here; what moves a connection is decided in ``connections.py`` and ``doubts.py``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from hullwatch.domain.sessions.connection import Connection, Credential, VerificationState


@dataclass(slots=True)
class RegisteredAccount:
    """One account."""

    connection: Connection
    credential: Credential | None = None
    is_notice_delayed: bool = False
    """Its session is disconnected, and the notice waits for an optional feature."""
    is_observed: bool = False
    """Its validation time moved since it was last stored."""

    def close_lease(self) -> None:
        """Let no more calls be made with its session, not even those that wait for their turn."""
        if self.credential:
            self.credential.lease.is_over = True
            self.credential = None


class AccountRegistry:
    """All accounts, by user id."""

    def __init__(self) -> None:
        self._accounts: dict[str, RegisteredAccount] = {}

    def __iter__(self) -> Iterator[RegisteredAccount]:
        """Go through those that are known now, whatever is added or removed on the way."""
        return iter(list(self._accounts.values()))

    def get(self, user_id: str) -> RegisteredAccount | None:
        """Return the account, `None` for a user who never linked Fyers."""
        return self._accounts.get(user_id)

    def put(self, account: RegisteredAccount) -> None:
        """Hold this account."""
        self._accounts[account.connection.user_id] = account

    def pop(self, user_id: str) -> RegisteredAccount | None:
        """Let go of the account and return it."""
        return self._accounts.pop(user_id, None)

    def connection(self, user_id: str) -> Connection:
        """Return the account's connection; a user who never linked Fyers has one that says so."""
        account = self._accounts.get(user_id)
        return account.connection if account else Connection(user_id)

    def connections(self) -> tuple[Connection, ...]:
        """Return all connections, in no particular order."""
        return tuple(account.connection for account in self._accounts.values())

    def usable_credential(self, user_id: str, *, now: datetime) -> Credential | None:
        """Return what ordinary calls may be made with, or `None` while there is no usable session."""
        account = self._accounts.get(user_id)
        if account is None or account.credential is None or not account.credential.may_call(now):
            return None
        return account.credential

    def credential_for_probe(self, user_id: str) -> Credential | None:
        """Return what a held session may be asked about with, and nothing else."""
        account = self._accounts.get(user_id)
        if (
            account is None
            or account.credential is None
            or account.connection.verification_state is not VerificationState.HELD
        ):
            return None
        return account.credential.for_verification()

    def witnesses(self, user_id: str) -> list[Credential]:
        """Return credentials of all others for asking whether the broker is well; those in doubt may be asked as well."""
        return [
            account.credential if account.connection.is_usable else account.credential.for_verification()
            for other, account in self._accounts.items()
            if other != user_id and account.credential is not None
        ]

    def is_present(self, credential: Credential) -> bool:
        """Tell whether the credential still belongs to its account's present session."""
        account = self._accounts.get(credential.user_id)
        present = account.credential if account else None
        return present is not None and present.lease is credential.lease
