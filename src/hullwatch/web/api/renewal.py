"""Routes about renewing the Fyers session with refresh token and PIN, if this server offers it. No answer contains a secret."""

from datetime import datetime
from typing import Any, Self

from fastapi import APIRouter
from pydantic import Field, SecretStr

from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.services.renewal.consents import RenewalState
from hullwatch.services.renewal.texts import NEEDS_LOGIN, NOT_CHOSEN, NOT_OFFERED, OUTCOMES, PLANNED
from hullwatch.web.dependencies import CurrentServices, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Payload

router = APIRouter(prefix="/api/fyers/renewal", tags=["fyers"])


class PinBody(Payload):
    """The consent to renewals, with the PIN."""

    pin: SecretStr = Field(max_length=64, description="The PIN of the Fyers account: 4 to 6 digits.")


class RenewalPayload(Payload):
    """The state of renewals for the user."""

    is_offered: bool = Field(description="Whether this server lets users opt in.")
    is_opted_in: bool
    has_refresh_token: bool = Field(description="Fyers sends one with the next login after opting in.")
    refresh_token_expires_at: datetime | None
    last_tried_at: datetime | None
    last_outcome: RenewalOutcome | None
    message: str

    @classmethod
    def of(cls, state: RenewalState, /, **explicit: Any) -> Self:
        """Return the payload of a user's state."""
        renewal = state.renewal
        return super().of(
            state,
            is_opted_in=renewal is not None,
            has_refresh_token=renewal is not None and renewal.has_refresh_token,
            refresh_token_expires_at=renewal.refresh_token_expires_at if renewal else None,
            last_tried_at=renewal.last_tried_at if renewal else None,
            last_outcome=renewal.last_outcome if renewal else None,
            message=_message(state),
            **explicit,
        )


def _message(state: RenewalState) -> str:
    renewal = state.renewal
    if not state.is_offered:
        return NOT_OFFERED
    if renewal is None:
        return NOT_CHOSEN
    if renewal.last_outcome is not None:
        return OUTCOMES[renewal.last_outcome]
    if not renewal.has_refresh_token:
        return NEEDS_LOGIN
    return PLANNED


@router.get("")
async def read_renewal(user: SignedIn, services: CurrentServices) -> RenewalPayload:
    """Return whether the caller's sessions are renewed, and the result of the last attempt."""
    return RenewalPayload.of(services.renewal_consents.state_of(user.id))


@router.put("", responses=problems(400, 403))
async def opt_in(body: PinBody, user: SignedIn, services: CurrentServices) -> RenewalPayload:
    """Consent to renewals with this PIN, or replace the PIN. It is encrypted and never shown."""
    return RenewalPayload.of(await services.renewal_consents.opt_in(user.id, body.pin.get_secret_value()))


@router.delete("", status_code=204)
async def opt_out(user: SignedIn, services: CurrentServices) -> None:
    """Delete PIN and refresh token. Sessions are not renewed any more."""
    await services.renewal_consents.opt_out(user.id)
