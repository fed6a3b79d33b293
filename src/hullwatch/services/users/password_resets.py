"""Reset links: a user chooses a new password with one, once and for a short time.

A used link ends all logins of the user and signs nobody in, so a second factor is still asked for.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import NotAllowed, NotFound, ResetLinkExpired, TooManyAttempts
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import Role, User
from hullwatch.domain.users.login_throttle import PER_ADDRESS, AttemptCounter, network_of
from hullwatch.domain.users.password_resets import PasswordReset
from hullwatch.services.context import Context
from hullwatch.services.ports import UnitOfWork
from hullwatch.services.users.accounts import AccountService
from hullwatch.services.users.authentication import AuthenticationService, hash_value

LIFETIME: Final = timedelta(minutes=60)
"""An admin has to hand the link over."""


@dataclass(frozen=True, slots=True)
class MadeReset:
    """A reset link that was just created; its address is shown or sent once, and is not stored."""

    address: SecretText
    expires_at: datetime


class PasswordResetService:
    """Creates reset links and sets passwords with them."""

    def __init__(
        self,
        context: Context,
        *,
        accounts: AccountService,
        logins: AuthenticationService,
        public_url: str,
    ) -> None:
        self._store = context.store
        self._clock = context.clock
        self._new_secret = context.new_secret
        self._accounts = accounts
        self._logins = logins
        self._public_url = public_url.rstrip("/")
        self._guesses = AttemptCounter(PER_ADDRESS)

    async def create_link(self, user_id: str, *, actor: User) -> MadeReset:
        """Create a link for another user, which an admin hands over.

        Raises:
            NotFound: There is no such user.
            NotAllowed: It is the admin's own account.
        """
        if user_id == actor.id:
            # Otherwise an open page of an admin would be enough to take the account over.
            raise NotAllowed(
                "A reset link is for another user. Change your own password on the page Account."
            )
        now, value = self._clock.now(), self._new_secret()
        reset = PasswordReset(user_id, actor.id, now, now + LIFETIME)
        async with self._store.begin() as work:
            if await work.users.get(user_id) is None:
                raise NotFound("There is no such user.")
            await work.password_resets.add(hash_value(value), reset)
            await work.audit.add([AuditEntry(now, user_id, "user.password_reset_requested", actor.id)])
            await work.commit()
        # Browsers do not send the part behind the hash, so it reaches no log and no referrer.
        return MadeReset(SecretText(f"{self._public_url}/#reset={value}"), reset.expires_at)

    async def use(self, value: str, password: str, *, address: str) -> None:
        """Set the password of a link's user, and end all logins of this user. A refused password leaves the link valid.

        Raises:
            ResetLinkExpired: The link is unknown, used or expired.
            InvalidInput: The password is too short, too long or too easy to guess.
            TooManyAttempts: Too many unknown links from this network address, or too many passwords are waiting.
        """
        value_hash = hash_value(value)
        user = await self._user_of(value_hash, address)
        password_hash = await self._accounts.hash_new(password, user.email, user.full_name, address=address)
        async with self._store.begin() as work:
            # Another request may have used the link while this one hashed.
            reset = await work.password_resets.take(value_hash, now=self._clock.now())
            if reset is None or not await _is_good(work, reset):
                raise ResetLinkExpired(_EXPIRED)
            await self._accounts.replace_password(work, user, password_hash, actor=user.id)
            await work.commit()
        self._logins.forget(user.id)

    async def purge(self) -> None:
        """Delete expired links; run regularly."""
        async with self._store.begin() as work:
            await work.password_resets.purge(now=self._clock.now())
            await work.commit()

    async def _user_of(self, value_hash: str, address: str) -> User:
        """Return the user of a link; an unknown one counts as a guess from the network address."""
        network, now = network_of(address), self._clock.monotonic()
        if (wait_s := self._guesses.wait_s(network, now)) > 0:
            raise TooManyAttempts("Too many attempts. Try again in a few minutes.", retry_after_s=wait_s)
        async with self._store.begin(read_only=True) as work:
            reset = await work.password_resets.get(value_hash, now=self._clock.now())
            if reset is not None and await _is_good(work, reset):
                user = await work.users.get(reset.user_id)
                if user is not None:
                    return user
        self._guesses.count(network, now)
        raise ResetLinkExpired(_EXPIRED)


_EXPIRED: Final = "This reset link is not valid any more: it was used, it expired, or it is wrong. Ask an admin for a new one."


async def _is_good(work: UnitOfWork, reset: PasswordReset) -> bool:
    """Whether the link's creator still has the right to create it."""
    if reset.requested_by is None:
        return True
    admin = await work.users.get(reset.requested_by)
    return admin is not None and admin.role is Role.ADMIN
