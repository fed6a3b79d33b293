"""Connections with their tokens, apps and pending logins; login links; consents to renewal."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from fakes.store.tables import Repository, drop, kept, storable
from hullwatch.domain.failures import AlreadyExists
from hullwatch.domain.market.call_pace import CallPace
from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.renewal.rules import Renewal, RenewalKeys
from hullwatch.domain.secrets import AccessToken, Pin, RefreshToken
from hullwatch.domain.sessions.connection import Connection, LoginState
from hullwatch.domain.sessions.login_links import LoginLink
from hullwatch.domain.users.accounts import FyersApp, PendingLogin

_NO_TOKEN = {
    "has_refresh_token": False,
    "app_id": None,
    "login_generation": None,
    "refresh_token_expires_at": None,
}


class Connections(Repository):
    """Connections, tokens, apps and pending logins."""

    async def get(self, user_id: str) -> Connection | None:
        """Return a user's connection."""
        return self.tables.connections.get(user_id)

    async def list_all(self) -> list[Connection]:
        """Return all connections."""
        return [self.tables.connections[user_id] for user_id in sorted(self.tables.connections)]

    async def save(self, connection: Connection) -> bool:
        """Store it unless a newer generation is stored, or this one has ended."""
        connection = kept(connection)
        stored = self.tables.connections.get(connection.user_id)
        if connection.user_id not in self.tables.users:
            return False
        if stored is not None and stored.generation >= connection.generation:
            is_over = stored.state is LoginState.DISCONNECTED and connection.has_session
            if stored.generation > connection.generation or is_over:
                return False
        self.tables.connections[connection.user_id] = connection
        generation, _ = self.tables.tokens.get(connection.user_id, (None, None))
        if not connection.has_session or generation != connection.generation:
            self.tables.tokens.pop(connection.user_id, None)
        return True

    async def save_observed(self, connections: Sequence[Connection]) -> None:
        """Store the verification results of sessions that are still the stored ones."""
        for connection in map(kept, connections):
            stored = self.tables.connections.get(connection.user_id)
            if (
                stored is None
                or stored.generation != connection.generation
                or stored.state is LoginState.DISCONNECTED
            ):
                continue
            self.tables.connections[connection.user_id] = replace(
                stored,
                verification_state=connection.verification_state,
                last_validated_at=connection.last_validated_at,
                last_disconnect_at=connection.last_disconnect_at,
                incident_id=connection.incident_id,
            )

    async def save_login(self, connection: Connection, token: AccessToken) -> bool:
        """Store a new generation with its token."""
        connection = kept(connection)
        stored = self.tables.connections.get(connection.user_id)
        if connection.user_id not in self.tables.users:
            return False
        if stored is not None and stored.generation >= connection.generation:
            return False
        self.tables.connections[connection.user_id] = connection
        self.tables.tokens[connection.user_id] = (connection.generation, token)
        return True

    async def token(self, user_id: str, generation: int) -> AccessToken | None:
        """Return the token of this generation."""
        found = self.tables.tokens.get(user_id)
        return found[1] if found is not None and found[0] == generation else None

    async def tokens(self) -> dict[str, tuple[int, AccessToken]]:
        """Return all tokens."""
        return dict(self.tables.tokens)

    async def app(self, user_id: str) -> FyersApp | None:
        """Return the user's own app."""
        return self.tables.apps.get(user_id)

    async def put_app(self, user_id: str, app: FyersApp) -> None:
        """Store it."""
        storable(user_id, app)
        self.needs_user(user_id)
        self.tables.apps[user_id] = app

    async def remove_app(self, user_id: str) -> None:
        """Remove it."""
        self.tables.apps.pop(user_id, None)

    async def add_pending(self, state_hash: str, pending: PendingLogin) -> None:
        """Store a login that was started."""
        storable(state_hash)
        pending = kept(pending)
        self.needs_user(pending.user_id)
        if state_hash in self.tables.pending:
            raise AlreadyExists("That exists already.")
        self.tables.pending[state_hash] = pending

    async def take_pending(self, state_hash: str) -> PendingLogin | None:
        """Remove and return it."""
        return self.tables.pending.pop(state_hash, None)


class LoginLinks(Repository):
    """Login links."""

    async def add(self, value_hash: str, link: LoginLink) -> bool:
        """Store it unless its user has been removed."""
        storable(value_hash)
        link = kept(link)
        if link.user_id not in self.tables.users:
            return False
        if value_hash in self.tables.login_links:
            raise AlreadyExists("That exists already.")
        self.tables.login_links[value_hash] = link
        return True

    async def get(self, value_hash: str) -> LoginLink | None:
        """Return the link with this hash."""
        return self.tables.login_links.get(value_hash)

    async def use(self, value_hash: str, *, browser_hash: str, now: datetime) -> LoginLink | None:
        """Bind a link to the first browser that uses it."""
        storable(browser_hash)
        link = self.tables.login_links.get(value_hash)
        if link is None or now >= link.expires_at or link.browser_hash not in (None, browser_hash):
            return None
        taken = kept(replace(link, used_at=link.used_at or now, browser_hash=browser_hash))
        self.tables.login_links[value_hash] = taken
        return taken

    async def count_open(self, user_id: str, *, requested_by: str, now: datetime) -> int:
        """Count links that have not expired."""
        return sum(
            (link.user_id, link.requested_by) == (user_id, requested_by) and link.expires_at > now
            for link in self.tables.login_links.values()
        )

    async def remove_of(self, user_id: str) -> None:
        """Remove all links of a user."""
        drop(self.tables.login_links, lambda link: link.user_id == user_id)

    async def purge(self, *, expired_before: datetime) -> None:
        """Remove those that expired before that."""
        drop(self.tables.login_links, lambda link: link.expires_at < expired_before)


class Renewals(Repository):
    """Consents to session renewal."""

    async def get(self, user_id: str) -> Renewal | None:
        """Return a user's consent."""
        return self.tables.renewals.get(user_id)

    async def list_all(self) -> list[Renewal]:
        """Return all, by user id."""
        return [self.tables.renewals[user_id] for user_id in sorted(self.tables.renewals)]

    async def opt_in(self, user_id: str, pin: Pin, *, at: datetime) -> bool:
        """Store the consent, or another PIN."""
        if user_id not in self.tables.users:
            return False
        known = self.tables.renewals.get(user_id)
        renewal = Renewal(user_id, at) if known is None else replace(known, last_outcome=None)
        self.tables.renewals[user_id] = kept(renewal)
        self.tables.pins[user_id] = pin
        return True

    async def keep_token(
        self,
        user_id: str,
        token: RefreshToken | None,
        *,
        app_id: str,
        generation: int,
        expires_at: datetime | None,
    ) -> bool:
        """Store the refresh token of a login in place of the last one."""
        if token is None:
            return self._change(user_id, **_NO_TOKEN)
        if user_id in self.tables.renewals:
            self.tables.refresh_tokens[user_id] = token
        return self._change(
            user_id,
            has_refresh_token=True,
            app_id=app_id,
            login_generation=generation,
            refresh_token_expires_at=expires_at,
        )

    async def drop_token(self, user_id: str, *, generation: int | None) -> None:
        """Remove the refresh token of this login."""
        known = self.tables.renewals.get(user_id)
        if known is not None and known.login_generation == generation:
            self._change(user_id, **_NO_TOKEN)

    async def keys(self, user_id: str) -> RenewalKeys | None:
        """Return both secrets."""
        if user_id not in self.tables.refresh_tokens:
            return None
        return RenewalKeys(self.tables.pins[user_id], self.tables.refresh_tokens[user_id])

    async def record_try(
        self, user_id: str, *, generation: int, at: datetime, outcome: RenewalOutcome
    ) -> bool:
        """Store the outcome of the last try."""
        return self._change(user_id, tried_generation=generation, last_tried_at=at, last_outcome=outcome)

    async def remove(self, user_id: str) -> bool:
        """Remove everything of it."""
        self.tables.pins.pop(user_id, None)
        self.tables.refresh_tokens.pop(user_id, None)
        return self.tables.renewals.pop(user_id, None) is not None

    def _change(self, user_id: str, **changes: object) -> bool:
        known = self.tables.renewals.get(user_id)
        if known is None:
            return False
        self.tables.renewals[user_id] = kept(replace(known, **changes))
        if not self.tables.renewals[user_id].has_refresh_token:
            self.tables.refresh_tokens.pop(user_id, None)
        return True


class CallPaces(Repository):
    """How much of Fyers' rate limits the accounts have used."""

    async def list_all(self) -> list[CallPace]:
        """Return all, by app and account."""
        return [self.tables.call_paces[key] for key in sorted(self.tables.call_paces)]

    async def add(self, paces: Sequence[CallPace]) -> None:
        """Add the calls to those of the same day, and replace the rest."""
        for pace in paces:
            known = self.tables.call_paces.get((pace.app_id, pace.fyers_id))
            before = known.calls if known is not None and known.day == pace.day else 0
            self.tables.call_paces[pace.app_id, pace.fyers_id] = kept(
                replace(pace, calls=before + pace.calls)
            )

    async def purge(self, *, before: date) -> None:
        """Remove those of earlier days."""
        drop(self.tables.call_paces, lambda pace: pace.day < before)
