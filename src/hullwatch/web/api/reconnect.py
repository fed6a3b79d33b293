"""Routes of the page that a login link opens. No login to hullwatch is needed.

A link comes in the body, never in an address, so that no server and no proxy writes it to a log.
"""

import secrets
from datetime import datetime
from typing import Any, Final, Self

from fastapi import APIRouter, Request, Response
from pydantic import Field

from hullwatch.domain.sessions.login_links import BY_HULLWATCH, BY_OLD_LINK, masked_email, masked_fyers_id
from hullwatch.services.login.links import OpenedLink
from hullwatch.services.texts.connection import connection_message
from hullwatch.web.browser_nonce import read_nonce, set_nonce
from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import (
    LINK_COOKIE,
    CurrentConfig,
    CurrentServices,
    address_of,
    current_user_or_none,
)
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Done, Payload

router = APIRouter(prefix="/api/reconnect", tags=["reconnect"])

LINK_COOKIE_S: Final = 24 * 3600
"""The longest lifetime of a link, so that the cookie never expires before its link."""
SENT_AGAIN: Final = (
    "If this was your link and a login is needed, a new link is sent to your channels. "
    "A new link is sent at most every ten minutes."
)


class LinkBody(Payload):
    """The part of a login link behind the ``#``."""

    link: str = Field(min_length=1, max_length=128)


class LinkPayload(Payload):
    """The login that a link is for."""

    requested_by: str = Field(description="Who requested the login, in words.")
    requested_at: datetime
    message: str = Field(description="The state of the Fyers session, in a sentence; times in IST.")
    email: str = Field(description="The masked e-mail address of the user.")
    fyers_id: str = Field(description="The masked Fyers id that the login is for.")
    expires_at: datetime

    @classmethod
    def of(cls, opened: OpenedLink, /, **explicit: Any) -> Self:
        """Return the payload of a link."""
        return super().of(
            opened.link,
            requested_by=_requester(opened),
            requested_at=opened.link.created_at,
            message=connection_message(opened.connection),
            email=masked_email(opened.user.email),
            fyers_id=masked_fyers_id(opened.connection.fyers_id or ""),
            **explicit,
        )


class FyersAddress(Payload):
    """The address to open in the browser."""

    url: str


@router.post("/open", responses=problems(409, 410, 429))
async def open_link(
    body: LinkBody, request: Request, response: Response, services: CurrentServices, config: CurrentConfig
) -> LinkPayload:
    """Return what a login link is for. The link stays unused."""
    nonce = read_nonce(request, LINK_COOKIE)
    opened = await services.login_links.open(body.link, browser_nonce=nonce, address=address_of(request))
    # Set before the button is pressed: if that answer got lost, the link would be used by a browser that cannot prove it.
    _set_link_cookie(nonce or secrets.token_urlsafe(32), response, config)
    return LinkPayload.of(opened)


@router.post("/begin", responses=problems(400, 409, 410, 429))
async def begin(
    body: LinkBody, request: Request, response: Response, services: CurrentServices, config: CurrentConfig
) -> FyersAddress:
    """Use the link in this browser, and return the address of Fyers' login page."""
    nonce = read_nonce(request, LINK_COOKIE) or secrets.token_urlsafe(32)
    user = await current_user_or_none(request, services)
    url = await services.login_links.begin(
        body.link,
        browser_nonce=nonce,
        user_id=user.id if user else None,
        address=address_of(request),
        opened_at=request.headers.get("origin"),
    )
    _set_link_cookie(nonce, response, config)
    set_nonce(nonce, response, config)
    return FyersAddress(url=url)


@router.post("/again", status_code=202, responses=problems(429))
async def again(body: LinkBody, request: Request, services: CurrentServices) -> Done:
    """Send a new link to the user of this one. The answer does not show whether one was sent."""
    await services.login_links.send_again(body.link, address=address_of(request))
    return Done(success=True, message=SENT_AGAIN)


def _set_link_cookie(nonce: str, response: Response, config: WebConfig) -> None:
    set_nonce(nonce, response, config, name=LINK_COOKIE, path="/api/reconnect", lifetime_s=LINK_COOKIE_S)


def _requester(opened: OpenedLink) -> str:
    requested_by = opened.link.requested_by
    if requested_by == BY_HULLWATCH:
        return "hullwatch"
    if requested_by == BY_OLD_LINK:
        return "A person who opened an older login link of yours"
    if requested_by == opened.user.id:
        return "You, from the dashboard"
    return f"{opened.requester.full_name}, an administrator" if opened.requester else "An administrator"
