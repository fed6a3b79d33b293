"""The web application with the real services over fakes: one process, no sockets, a fake clock."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import httpx2
import structlog
from fakes.clock import FakeClock
from fakes.resources import fake_resources

from hullwatch.app.options import ServiceOptions
from hullwatch.app.services import build_services
from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.secrets import AppSecret
from hullwatch.domain.users.accounts import FyersApp, Role, User
from hullwatch.runtime.circuit import CircuitReport
from hullwatch.runtime.jobs import JobReport
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.sessions.verification import CONFIRM_AGAIN_S
from hullwatch.web.application import create_web
from hullwatch.web.config import WebConfig
from hullwatch.web.metrics import PrometheusMetrics

BASE = "http://127.0.0.1:8000"
PASSWORD = "correct horse battery"
APP_SECRET = "canary-app-secret"
APP = FyersApp("HULLWATCH-100", AppSecret(APP_SECRET), f"{BASE}/api/fyers/callback")


class ReportingSupervisor(Supervisor):
    """A supervisor that reports the jobs that a test sets."""

    reports: Sequence[JobReport] | None = None

    def jobs(self) -> Sequence[JobReport]:
        """Return the reports that the test set, or none."""
        return self.reports or ()


class WebEnvironment:
    """The web application and everything that it uses."""

    def __init__(self, supervisor: ReportingSupervisor, clock: FakeClock, config: WebConfig) -> None:
        self.resources = fake_resources(
            clock=clock,
            calendar=nse_calendar(),
            supervisor=supervisor,
            metrics=PrometheusMetrics(),
            new_secret=secrets.token_urlsafe,
            options=ServiceOptions(public_url=config.public_url, offers_renewal=True, sign_out_timeout_s=0.0),
            server_app=APP,
        )
        self.services = services = build_services(self.resources)
        self.clock, self.config, self.supervisor = clock, config, supervisor
        self.store, self.hub = services.context.store, services.context.hub
        self.broker, self.channels = self.resources.broker, self.resources.channels
        self.metrics, self.call_counts = self.resources.metrics, services.call_counts
        self.accounts, self.logins = services.accounts, services.authentication
        self.connections, self.renewals = services.connections, services.renewal_consents
        self.login_links, self.outbox = services.login_links, services.outbox
        self.account_readiness = services.readiness
        self.app = create_web(services, config)
        self._is_loaded = False

    @property
    def reports(self) -> Sequence[JobReport] | None:
        """The jobs that the supervisor reports."""
        return self.supervisor.reports

    @reports.setter
    def reports(self, reports: Sequence[JobReport]) -> None:
        self.supervisor.reports = reports

    @property
    def circuits(self) -> Sequence[CircuitReport]:
        """The circuit breakers that the broker reports."""
        return self.broker.circuit_reports

    @circuits.setter
    def circuits(self, reports: Sequence[CircuitReport]) -> None:
        self.broker.circuit_reports = reports

    def client(self, **options) -> httpx2.AsyncClient:
        """Return a new browser without a login."""
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=True)
        return httpx2.AsyncClient(transport=transport, **{"base_url": BASE, **options})

    async def add_user(self, name: str, *, role: Role = Role.TRADER) -> User:
        """Add an account; the first one also loads the connections, as the start of the server does."""
        if not self._is_loaded:
            self._is_loaded = True
            await self.connections.load()
        return await self.accounts.add(f"{name}@b.in", PASSWORD, name.title(), role=role, actor="test")

    @asynccontextmanager
    async def browser(self, name: str, *, role: Role = Role.TRADER) -> AsyncIterator[httpx2.AsyncClient]:
        """Add an account and yield a browser that is signed in as it."""
        await self.add_user(name, role=role)
        async with self.client() as client:
            login = {"email": f"{name}@b.in", "password": PASSWORD}
            assert (await client.post("/api/auth/login", json=login)).status_code == 200
            yield client

    async def confirm_refusals(self) -> None:
        """Let refusals be confirmed a second time, as where few accounts have sessions."""
        await self.clock.advance(CONFIRM_AGAIN_S)

    async def link(self, client: httpx2.AsyncClient, fyers_id: str) -> None:
        """Link a Fyers account by a complete login."""
        url = httpx2.URL((await client.post("/api/fyers/connect")).json()["url"])
        code = self.broker.issue_auth_code(fyers_id).reveal()
        query = {"s": "ok", "code": "200", "auth_code": code, "state": url.params["state"]}
        answer = await client.get("/api/fyers/callback", params=query)
        assert answer.status_code == 303


def make_supervisor(clock: FakeClock) -> ReportingSupervisor:
    """Return a supervisor on this clock."""
    return ReportingSupervisor(clock, Random(1), structlog.get_logger())
