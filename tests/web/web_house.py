"""The web over the real services, and those over fakes: one process, no sockets, time by hand."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from random import Random

import httpx2
import structlog
from fakes.broker import FakeBroker
from fakes.channels import FakeChannels
from fakes.clock import FakeClock
from fakes.hasher import FakeHasher
from fakes.store import FakeStore

from hullwatch.domain.events import Event
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.readiness.check_times import read_check_times
from hullwatch.domain.secrets import AppSecret
from hullwatch.domain.users.accounts import FyersApp, Role, User
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.circuit import CircuitReport
from hullwatch.runtime.jobs import JobReport
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.login.links import LoginLinkService
from hullwatch.services.login.oauth import FyersLoginService
from hullwatch.services.market.chart import ChartService
from hullwatch.services.market.hma import HMAService
from hullwatch.services.market.service import MarketService
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.services.notifications.channels import ChannelService
from hullwatch.services.notifications.delivery import Outbox
from hullwatch.services.notifications.service import NotificationService
from hullwatch.services.operations.admin import AdminService
from hullwatch.services.operations.call_counts import CallCounts
from hullwatch.services.readiness.service import ReadinessService
from hullwatch.services.renewal.consents import RenewalConsents
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.sessions.validation import TokenValidationService
from hullwatch.services.users.accounts import AccountService, Registration
from hullwatch.services.users.authentication import AuthenticationService
from hullwatch.web.application import create_web
from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import Readiness, Services
from hullwatch.web.metrics import PrometheusMetrics

BASE = "http://127.0.0.1:8000"
PASSWORD = "correct horse battery"
APP_SECRET = "canary-app-secret"
APP = FyersApp("HULLWATCH-100", AppSecret(APP_SECRET), f"{BASE}/api/fyers/callback")


class WebHouse:
    """Everything that stands behind the web."""

    def __init__(self, supervisor: Supervisor, clock: FakeClock, config: WebConfig) -> None:
        numbers = count(1)
        self.clock = clock
        self.supervisor = supervisor
        self.config = config
        self.store = FakeStore()
        self.broker = FakeBroker(clock)
        self.hub: Broadcast[Event] = Broadcast()
        self.hasher = FakeHasher()
        self.metrics = PrometheusMetrics()
        self.reports: Sequence[JobReport] = ()
        self.call_counts = CallCounts(clock)
        self.circuits: Sequence[CircuitReport] = ()
        calendar = nse_calendar()

        def new_id(prefix: str) -> str:
            return f"{prefix}_{next(numbers)}"

        self.connections = ConnectionService(
            store=self.store,
            broker=self.broker,
            clock=clock,
            random=Random(1),
            supervisor=supervisor,
            hub=self.hub,
            new_id=new_id,
        )
        market = MarketService(
            connections=self.connections, broker=self.broker, calendar=calendar, clock=clock
        )
        self.channels = FakeChannels()
        self.outbox = Outbox(
            store=self.store,
            channels=self.channels,
            clock=clock,
            wire_clock=clock,
            random=Random(1),
            hub=self.hub,
            metrics=self.metrics,
            new_id=new_id,
        )
        self.logins = AuthenticationService(store=self.store, clock=clock, new_id=new_id, hasher=self.hasher)
        self.accounts = AccountService(
            store=self.store,
            clock=clock,
            new_id=new_id,
            hasher=self.hasher,
            logins=self.logins,
            connections=self.connections,
            registration=Registration.OPEN,
        )
        self.renewals = RenewalConsents(store=self.store, clock=clock, is_offered=True, server_app=APP)
        linking = FyersLoginService(
            store=self.store,
            broker=self.broker,
            connections=self.connections,
            clock=clock,
            server_app=APP,
            sign_out_patience_s=0.0,
            renewals=self.renewals,
        )
        self.login_links = LoginLinkService(
            store=self.store,
            connections=self.connections,
            linking=linking,
            calendar=calendar,
            clock=clock,
            hub=self.hub,
            new_id=new_id,
            public_url=config.public_url,
        )
        monitoring = MonitoringService(
            store=self.store,
            connections=self.connections,
            market=market,
            calendar=calendar,
            clock=clock,
            random=Random(1),
            hub=self.hub,
            metrics=self.metrics,
            new_id=new_id,
        )
        validation = TokenValidationService(
            connections=self.connections,
            broker=self.broker,
            clock=clock,
            random=Random(1),
            metrics=self.metrics,
        )
        self.account_readiness = ReadinessService(
            store=self.store,
            connections=self.connections,
            validation=validation,
            monitoring=monitoring,
            calendar=calendar,
            clock=clock,
            supervisor=supervisor,
            hub=self.hub,
            new_id=new_id,
            times=read_check_times("08:30,08:45,09:00"),
        )
        self.services = Services(
            accounts=self.accounts,
            logins=self.logins,
            linking=linking,
            login_links=self.login_links,
            renewals=self.renewals,
            connections=self.connections,
            validation=validation,
            market=market,
            hma=HMAService(connections=self.connections, market=market, calendar=calendar, clock=clock),
            chart=ChartService(connections=self.connections, market=market, calendar=calendar, clock=clock),
            call_counts=self.call_counts,
            circuits=lambda: self.circuits,
            monitoring=monitoring,
            account_readiness=self.account_readiness,
            notifications=NotificationService(store=self.store, clock=clock),
            channels=ChannelService(store=self.store, channels=self.channels, clock=clock, new_id=new_id),
            administration=AdminService(store=self.store, connections=self.connections),
            hub=self.hub,
            clock=clock,
            jobs=lambda: self.reports,
            readiness=self.readiness,
            metrics=self.metrics,
        )
        self.app = create_web(self.services, config)

    async def readiness(self) -> Sequence[Readiness]:
        """Whether the store answers."""
        try:
            await self.store.ping()
        except StorageUnavailable:
            return [Readiness("database", is_ready=False, detail="The database does not answer.")]
        return [Readiness("database", is_ready=True)]

    def client(self, **options) -> httpx2.AsyncClient:
        """Return a browser of its own: with cookies, nobody signed in."""
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=True)
        return httpx2.AsyncClient(transport=transport, base_url=BASE, **options)

    async def add_user(self, name: str, *, role: Role = Role.TRADER) -> User:
        """Add an account."""
        return await self.accounts.add(f"{name}@b.in", PASSWORD, name.title(), role=role, actor="test")

    @asynccontextmanager
    async def browser(self, name: str, *, role: Role = Role.TRADER) -> AsyncIterator[httpx2.AsyncClient]:
        """Add an account and give a browser signed in as it."""
        await self.add_user(name, role=role)
        async with self.client() as client:
            login = {"email": f"{name}@b.in", "password": PASSWORD}
            assert (await client.post("/api/auth/login", json=login)).status_code == 200
            yield client

    async def link(self, client: httpx2.AsyncClient, fyers_id: str) -> None:
        """Link a Fyers account through the whole round trip."""
        url = httpx2.URL((await client.post("/api/fyers/connect")).json()["url"])
        code = self.broker.issue_auth_code(fyers_id).reveal()
        query = {"s": "ok", "code": "200", "auth_code": code, "state": url.params["state"]}
        answer = await client.get("/api/fyers/callback", params=query)
        assert answer.status_code == 303


def make_supervisor(clock: FakeClock) -> Supervisor:
    """Return a supervisor on this clock."""
    return Supervisor(clock, Random(1), structlog.get_logger())
