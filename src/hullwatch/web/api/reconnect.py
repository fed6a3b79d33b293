"""What the page of login links asks: what a link is about, the way to Fyers, and a new link. Nobody has to be signed in.

A link comes in the body, never in an address, so that no log of any server or proxy holds it.
"""

import secrets
from datetime import datetime
from typing import Final

from fastapi import APIRouter, Request, Response
from pydantic import Field

from hullwatch.domain.sessions.login_links import BY_HULLWATCH, BY_OLD_LINK, masked_email, masked_fyers_id
from hullwatch.services.login.links import SeenLink
from hullwatch.services.texts.connection import connection_message
from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import (
    LINK_COOKIE,
    ConfigNeeded,
    ServicesNeeded,
    address_of,
    who_is_there,
)
from hullwatch.web.nonces import keep_nonce, read_nonce
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Done, Payload

router = APIRouter(prefix="/api/reconnect", tags=["reconnect"])

LINK_COOKIE_S: Final = 24 * 3600
"""As long as the longest link lives, so that the cookie is never what ends first."""
SENT_AGAIN: Final = (
    "If this was a link of yours and a login is needed, a new one is on its way over the channels that you have chosen. "
    "It is not sent more often than every ten minutes."
)


class LinkBody(Payload):
    """The part of a login link behind the ``#``."""

    link: str = Field(min_length=1, max_length=128)


class LinkPayload(Payload):
    """What a link is about; fit for whoever holds it."""

    requested_by: str = Field(description="Who asked for the login, in words.")
    asked_at: datetime
    message: str = Field(description="How the connection stands, in a sentence; times in IST.")
    email: str = Field(description="Whose login it is; masked.")
    fyers_id: str = Field(description="The Fyers account it is for; masked.")
    expires_at: datetime

    @classmethod
    def of(cls, seen: SeenLink) -> "LinkPayload":
        """Return the payload of a link."""
        return cls(
            requested_by=_asker(seen),
            asked_at=seen.link.created_at,
            message=connection_message(seen.connection),
            email=masked_email(seen.user.email),
            fyers_id=masked_fyers_id(seen.connection.fyers_id or ""),
            expires_at=seen.link.expires_at,
        )


class FyersAddress(Payload):
    """Where to send the browser."""

    url: str


@router.post("/look", responses=problems(409, 410, 429))
async def look(
    body: LinkBody, request: Request, response: Response, services: ServicesNeeded, config: ConfigNeeded
) -> LinkPayload:
    """Say what a login link is about; nothing is changed by it."""
    nonce = read_nonce(request, LINK_COOKIE)
    seen = await services.login_links.look(body.link, browser_nonce=nonce, address=address_of(request))
    # Given before the button is pressed: an answer that is lost then would leave the link taken by a browser that does not know it.
    _keep(nonce or secrets.token_urlsafe(32), response, config)
    return LinkPayload.of(seen)


@router.post("/begin", responses=problems(400, 409, 410, 429))
async def begin(
    body: LinkBody, request: Request, response: Response, services: ServicesNeeded, config: ConfigNeeded
) -> FyersAddress:
    """Take the link for this browser and return the address of Fyers' login page."""
    nonce = read_nonce(request, LINK_COOKIE) or secrets.token_urlsafe(32)
    user = await who_is_there(request, services)
    url = await services.login_links.begin(
        body.link, browser_nonce=nonce, user_id=user.id if user else None, address=address_of(request)
    )
    _keep(nonce, response, config)
    keep_nonce(nonce, response, config)
    return FyersAddress(url=url)


@router.post("/again", status_code=202, responses=problems(429))
async def again(body: LinkBody, request: Request, services: ServicesNeeded) -> Done:
    """Ask for a new link, which goes to its user only; the answer is the same whatever was done."""
    await services.login_links.again(body.link, address=address_of(request))
    return Done(success=True, message=SENT_AGAIN)


def _keep(nonce: str, response: Response, config: WebConfig) -> None:
    keep_nonce(nonce, response, config, name=LINK_COOKIE, path="/api/reconnect", lifetime_s=LINK_COOKIE_S)


def _asker(seen: SeenLink) -> str:
    requested_by = seen.link.requested_by
    if requested_by == BY_HULLWATCH:
        return "hullwatch"
    if requested_by == BY_OLD_LINK:
        return "Whoever opened an older login link of yours"
    if requested_by == seen.user.id:
        return "You, from the dashboard"
    return f"{seen.asker.full_name}, an administrator" if seen.asker else "An administrator"
