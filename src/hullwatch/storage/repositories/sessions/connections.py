"""Connections, Fyers apps and pending logins. Secrets are encrypted and bound to their row."""

from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import and_, bindparam, case, delete, literal, null, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from hullwatch.domain.secrets import AccessToken, AppSecret
from hullwatch.domain.sessions.connection import Connection, LoginState
from hullwatch.domain.users.accounts import FyersApp, PendingLogin
from hullwatch.storage.cipher import Cipher, app_secret_identity, token_identity
from hullwatch.storage.failures import Undecryptable
from hullwatch.storage.models import BrokerConnectionRow, FyersAppRow, PendingLoginRow
from hullwatch.storage.rows import row_of, table_of, value_of, values_of
from hullwatch.storage.transaction import KEYS_LOCK, Transaction

_log = structlog.get_logger(component="Storage")
_ROW = BrokerConnectionRow
_STORED = table_of(_ROW).c
_OBSERVED = ("verification_state", "last_validated_at", "last_disconnect_at", "incident_id")


class Connections:
    """Satisfies `ConnectionRepository`."""

    def __init__(self, transaction: Transaction, cipher: Cipher) -> None:
        self._transaction = transaction
        self._cipher = cipher

    async def get(self, user_id: str) -> Connection | None:
        """Return a user's connection, or None before the first login."""
        row = await self._transaction.row(select(_ROW).where(_ROW.user_id == user_id))
        return None if row is None else value_of(Connection, row, hold_reason=None)

    async def list_all(self) -> list[Connection]:
        """Return all stored connections."""
        return [
            value_of(Connection, row, hold_reason=None)
            for row in await self._transaction.rows(select(_ROW).order_by(_ROW.user_id))
        ]

    async def save(self, connection: Connection) -> bool:
        """Store a connection; False when a newer generation is stored, or this one was disconnected.

        A connection without a session loses its token. False also when the user has been removed.
        """
        is_older = _STORED.generation < connection.generation
        is_same = _STORED.generation == connection.generation
        if connection.has_session:
            is_same = and_(is_same, _STORED.state != LoginState.DISCONNECTED)
        return await self._upsert(row_of(_ROW, connection), where=or_(is_older, is_same))

    async def save_observed(self, connections: Sequence[Connection]) -> None:
        """Store the verification results of many sessions in one call to the driver.

        A session that was disconnected or replaced meanwhile is left as it is. Rows are locked in the order of ids, so that two callers
        cannot deadlock.
        """
        table = table_of(_ROW)
        observe = (
            update(table)
            .where(
                table.c.user_id == bindparam("of_user"),
                table.c.generation == bindparam("of_generation"),
                table.c.state != LoginState.DISCONNECTED,
            )
            .values({name: bindparam(f"new_{name}") for name in _OBSERVED})
        )
        values = [
            {
                "of_user": connection.user_id,
                "of_generation": connection.generation,
                **{f"new_{name}": getattr(connection, name) for name in _OBSERVED},
            }
            for connection in sorted(connections, key=lambda connection: connection.user_id)
        ]
        await self._transaction.execute_many(observe, values)

    async def save_login(self, connection: Connection, token: AccessToken) -> bool:
        """Store a new generation with its token; False when it or a newer one is stored already."""
        await self._transaction.lock(KEYS_LOCK, shared=True)
        row_identity = token_identity(connection.user_id, connection.generation)
        row = row_of(
            _ROW,
            connection,
            access_token=self._cipher.seal(token.reveal(), row_identity),
            token_generation=connection.generation,
        )
        return await self._upsert(row, where=_STORED.generation < connection.generation)

    async def token(self, user_id: str, generation: int) -> AccessToken | None:
        """Return the token of this generation; None when there is none, or it cannot be decrypted."""
        sealed = await self._transaction.row(
            select(_ROW.access_token).where(_ROW.user_id == user_id, _ROW.token_generation == generation)
        )
        return None if sealed is None else self._open_token(sealed, user_id, generation)

    async def tokens(self) -> dict[str, tuple[int, AccessToken]]:
        """Return user id → (generation, token); a token that cannot be decrypted is left out."""
        found = await self._transaction.execute(
            select(_STORED.user_id, _STORED.generation, _STORED.access_token).where(
                _STORED.access_token.is_not(None)
            )
        )
        tokens: dict[str, tuple[int, AccessToken]] = {}
        for user_id, generation, sealed in found:
            token = self._open_token(sealed, user_id, generation)
            if token is not None:
                tokens[user_id] = (generation, token)
        return tokens

    async def app(self, user_id: str) -> FyersApp | None:
        """Return the user's own Fyers app; None when there is none, or its secret cannot be decrypted."""
        row = await self._transaction.row(select(FyersAppRow).where(FyersAppRow.user_id == user_id))
        if row is None:
            return None
        try:
            secret = self._cipher.open(row.secret, app_secret_identity(user_id, row.app_id))
        except Undecryptable as problem:
            _log.error("fyers_app.undecryptable", user_id=user_id, problem=str(problem))
            return None
        return FyersApp(row.app_id, AppSecret(secret), row.redirect_uri)

    async def put_app(self, user_id: str, app: FyersApp) -> None:
        """Store the user's own Fyers app in place of an earlier one."""
        await self._transaction.lock(KEYS_LOCK, shared=True)
        row_identity = app_secret_identity(user_id, app.app_id)
        row = row_of(
            FyersAppRow, app, user_id=user_id, secret=self._cipher.seal(app.secret.reveal(), row_identity)
        )
        insert = self._transaction.insert_row(row)
        changes = {"app_id": row.app_id, "secret": row.secret, "redirect_uri": row.redirect_uri}
        await self._transaction.execute(
            insert.on_conflict_do_update(index_elements=[FyersAppRow.user_id], set_=changes)
        )

    async def remove_app(self, user_id: str) -> None:
        """Remove the user's own Fyers app."""
        await self._transaction.execute(delete(FyersAppRow).where(FyersAppRow.user_id == user_id))

    async def add_pending(self, state_hash: str, pending: PendingLogin) -> None:
        """Store a login that was started."""
        row = row_of(PendingLoginRow, pending, state_hash=state_hash)
        await self._transaction.execute(self._transaction.insert_row(row))

    async def take_pending(self, state_hash: str) -> PendingLogin | None:
        """Remove and return a pending login; of two callers at the same moment one gets it."""
        table = table_of(PendingLoginRow)
        taken = await self._transaction.execute(
            delete(table).where(table.c.state_hash == state_hash).returning(table)
        )
        row = taken.first()
        return None if row is None else value_of(PendingLogin, row)

    async def _upsert(self, row: BrokerConnectionRow, *, where: ColumnElement[bool]) -> bool:
        insert = self._transaction.insert_for_user(row, row.user_id)
        # Not `excluded`: it builds a table of columns for every statement, a third of the cost.
        changes: dict[str, Any] = {**values_of(row)}
        del changes["user_id"]
        if row.access_token is None:
            # A token is kept only for the session it was stored with.
            has_session = row.state in (LoginState.CONNECTED, LoginState.EXPIRING)
            is_kept = and_(_STORED.token_generation == row.generation, literal(has_session))
            changes["access_token"] = case((is_kept, _STORED.access_token), else_=null())
            changes["token_generation"] = case((is_kept, _STORED.token_generation), else_=null())
        done = await self._transaction.execute(
            insert.on_conflict_do_update(
                index_elements=[_STORED.user_id], set_=changes, where=where
            ).returning(_STORED.user_id)
        )
        return done.first() is not None

    def _open_token(self, sealed: str, user_id: str, generation: int) -> AccessToken | None:
        try:
            return AccessToken(self._cipher.open(sealed, token_identity(user_id, generation)))
        except Undecryptable as problem:
            _log.error("access_token.undecryptable", user_id=user_id, problem=str(problem))
            return None
