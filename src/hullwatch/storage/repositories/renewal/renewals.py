"""Consents to session renewal; PIN and refresh token are encrypted and bound to their row."""

from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import delete, select, update

from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.renewal.rules import Renewal, RenewalKeys
from hullwatch.domain.secrets import Pin, RefreshToken
from hullwatch.storage.cipher import Cipher, pin_identity, refresh_token_identity
from hullwatch.storage.failures import Undecryptable
from hullwatch.storage.models import RenewalRow
from hullwatch.storage.rows import value_of
from hullwatch.storage.transaction import KEYS_LOCK, Transaction

_log = structlog.get_logger(component="Storage")
_NO_TOKEN: Final = {
    "refresh_token": None,
    "refresh_token_expires_at": None,
    "app_id": None,
    "login_generation": None,
}


class Renewals:
    """Satisfies `RenewalRepository`."""

    def __init__(self, transaction: Transaction, cipher: Cipher) -> None:
        self._transaction = transaction
        self._cipher = cipher

    async def get(self, user_id: str) -> Renewal | None:
        """Return a user's consent, or None."""
        row = await self._transaction.row(select(RenewalRow).where(RenewalRow.user_id == user_id))
        return None if row is None else _renewal(row)

    async def list_all(self) -> list[Renewal]:
        """Return all consents, by user id."""
        rows = await self._transaction.rows(select(RenewalRow).order_by(RenewalRow.user_id))
        return [_renewal(row) for row in rows]

    async def opt_in(self, user_id: str, pin: Pin, *, at: datetime) -> bool:
        """Store the consent, or a new PIN; a new PIN clears the outcome of the last try."""
        await self._transaction.lock(KEYS_LOCK, shared=True)
        row = RenewalRow(
            user_id=user_id, pin=self._cipher.seal(pin.reveal(), pin_identity(user_id)), opted_in_at=at
        )
        insert = self._transaction.insert_for_user(row, user_id)
        done = await self._transaction.execute(
            insert.on_conflict_do_update(
                index_elements=[RenewalRow.user_id], set_={"pin": row.pin, "last_outcome": None}
            ).returning(RenewalRow.user_id)
        )
        return done.first() is not None

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
        if token is None:
            return await self._change(user_id, **_NO_TOKEN)
        await self._transaction.lock(KEYS_LOCK, shared=True)
        return await self._change(
            user_id,
            refresh_token=self._cipher.seal(token.reveal(), refresh_token_identity(user_id)),
            refresh_token_expires_at=expires_at,
            app_id=app_id,
            login_generation=generation,
        )

    async def drop_token(self, user_id: str, *, generation: int | None) -> None:
        """Remove the refresh token of this login; the token of a newer login stays."""
        await self._transaction.execute(
            update(RenewalRow)
            .where(RenewalRow.user_id == user_id, RenewalRow.login_generation == generation)
            .values(_NO_TOKEN)
        )

    async def keys(self, user_id: str) -> RenewalKeys | None:
        """Return PIN and refresh token; None when one is missing or cannot be decrypted."""
        row = await self._transaction.row(select(RenewalRow).where(RenewalRow.user_id == user_id))
        if row is None or row.refresh_token is None:
            return None
        try:
            pin = self._cipher.open(row.pin, pin_identity(user_id))
            token = self._cipher.open(row.refresh_token, refresh_token_identity(user_id))
        except Undecryptable as problem:
            _log.error("renewal.undecryptable", user_id=user_id, problem=str(problem))
            return None
        return RenewalKeys(Pin(pin), RefreshToken(token))

    async def record_try(
        self, user_id: str, *, generation: int, at: datetime, outcome: RenewalOutcome
    ) -> bool:
        """Store the outcome of the last try; False when the user has not opted in."""
        return await self._change(
            user_id, tried_generation=generation, last_tried_at=at, last_outcome=outcome
        )

    async def remove(self, user_id: str) -> bool:
        """Remove the consent with both secrets; False when there was none."""
        gone = await self._transaction.execute(
            delete(RenewalRow).where(RenewalRow.user_id == user_id).returning(RenewalRow.user_id)
        )
        return gone.first() is not None

    async def _change(self, user_id: str, **values: object) -> bool:
        done = await self._transaction.execute(
            update(RenewalRow)
            .where(RenewalRow.user_id == user_id)
            .values(values)
            .returning(RenewalRow.user_id)
        )
        return done.first() is not None


def _renewal(row: RenewalRow) -> Renewal:
    return value_of(Renewal, row, has_refresh_token=row.refresh_token is not None)
