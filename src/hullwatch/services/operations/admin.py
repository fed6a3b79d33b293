"""AdminService: what an operator sees of everybody: token health and the audit trail. Acting on accounts is ``accounts.py``'s."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.sessions.connection import Connection, LoginState
from hullwatch.domain.users.accounts import User
from hullwatch.services.context import Context
from hullwatch.services.sessions.service import ConnectionService

MOST_ENTRIES: Final = 500


@dataclass(frozen=True, slots=True)
class AccountHealth:
    """One account as an operator sees it."""

    user: User
    connection: Connection
    last_entry: AuditEntry | None
    """The newest line of the audit trail about its connection: why it stands as it does."""


class AdminService:
    """Reads across all accounts; only for callers whose admin role was checked."""

    def __init__(self, context: Context, *, connections: ConnectionService) -> None:
        self._store = context.store
        self._connections = connections

    async def token_health(self) -> list[AccountHealth]:
        """Return every account's health, oldest account first."""
        async with self._store.begin(read_only=True) as work:
            users = await work.users.list_all()
            latest = await work.audit.latest_by_user(kind_prefix="connection.")
        return [
            AccountHealth(user, self._connections.connection(user.id), latest.get(user.id)) for user in users
        ]

    async def users(self) -> list[User]:
        """Return all users, oldest first."""
        async with self._store.begin(read_only=True) as work:
            return await work.users.list_all()

    async def entries(
        self,
        *,
        user_id: str | None = None,
        kind_prefix: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 200,
    ) -> list[AuditEntry]:
        """Return lines of the audit trail, newest first; page on with `before`."""
        async with self._store.begin(read_only=True) as work:
            return await work.audit.entries(
                user_id=user_id,
                kind_prefix=kind_prefix,
                since=since,
                before=before,
                limit=min(limit, MOST_ENTRIES),
            )


def count_states(connections: Sequence[Connection]) -> dict[LoginState, int]:
    """Return how many accounts are in each login state."""
    return dict(Counter(connection.state for connection in connections))
