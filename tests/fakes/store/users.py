"""Users, browser logins, API tokens and invites."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from fakes.store.tables import Repository, drop, drop_strays, kept, storable
from hullwatch.domain.failures import AlreadyExists
from hullwatch.domain.users.accounts import ApiToken, BrowserSession, Role, User, ValidLogins
from hullwatch.domain.users.password_resets import PasswordReset


class Users(Repository):
    """Users and their password hashes."""

    async def lock_registration(self) -> None:
        """Nothing to do: units of work come one after the other."""

    async def add(self, user: User, password_hash: str) -> None:
        """Store a user."""
        storable(password_hash)
        user = kept(user)
        if user.id in self.tables.users or await self.by_email(user.email):
            raise AlreadyExists("An account with this e-mail address exists already.")
        self.tables.users[user.id] = user
        self.tables.password_hashes[user.id] = password_hash

    async def get(self, user_id: str) -> User | None:
        """Return the user."""
        storable(user_id)
        return self.tables.users.get(user_id)

    async def by_email(self, email: str) -> tuple[User, str] | None:
        """Return the user and the password hash."""
        storable(email)
        found = next((user for user in self.tables.users.values() if user.email == email), None)
        return None if found is None else (found, self.tables.password_hashes[found.id])

    async def password_hash(self, user_id: str) -> str | None:
        """Return the password hash."""
        return self.tables.password_hashes.get(user_id)

    async def set_password_hash(self, user_id: str, password_hash: str) -> None:
        """Change it."""
        storable(password_hash)
        if user_id in self.tables.users:
            self.tables.password_hashes[user_id] = password_hash

    async def set_role(self, user_id: str, role: Role) -> None:
        """Change it."""
        if user_id in self.tables.users:
            self.tables.users[user_id] = replace(self.tables.users[user_id], role=role)

    async def set_full_name(self, user_id: str, full_name: str) -> None:
        """Change it."""
        storable(full_name)
        if user_id in self.tables.users:
            self.tables.users[user_id] = replace(self.tables.users[user_id], full_name=full_name)

    async def list_all(self) -> list[User]:
        """Return all users, oldest first."""
        return sorted(self.tables.users.values(), key=lambda user: (user.created_at, user.id))

    async def count(self) -> int:
        """Return how many there are."""
        return len(self.tables.users)

    async def remove(self, user_id: str) -> None:
        """Remove the user with all rows of the user."""
        held = self.tables
        for table in (
            held.users,
            held.password_hashes,
            held.connections,
            held.tokens,
            held.apps,
            held.renewals,
            held.pins,
            held.refresh_tokens,
            held.wishes,
        ):
            table.pop(user_id, None)
        drop(held.browsers, lambda login: login[0] == user_id)
        drop(held.invites, lambda invite: invite[0] == user_id)
        drop(held.api_tokens, lambda entry: entry[0].user_id == user_id)
        own = (
            held.mail_codes,
            held.pending,
            held.login_links,
            held.password_resets,
            held.watches,
            held.signals,
            held.symbol_outages,
            held.notifications,
            held.channels,
            held.deliveries,
        )
        for table in own:
            drop(table, lambda value: value.user_id == user_id)
        drop_strays(held)


class Logins(Repository):
    """Browser logins and API tokens."""

    async def add_browser(
        self, value_hash: str, user_id: str, *, created_at: datetime, expires_at: datetime
    ) -> None:
        """Store a browser's login."""
        storable(value_hash, user_id)
        self.needs_user(user_id)
        if value_hash in self.tables.browsers:
            raise AlreadyExists("That exists already.")
        self.tables.browsers[value_hash] = (user_id, expires_at, created_at)

    async def browser_user(self, value_hash: str, *, now: datetime) -> str | None:
        """Return whose unexpired login this is."""
        user_id, expires_at, _ = self.tables.browsers.get(value_hash, (None, now, now))
        return user_id if expires_at > now else None

    async def valid_of(self, user_ids: Collection[str], *, now: datetime) -> dict[str, ValidLogins]:
        """Return what these users may use now."""
        tables = self.tables
        return {
            user_id: ValidLogins(
                tables.users[user_id].role,
                frozenset(
                    key for key, (owner, end, _) in tables.browsers.items() if owner == user_id and end > now
                )
                | frozenset(of for token, of in tables.api_tokens.values() if token.user_id == user_id),
            )
            for user_id in user_ids
            if user_id in tables.users
        }

    async def browsers_of(self, user_id: str, *, now: datetime) -> list[BrowserSession]:
        """Return the unexpired ones, newest first."""
        own = [
            BrowserSession(key, made, end)
            for key, (owner, end, made) in self.tables.browsers.items()
            if owner == user_id and end > now
        ]
        return sorted(own, key=lambda one: (-one.created_at.timestamp(), one.value_hash))

    async def remove_browser(self, value_hash: str) -> None:
        """Remove one login."""
        self.tables.browsers.pop(value_hash, None)

    async def remove_browsers_of(self, user_id: str) -> None:
        """Remove all logins of a user."""
        drop(self.tables.browsers, lambda login: login[0] == user_id)

    async def purge(self, *, now: datetime) -> None:
        """Remove what has expired."""
        drop(self.tables.browsers, lambda login: login[1] <= now)
        drop(self.tables.pending, lambda pending: pending.expires_at <= now)
        drop(self.tables.invites, lambda invite: invite[1] <= now)

    async def add_invite(self, value_hash: str, *, created_by: str, expires_at: datetime) -> None:
        """Store an invite."""
        storable(value_hash, created_by)
        self.needs_user(created_by)
        if value_hash in self.tables.invites:
            raise AlreadyExists("That exists already.")
        self.tables.invites[value_hash] = (created_by, expires_at)

    async def has_invite(self, value_hash: str, *, now: datetime) -> bool:
        """Whether it is there and has not expired."""
        _, expires_at = self.tables.invites.get(value_hash, (None, now))
        return expires_at > now

    async def take_invite(self, value_hash: str, *, now: datetime) -> bool:
        """Remove it and return whether it had not expired."""
        _, expires_at = self.tables.invites.pop(value_hash, (None, now))
        return expires_at > now

    async def add_token(self, token: ApiToken, value_hash: str) -> None:
        """Store an API token."""
        storable(value_hash)
        token = kept(token)
        self.needs_user(token.user_id)
        if token.id in self.tables.api_tokens or await self.token_by_hash(value_hash):
            raise AlreadyExists("That exists already.")
        self.tables.api_tokens[token.id] = (token, value_hash)

    async def token_by_hash(self, value_hash: str) -> ApiToken | None:
        """Return the token with this hash."""
        return next((token for token, of in self.tables.api_tokens.values() if of == value_hash), None)

    async def touch_token(self, token_id: str, *, used_at: datetime) -> None:
        """Note when it was used."""
        if token_id in self.tables.api_tokens:
            token, value_hash = self.tables.api_tokens[token_id]
            self.tables.api_tokens[token_id] = (replace(token, last_used_at=used_at), value_hash)

    async def tokens_of(self, user_id: str) -> list[ApiToken]:
        """Return a user's tokens, oldest first."""
        own = (token for token, _ in self.tables.api_tokens.values() if token.user_id == user_id)
        return sorted(own, key=lambda token: (token.created_at, token.id))

    async def remove_token(self, user_id: str, token_id: str) -> bool:
        """Remove the user's token."""
        found = self.tables.api_tokens.get(token_id)
        if found is None or found[0].user_id != user_id:
            return False
        del self.tables.api_tokens[token_id]
        return True


class PasswordResets(Repository):
    """Reset links."""

    async def add(self, value_hash: str, reset: PasswordReset) -> None:
        """Store a link."""
        storable(value_hash)
        reset = kept(reset)
        self.needs_user(reset.user_id)
        if value_hash in self.tables.password_resets:
            raise AlreadyExists("That exists already.")
        self.tables.password_resets[value_hash] = reset

    async def get(self, value_hash: str, *, now: datetime) -> PasswordReset | None:
        """Return it unless it has expired."""
        storable(value_hash)
        reset = self.tables.password_resets.get(value_hash)
        return reset if reset is not None and reset.expires_at > now else None

    async def take(self, value_hash: str, *, now: datetime) -> PasswordReset | None:
        """Remove and return it unless it has expired."""
        reset = await self.get(value_hash, now=now)
        if reset is not None:
            del self.tables.password_resets[value_hash]
        return reset

    async def remove_of(self, user_id: str) -> None:
        """Remove all links of a user."""
        drop(self.tables.password_resets, lambda reset: reset.user_id == user_id)

    async def purge(self, *, now: datetime) -> None:
        """Remove expired links."""
        drop(self.tables.password_resets, lambda reset: reset.expires_at <= now)
