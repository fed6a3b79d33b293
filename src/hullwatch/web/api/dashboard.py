"""The route of the settings that the pages need, also before a user signs in."""

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import Field

from hullwatch.domain.market.instruments import RESOLUTIONS
from hullwatch.domain.signals.hma import MAX_PERIOD, MIN_PERIOD
from hullwatch.web.dependencies import CurrentConfig, CurrentServices
from hullwatch.web.payloads import Payload
from hullwatch.web.registration import registration_mode

router = APIRouter(prefix="/api", tags=["dashboard"])

_CYCLES_UNTIL_STALE = 3
_LEAST_STALE_S = 15.0


class DashboardPayload(Payload):
    """The settings of this install that its pages use; nothing here belongs to a user."""

    version: str
    now: datetime
    registration: str = Field(
        description="How accounts are created: `open`, `invite` or `closed`. A request through a proxy never gets `open`.",
        examples=["open"],
    )
    can_mail_resets: bool = Field(
        description="Whether a reset link can be mailed to a user who cannot sign in."
    )
    check_minutes: float = Field(description="How often an open page requests the status of its session.")
    stale_after_seconds: float = Field(description="Age from which a price is shown as old.")
    callback_url: str = Field(description="The redirect address to enter for an app at Fyers.")
    hma_period: int
    hma_resolution: str
    shortest_period: int
    longest_period: int
    resolutions: list[str] = Field(description="The codes of all resolutions that can be watched.")


@router.get("/dashboard")
async def dashboard(request: Request, services: CurrentServices, config: CurrentConfig) -> DashboardPayload:
    """Return the settings that the pages use. No login is needed."""
    return DashboardPayload.of(
        config,
        now=services.context.clock.now(),
        registration=registration_mode(request.headers, config).value,
        can_mail_resets=services.mailed_resets.is_offered,
        check_minutes=config.dashboard_check_minutes,
        stale_after_seconds=max(_LEAST_STALE_S, _CYCLES_UNTIL_STALE * config.monitor_interval_s),
        callback_url=f"{config.public_url.rstrip('/')}/api/fyers/callback",
        shortest_period=MIN_PERIOD,
        longest_period=MAX_PERIOD,
        resolutions=[resolution.code for resolution in RESOLUTIONS],
    )
