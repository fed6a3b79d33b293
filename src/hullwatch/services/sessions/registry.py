"""The accounts that a running server holds in memory."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hullwatch.domain.sessions.connection import Connection, Credential, HoldReason, VerificationState
from hullwatch.domain.sessions.verification import AnyRefusal


@dataclass(slots=True)
class Verification:
    """The verification of one refused session."""

    credential: Credential
    refusal: AnyRefusal
    refused_since: datetime
    """Since when no call was answered."""
    first_result: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after the first round of probes, whatever it showed."""
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first decision."""
    is_running: bool = True


@dataclass(slots=True)
class RegisteredAccount:
    """One account."""

    connection: Connection
    credential: Credential | None = None
    verification: Verification | None = None
    """The latest one."""
    is_notice_delayed: bool = False
    """The session is disconnected, and the notice waits for an optional feature."""
    unclear_since: datetime | None = None
    """Since when calls are refused without HTTP 401 and none is answered."""
    is_hold_notified: bool = False
    """The user was notified that the session is held, and not yet of the recovery."""
    is_observed: bool = False
    """The validation time has changed since it was last stored."""
    expiry_probe_s: float = 0.0
    """Monotonic seconds from which a probe may confirm that the session has expired."""

    def close_lease(self) -> None:
        """Stop all calls with the session, including calls that wait for their turn."""
        if self.credential:
            self.credential.lease.is_closed = True
            self.credential = None

    def move_times(self, by: timedelta) -> None:
        """Keep the ages of what was observed when this server's clock is set."""
        validated_at = self.connection.last_validated_at
        if validated_at is not None:
            self.connection = replace(self.connection, last_validated_at=validated_at + by)
        if self.unclear_since is not None:
            self.unclear_since += by
        if self.verification is not None:
            self.verification.refused_since += by


class AccountRegistry:
    """All accounts, by user id. Only `ConnectionService` changes them."""

    def __init__(self) -> None:
        self._accounts: dict[str, RegisteredAccount] = {}

    def __iter__(self) -> Iterator[RegisteredAccount]:
        """Iterate over a copy, so that accounts can be added and removed meanwhile."""
        return iter(list(self._accounts.values()))

    def get(self, user_id: str) -> RegisteredAccount | None:
        """Return the account, `None` for a user who never linked Fyers."""
        return self._accounts.get(user_id)

    def put(self, account: RegisteredAccount) -> None:
        """Add or replace the account."""
        self._accounts[account.connection.user_id] = account

    def pop(self, user_id: str) -> RegisteredAccount | None:
        """Remove and return the account."""
        return self._accounts.pop(user_id, None)

    def connection(self, user_id: str) -> Connection:
        """Return the account's connection; `never_connected` for a user who never linked Fyers."""
        account = self._accounts.get(user_id)
        return account.connection if account else Connection(user_id)

    def connections(self) -> tuple[Connection, ...]:
        """Return all connections, in no particular order."""
        return tuple(account.connection for account in self._accounts.values())

    def usable_credential(self, user_id: str, *, now: datetime) -> Credential | None:
        """Return the credential for ordinary calls, `None` without a usable session."""
        account = self._accounts.get(user_id)
        if account is None or account.credential is None or not account.credential.may_call(now):
            return None
        return account.credential

    def with_credential(self, credential: Credential) -> RegisteredAccount | None:
        """Return the account, if the credential belongs to its present session."""
        account = self._accounts.get(credential.user_id)
        if account is None or account.credential is None or account.credential.lease is not credential.lease:
            return None
        return account

    def session_count(self) -> int:
        """Return the number of sessions that are not disconnected."""
        return sum(account.connection.has_session for account in self._accounts.values())

    def held(self) -> list[RegisteredAccount]:
        """Return the accounts whose sessions are held because of a mass refusal."""
        return [
            account
            for account in self._accounts.values()
            if account.connection.hold_reason is HoldReason.MASS_REFUSAL
        ]

    def with_stopped_verification(self) -> list[RegisteredAccount]:
        """Return the accounts whose verification, or whose probes during a hold, have stopped by an error."""
        return [
            account
            for account in self._accounts.values()
            if (
                account.connection.verification_state is VerificationState.UNDER_VERIFICATION
                or account.connection.hold_reason is HoldReason.UNCLEAR_REFUSAL
            )
            and account.verification
            and not account.verification.is_running
        ]

    def probe_credentials(self, user_id: str) -> list[Credential]:
        """Return the credentials of all other accounts, for comparison; unverified sessions may be probed too."""
        return [
            account.credential if account.connection.is_usable else account.credential.for_verification()
            for other, account in self._accounts.items()
            if other != user_id and account.credential is not None
        ]
