"""Stored consents to session renewal."""

from datetime import datetime
from typing import Protocol

from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.renewal.rules import Renewal, RenewalKeys
from hullwatch.domain.secrets import Pin, RefreshToken


class RenewalRepository(Protocol):
    """Consents to session renewal; PIN and refresh token are encrypted and bound to their row."""

    async def get(self, user_id: str) -> Renewal | None: ...
    async def list_all(self) -> list[Renewal]:
        """Return all consents, by user id."""
        ...

    async def opt_in(self, user_id: str, pin: Pin, *, at: datetime) -> bool:
        """Store the consent, or a new PIN; False when the user has been removed."""
        ...

    async def keep_token(
        self,
        user_id: str,
        token: RefreshToken | None,
        *,
        app_id: str,
        generation: int,
        expires_at: datetime | None,
    ) -> bool:
        """Replace the refresh token by that of a login; False when the user has not opted in."""
        ...

    async def drop_token(self, user_id: str, *, generation: int | None) -> None:
        """Remove the refresh token of this login; the token of a newer login stays."""
        ...

    async def keys(self, user_id: str) -> RenewalKeys | None:
        """Return PIN and refresh token; None when one is missing or cannot be decrypted."""
        ...

    async def record_try(
        self, user_id: str, *, generation: int, at: datetime, outcome: RenewalOutcome
    ) -> bool:
        """Store the outcome of the last try; False when the user has not opted in."""
        ...

    async def remove(self, user_id: str) -> bool:
        """Remove the consent with both secrets; False when there was none."""
        ...
