"""RenewalConsents: the users who want renewals, in memory and in the database.

Memory holds no secret: PIN and refresh token are read for each attempt.
"""

import asyncio
from dataclasses import dataclass, replace

import structlog

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import LinkRefused, NotAllowed, NotFound
from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.renewal.rules import Attempt, Occasion, Renewal, RenewalKeys, may_try, read_pin
from hullwatch.domain.secrets import RefreshToken
from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.sessions.tokens import refresh_token_expiry
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.services.context import Context
from hullwatch.services.ports import UnitOfWork
from hullwatch.services.renewal.texts import NOT_OFFERED


@dataclass(frozen=True, slots=True)
class RenewalState:
    """The state of renewals of one user."""

    is_offered: bool
    """Whether this server lets users opt in."""
    renewal: Renewal | None
    """`None` unless the user has opted in."""


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """What a stored attempt is made with; `repr` shows no secret."""

    login_generation: int | None
    keys: RenewalKeys | None
    app: FyersApp | None


class RenewalConsents:
    """Users' consents. Nothing is stored for users without consent, nor when the operator does not offer renewals."""

    def __init__(self, context: Context, *, is_offered: bool, server_app: FyersApp | None = None) -> None:
        self._store = context.store
        self._clock = context.clock
        self._is_offered = is_offered
        self._server_app = server_app
        self._renewals: dict[str, Renewal] = {}
        self.changed = asyncio.Event()
        """Set after every change of a consent; the reader clears it."""
        self.known_at_start: frozenset[str] = frozenset()
        """The users with consent at the start of this process."""
        self.log = structlog.get_logger(component="TokenValidationService")

    def get(self, user_id: str) -> Renewal | None:
        """Return the user's consent, `None` if there is none."""
        return self._renewals.get(user_id)

    def list_all(self) -> list[Renewal]:
        """Return all consents, in no particular order."""
        return list(self._renewals.values())

    def state_of(self, user_id: str) -> RenewalState:
        """Return the state of renewals for the user."""
        return RenewalState(self._is_offered, self.get(user_id))

    def will_try(self, connection: Connection) -> bool:
        """Return whether an attempt to renew this session will be made before its expiry or at it."""
        renewal = self.get(connection.user_id)
        if renewal is None or connection.expires_at is None or not connection.has_session:
            return False
        return may_try(renewal, connection, Occasion.AT_EXPIRY, now=connection.expires_at)

    # ---------------------------------------------------------------- consent

    async def opt_in(self, user_id: str, pin_text: str) -> RenewalState:
        """Store the consent with this PIN, or replace the PIN; the refresh token comes with the next login.

        Raises:
            NotAllowed: This server does not offer renewals.
            InvalidInput: The text is not a PIN.
            LinkRefused: There is no Fyers app to renew sessions of.
            NotFound: The user has been removed.
        """
        if not self._is_offered:
            raise NotAllowed(NOT_OFFERED)
        pin, now = read_pin(pin_text), self._clock.now()
        async with self._store.begin() as work:
            if await self._app(work, user_id) is None:
                raise LinkRefused("No Fyers app is set up yet: store your Fyers app id and secret first.")
            if not await work.renewals.opt_in(user_id, pin, at=now):
                raise NotFound("There is no such user.")
            renewal = await work.renewals.get(user_id)
            await work.audit.add([AuditEntry(now, user_id, "renewal.opted_in", user_id)])
            await work.commit()
        self._remember(user_id, renewal)
        return self.state_of(user_id)

    async def opt_out(self, user_id: str) -> None:
        """Remove the consent with PIN and refresh token; without a consent nothing happens."""
        await self.remove(user_id, actor=user_id, reason="user")

    async def keep_token(self, connection: Connection, token: RefreshToken | None) -> None:
        """Store the refresh token that a login brought in place of the last one.

        Raises:
            StorageUnavailable: It was not stored.
        """
        async with self._store.begin() as work:
            await work.renewals.keep_token(
                connection.user_id,
                token,
                app_id=connection.app_id or "",
                generation=connection.generation,
                expires_at=None if token is None else refresh_token_expiry(token),
            )
            renewal = await work.renewals.get(connection.user_id)
            await work.commit()
        self._remember(connection.user_id, renewal)

    def known_users(self) -> frozenset[str]:
        """Return the users with a consent in memory."""
        return frozenset(self._renewals)

    async def forget(self, user_id: str) -> None:
        """Drop a removed user from memory; the caller removes what is stored."""
        self._remember(user_id, None)

    # ---------------------------------------------------------------- start

    async def load(self) -> None:
        """Read the consents, before the connections are read; remove them when renewals are no longer offered.

        An attempt that a crash has interrupted counts as failed.
        """
        async with self._store.begin() as work:
            stored = await work.renewals.list_all()
            for renewal in stored:
                if not self._is_offered:
                    await work.renewals.remove(renewal.user_id)
                    await work.audit.add([self._removal(renewal.user_id, "hullwatch", "not_offered")])
                elif renewal.last_outcome is RenewalOutcome.UNDER_WAY:
                    await work.renewals.record_try(
                        renewal.user_id,
                        generation=renewal.tried_generation or 0,
                        at=renewal.last_tried_at or self._clock.now(),
                        outcome=RenewalOutcome.UNAVAILABLE,
                    )
            self._renewals = {renewal.user_id: renewal for renewal in await work.renewals.list_all()}
            await work.commit()
        self.known_at_start = frozenset(renewal.user_id for renewal in stored)

    # ---------------------------------------------------------------- attempts

    async def note_begin(self, connection: Connection) -> StoredAttempt | None:
        """Store that an attempt is made for this session, so that there is no second one, and return what it is made with.

        Returns:
            `None` when the user has opted out meanwhile.

        Raises:
            StorageUnavailable: It was not stored, so the attempt may not be made.
        """
        user_id = connection.user_id
        async with self._store.begin() as work:
            await self._note(work, connection, RenewalOutcome.UNDER_WAY)
            renewal = await work.renewals.get(user_id)
            keys = await work.renewals.keys(user_id)
            app = await self._app(work, user_id)
            await work.commit()
        self._remember(user_id, renewal)
        return None if renewal is None else StoredAttempt(renewal.login_generation, keys, app)

    async def note_end(
        self,
        attempt: Attempt,
        outcome: RenewalOutcome,
        *,
        login_generation: int | None,
        incident_id: str | None,
    ) -> None:
        """Store the outcome of an attempt with its audit entry; a refresh token that is not valid is removed.

        Raises:
            StorageUnavailable: It was not stored; at the next start the attempt counts as interrupted.
        """
        user_id = attempt.user_id
        entry = AuditEntry(
            self._clock.now(),
            user_id,
            "renewal.tried",
            "hullwatch",
            reason=outcome.value,
            generation=attempt.connection.generation,
            incident_id=incident_id,
            evidence={"kind": "renewal", "occasion": attempt.occasion.value, "renewal": outcome.value},
        )
        async with self._store.begin() as work:
            await self._note(work, attempt.connection, outcome)
            if outcome is RenewalOutcome.BAD_REFRESH_TOKEN:
                await work.renewals.drop_token(user_id, generation=login_generation)
            renewal = await work.renewals.get(user_id)
            await work.audit.add([entry])
            await work.commit()
        self._remember(user_id, renewal)

    def count_as_tried(self, connection: Connection, outcome: RenewalOutcome) -> None:
        """Count an attempt in memory whose outcome could not be stored."""
        if (renewal := self.get(connection.user_id)) is not None:
            self._remember(
                connection.user_id,
                replace(renewal, tried_generation=connection.generation, last_outcome=outcome),
            )

    async def _note(self, work: UnitOfWork, connection: Connection, outcome: RenewalOutcome) -> None:
        await work.renewals.record_try(
            connection.user_id, generation=connection.generation, at=self._clock.now(), outcome=outcome
        )

    # ---------------------------------------------------------------- storage

    async def remove(self, user_id: str, *, actor: str, reason: str) -> None:
        """Remove the consent with PIN and refresh token; without one nothing happens."""
        async with self._store.begin() as work:
            if await work.renewals.remove(user_id):
                await work.audit.add([self._removal(user_id, actor, reason)])
            await work.commit()
        self._remember(user_id, None)

    def _removal(self, user_id: str, actor: str, reason: str) -> AuditEntry:
        return AuditEntry(self._clock.now(), user_id, "renewal.removed", actor, reason=reason)

    def _remember(self, user_id: str, renewal: Renewal | None) -> None:
        if renewal is None:
            self._renewals.pop(user_id, None)
        else:
            self._renewals[user_id] = renewal
        self.changed.set()

    async def _app(self, work: UnitOfWork, user_id: str) -> FyersApp | None:
        return await work.connections.app(user_id) or self._server_app
