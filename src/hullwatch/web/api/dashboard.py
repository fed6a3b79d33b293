"""What the pages need to know of this install before anybody is signed in, and of their surroundings afterwards."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import Field

from hullwatch.domain.market.instruments import RESOLUTIONS
from hullwatch.domain.signals.hma import MAX_PERIOD, MIN_PERIOD
from hullwatch.web.dependencies import ConfigNeeded, ServicesNeeded
from hullwatch.web.payloads import Payload

router = APIRouter(prefix="/api", tags=["dashboard"])

_CYCLES_UNTIL_STALE = 3
_LEAST_STALE_S = 15.0


class DashboardPayload(Payload):
    """How this install is set, as far as its pages follow it; nothing here is anybody's own."""

    version: str
    now: datetime
    registration: str = Field(
        description="How accounts come to be: `open`, `invite` or `closed`.", examples=["open"]
    )
    check_minutes: float = Field(description="How often an open page asks for the status of its session.")
    stale_after_seconds: float = Field(description="A price older than this is shown as old.")
    callback_url: str = Field(description="The redirect address to enter for an app at Fyers.")
    hma_period: int
    hma_resolution: str
    shortest_period: int
    longest_period: int
    resolutions: list[str] = Field(description="Codes of all resolutions that can be watched.")


@router.get("/dashboard")
async def dashboard(services: ServicesNeeded, config: ConfigNeeded) -> DashboardPayload:
    """Return how this install is set."""
    return DashboardPayload(
        version=config.version,
        now=services.context.clock.now(),
        registration=config.registration,
        check_minutes=config.dashboard_check_minutes,
        stale_after_seconds=max(_LEAST_STALE_S, _CYCLES_UNTIL_STALE * config.monitor_interval_s),
        callback_url=f"{config.public_url.rstrip('/')}/api/fyers/callback",
        hma_period=config.hma_period,
        hma_resolution=config.hma_resolution,
        shortest_period=MIN_PERIOD,
        longest_period=MAX_PERIOD,
        resolutions=[resolution.code for resolution in RESOLUTIONS],
    )
