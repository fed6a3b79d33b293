"""Routes of reset links. A link comes in the body, never in an address, so that no server and no proxy writes it to a log."""

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import Field

from hullwatch.web.dependencies import Admin, CurrentServices, address_of
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Id, Payload

router = APIRouter(prefix="/api/auth", tags=["auth"])
admin_router = APIRouter(prefix="/api/admin", tags=["admin"], responses=problems(403))


class ResetBody(Payload):
    """A reset link and the new password."""

    reset: str = Field(min_length=1, max_length=128, description="The value of the reset link.")
    new_password: str = Field(max_length=1024)


class ForgottenBody(Payload):
    """The e-mail address of an account."""

    email: str = Field(max_length=400)


class ResetLinkPayload(Payload):
    """A reset link, which is shown only once."""

    url: str
    expires_at: datetime


@router.post("/forgotten", status_code=202, responses=problems(403, 429))
async def mail_reset_link(body: ForgottenBody, request: Request, services: CurrentServices) -> None:
    """Mail a reset link to the confirmed address of this account. The answer is the same if there is none."""
    services.mailed_resets.request(body.email, address=address_of(request))


@router.post("/reset", status_code=204, responses=problems(410, 429))
async def reset_password(body: ResetBody, request: Request, services: CurrentServices) -> None:
    """Set a new password with a reset link. All logins of the user end; the browser is not signed in."""
    await services.password_resets.use(body.reset, body.new_password, address=address_of(request))


@admin_router.post("/users/{user_id}/reset-link", status_code=201)
async def create_reset_link(user_id: Id, admin: Admin, services: CurrentServices) -> ResetLinkPayload:
    """Create a link with which another user chooses a new password, once within an hour. A second factor stays on."""
    made = await services.password_resets.create_link(user_id, actor=admin)
    return ResetLinkPayload(url=made.address.reveal(), expires_at=made.expires_at)
