"""The composition root: builds the house from settings, hands out keys, closes up in reverse.

Nothing else in the package knows which database, which broker and which clock are in use. ``foundations`` opens what has to be closed again,
``furnishing`` builds the services on it, ``house`` is what comes of it, with its jobs and its doors, and ``given`` reads what the operator
has given it in settings.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from hullwatch.app.application import Application
from hullwatch.app.given import make_data_dir, smtp_server
from hullwatch.app.resources import new_id, open_resources
from hullwatch.app.services import build_services
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.runtime.clock import Clock
from hullwatch.settings import Settings

__all__ = ["Application", "make_data_dir", "new_id", "open_application", "smtp_server"]


@asynccontextmanager
async def open_application(
    settings: Settings,
    *,
    clock: Clock | None = None,
    calendar: MarketCalendar | None = None,
    random: Random | None = None,
) -> AsyncIterator[Application]:
    """Build everything, with the database at its newest form; close it in reverse.

    Args:
        settings: What the operator wants.
        clock: The time that markets and tokens live in; the machine's unless the demo keeps the simulator's.
        calendar: Trading days; the exchange's with the operator's own file unless told otherwise.
        random: Source of jitter.

    Raises:
        SettingsRefused: A setting cannot be used.
        DatabaseUnusable: The database cannot be used.
        KeysUnusable: The encryption keys cannot be used.
    """
    async with open_resources(settings, clock=clock, calendar=calendar, random=random) as foundations:
        yield build_services(foundations)
