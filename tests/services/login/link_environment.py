"""The services of login links over fakes, and the browsers of people who follow links."""

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from fakes.clock import FakeClock
from fakes.resources import counted_secrets, fake_resources

from hullwatch.app.options import ServiceOptions
from hullwatch.app.services import build_services
from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.domain.secrets import AppSecret, SecretText
from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.users.accounts import FyersApp, Role, User
from hullwatch.services.login.redirect import Redirect

PUBLIC_URL = "https://watch.example"
APP = FyersApp("HULLWATCH-100", AppSecret("simulator-secret"), f"{PUBLIC_URL}/api/fyers/callback")
HERE = "10.1.1.1"


def fyers_id(user_id: str) -> str:
    """Return the Fyers id that a test user is linked with."""
    return f"F{user_id.upper()}"


def value_of(address: SecretText | None) -> str:
    """Return the part of a link behind the ``#``."""
    assert address is not None
    page, _, value = address.reveal().partition("#")
    assert page == f"{PUBLIC_URL}/reconnect"
    return value


@dataclass
class Phone:
    """A browser with its nonce and the user who is signed in there."""

    name: str
    user_id: str | None = None
    states: list[str] = field(default_factory=list)

    @property
    def nonce(self) -> str:
        """The value of its cookie."""
        return f"nonce-of-{self.name}-which-is-long-enough"


class LinkEnvironment:
    """All services over fakes, with methods for login links."""

    def __init__(self, clock: FakeClock | None = None, *, server_app: FyersApp | None = APP) -> None:
        resources = fake_resources(
            clock=clock,
            calendar=nse_calendar(),
            new_secret=counted_secrets("link-value"),
            options=ServiceOptions(public_url=f"{PUBLIC_URL}/", sign_out_timeout_s=0.0),
            server_app=server_app,
        )
        services = build_services(resources)
        self.clock, self.store = resources.context.clock, resources.context.store
        self.broker, self.hub = resources.broker, resources.context.hub
        self.connections, self.linking = services.connections, services.fyers_login
        self.links = services.login_links
        self._is_loaded = False

    async def add_user(self, user_id: str, *, role: Role = Role.TRADER) -> None:
        """Store a user; the first one also loads the connections, as the start of the server does."""
        if not self._is_loaded:
            self._is_loaded = True
            await self.connections.load()
        async with self.store.begin() as work:
            user = User(user_id, f"{user_id}@b.in", user_id.title(), role, self.clock.now())
            await work.users.add(user, "hash")
            await work.commit()

    async def log_in(self, user_id: str) -> Connection:
        """Log in at Fyers without a link."""
        code = self.broker.issue_auth_code(fyers_id(user_id)).reveal()
        return await self.linking.authorize(user_id, code)

    async def end(self, user_id: str) -> None:
        """End the session."""
        await self.connections.disconnect_by_admin(user_id, actor="admin")

    async def with_ended(self, *user_ids: str) -> "LinkEnvironment":
        """Add users whose sessions are disconnected."""
        for user_id in user_ids:
            await self.add_user(user_id)
            await self.log_in(user_id)
            await self.end(user_id)
        return self

    async def link(self, user_id: str = "asha") -> str:
        """Create a link for a notice and return its value."""
        return value_of(await self.links.link_for(user_id))

    async def open(self, value: str, phone: Phone):
        """Open a link."""
        return await self.links.open(value, browser_nonce=phone.nonce, address=HERE)

    async def press(self, value: str, phone: Phone) -> str:
        """Press the button; return the state of the started login."""
        url = await self.links.begin(value, browser_nonce=phone.nonce, user_id=phone.user_id, address=HERE)
        state = parse_qs(urlsplit(url).query)["state"][0]
        phone.states.append(state)
        return state

    async def come_back(self, state: str, phone: Phone, fyers: str = fyers_id("asha")) -> Connection:
        """Follow Fyers' redirect after a login with a Fyers id."""
        redirect = Redirect(state, self.broker.issue_auth_code(fyers).reveal())
        return await self.linking.callback(redirect, user_id=phone.user_id, browser_nonce=phone.nonce)

    def audit(self, prefix: str = "login_link.") -> list[AuditEntry]:
        """Return entries of the audit trail, oldest first."""
        return [entry for entry in self.store.tables.audit if entry.kind.startswith(prefix)]

    def notices(self, user_id: str) -> list[Notification]:
        """Return a user's notices, oldest first."""
        return [one for one in self.store.tables.notifications.values() if one.user_id == user_id]
