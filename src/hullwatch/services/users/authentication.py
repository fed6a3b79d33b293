"""Logins to hullwatch: browser logins, API tokens, and the user of a request.

A browser login expires `BROWSER_LIFETIME` after it was created. There is no idle limit, since the Fyers session, which gives access to a market
account, expires every morning. Values are random and stored only as SHA-256, which is enough for 256 random bits.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import (
    InvalidInput,
    LimitReached,
    NotFound,
    NotSignedIn,
    TooManyAttempts,
    WrongCredentials,
)
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import LONGEST_EMAIL, ApiToken, BrowserSession, User, read_email
from hullwatch.domain.users.login_throttle import LoginThrottle
from hullwatch.runtime.ttl_cache import TtlCache
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.texts.accounts import compose_token_added
from hullwatch.services.users.hash_queue import HashQueue

BROWSER_LIFETIME: Final = timedelta(days=30)
MOST_TOKENS: Final = 20
LONGEST_TOKEN_NAME: Final = 80
LONGEST_VALUE: Final = 128
"""Characters of a cookie or token; valid ones have fewer than 50, so longer text is refused without a hash."""
TOKEN_PREFIX: Final = "hw_"  # noqa: S105 - the beginning of a value, not a secret
TOUCH_EVERY: Final = timedelta(minutes=5)
"""Precision of a token's `last_used_at`; a write for each request would cost more than the request."""
CACHED_S: Final = 30.0
"""How long the user of a login is cached; a login that another process removes is refused after this time at the latest."""


def hash_value(value: str) -> str:
    """Return the form in which a random value is stored and looked up."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class BrowserLogin:
    """A new login; `value` goes into the cookie and is not stored."""

    user: User
    value: SecretText
    expires_at: datetime


class AuthenticationService:
    """Signs users in and out, and returns the user of a request."""

    def __init__(self, context: Context, *, hashing: HashQueue) -> None:
        self._store = context.store
        self._hub = context.hub
        self._clock = context.clock
        self._new_id = context.new_id
        self._hashing = hashing
        self._attempts = LoginThrottle()
        self._confirmations = LoginThrottle()
        self._new_secret = context.new_secret
        self._cached: TtlCache[tuple[bool, str], User] = TtlCache(context.clock, CACHED_S, 20_000)
        self._removals = 0
        self._listeners: list[Callable[[str | None], None]] = []

    def on_change(self, listener: Callable[[str | None], None]) -> None:
        """Call `listener` with the user whose role or logins may have changed, `None` if that is unknown."""
        self._listeners.append(listener)

    async def login(self, email: str, password: str, *, address: str) -> BrowserLogin:
        """Sign a browser in.

        Args:
            email: As the user typed it.
            password: As the user typed it.
            address: The network address of the request.

        Raises:
            WrongCredentials: They are wrong; an unknown e-mail address takes as long as a wrong password.
            TooManyAttempts: Refused without checking the password.
        """
        return await self.open_browser(await self.check_password(email, password, address=address))

    async def check_password(self, email: str, password: str, *, address: str) -> User:
        """Return the user with this e-mail address and password; raises like `login`."""
        email = email.strip().lower()[:LONGEST_EMAIL]
        return await self._check(self._attempts, email, password, address)

    async def confirm_password(self, user: User, password: str, *, address: str) -> User:
        """Check the password of a user who is signed in; failed logins do not count here. Raises like `login`."""
        return await self._check(self._confirmations, user.email, password, address)

    async def _check(self, throttle: LoginThrottle, email: str, password: str, address: str) -> User:
        self._refuse_locked(throttle, email, address)  # a locked caller does not wait in the queue
        async with self._hashing.slot(address) as hasher:
            found = await self._find(email)
            self._refuse_locked(throttle, email, address)  # others may have failed meanwhile
            is_right: bool | None = None
            attempt = throttle.begin(email, address, self._clock.monotonic())
            try:
                is_right = await hasher.is_match(password, found[1] if found else None) and found is not None
            finally:
                throttle.end(attempt, is_success=is_right, now=self._clock.monotonic())
            if not is_right or found is None:
                raise WrongCredentials("The e-mail address or the password is wrong.")
            user, password_hash = found
            renewed = await hasher.hash(password) if hasher.is_outdated(password_hash) else None
        if renewed is not None:
            async with self._store.begin() as work:
                await work.users.set_password_hash(user.id, renewed)
                await work.commit()
        return user

    def _refuse_locked(self, throttle: LoginThrottle, email: str, address: str) -> None:
        if (wait_s := throttle.wait_s(email, address, self._clock.monotonic())) > 0:
            raise TooManyAttempts(
                f"Too many failed logins. Try again in {_spell(wait_s)}.", retry_after_s=wait_s
            )

    async def open_browser(self, user: User, *, and_end_others: bool = False) -> BrowserLogin:
        """Sign a browser in as this user, whose password was checked."""
        login = BrowserLogin(user, SecretText(self._new_secret()), self._clock.now() + BROWSER_LIFETIME)
        async with self._store.begin() as work:
            if and_end_others:
                await work.logins.remove_browsers_of(user.id)
            await work.logins.add_browser(
                hash_value(login.value.reveal()),
                user.id,
                created_at=self._clock.now(),
                expires_at=login.expires_at,
            )
            await work.commit()
        if and_end_others:
            self.forget(user.id)
        return login

    async def logout(self, value: str) -> None:
        """End the login of a browser; an unknown one is ignored."""
        value_hash = hash_value(value[:LONGEST_VALUE])
        async with self._store.begin() as work:
            await work.logins.remove_browser(value_hash)
            await work.commit()
        self._removals += 1
        self._cached.discard((False, value_hash))
        self._publish_change(None)

    async def authenticate(self, *, cookie: str | None = None, bearer: str | None = None) -> User:
        """Return the user of a request; with a bearer token the cookie is ignored.

        Raises:
            NotSignedIn: There is no cookie and no token, or it is unknown or expired.
        """
        value = cookie if bearer is None else bearer
        if not value or len(value) > LONGEST_VALUE or (bearer and not bearer.startswith(TOKEN_PREFIX)):
            raise NotSignedIn("Sign in first.")
        key = (bearer is not None, hash_value(value))
        known = self._cached.get(key)
        return known if known is not None else await self._read_user(key)

    def forget(self, user_id: str) -> None:
        """Delete the user from the cache, because a role, a name or a login changed."""
        self._removals += 1
        for item in self._cached.items():
            if item.value.id == user_id:
                self._cached.discard(item.key)
        self._publish_change(user_id)

    def _publish_change(self, user_id: str | None) -> None:
        for listener in self._listeners:
            listener(user_id)

    async def add_token(self, user_id: str, name: str) -> tuple[ApiToken, SecretText]:
        """Create an API token and return it with its value, which is not stored.

        Raises:
            InvalidInput: The name is empty, too long or not printable.
            LimitReached: The user has `MOST_TOKENS` already.
        """
        name = " ".join(name.split())
        if not name or len(name) > LONGEST_TOKEN_NAME or not name.isprintable():
            raise InvalidInput(
                f"A token's name has 1 to {LONGEST_TOKEN_NAME} printable characters.", field="name"
            )
        token = ApiToken(self._new_id("tok"), user_id, name, self._clock.now())
        value = SecretText(TOKEN_PREFIX + self._new_secret())
        async with self._store.begin() as work:
            if len(await work.logins.tokens_of(user_id)) >= MOST_TOKENS:
                raise LimitReached(f"You have {MOST_TOKENS} API tokens. Delete one that you do not use.")
            await work.logins.add_token(token, hash_value(value.reveal()))
            await work.audit.add([self._line(user_id, "user.api_token_added", name=name)])
            notice = compose_token_added(user_id, name, now=token.created_at, new_id=self._new_id)
            await work.notifications.add(notice)
            await work.commit()
        publish_notices(self._hub, notice)
        return token, value

    async def tokens(self, user_id: str) -> list[ApiToken]:
        """Return a user's API tokens, without values."""
        async with self._store.begin(read_only=True) as work:
            return await work.logins.tokens_of(user_id)

    async def remove_token(self, user_id: str, token_id: str) -> None:
        """Delete an API token; raises `NotFound` if the user has no such token."""
        async with self._store.begin() as work:
            if not await work.logins.remove_token(user_id, token_id):
                raise NotFound("You have no such API token.")
            await work.audit.add([self._line(user_id, "user.api_token_removed")])
            await work.commit()
        self.forget(user_id)

    async def browsers(self, user_id: str, *, cookie: str | None) -> list[tuple[BrowserSession, bool]]:
        """Return the user's browser logins, newest first, each with whether it is the one with this cookie."""
        own = hash_value(cookie[:LONGEST_VALUE]) if cookie else None
        async with self._store.begin(read_only=True) as work:
            found = await work.logins.browsers_of(user_id, now=self._clock.now())
        return [(one, one.value_hash == own) for one in found]

    async def remove_browser(self, user_id: str, browser_id: str) -> None:
        """End one browser login by its id; raises `NotFound` if the user has no such login."""
        async with self._store.begin() as work:
            found = await work.logins.browsers_of(user_id, now=self._clock.now())
            hashes = [one.value_hash for one in found if one.id == browser_id]
            if not hashes:
                raise NotFound("You have no such login.")
            await work.logins.remove_browser(hashes[0])
            await work.commit()
        self.forget(user_id)

    async def purge(self) -> None:
        """Delete expired logins from the database; run regularly."""
        async with self._store.begin() as work:
            await work.logins.purge(now=self._clock.now())
            await work.commit()

    async def _find(self, email: str) -> tuple[User, str] | None:
        """Return the user and the password hash; a text that is not an e-mail address has none."""
        try:
            email = read_email(email)
            async with self._store.begin(read_only=True) as work:
                return await work.users.by_email(email)
        except InvalidInput:
            return None

    async def _read_user(self, key: tuple[bool, str]) -> User:
        (is_token, value_hash), now, removals = key, self._clock.now(), self._removals
        async with self._store.begin(read_only=True) as work:
            token = await work.logins.token_by_hash(value_hash) if is_token else None
            user_id = token.user_id if token else None
            if not is_token:
                user_id = await work.logins.browser_user(value_hash, now=now)
            user = await work.users.get(user_id) if user_id else None
        if user is None:
            raise NotSignedIn("Sign in first.")
        if token and (token.last_used_at is None or now - token.last_used_at >= TOUCH_EVERY):
            async with self._store.begin() as work:
                await work.logins.touch_token(token.id, used_at=now)
                await work.commit()
        # A login that was removed during the query must not get into the cache.
        if self._removals == removals:
            self._cached.put(key, user)
        return user

    def _line(self, user_id: str, kind: str, **evidence: str) -> AuditEntry:
        return AuditEntry(self._clock.now(), user_id, kind, user_id, evidence=evidence)


def _spell(seconds: float) -> str:
    whole = max(1, round(seconds))
    return f"{whole} seconds" if whole < 90 else f"{round(whole / 60)} minutes"
