"""The running product: its services with their jobs, and the web application."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Final

import structlog
from fastapi import FastAPI

from hullwatch import __version__
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.services.services import Services
from hullwatch.settings import Settings
from hullwatch.web.application import create_web
from hullwatch.web.built_pages import built_pages
from hullwatch.web.config import WebConfig
from hullwatch.web.metrics import PrometheusMetrics

LAST_SAVE_S: Final = 2.0
"""Real seconds of a stop that belong to the last save; the jobs have the rest."""


@dataclass(frozen=True, slots=True)
class Application:
    """The services of one installation, started and stopped together."""

    settings: Settings
    services: Services
    metrics: PrometheusMetrics

    async def start(self) -> None:
        """Read what is stored and start all jobs."""
        services, supervisor = self.services, self.services.supervisor
        await services.call_paces.load()  # before the first call
        services.clock_monitor.distrust_until_confirmed()
        await (
            services.renewal_consents.load()
        )  # first: sessions that are due expire while the connections are read
        await services.connections.load()
        await services.monitoring.load()
        services.storage_health.start_job(supervisor)
        services.storage_alerts.start_job(supervisor)
        services.clock_monitor.start_job(supervisor)
        services.call_paces.start_job(supervisor)
        services.connections.start_jobs()
        services.renewal.start_jobs()
        services.validation.start_periodic_validation(supervisor)
        services.monitoring.start_jobs(supervisor)
        services.readiness.start_jobs()
        services.outbox.start_jobs(supervisor)
        services.login_changes.start_job(supervisor)
        services.daily_summary.start_jobs(supervisor)
        supervisor.every(
            "removed-users", 10, services.accounts.forget_removed, at_start=False, essential=False
        )
        supervisor.every("login-purge", 3600, self._purge_logins, essential=False)
        supervisor.every("metrics", 10, self._measure, essential=False)
        services.symbol_outages.start_jobs(supervisor)
        services.job_alerts.start_job(supervisor)
        services.broker_alerts.start_job(supervisor)
        if services.heartbeat_ping is not None:
            services.heartbeat_ping.start_job(supervisor, self.settings.ping_seconds)

    def web(self, config: WebConfig) -> FastAPI:
        """Return the web application over these services."""
        return create_web(self.services, config)

    def web_config(self) -> WebConfig:
        """Return the configuration of the web application."""
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

    async def stop(self, within_s: float) -> None:
        """Stop all jobs in order, within so many real seconds, and store their last observations.

        The last save always begins, however long the jobs take, because its time is kept free.
        """
        await self.services.supervisor.stop(max(0.0, within_s - LAST_SAVE_S))
        saving = asyncio.create_task(self._store_last(), name="last save")
        # Not awaited directly: a locked database answers a cancelled caller only after its own wait.
        await asyncio.wait({saving}, timeout=LAST_SAVE_S)
        if not saving.done():
            saving.cancel()
        if not saving.done() or not saving.result():
            structlog.get_logger(component="Supervisor").warning("stop.observations_not_stored")

    async def _store_last(self) -> bool:
        """Store what is known at the stop; return whether the database took it."""
        try:
            await self.services.connections.store_observations()
            await self.services.call_paces.store()
            # Last, because it records that the stop was orderly.
            await self.services.monitoring.close()
        except StorageUnavailable:
            return False
        return True

    async def _purge_logins(self) -> None:
        await self.services.authentication.purge()
        await self.services.login_links.purge()
        await self.services.mail_confirmation.purge()
        await self.services.password_resets.purge()

    async def _measure(self) -> None:
        services = self.services
        services.metrics.session_states(
            Counter(connection.state for connection in services.connections.connections())
        )
        total, ready = await services.readiness.count()
        services.metrics.readiness(total=total, ready=ready)
        for job in services.supervisor.jobs():
            if job.last_success_at is not None:
                services.metrics.job_success(job.name, job.last_success_at)
