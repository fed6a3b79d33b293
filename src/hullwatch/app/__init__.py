"""Builds the product from settings and closes it in reverse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from hullwatch.app.application import Application
from hullwatch.app.resources import make_data_dir, new_id, open_resources, smtp_server
from hullwatch.app.services import build_services
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.runtime.clock import Clock
from hullwatch.settings import Settings
from hullwatch.web.metrics import PrometheusMetrics

__all__ = ["Application", "make_data_dir", "new_id", "open_application", "smtp_server"]


@asynccontextmanager
async def open_application(
    settings: Settings,
    *,
    clock: Clock | None = None,
    calendar: MarketCalendar | None = None,
    random: Random | None = None,
) -> AsyncIterator[Application]:
    """Build the product, with the database at its newest version; close it in reverse.

    Args:
        settings: The settings of the operator.
        clock: The time of markets and tokens; by default that of this machine. The demo uses the simulator's.
        calendar: Trading days; by default the exchange's, with the operator's own file.
        random: Source of jitter.

    Raises:
        SettingsRefused: A setting cannot be used.
        DatabaseUnusable: The database cannot be used.
        KeysUnusable: The encryption keys cannot be used.
    """
    metrics = PrometheusMetrics()
    async with open_resources(
        settings, metrics=metrics, clock=clock, calendar=calendar, random=random
    ) as resources:
        yield Application(settings, build_services(resources), metrics)
