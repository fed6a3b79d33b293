"""Accounts of hullwatch itself: registering, roles, names, passwords, invites, removal. Being signed in is in ``logins.py``.

Changes that depend on how many accounts or admins there are take the storage's registration lock first: two first registrations at the
same moment must not make two admins, nor two demotions none.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import NotAllowed, NotFound, TooManyAttempts
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import Role, User, check_password, read_email, read_full_name
from hullwatch.domain.users.login_throttle import LoginThrottle, ThrottlePolicy
from hullwatch.services.context import Context
from hullwatch.services.ports import UnitOfWork
from hullwatch.services.users.authentication import AuthenticationService, BrowserLogin, hash_value
from hullwatch.services.users.passwords import HasherPort

INVITE_LIFETIME: Final = timedelta(days=7)
REGISTRATIONS: Final = ThrottlePolicy(free_attempts=200, first_lock_s=60.0, longest_lock_s=3600.0)
"""Per network address: each costs a password hash."""


class Registration(StrEnum):
    """Who may register."""

    OPEN = "open"
    """Anyone who reaches the page."""
    INVITE = "invite"
    """Whoever holds an invite that an admin made."""
    CLOSED = "closed"
    """Nobody; accounts are made on the command line."""


class Keeper(Protocol):
    """Whoever remembers something of a user: the session with Fyers, the watches."""

    def known(self) -> frozenset[str]:
        """Return the ids of all users of whom something is remembered."""
        ...

    async def forget(self, user_id: str) -> None:
        """Drop a removed user from memory."""
        ...


class AccountService:
    """Makes, changes and removes accounts."""

    def __init__(
        self,
        context: Context,
        *,
        hasher: HasherPort,
        logins: AuthenticationService,
        connections: Keeper,
        registration: Registration = Registration.OPEN,
    ) -> None:
        self._store = context.store
        self._clock = context.clock
        self._new_id = context.new_id
        self._hasher = hasher
        self._logins = logins
        self._connections = connections
        self._registration = registration
        self._new_secret = context.new_secret
        self._registrations = LoginThrottle(per_email=REGISTRATIONS, per_address=REGISTRATIONS)

    async def register(
        self, email: str, password: str, full_name: str, *, address: str, invite: str | None = None
    ) -> User:
        """Make an account for whoever asks; the first one of a new install becomes admin, by invite as well.

        Raises:
            NotAllowed: registration is closed, or the invite is missing, used or has ended.
            InvalidInput: e-mail address, password or name cannot be used.
            AlreadyExists: the e-mail address has an account.
            TooManyAttempts: too many registrations from this network address.
        """
        if self._registration is Registration.CLOSED:
            raise NotAllowed("Registration is closed here; ask an admin for an account.")
        if self._registration is Registration.INVITE and not invite:
            raise NotAllowed("Registration needs an invite link; ask an admin for one.")
        wait_s = self._registrations.begin(f"from {address}", address, self._clock.monotonic())
        if wait_s > 0:
            raise TooManyAttempts(
                "Too many registrations from this address. Try again later.", retry_after_s=wait_s
            )
        return await self._add(email, password, full_name, role=None, actor=None, invite=invite)

    async def add(self, email: str, password: str, full_name: str, *, role: Role, actor: str) -> User:
        """Make an account for somebody, whatever the registration mode; raises as `register`."""
        return await self._add(email, password, full_name, role=role, actor=actor)

    async def get(self, user_id: str) -> User:
        """Return a user; raises `NotFound`."""
        async with self._store.begin(read_only=True) as work:
            return await _existing(work, user_id)

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

    async def rename(self, user_id: str, full_name: str) -> User:
        """Change a user's shown name; raises `InvalidInput`."""
        name = read_full_name(full_name)
        async with self._store.begin() as work:
            await _existing(work, user_id)
            await work.users.set_full_name(user_id, name)
            await work.commit()
        self._logins.forget(user_id)
        return await self.get(user_id)

    async def change_password(self, user_id: str, current: str, new: str, *, address: str) -> BrowserLogin:
        """Change the password, end all browser logins and begin a new one; API tokens stay.

        Raises:
            WrongCredentials: `current` is not the password.
            TooManyAttempts: it was guessed at too often.
            InvalidInput: `new` cannot be used.
        """
        user = await self.get(user_id)
        await self._logins.check_password(user.email, current, address=address)
        check_password(new, email=user.email)
        password_hash = await self._hasher.hash(new)
        async with self._store.begin() as work:
            await work.users.set_password_hash(user_id, password_hash)
            await work.audit.add([self._line(user_id, "user.password_changed", actor=user_id)])
            await work.commit()
        return await self._logins.open_browser(user, and_end_others=True)

    async def set_role(self, user_id: str, role: Role, *, actor: str) -> User:
        """Give a user another role.

        Raises:
            NotFound: there is no such user.
            NotAllowed: that would leave no admin.
        """
        async with self._store.begin() as work:
            await work.users.lock_registration()
            user = await _existing(work, user_id)
            if user.role is not role:
                await _keep_an_admin(work, user)
                await work.users.set_role(user_id, role)
                await work.audit.add([self._line(user_id, "user.role_changed", actor=actor, role=role.value)])
                await work.commit()
        self._logins.forget(user_id)
        return await self.get(user_id)

    async def remove(self, user_id: str, *, actor: str) -> None:
        """Remove a user with everything that is the user's own; raises as `set_role`."""
        async with self._store.begin() as work:
            await work.users.lock_registration()
            user = await _existing(work, user_id)
            await _keep_an_admin(work, user)
            await work.users.remove(user_id)
            await work.audit.add([self._line(user_id, "user.removed", actor=actor)])
            await work.commit()
        self._logins.forget(user_id)
        await self._connections.forget(user_id)

    async def forget_removed(self) -> None:
        """Drop users from memory who were removed on the database itself, such as on the command line."""
        known = (
            self._connections.known()
        )  # first: whoever is known is stored already, so nobody new is taken for removed
        async with self._store.begin(read_only=True) as work:
            stored = {user.id for user in await work.users.list_all()}
        for user_id in known - stored:
            self._logins.forget(user_id)
            await self._connections.forget(user_id)

    async def make_invite(self, *, actor: str) -> SecretText:
        """Make an invite that lets one person register within `INVITE_LIFETIME`."""
        value = SecretText(self._new_secret())
        ends_at = self._clock.now() + INVITE_LIFETIME
        async with self._store.begin() as work:
            await work.logins.add_invite(hash_value(value.reveal()), created_by=actor, expires_at=ends_at)
            await work.audit.add([self._line(actor, "user.invite_made", actor=actor)])
            await work.commit()
        return value

    async def _add(
        self,
        email: str,
        password: str,
        full_name: str,
        *,
        role: Role | None,
        actor: str | None,
        invite: str | None = None,
    ) -> User:
        """Store an account; without a role the first one becomes admin and all others traders."""
        email, full_name = read_email(email), read_full_name(full_name)
        check_password(password, email=email)
        password_hash = await self._hasher.hash(password)
        async with self._store.begin() as work:
            await work.users.lock_registration()
            if invite is not None and self._registration is Registration.INVITE:
                await self._use_invite(work, invite)
            if role is None:
                role = Role.ADMIN if await work.users.count() == 0 else Role.TRADER
            user = User(self._new_id("usr"), email, full_name, role, self._clock.now())
            await work.users.add(user, password_hash)
            await work.audit.add(
                [self._line(user.id, "user.registered", actor=actor or user.id, role=role.value)]
            )
            await work.commit()
        return user

    async def _use_invite(self, work: UnitOfWork, invite: str) -> None:
        if not await work.logins.take_invite(hash_value(invite), now=self._clock.now()):
            raise NotAllowed("This invite has been used or has ended; ask an admin for a new one.")

    def _line(self, user_id: str, kind: str, *, actor: str, **evidence: str) -> AuditEntry:
        return AuditEntry(self._clock.now(), user_id, kind, actor, evidence=evidence)


async def _existing(work: UnitOfWork, user_id: str) -> User:
    user = await work.users.get(user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


async def _keep_an_admin(work: UnitOfWork, user: User) -> None:
    """Refuse to demote or remove the last admin."""
    if user.role is not Role.ADMIN:
        return
    admins = sum(other.role is Role.ADMIN for other in await work.users.list_all())
    if admins < 2:
        raise NotAllowed("There has to be at least one admin; make somebody else admin first.")
