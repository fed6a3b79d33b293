"""Consent to renewals of the Fyers session by refresh token and PIN, where this server offers them. Neither secret is ever answered."""

from datetime import datetime
from typing import Final

from fastapi import APIRouter
from pydantic import Field, SecretStr

from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.services.renewal.consents import RenewalState
from hullwatch.services.renewal.texts import NOT_OFFERED
from hullwatch.web.dependencies import ServicesNeeded, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Payload

router = APIRouter(prefix="/api/fyers/renewal", tags=["fyers"])


class PinBody(Payload):
    """The consent to renewals."""

    pin: SecretStr = Field(max_length=64, description="The PIN at Fyers: 4 to 6 digits.")


class RenewalPayload(Payload):
    """How renewals stand for the user."""

    is_offered: bool = Field(description="Whether this server lets users opt in.")
    is_opted_in: bool
    has_refresh_token: bool = Field(description="It comes with the next login at Fyers after opting in.")
    refresh_token_expires_at: datetime | None
    last_tried_at: datetime | None
    last_outcome: RenewalOutcome | None
    message: str

    @classmethod
    def of(cls, standing: RenewalState) -> "RenewalPayload":
        """Return the payload of a standing."""
        renewal = standing.renewal
        return cls(
            is_offered=standing.is_offered,
            is_opted_in=renewal is not None,
            has_refresh_token=renewal is not None and renewal.has_refresh_token,
            refresh_token_expires_at=renewal.refresh_token_expires_at if renewal else None,
            last_tried_at=renewal.last_tried_at if renewal else None,
            last_outcome=renewal.last_outcome if renewal else None,
            message=_message(standing),
        )


OUTCOMES: Final = {
    RenewalOutcome.UNDER_WAY: "Your session is being renewed just now.",
    RenewalOutcome.RENEWED: "Your session was renewed when it was last tried.",
    RenewalOutcome.EXPIRES_NO_LATER: "The last renewal would have ended with the session itself; it is tried again right after that end.",
    RenewalOutcome.REFUSED_BY_FYERS: "When it was last tried, Fyers took no refresh tokens for this app.",
    RenewalOutcome.WRONG_PIN: "Fyers says that the PIN is wrong. Enter it again; until then nothing is tried.",
    RenewalOutcome.BAD_REFRESH_TOKEN: "Fyers did not take the refresh token; your next login brings another.",
    RenewalOutcome.UNKNOWN_REFUSAL: "Fyers refused for a reason that hullwatch does not know, perhaps the PIN. Enter it again; until then nothing is tried.",
    RenewalOutcome.NOT_ACCEPTED: "Fyers renewed your session last time, but did not accept the renewed one.",
    RenewalOutcome.UNAVAILABLE: "When it was last tried, Fyers gave no usable answer.",
}


def _message(standing: RenewalState) -> str:
    renewal = standing.renewal
    if not standing.is_offered:
        return NOT_OFFERED
    if renewal is None:
        return "Your sessions are not renewed: you log in to Fyers by yourself."
    if renewal.last_outcome is not None:
        return OUTCOMES[renewal.last_outcome]
    if not renewal.has_refresh_token:
        return "Log in to Fyers once more: the login brings the refresh token that renewals need."
    return "Your session is renewed once before it ends, if Fyers permits it then."


@router.get("")
async def read_renewal(user: SignedIn, services: ServicesNeeded) -> RenewalPayload:
    """Return whether the own sessions are renewed, and how that went."""
    return RenewalPayload.of(services.renewals.standing(user.id))


@router.put("", responses=problems(400, 403))
async def opt_in(body: PinBody, user: SignedIn, services: ServicesNeeded) -> RenewalPayload:
    """Let the own sessions be renewed with this PIN, which is encrypted and never shown; or take another PIN."""
    return RenewalPayload.of(await services.renewals.opt_in(user.id, body.pin.get_secret_value()))


@router.delete("", status_code=204)
async def opt_out(user: SignedIn, services: ServicesNeeded) -> None:
    """Forget PIN and refresh token; sessions are renewed no more."""
    await services.renewals.opt_out(user.id)
