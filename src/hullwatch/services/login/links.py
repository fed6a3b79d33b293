"""LoginLinkService: links that lead one user's browser to Fyers' login without being signed in here. The round trip itself is ``linking.py``'s.

A link is bound to a user and to the generation of the account: any login after it was made makes it void, and the Fyers account it is for
cannot have changed. Looking at it changes nothing. The first browser whose button is pressed takes it and may press again, so that a mistyped
password costs nobody the morning; every other browser is refused from then on. Its value is random, is part of an address behind the ``#``, and
is stored as a hash.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
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
    stand,
)
from hullwatch.domain.users.accounts import User
from hullwatch.domain.users.login_throttle import PER_ADDRESS, LoginThrottle, ThrottlePolicy
from hullwatch.services.context import Context
from hullwatch.services.login.apps import LinkedApp
from hullwatch.services.login.login_asking import ASK_AGAIN_AFTER, LoginAsking
from hullwatch.services.ports import UnitOfWork
from hullwatch.services.users.authentication import hash_value

LIFETIME: Final = timedelta(minutes=60)
KEPT: Final = timedelta(days=7)
"""How long a link is remembered after its end, so that whoever opens it late can ask for a new one."""
MOST_OPEN: Final = 10
"""Links that one user may have open by own wish; notices are not counted."""
PER_LINK: Final = ThrottlePolicy(free_attempts=60, first_lock_s=15.0, longest_lock_s=900.0)
"""Looks and presses of one link; a person makes a handful."""
CALLBACK: Final = "/api/fyers/callback"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Sessions(Protocol):
    """What is needed of `ConnectionService`."""

    def connection(self, user_id: str) -> Connection:
        """Return the account's connection."""
        ...


class RoundTrips(Protocol):
    """What is needed of `FyersLoginService`."""

    async def app(self, user_id: str) -> LinkedApp | None:
        """Return the app that the user's logins go through."""
        ...

    async def begin_by_link(self, work: UnitOfWork, link: LoginLink, browser_hash: str) -> str:
        """Return the address of Fyers' login page for a link that this browser has taken."""
        ...


@dataclass(frozen=True, slots=True)
class MadeLink:
    """A link just made; `address` is shown or sent, and is nowhere else."""

    address: SecretText
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SeenLink:
    """What a link is about, for whoever holds it."""

    link: LoginLink
    user: User
    connection: Connection
    asker: User | None
    """The person who asked for it, if it was one and still is here."""


class LoginLinkService:
    """Makes login links, shows what they are about, and lets a browser begin with one. Satisfies `LinkMaker`."""

    def __init__(
        self,
        context: Context,
        *,
        connections: Sessions,
        linking: RoundTrips,
        public_url: str,
        lifetime: timedelta = LIFETIME,
        throttle: LoginThrottle | None = None,
    ) -> None:
        """Keep what is needed; `new_secret` has to give at least 128 random bits, fit for an address."""
        self._store = context.store
        self._connections = connections
        self._linking = linking
        self._calendar = context.calendar
        self._clock = context.clock
        self._public_url = public_url.rstrip("/")
        self._lifetime = lifetime
        self._throttle = throttle or LoginThrottle(per_email=PER_LINK, per_address=PER_ADDRESS)
        self._new_secret = context.new_secret
        self._asking = LoginAsking(context)

    # ---------------------------------------------------------------- making

    async def link_for(self, user_id: str, *, requested_by: str = BY_HULLWATCH) -> SecretText | None:
        """Return the address of a new link, or `None` when none makes sense.

        None does while the session lasts past the next close of the market, before the first login, for a user who is gone, and where the
        user's Fyers app sends browsers elsewhere than to this server.

        Raises:
            StorageUnavailable: none was made.
        """
        if not self._needs_login(user_id) or await self._why_impossible(user_id) is not None:
            return None
        made = await self._make(user_id, requested_by)
        return None if made is None else made.address

    async def own_link(self, user_id: str) -> MadeLink:
        """Make a link for a user who is signed in, to be opened on another device.

        Raises:
            LinkRefused: there can be none yet; the sentence says why.
            LimitReached: the user has `MOST_OPEN` open already.
        """
        if (why := await self._why_impossible(user_id)) is not None:
            raise LinkRefused(why)
        async with self._store.begin(read_only=True) as work:
            count = await work.login_links.count_open(user_id, requested_by=user_id, now=self._clock.now())
        if count >= MOST_OPEN:
            raise LimitReached(f"You have {MOST_OPEN} login links that are still good; use one of them.")
        made = await self._make(user_id, user_id)
        if made is None:
            raise NotFound("There is no such user.")
        return made

    async def ask(self, user_id: str, *, actor: str) -> User:
        """Send a user a notice with a link, because an admin wants it; the admin does not see the link.

        Raises:
            NotFound: there is no such user.
            LinkRefused: there is nothing to log in for, or no way to; the sentence says why.
            TooManyAttempts: the user was asked a moment ago, or too often today.
        """
        async with self._store.begin(read_only=True) as work:
            user = await work.users.get(user_id)
        if user is None:
            raise NotFound("There is no such user.")
        if (why := await self._why_impossible(user_id)) is not None:
            raise LinkRefused(why)
        if not self._needs_login(user_id):
            raise LinkRefused(
                "This user's session lasts past the next close of the market: there is nothing to log in for."
            )
        if not await self._asking.tell(user_id, requested_by=actor):
            raise TooManyAttempts(
                "This user was asked a moment ago, or often enough for a day.",
                retry_after_s=ASK_AGAIN_AFTER.total_seconds(),
            )
        return user

    async def again(self, value: str, *, address: str) -> None:
        """Send a link's user a new one, over the user's own channels, if that makes sense; the caller cannot tell whether it was done.

        Raises:
            TooManyAttempts: too many from this network address, or with this link.
        """
        self._check_rate(value, address)
        link = await self._find(value, address)
        if link is None or not self._needs_login(link.user_id):
            return
        if await self._why_impossible(link.user_id) is None:
            await self._asking.tell(link.user_id, requested_by=BY_OLD_LINK)

    async def purge(self) -> None:
        """Forget links that ended long ago; run now and then."""
        async with self._store.begin() as work:
            await work.login_links.purge(expired_before=self._clock.now() - KEPT)
            await work.commit()

    # ---------------------------------------------------------------- using

    async def look(self, value: str, *, browser_nonce: str | None, address: str) -> SeenLink:
        """Return what a link is about; changes nothing.

        Args:
            value: what the address holds.
            browser_nonce: what the asking browser was given to be known again, if anything.
            address: the network address the request came from.

        Raises:
            LoginLinkExpired: it is unknown, used or over.
            LoginLinkTaken: another browser has taken it.
            TooManyAttempts: too many from this network address, or with this link.
        """
        self._check_rate(value, address)
        link = await self._find(value, address)
        if link is None:
            raise _refusal(LinkState.EXPIRED)
        standing = self._stand(link, browser_nonce)
        if standing is not LinkState.GOOD:
            raise _refusal(standing)
        async with self._store.begin(read_only=True) as work:
            user = await work.users.get(link.user_id)
            asker = None
            if link.requested_by not in (BY_HULLWATCH, BY_OLD_LINK):
                asker = await work.users.get(link.requested_by)
        if user is None:
            raise _refusal(LinkState.EXPIRED)
        return SeenLink(link, user, self._connections.connection(user.id), asker)

    async def begin(self, value: str, *, browser_nonce: str, user_id: str | None, address: str) -> str:
        """Take a link for this browser, unless another one has it, and return the address of Fyers' login page.

        Args:
            value: what the address holds.
            browser_nonce: random value that this browser keeps in a cookie.
            user_id: who is signed in there, if anybody.
            address: the network address the request came from.

        Raises:
            LoginLinkExpired: it is unknown, used or over.
            LoginLinkTaken: another browser has taken it.
            NotAllowed: somebody else is signed in there.
            LinkRefused: there is no Fyers app any more to log in through.
            TooManyAttempts: too many from this network address, or with this link.
        """
        self._check_rate(value, address)
        link = await self._find(value, address)
        if link is None:
            raise _refusal(LinkState.EXPIRED)
        if user_id not in (None, link.user_id):
            await self._note(link, "login_link.refused", reason="other_user")
            raise NotAllowed(
                "Somebody else is signed in to hullwatch in this browser: sign out first, or open the link in another one."
            )
        standing = self._stand(link, browser_nonce)
        url = None if standing is not LinkState.GOOD else await self._take(value, link, browser_nonce)
        if url is not None:
            return url
        if standing is LinkState.GOOD:  # another browser was first, between looking and taking
            standing = LinkState.USED if self._clock.now() < link.expires_at else LinkState.EXPIRED
        await self._note(link, "login_link.refused", reason=standing.value)
        raise _refusal(standing)

    async def _take(self, value: str, link: LoginLink, browser_nonce: str) -> str | None:
        """Take the link and begin, in one transaction; None when another browser has it."""
        browser_hash, now = hash_value(browser_nonce), self._clock.now()
        async with self._store.begin() as work:
            taken = await work.login_links.use(hash_value(value), browser_hash=browser_hash, now=now)
            if taken is None:
                return None
            url = await self._linking.begin_by_link(work, taken, browser_hash)
            if link.used_at is None:
                await work.audit.add([self._line(taken, "login_link.used")])
            await work.commit()
        return url

    # ---------------------------------------------------------------- rules and parts

    def _needs_login(self, user_id: str) -> bool:
        """Whether the account has no session, or one that ends before the market's next close."""
        connection, now = self._connections.connection(user_id), self._clock.now()
        if connection.state is not LoginState.CONNECTED or connection.expires_at is None:
            return True
        return connection.expires_at < self._calendar.status(now).next_close_at

    async def _why_impossible(self, user_id: str) -> str | None:
        """Return why there can be no link for this user, or nothing when there can."""
        if self._connections.connection(user_id).fyers_id is None:
            return "No Fyers account has been linked yet: the first login has to be made from the dashboard."
        app = await self._linking.app(user_id)
        if app is None:
            return "No Fyers app is set up: store the Fyers app id and secret first."
        if not _is_same_place(app.redirect_uri, f"{self._public_url}{CALLBACK}"):
            return "The Fyers app's redirect address does not lead to this server, so a login by link could not come back."
        return None

    async def _make(self, user_id: str, requested_by: str) -> MadeLink | None:
        """Store a link of the account's present generation; None when the user has been removed."""
        now, value = self._clock.now(), self._new_secret()
        generation = self._connections.connection(user_id).generation
        link = LoginLink(user_id, generation, requested_by, now, now + self._lifetime)
        async with self._store.begin() as work:
            if not await work.login_links.add(hash_value(value), link):
                return None
            await work.audit.add([self._line(link, "login_link.created")])
            await work.commit()
        # Behind the hash: browsers do not send it, so that it reaches no server's log and no referrer.
        return MadeLink(SecretText(f"{self._public_url}/reconnect#{value}"), link.expires_at)

    def _stand(self, link: LoginLink, browser_nonce: str | None) -> LinkState:
        return stand(
            link,
            generation=self._connections.connection(link.user_id).generation,
            browser_hash=None if browser_nonce is None else hash_value(browser_nonce),
            now=self._clock.now(),
        )

    def _check_rate(self, value: str, address: str) -> None:
        wait_s = self._throttle.begin(hash_value(value), address, self._clock.monotonic())
        if wait_s > 0:
            raise TooManyAttempts("Too many attempts. Try again in a few minutes.", retry_after_s=wait_s)

    async def _find(self, value: str, address: str) -> LoginLink | None:
        """Return the link of this value; an unknown value counts as a guess of the network address."""
        async with self._store.begin(read_only=True) as work:
            link = await work.login_links.get(hash_value(value))
        if link is None:
            self._throttle.failed(address, self._clock.monotonic())
        return link

    async def _note(self, link: LoginLink, kind: str, *, reason: str) -> None:
        async with self._store.begin() as work:
            await work.audit.add([self._line(link, kind, reason=reason)])
            await work.commit()

    def _line(self, link: LoginLink, kind: str, *, reason: str | None = None) -> AuditEntry:
        made_by = BY_HULLWATCH if link.requested_by == BY_OLD_LINK else link.requested_by
        return AuditEntry(
            self._clock.now(),
            link.user_id,
            kind,
            made_by if kind == "login_link.created" else BY_HULLWATCH,
            reason=reason,
            generation=link.generation,
            evidence={"requestedBy": link.requested_by},
        )


def _refusal(standing: LinkState) -> LoginLinkExpired | LoginLinkTaken:
    """Return what is said of a link that cannot be used; an unknown one is spoken of like one that is over."""
    if standing is LinkState.USED:
        return LoginLinkTaken(
            "This login link is in use in another browser: its button was pressed there, and only that browser may go on with it."
        )
    return LoginLinkExpired(
        "This login link is good no longer: it was used, its time is over, or it never was one."
    )


def _is_same_place(address: str, ours: str) -> bool:
    """Whether two addresses lead to the same server and path."""
    try:
        one, other = (
            (parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme), parts.path)
            for parts in (urlsplit(address), urlsplit(ours))
        )
    except ValueError:  # a port that is none
        return False
    return one == other
