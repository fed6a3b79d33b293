"""Storage of sessions at Fyers and of login links."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol

from hullwatch.domain.market.call_pace import CallPace
from hullwatch.domain.secrets import AccessToken
from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.sessions.login_links import LoginLink
from hullwatch.domain.users.accounts import FyersApp, PendingLogin


class ConnectionRepository(Protocol):
    """Connections, access tokens and Fyers apps; secrets are encrypted and bound to their row."""

    async def get(self, user_id: str) -> Connection | None: ...
    async def list_all(self) -> list[Connection]: ...
    async def save(self, connection: Connection) -> bool:
        """Store a connection; False when a newer generation is stored. Without a session it loses its token."""
        ...

    async def save_observed(self, connections: Sequence[Connection]) -> None:
        """Store verification results in one call; a session disconnected or replaced meanwhile is not changed."""
        ...

    async def save_login(self, connection: Connection, token: AccessToken) -> bool:
        """Store a new generation with its token; False when it or a newer one is stored already."""
        ...

    async def token(self, user_id: str, generation: int) -> AccessToken | None: ...
    async def tokens(self) -> dict[str, tuple[int, AccessToken]]:
        """Return user id → (generation, token); a token that cannot be decrypted is left out."""
        ...

    async def app(self, user_id: str) -> FyersApp | None: ...
    async def put_app(self, user_id: str, app: FyersApp) -> None: ...
    async def remove_app(self, user_id: str) -> None: ...
    async def add_pending(self, state_hash: str, pending: PendingLogin) -> None: ...
    async def take_pending(self, state_hash: str) -> PendingLogin | None:
        """Remove and return a pending login; of two callers at the same moment one gets it."""
        ...


class LoginLinkRepository(Protocol):
    """Login links, by the hashes of their values."""

    async def add(self, value_hash: str, link: LoginLink) -> bool:
        """Store a link; False when its user has been removed."""
        ...

    async def get(self, value_hash: str) -> LoginLink | None: ...
    async def use(self, value_hash: str, *, browser_hash: str, now: datetime) -> LoginLink | None:
        """Bind a link to this browser; None when it is unknown, expired or used by another browser."""
        ...

    async def count_open(self, user_id: str, *, requested_by: str, now: datetime) -> int:
        """Count the user's unexpired links of one requester."""
        ...

    async def remove_of(self, user_id: str) -> None: ...
    async def purge(self, *, expired_before: datetime) -> None:
        """Remove links that expired before that."""
        ...


class CallPaceRepository(Protocol):
    """How much of Fyers' rate limits the accounts have used."""

    async def list_all(self) -> list[CallPace]: ...
    async def add(self, paces: Sequence[CallPace]) -> None:
        """Add the calls to those of the same day, and replace the rest."""
        ...

    async def purge(self, *, before: date) -> None:
        """Remove those of earlier days."""
        ...
