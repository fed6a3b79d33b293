"""Login links: they open Fyers' login page for one user, in a browser that is not signed in to hullwatch.

A link belongs to a user and to the account's generation, so every later login makes it void. Opening it changes nothing. The first browser
whose button is pressed uses it and can press again, so a mistyped password does not cost the link; every other browser is refused.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import (
    LimitReached,
    LinkRefused,
    LoginLinkExpired,
    LoginLinkTaken,
    NotAllowed,
    NotFound,
    TooManyAttempts,
)
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.sessions.connection import Connection, LoginState
from hullwatch.domain.sessions.login_links import (
    BY_HULLWATCH,
    BY_OLD_LINK,
    LinkState,
    LoginLink,
    state_of,
)
from hullwatch.domain.users.accounts import User
from hullwatch.domain.users.login_throttle import PER_ADDRESS, AttemptCounter, ThrottlePolicy, network_of
from hullwatch.services.context import Context
from hullwatch.services.login.addresses import (
    CALLBACK,
    AddressAdvice,
    AddressDifference,
    LoginAddressDiffers,
    needs_other_host,
)
from hullwatch.services.login.login_requests import RESEND_AFTER, LoginRequests
from hullwatch.services.login.oauth import FyersLoginService
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.users.authentication import hash_value

LIFETIME: Final = timedelta(minutes=60)
KEPT: Final = timedelta(days=7)
"""How long a link is stored after its expiry, so that a person who opens it late can request a new one."""
MOST_OPEN: Final = 10
"""Unexpired links that one user can create in the dashboard; those in notices are not counted."""
PER_LINK: Final = ThrottlePolicy(free_attempts=60, first_lock_s=15.0, longest_lock_s=900.0)
"""How often one link can be opened and used; a person does it a few times."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class MadeLink:
    """A link that was just created; its address is shown or sent, and is not stored."""

    address: SecretText
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OpenedLink:
    """What a link is for, shown to the person who opened it."""

    link: LoginLink
    user: User
    connection: Connection
    requester: User | None
    """The person who requested it, if a person did and still has an account."""


class LoginLinkService:
    """Creates login links, shows what they are for, and starts logins with them."""

    def __init__(
        self,
        context: Context,
        *,
        connections: ConnectionService,
        logins: FyersLoginService,
        public_url: str,
        lifetime: timedelta = LIFETIME,
    ) -> None:
        self._store = context.store
        self._connections = connections
        self._logins = logins
        self._calendar = context.calendar
        self._clock = context.clock
        self._public_url = public_url.rstrip("/")
        self._lifetime = lifetime
        self._uses = AttemptCounter(PER_LINK)
        self._guesses = AttemptCounter(PER_ADDRESS)
        self._new_secret = context.new_secret
        self._requests = LoginRequests(context)

    # ---------------------------------------------------------------- creating

    async def link_for(self, user_id: str, *, requested_by: str = BY_HULLWATCH) -> SecretText | None:
        """Return the address of a new link, or `None` if a link is not useful or not possible.

        That is the case while the session lasts past the next market close, before the first login, for a removed user, and if the user's
        Fyers app redirects to another server.

        Raises:
            StorageUnavailable: No link was created.
        """
        if not self._needs_login(user_id) or await self._why_impossible(user_id) is not None:
            return None
        made = await self._create(user_id, requested_by)
        return None if made is None else made.address

    async def own_link(self, user_id: str) -> MadeLink:
        """Create a link for a user who is signed in, to open on another device.

        Raises:
            LinkRefused: A link is not possible; the sentence gives the reason.
            LimitReached: The user has `MOST_OPEN` unexpired links.
        """
        if (why := await self._why_impossible(user_id)) is not None:
            raise LinkRefused(why)
        async with self._store.begin(read_only=True) as work:
            count = await work.login_links.count_open(user_id, requested_by=user_id, now=self._clock.now())
        if count >= MOST_OPEN:
            raise LimitReached(f"You have {MOST_OPEN} unexpired login links. Use one of them.")
        made = await self._create(user_id, user_id)
        if made is None:
            raise NotFound("There is no such user.")
        return made

    async def request_login(self, user_id: str, *, actor: str) -> User:
        """Send a user a notice with a link because an admin requests it; the admin does not see the link.

        Raises:
            NotFound: There is no such user.
            LinkRefused: A login is not needed or not possible; the sentence gives the reason.
            TooManyAttempts: A notice was sent a moment ago, or too many were sent today.
        """
        async with self._store.begin(read_only=True) as work:
            user = await work.users.get(user_id)
        if user is None:
            raise NotFound("There is no such user.")
        if (why := await self._why_impossible(user_id)) is not None:
            raise LinkRefused(why)
        if not self._needs_login(user_id):
            raise LinkRefused("This user's session lasts past the next market close. No login is needed.")
        if not await self._requests.send(user_id, requested_by=actor):
            raise TooManyAttempts(
                "This user got a login link in the last 10 minutes, or 5 of them today. Try again later.",
                retry_after_s=RESEND_AFTER.total_seconds(),
            )
        return user

    async def send_again(self, value: str, *, address: str) -> None:
        """Send the link's user a new link over their channels if it is useful; the caller is not informed whether it was sent.

        Raises:
            TooManyAttempts: Too many requests from this network address, or with this link.
        """
        link = await self._find(value, address)
        if link is None or not self._needs_login(link.user_id):
            return
        if await self._why_impossible(link.user_id) is None:
            await self._requests.send(link.user_id, requested_by=BY_OLD_LINK)

    async def purge(self) -> None:
        """Delete links that expired long ago; run regularly."""
        async with self._store.begin() as work:
            await work.login_links.purge(expired_before=self._clock.now() - KEPT)
            await work.commit()

    # ---------------------------------------------------------------- using

    async def open(self, value: str, *, browser_nonce: str | None, address: str) -> OpenedLink:
        """Return what a link is for; changes nothing.

        Args:
            value: The part of the address behind the ``#``.
            browser_nonce: The browser's cookie from an earlier request, if it has one.
            address: The network address of the request.

        Raises:
            LoginLinkExpired: The link is unknown, void or expired.
            LoginLinkTaken: Another browser uses it.
            TooManyAttempts: Too many requests from this network address, or with this link.
        """
        link = await self._find(value, address)
        if link is None:
            raise _refusal(LinkState.EXPIRED)
        state = self._state_of(link, browser_nonce)
        if state is not LinkState.GOOD:
            raise _refusal(state)
        async with self._store.begin(read_only=True) as work:
            user = await work.users.get(link.user_id)
            requester = None
            if link.requested_by not in (BY_HULLWATCH, BY_OLD_LINK):
                requester = await work.users.get(link.requested_by)
        if user is None:
            raise _refusal(LinkState.EXPIRED)
        return OpenedLink(link, user, self._connections.connection(user.id), requester)

    async def begin(
        self,
        value: str,
        *,
        browser_nonce: str,
        user_id: str | None,
        address: str,
        opened_at: str | None = None,
    ) -> str:
        """Use a link in this browser, unless another one uses it, and return the address of Fyers' login page.

        Args:
            value: The part of the address behind the ``#``.
            browser_nonce: A random value that this browser keeps in a cookie.
            user_id: The user who is signed in there, if any.
            address: The network address of the request.
            opened_at: The origin of the page in the browser, if it is known.

        Raises:
            LoginLinkExpired: The link is unknown, void or expired.
            LoginAddressDiffers: The link is open under another host name than the one that Fyers redirects to.
            LoginLinkTaken: Another browser uses it.
            NotAllowed: Another user is signed in there.
            LinkRefused: There is no Fyers app to log in through any more.
            TooManyAttempts: Too many requests from this network address, or with this link.
        """
        link = await self._find(value, address)
        if link is None:
            raise _refusal(LinkState.EXPIRED)
        if user_id not in (None, link.user_id):
            await self._note(link, "login_link.refused", reason="other_user")
            raise NotAllowed(
                "Another user is signed in to hullwatch in this browser. Sign out first, or open the link in another browser."
            )
        if opened_at is not None:
            await self._check_host(link, opened_at)
        state = self._state_of(link, browser_nonce)
        url = await self._use(value, link, browser_nonce) if state is LinkState.GOOD else None
        if url is not None:
            return url
        if state is LinkState.GOOD:  # another browser used it between the check and the use
            state = LinkState.USED if self._clock.now() < link.expires_at else LinkState.EXPIRED
        await self._note(link, "login_link.refused", reason=state.value)
        raise _refusal(state)

    async def _check_host(self, link: LoginLink, opened_at: str) -> None:
        """Refuse a host name whose cookie the return from Fyers would not have; the link stays unused."""
        app = await self._logins.app(link.user_id)
        if app is not None and needs_other_host(app.redirect_uri, opened_at):
            raise LoginAddressDiffers(
                AddressAdvice(
                    AddressDifference.OPEN_OTHER_ADDRESS,
                    f"This link is open at {opened_at}, but Fyers returns to {self._public_url}. "
                    "Open the link exactly as you received it.",
                    open_at=self._public_url,
                )
            )

    async def _use(self, value: str, link: LoginLink, browser_nonce: str) -> str | None:
        """Use the link and start the login in one transaction; `None` if another browser uses it."""
        browser_hash, now = hash_value(browser_nonce), self._clock.now()
        async with self._store.begin() as work:
            used = await work.login_links.use(hash_value(value), browser_hash=browser_hash, now=now)
            if used is None:
                return None
            url = await self._logins.begin_by_link(work, used, browser_hash)
            if link.used_at is None:
                await work.audit.add([self._line(used, "login_link.used")])
            await work.commit()
        return url

    # ---------------------------------------------------------------- rules

    def _needs_login(self, user_id: str) -> bool:
        """Whether the account has no session, or one that expires before the next market close."""
        connection, now = self._connections.connection(user_id), self._clock.now()
        if connection.state is not LoginState.CONNECTED or connection.expires_at is None:
            return True
        return connection.expires_at < self._calendar.status(now).next_close_at

    async def _why_impossible(self, user_id: str) -> str | None:
        """Return why no link is possible for this user, or `None` if one is."""
        if self._connections.connection(user_id).fyers_id is None:
            return "No Fyers account is linked yet. Log in to Fyers from the dashboard the first time."
        app = await self._logins.app(user_id)
        if app is None:
            return "No Fyers app is set up. Store the Fyers app id and secret first."
        if not _is_same_address(app.redirect_uri, f"{self._public_url}{CALLBACK}"):
            return "The redirect address of the Fyers app is on another server, so a login by link cannot return here."
        return None

    async def _create(self, user_id: str, requested_by: str) -> MadeLink | None:
        """Store a link of the account's present generation; `None` if the user was removed."""
        now, value = self._clock.now(), self._new_secret()
        generation = self._connections.connection(user_id).generation
        link = LoginLink(user_id, generation, requested_by, now, now + self._lifetime)
        async with self._store.begin() as work:
            if not await work.login_links.add(hash_value(value), link):
                return None
            await work.audit.add([self._line(link, "login_link.created")])
            await work.commit()
        # Browsers do not send the part behind the hash, so it reaches no log and no referrer.
        return MadeLink(SecretText(f"{self._public_url}/reconnect#{value}"), link.expires_at)

    def _state_of(self, link: LoginLink, browser_nonce: str | None) -> LinkState:
        return state_of(
            link,
            generation=self._connections.connection(link.user_id).generation,
            browser_hash=None if browser_nonce is None else hash_value(browser_nonce),
            now=self._clock.now(),
        )

    async def _find(self, value: str, address: str) -> LoginLink | None:
        """Return the link with this value; an unknown value counts as a guess from the network address.

        Raises:
            TooManyAttempts: Too many requests from this network address, or with this link.
        """
        value_hash, network, now = hash_value(value), network_of(address), self._clock.monotonic()
        wait_s = max(self._uses.wait_s(value_hash, now), self._guesses.wait_s(network, now))
        if wait_s > 0:
            raise TooManyAttempts("Too many attempts. Try again in a few minutes.", retry_after_s=wait_s)
        self._guesses.begin(network, now)
        is_guess = False
        try:
            async with self._store.begin(read_only=True) as work:
                link = await work.login_links.get(value_hash)
            is_guess = link is None
        finally:
            if is_guess:
                self._guesses.fail(network, now)
            else:
                self._guesses.withdraw(network)
        self._uses.count(value_hash, now)
        return link

    async def _note(self, link: LoginLink, kind: str, *, reason: str) -> None:
        async with self._store.begin() as work:
            await work.audit.add([self._line(link, kind, reason=reason)])
            await work.commit()

    def _line(self, link: LoginLink, kind: str, *, reason: str | None = None) -> AuditEntry:
        creator = BY_HULLWATCH if link.requested_by == BY_OLD_LINK else link.requested_by
        return AuditEntry(
            self._clock.now(),
            link.user_id,
            kind,
            creator if kind == "login_link.created" else BY_HULLWATCH,
            reason=reason,
            generation=link.generation,
            evidence={"requestedBy": link.requested_by},
        )


def _refusal(state: LinkState) -> LoginLinkExpired | LoginLinkTaken:
    """Return the refusal of a link; unknown links get the same one as expired links."""
    if state is LinkState.USED:
        return LoginLinkTaken(
            "This login link is in use in another browser. Only the browser in which its button was pressed can use it."
        )
    return LoginLinkExpired("This login link is not valid any more: it was used, it expired, or it is wrong.")


def _is_same_address(address: str, ours: str) -> bool:
    """Whether two addresses have the same server and path."""
    try:
        one, other = (
            (parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme), parts.path)
            for parts in (urlsplit(address), urlsplit(ours))
        )
    except ValueError:  # the port is not a number
        return False
    return one == other
