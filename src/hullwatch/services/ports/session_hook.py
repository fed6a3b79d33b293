"""Where an optional feature takes part in what happens to sessions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hullwatch.domain.sessions.connection import Connection, LoginTrigger
from hullwatch.domain.sessions.tokens import FreshLogin


@dataclass(frozen=True, slots=True)
class DisconnectAddition:
    """What the feature adds to a disconnect."""

    details: Mapping[str, str] = field(default_factory=dict)
    """Added to the evidence of the audit entry."""
    sentence: str = ""
    """Added to the user's notice."""
    delays_notice: bool = False
    """The feature calls `notify_disconnected` later, unless a new session makes the notice needless."""


class SessionHook(Protocol):
    """The feature's answers to the core."""

    def before_disconnect(self, connection: Connection, trigger: LoginTrigger) -> DisconnectAddition:
        """Return what is added to the disconnect of this session, which takes effect right after the call."""
        ...

    async def logged_in(
        self, connection: Connection, login: FreshLogin, *, linked_before: str | None
    ) -> None:
        """Record a login that a person made; raises nothing, since the login is complete.

        Args:
            connection: The new session.
            login: What Fyers sent for it.
            linked_before: The Fyers id of the account before this login.
        """
        ...

    def expiry_note(self, connection: Connection) -> str:
        """Return what the feature does at the session's expiry, as a sentence; may be empty."""
        ...
