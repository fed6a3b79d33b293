"""The house: everything that is built, by name, with the jobs that run in it and the door to it."""

from collections import Counter
from dataclasses import dataclass

import structlog
from fastapi import FastAPI

from hullwatch import __version__
from hullwatch.domain.events import Event
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.fyers.client import FyersClient
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.login.links import LoginLinkService
from hullwatch.services.login.oauth import FyersLoginService
from hullwatch.services.market.chart import ChartService
from hullwatch.services.market.hma import HMAService
from hullwatch.services.market.service import MarketService
from hullwatch.services.monitoring.daily_summary import DailySummary
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.services.notifications.channels import ChannelService
from hullwatch.services.notifications.delivery import Outbox
from hullwatch.services.notifications.service import NotificationService
from hullwatch.services.operations.admin import AdminService
from hullwatch.services.operations.broker_alerts import BrokerAlerts
from hullwatch.services.operations.call_counts import CallCounts
from hullwatch.services.operations.heartbeat_ping import HeartbeatPing
from hullwatch.services.operations.job_alerts import JobAlerts
from hullwatch.services.readiness.service import ReadinessService
from hullwatch.services.renewal.consents import RenewalConsents
from hullwatch.services.renewal.service import RenewalService
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.sessions.validation import TokenValidationService
from hullwatch.services.users.accounts import AccountService
from hullwatch.services.users.authentication import AuthenticationService
from hullwatch.settings import Settings
from hullwatch.sharing.redis_checks import RedisChecks
from hullwatch.storage.store import Store
from hullwatch.web.application import create_web
from hullwatch.web.built_pages import built_pages
from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import Readiness, Services
from hullwatch.web.metrics import PrometheusMetrics


@dataclass(frozen=True)
class Application:
    """Everything that is built, by name."""

    settings: Settings
    clock: Clock
    calendar: MarketCalendar
    store: Store
    broker: FyersClient
    hub: Broadcast[Event]
    supervisor: Supervisor
    metrics: PrometheusMetrics
    accounts: AccountService
    logins: AuthenticationService
    linking: FyersLoginService
    login_links: LoginLinkService
    renewals: RenewalConsents
    renewal: RenewalService
    administration: AdminService
    connections: ConnectionService
    validation: TokenValidationService
    market: MarketService
    hma: HMAService
    chart: ChartService
    call_counts: CallCounts
    monitoring: MonitoringService
    account_readiness: ReadinessService
    notifications: NotificationService
    shared: RedisChecks | None
    job_alerts: JobAlerts
    broker_alerts: BrokerAlerts
    heartbeat_ping: HeartbeatPing | None
    channels: ChannelService
    outbox: Outbox
    daily_summary: DailySummary

    async def start(self) -> None:
        """Read what is stored and begin all jobs."""
        await self.renewals.load()  # first: ends that are due are dealt with as the connections are read
        await self.connections.load()
        await self.monitoring.load()
        self.connections.start_jobs()
        self.renewal.start_jobs()
        self.validation.start_periodic_validation(self.supervisor)
        self.monitoring.start_jobs(self.supervisor)
        self.account_readiness.start_jobs()
        self.outbox.start_jobs(self.supervisor)
        self.daily_summary.start_jobs(self.supervisor)
        self.supervisor.every(
            "removed-users", 10, self.accounts.forget_removed, at_start=False, essential=False
        )
        self.supervisor.every("login-purge", 3600, self._purge_logins, essential=False)
        self.supervisor.every("metrics", 10, self._measure, essential=False)
        self.job_alerts.start_job(self.supervisor)
        self.broker_alerts.start_job(self.supervisor)
        if self.heartbeat_ping is not None:
            self.heartbeat_ping.start_job(self.supervisor, self.settings.ping_seconds)

    def web(self, config: WebConfig) -> FastAPI:
        """Return the HTTP door to this house."""
        services = Services(
            accounts=self.accounts,
            logins=self.logins,
            linking=self.linking,
            login_links=self.login_links,
            renewals=self.renewals,
            connections=self.connections,
            validation=self.validation,
            market=self.market,
            hma=self.hma,
            chart=self.chart,
            call_counts=self.call_counts,
            circuits=self.broker.circuits,
            monitoring=self.monitoring,
            account_readiness=self.account_readiness,
            notifications=self.notifications,
            channels=self.channels,
            administration=self.administration,
            hub=self.hub,
            clock=self.clock,
            jobs=self.supervisor.jobs,
            readiness=self.readiness,
            metrics=self.metrics,
        )
        return create_web(services, config)

    def web_config(self) -> WebConfig:
        """Return how this install is reached."""
        settings = self.settings
        return WebConfig(
            public_url=settings.public_url,
            version=__version__,
            hma_period=settings.hma_period,
            hma_resolution=settings.hma_resolution,
            registration=settings.registration_mode,
            dashboard_check_minutes=settings.dashboard_check_minutes,
            monitor_interval_s=settings.monitor_interval_seconds,
            pages=built_pages(),
            serves_metrics=not settings.metrics_address,
        )

    async def readiness(self) -> tuple[Readiness, ...]:
        """Return whether what the server stands on is there."""
        try:
            await self.store.ping()
            database = Readiness("database", is_ready=True)
        except StorageUnavailable:
            database = Readiness("database", is_ready=False, detail="The database does not answer.")
        if self.shared is None:
            return (database,)
        is_there = await self.shared.ping()
        detail = "" if is_there else "Redis does not answer; each process validates for itself meanwhile."
        return (database, Readiness("redis", is_ready=is_there, detail=detail, is_essential=False))

    async def stop(self, within_s: float) -> None:
        """End all jobs in order, within so many seconds of the house's clock, and store what they noted."""
        await self.supervisor.stop(within_s)
        try:
            await self.connections.store_observations()
            await self.monitoring.close()
        except StorageUnavailable:
            structlog.get_logger(component="Supervisor").warning("stop.unsaved_notes")

    async def _purge_logins(self) -> None:
        await self.logins.purge()
        await self.login_links.purge()

    async def _measure(self) -> None:
        self.metrics.session_states(
            Counter(connection.state for connection in self.connections.connections())
        )
        total, ready = await self.account_readiness.count()
        self.metrics.readiness(total=total, ready=ready)
        for job in self.supervisor.jobs():
            if job.last_success_at is not None:
                self.metrics.job_success(job.name, job.last_success_at)
