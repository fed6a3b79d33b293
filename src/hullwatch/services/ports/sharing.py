"""What several server processes share."""

from typing import Protocol

from hullwatch.domain.sessions.shared_checks import Claim, SharedAnswer, SharingReport


class SharedChecks(Protocol):
    """Confirmations of sessions, by user and generation. No method raises, and each answers soon."""

    async def confirmation(self, user_id: str, generation: int) -> SharedAnswer:
        """Return the latest confirmation that is not outdated."""
        ...

    async def claim(self, user_id: str, generation: int) -> Claim:
        """Claim the right to call Fyers about this session.

        A claim lasts until `release`. It expires by itself when its process is killed.
        """
        ...

    async def release(self, user_id: str, generation: int) -> None:
        """Release the claim of this process, if it has one."""
        ...

    async def confirm(self, user_id: str, generation: int) -> None:
        """Store that Fyers has just confirmed the session."""
        ...

    async def forget(self, user_id: str, generation: int) -> None:
        """Remove the confirmation."""
        ...

    def report(self) -> SharingReport:
        """Return whether sharing works."""
        ...

    async def ping(self) -> bool:
        """Return whether the shared store responds."""
        ...
