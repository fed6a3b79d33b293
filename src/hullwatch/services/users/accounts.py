"""Accounts of hullwatch: registration, roles, names, passwords, invites, removal.

Changes that depend on the number of accounts or admins lock the registration first: two first registrations at the same moment must not make two
admins, and two demotions must not leave none.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import AlreadyExists, InvalidInput, NotAllowed, NotFound, TooManyAttempts
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import Role, User, check_password, read_email, read_full_name
from hullwatch.domain.users.login_throttle import AttemptCounter, ThrottlePolicy, network_of
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.ports import UnitOfWork
from hullwatch.services.texts.accounts import (
    compose_password_changed,
    compose_password_replaced,
    compose_role_changed,
    compose_signed_out_everywhere,
)
from hullwatch.services.users.authentication import AuthenticationService, BrowserLogin, hash_value
from hullwatch.services.users.hash_queue import HashQueue
from hullwatch.services.users.password_strength import check_strength

INVITE_LIFETIME: Final = timedelta(days=7)
REGISTRATIONS: Final = ThrottlePolicy(free_attempts=200, first_lock_s=60.0, longest_lock_s=3600.0)
"""Per network address; wrong invites count too."""
_INVITE_REFUSED: Final = "This invite was used or has expired. Ask an admin for a new one."


class Registration(StrEnum):
    """Who may register."""

    OPEN = "open"
    """Anyone who reaches the page."""
    INVITE = "invite"
    """Anyone with an invite link that an admin created."""
    CLOSED = "closed"
    """Nobody; admins create accounts on the command line."""


class UserState(Protocol):
    """A service that keeps state of users in memory."""

    def known_users(self) -> frozenset[str]:
        """Return the ids of the users with state in memory."""
        ...

    async def forget(self, user_id: str) -> None:
        """Drop the state of a removed user; the caller removes what is stored."""
        ...


class AccountService:
    """Creates, changes and removes accounts."""

    def __init__(
        self,
        context: Context,
        *,
        hashing: HashQueue,
        logins: AuthenticationService,
        user_states: Sequence[UserState],
    ) -> None:
        self._store = context.store
        self._hub = context.hub
        self._clock = context.clock
        self._new_id = context.new_id
        self._hashing = hashing
        self._logins = logins
        self._user_states = user_states
        self._new_secret = context.new_secret
        self._registrations = AttemptCounter(REGISTRATIONS)

    async def register(
        self,
        email: str,
        password: str,
        full_name: str,
        *,
        address: str,
        registration: Registration,
        invite: str | None = None,
    ) -> User:
        """Create an account for a visitor; the first account of a new install is an admin, also with an invite.

        Args:
            email: As the user typed it.
            password: As the user typed it.
            full_name: As the user typed it.
            address: The network address of the request.
            registration: Who may register by such a request.
            invite: The value of an invite link.

        Raises:
            NotAllowed: Registration is closed, or the invite is missing, used or expired.
            InvalidInput: E-mail address, password or name is invalid.
            AlreadyExists: The e-mail address has an account.
            TooManyAttempts: Too many registrations from this network address, or too many passwords are waiting.
        """
        if registration is Registration.CLOSED:
            raise NotAllowed("Registration is closed. Ask an admin for an account.")
        if registration is Registration.INVITE and not invite:
            raise NotAllowed("Registration needs an invite link. Ask an admin for one.")
        network, now = network_of(address), self._clock.monotonic()
        if (wait_s := self._registrations.wait_s(network, now)) > 0:
            raise TooManyAttempts(
                "Too many registrations from this address. Try again later.", retry_after_s=wait_s
            )
        invite = invite if registration is Registration.INVITE else None
        self._registrations.begin(network, now)
        is_counted = False
        try:
            user = await self._add(email, password, full_name, invite=invite, address=address)
            is_counted = True  # one address can create only so many accounts
        except (NotAllowed, AlreadyExists):
            is_counted = True  # an invite or an e-mail address was looked up
            raise
        finally:
            if is_counted:
                self._registrations.fail(network, self._clock.monotonic())
            else:
                self._registrations.withdraw(network)
        return user

    async def add(self, email: str, password: str, full_name: str, *, role: Role, actor: str) -> User:
        """Create an account in any registration mode; raises like `register`."""
        return await self._add(email, password, full_name, role=role, actor=actor, address=actor)

    async def get(self, user_id: str) -> User:
        """Return a user; raises `NotFound`."""
        async with self._store.begin(read_only=True) as work:
            return await _existing(work, user_id)

    async def find(self, email: str) -> User | None:
        """Return the user with this e-mail address; a text that is none has no user."""
        try:
            return await self.by_email(read_email(email))
        except (InvalidInput, NotFound):
            return None

    async def by_email(self, email: str) -> User:
        """Return the user with this e-mail address; raises `NotFound`."""
        async with self._store.begin(read_only=True) as work:
            found = await work.users.by_email(email.strip().lower())
        if found is None:
            raise NotFound("There is no such user.")
        return found[0]

    async def list_all(self) -> list[User]:
        """Return all users, oldest first."""
        async with self._store.begin(read_only=True) as work:
            return await work.users.list_all()

    async def has_admin(self) -> bool:
        """Whether there is an admin."""
        return any(user.role is Role.ADMIN for user in await self.list_all())

    async def rename(self, user_id: str, full_name: str) -> User:
        """Change a user's name; raises `InvalidInput`."""
        name = read_full_name(full_name)
        async with self._store.begin() as work:
            await _existing(work, user_id)
            await work.users.set_full_name(user_id, name)
            await work.commit()
        self._logins.forget(user_id)
        return await self.get(user_id)

    async def change_password(
        self, user_id: str, current: str, new: str, *, address: str, ends_all: bool = False
    ) -> BrowserLogin:
        """Change the password, end all browser logins and return a new one.

        API tokens and login links end too if `ends_all`, otherwise they stay valid.

        Raises:
            WrongCredentials: `current` is not the password.
            TooManyAttempts: Too many wrong passwords.
            InvalidInput: `new` is not a valid password.
        """
        user = await self.get(user_id)
        await self._logins.confirm_password(user, current, address=address)
        if new == current:
            raise InvalidInput("The new password is the present one. Choose another one.", field="password")
        password_hash = await self.hash_new(new, user.email, user.full_name, address=address)
        async with self._store.begin() as work:
            await work.users.set_password_hash(user_id, password_hash)
            await work.password_resets.remove_of(user_id)
            if ends_all:
                await _remove_logins(work, user_id)
            await work.audit.add([self._line(user_id, "user.password_changed", actor=user_id)])
            notice = compose_password_changed(
                user_id, now=self._clock.now(), new_id=self._new_id, ends_all=ends_all
            )
            await work.notifications.add(notice)
            await work.commit()
        publish_notices(self._hub, notice)
        return await self._logins.open_browser(user, and_end_others=True)

    async def sign_out_everywhere(self, user_id: str) -> BrowserLogin:
        """End all logins, API tokens and login links of a user, and return a new login for the calling browser."""
        user = await self.get(user_id)
        async with self._store.begin() as work:
            await _remove_logins(work, user_id)
            await work.audit.add([self._line(user_id, "user.signed_out_everywhere", actor=user_id)])
            notice = compose_signed_out_everywhere(user_id, now=self._clock.now(), new_id=self._new_id)
            await work.notifications.add(notice)
            await work.commit()
        publish_notices(self._hub, notice)
        return await self._logins.open_browser(user, and_end_others=True)

    async def set_password(self, user_id: str, new: str, *, actor: str) -> User:
        """Give a user a new password without the current one, and end all logins of the user.

        Raises:
            NotFound: There is no such user.
            InvalidInput: `new` is not a valid password.
        """
        user = await self.get(user_id)
        password_hash = await self.hash_new(new, user.email, user.full_name, address=actor)
        async with self._store.begin() as work:
            await self.replace_password(work, user, password_hash, actor=actor)
            await work.commit()
        self._logins.forget(user_id)
        return user

    async def hash_new(self, password: str, email: str, full_name: str, *, address: str) -> str:
        """Return the hash of a new password of this user.

        Raises:
            InvalidInput: It is too short, too long or too easy to guess.
            TooManyAttempts: Too many passwords are waiting.
        """
        check_password(password, email=email)
        async with self._hashing.slot(address) as hasher:
            await asyncio.to_thread(check_strength, password, about=(email, full_name))
            return await hasher.hash(password)

    async def replace_password(self, work: UnitOfWork, user: User, password_hash: str, *, actor: str) -> None:
        """Store a password that was set without the current one; the caller commits and then forgets the user's logins."""
        await work.users.set_password_hash(user.id, password_hash)
        await _remove_logins(work, user.id)
        await work.notifications.add(
            compose_password_replaced(user.id, now=self._clock.now(), new_id=self._new_id)
        )
        await work.password_resets.remove_of(user.id)
        await work.audit.add([self._line(user.id, "user.password_reset", actor=actor)])

    async def set_role(self, user_id: str, role: Role, *, actor: str) -> User:
        """Change the role of a user.

        Raises:
            NotFound: There is no such user.
            NotAllowed: No admin would be left.
        """
        async with self._store.begin() as work:
            await work.users.lock_registration()
            user = await _existing(work, user_id)
            if user.role is not role:
                await _check_other_admin(work, user)
                await work.users.set_role(user_id, role)
                await work.notifications.add(
                    compose_role_changed(user_id, role, now=self._clock.now(), new_id=self._new_id)
                )
                await work.audit.add([self._line(user_id, "user.role_changed", actor=actor, role=role.value)])
                await work.commit()
        self._logins.forget(user_id)
        return await self.get(user_id)

    async def remove(self, user_id: str, *, actor: str) -> None:
        """Remove a user with all their data; raises like `set_role`."""
        async with self._store.begin() as work:
            await work.users.lock_registration()
            user = await _existing(work, user_id)
            await _check_other_admin(work, user)
            await work.users.remove(user_id)
            await work.audit.add([self._line(user_id, "user.removed", actor=actor)])
            await work.commit()
        await self._forget(user_id)

    async def forget_removed(self) -> None:
        """Drop the state of users who were removed in the database by another process, such as the command line."""
        # Read before the database: a user with state in memory is stored already, so no new user counts as removed.
        known = frozenset[str]().union(*(state.known_users() for state in self._user_states))
        async with self._store.begin(read_only=True) as work:
            stored = {user.id for user in await work.users.list_all()}
        for user_id in known - stored:
            await self._forget(user_id)

    async def _forget(self, user_id: str) -> None:
        self._logins.forget(user_id)
        for state in self._user_states:
            await state.forget(user_id)

    async def make_invite(self, *, actor: str) -> SecretText:
        """Create an invite, with which one person can register within `INVITE_LIFETIME`."""
        value = SecretText(self._new_secret())
        expires_at = self._clock.now() + INVITE_LIFETIME
        async with self._store.begin() as work:
            await work.logins.add_invite(hash_value(value.reveal()), created_by=actor, expires_at=expires_at)
            await work.audit.add([self._line(actor, "user.invite_made", actor=actor)])
            await work.commit()
        return value

    async def _add(
        self,
        email: str,
        password: str,
        full_name: str,
        *,
        address: str,
        role: Role | None = None,
        actor: str | None = None,
        invite: str | None = None,
    ) -> User:
        """Store an account; without a role the first one is an admin and all others are traders."""
        email, full_name = read_email(email), read_full_name(full_name)
        check_password(password, email=email)
        await self._check_before_hashing(email, invite)
        password_hash = await self.hash_new(password, email, full_name, address=address)
        async with self._store.begin() as work:
            await work.users.lock_registration()
            if invite is not None and not await work.logins.take_invite(
                hash_value(invite), now=self._clock.now()
            ):
                raise NotAllowed(_INVITE_REFUSED)
            if role is None:
                role = Role.ADMIN if await work.users.count() == 0 else Role.TRADER
            user = User(self._new_id("usr"), email, full_name, role, self._clock.now())
            await work.users.add(user, password_hash)
            await work.audit.add(
                [self._line(user.id, "user.registered", actor=actor or user.id, role=role.value)]
            )
            await work.commit()
        return user

    async def _check_before_hashing(self, email: str, invite: str | None) -> None:
        """Refuse what can be refused without a hash. Another request can still be faster, so the unit of work decides."""
        async with self._store.begin(read_only=True) as work:
            if invite is not None and not await work.logins.has_invite(
                hash_value(invite), now=self._clock.now()
            ):
                raise NotAllowed(_INVITE_REFUSED)
            if await work.users.by_email(email) is not None:
                raise AlreadyExists("An account with this e-mail address exists already.")

    def _line(self, user_id: str, kind: str, *, actor: str, **evidence: str) -> AuditEntry:
        return AuditEntry(self._clock.now(), user_id, kind, actor, evidence=evidence)


async def _existing(work: UnitOfWork, user_id: str) -> User:
    user = await work.users.get(user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


async def _check_other_admin(work: UnitOfWork, user: User) -> None:
    """Refuse to demote or remove the last admin."""
    if user.role is not Role.ADMIN:
        return
    admins = sum(other.role is Role.ADMIN for other in await work.users.list_all())
    if admins < 2:
        raise NotAllowed("There must be at least one admin. Make another user an admin first.")


async def _remove_logins(work: UnitOfWork, user_id: str) -> None:
    """End all browser logins, API tokens and login links of a user."""
    await work.logins.remove_browsers_of(user_id)
    for token in await work.logins.tokens_of(user_id):
        await work.logins.remove_token(user_id, token.id)
    await work.login_links.remove_of(user_id)
