"""What several server processes share."""

from typing import Protocol

from hullwatch.domain.sessions.shared_checks import SharedAnswer, SharingReport, Turn


class SharedChecks(Protocol):
    """Confirmations of sessions that several processes share, by user and generation. No method raises, and each answers soon."""

    async def look(self, user_id: str, generation: int) -> SharedAnswer:
        """Return the latest confirmation that is not outdated."""
        ...

    async def take_turn(self, user_id: str, generation: int) -> Turn:
        """Say who asks Fyers about this session now; a turn ends with `end_turn`, or by itself when its process dies."""
        ...

    async def end_turn(self, user_id: str, generation: int) -> None:
        """Let another process ask, if this one had the turn."""
        ...

    async def confirm(self, user_id: str, generation: int) -> None:
        """Write down that Fyers has just confirmed the session."""
        ...

    async def forget(self, user_id: str, generation: int) -> None:
        """Remove the confirmation."""
        ...

    def report(self) -> SharingReport:
        """Return how sharing stands."""
        ...
