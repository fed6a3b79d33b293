"""Routes about a user's Fyers account: the app, the login at Fyers, the disconnect, and the state of the session."""

import secrets
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import Field

from hullwatch.domain.failures import BrokerOutageKnown, NotFound, Refusal, WrongAccount
from hullwatch.runtime.circuit import CircuitState
from hullwatch.services.login.addresses import LoginAddressDiffers
from hullwatch.services.login.apps import AppCheck
from hullwatch.services.login.redirect import Redirect
from hullwatch.services.services import Services
from hullwatch.web.browser_nonce import read_nonce, set_nonce
from hullwatch.web.dependencies import (
    NONCE_COOKIE,
    CurrentConfig,
    CurrentServices,
    SignedIn,
    current_user_or_none,
)
from hullwatch.web.errors import LoginAdvice, kind_of, refusal_problem
from hullwatch.web.link_page import DONE_COOKIE, DONE_PATH, cookie_value
from hullwatch.web.openapi import problems
from hullwatch.web.pages import refusal_page
from hullwatch.web.payloads import ConnectionPayload, Payload

router = APIRouter(prefix="/api/fyers", tags=["fyers"])

_OUTAGE: Final = "Fyers has an outage, so the login may fail. Wait until it recovers, or log in anyway."
DONE_COOKIE_S: Final = 600
"""How long the last page of a login shows the expiry of the session when it is reloaded."""


class AppBody(Payload):
    """The user's own Fyers app."""

    app_id: str = Field(max_length=128, examples=["ABCD1234XY-100"])
    secret: str = Field(max_length=256)
    redirect_uri: str = Field(max_length=1024)


class AppPayload(Payload):
    """A Fyers app without its secret."""

    app_id: str
    redirect_uri: str
    is_own: bool = Field(
        description="False for the app of the server, which users without their own app share."
    )


class AppCheckPayload(Payload):
    """Whether Fyers accepts an app id and its secret."""

    outcome: AppCheck
    message: str


_CHECKED: Final = {
    AppCheck.ACCEPTED: "Fyers accepts this app id and secret. Log in to Fyers next.",
    AppCheck.REFUSED: "Fyers refuses this app id and secret. Compare both with your app at Fyers.",
    AppCheck.UNKNOWN: "Fyers is unavailable, so the app could not be checked. You can log in anyway; Fyers checks the app then.",
}


class ConnectBody(Payload):
    """How to start a login at Fyers."""

    switch_account: bool = Field(
        default=False, description="Allow a login with another Fyers id than the linked one."
    )
    ignore_address: bool = Field(
        default=False, description="Start the login although Fyers does not redirect to this page."
    )
    ignore_outage: bool = Field(default=False, description="Start the login although Fyers has an outage.")


class LoginAddress(Payload):
    """The address to open in the browser."""

    url: str
    advice: LoginAdvice | None = Field(
        default=None,
        description="What to do so that the login returns to this server. Without a browser the code can be pasted.",
    )


class LoginLinkPayload(Payload):
    """A login link, which is shown only once."""

    url: str
    expires_at: datetime


class AuthorizeBody(Payload):
    """The result of a login at Fyers, pasted by hand."""

    auth_code: str = Field(
        max_length=8192, description="The auth code, or the whole address that Fyers redirected to."
    )
    switch_account: bool = False


@router.put("/app")
async def put_app(body: AppBody, user: SignedIn, services: CurrentServices) -> AppPayload:
    """Store the caller's own Fyers app. The secret is encrypted and never shown again."""
    return AppPayload.of(
        await services.fyers_login.put_app(user.id, body.app_id, body.secret, body.redirect_uri)
    )


@router.get("/app", responses=problems(404))
async def get_app(user: SignedIn, services: CurrentServices) -> AppPayload:
    """Return the Fyers app that the caller logs in through: their own or the server's."""
    app = await services.fyers_login.app(user.id)
    if app is None:
        raise NotFound("No Fyers app is set up yet. Store your Fyers app id and secret first.")
    return AppPayload.of(app)


@router.post("/app/check", responses=problems(400))
async def check_app(user: SignedIn, services: CurrentServices) -> AppCheckPayload:
    """Check at Fyers whether the app id and secret are accepted."""
    outcome = await services.fyers_login.check_app(user.id)
    return AppCheckPayload(outcome=outcome, message=_CHECKED[outcome])


@router.delete("/app", status_code=204)
async def remove_app(user: SignedIn, services: CurrentServices) -> None:
    """Delete the caller's own Fyers app. The server's app is used from then on, if there is one."""
    await services.fyers_login.remove_app(user.id)


@router.post("/connect", responses=problems(400, 409))
async def connect(
    *,
    request: Request,
    response: Response,
    user: SignedIn,
    services: CurrentServices,
    config: CurrentConfig,
    body: ConnectBody | None = None,
) -> LoginAddress:
    """Start a login and return the address of Fyers' login page. It can be used once, for 10 minutes.

    A browser, recognised by its `Origin` header, is refused with `login-address-differs` when Fyers redirects elsewhere,
    and with `fyers-outage` during a known outage; `ignoreAddress` and `ignoreOutage` start the login all the same.
    Programs are not refused: they get the `advice` in the answer.
    """
    options = body or ConnectBody()
    origin = request.headers.get("origin")
    advice = await services.fyers_login.address_advice(
        user.id, opened_at=origin or config.origin, public_url=config.origin
    )
    if origin is not None:
        if advice is not None and not options.ignore_address:
            raise LoginAddressDiffers(advice)
        if _has_outage(services) and not options.ignore_outage:
            raise BrokerOutageKnown(_OUTAGE)
    nonce = read_nonce(request, NONCE_COOKIE) or secrets.token_urlsafe(32)
    url = await services.fyers_login.connect(user.id, nonce, may_switch_account=options.switch_account)
    set_nonce(nonce, response, config)
    return LoginAddress(url=url, advice=None if advice is None else LoginAdvice.of(advice))


def _has_outage(services: Services) -> bool:
    """Whether Fyers refuses many accounts, or a circuit stops the calls of all accounts."""
    circuits = services.broker.circuits()
    return services.connections.broker_outage is not None or any(
        circuit.state is not CircuitState.CLOSED for circuit in circuits
    )


@router.post("/link", status_code=201, responses=problems(400, 409))
async def make_link(user: SignedIn, services: CurrentServices) -> LoginLinkPayload:
    """Create a login link for a device that is not signed in to hullwatch. It is shown only in this answer."""
    made = await services.login_links.own_link(user.id)
    return LoginLinkPayload(url=made.address.reveal(), expires_at=made.expires_at)


@router.get(
    "/callback",
    status_code=303,
    response_class=RedirectResponse,
    responses={
        303: {
            "description": "Connected. Redirects to the dashboard, or to a last page if nobody is signed in."
        },
        **problems(400, 409),
    },
)
async def callback(
    *,
    request: Request,
    services: CurrentServices,
    config: CurrentConfig,
    state: Annotated[str | None, Query(max_length=4096)] = None,
    auth_code: Annotated[str | None, Query(max_length=8192)] = None,
    s: Annotated[str | None, Query(max_length=64, description="`ok` or `error`.")] = None,
) -> Response:
    """Complete a login with Fyers' redirect. It is accepted once, within 10 minutes, and only from the user or browser that started it."""
    user = await current_user_or_none(request, services)
    redirect = Redirect(state, auth_code, is_error=s == "error")
    try:
        connection = await services.fyers_login.callback(
            redirect, user_id=user.id if user else None, browser_nonce=request.cookies.get(NONCE_COOKIE)
        )
    except Refusal as refusal:
        if "text/html" not in request.headers.get("accept", ""):
            return refusal_problem(refusal)
        may_switch = isinstance(refusal, WrongAccount) and refusal.may_switch
        page = refusal_page(str(refusal), may_switch=may_switch, is_signed_in=user is not None)
        return HTMLResponse(page, kind_of(refusal).status)
    if user is not None:
        return RedirectResponse("/", status_code=303)
    done = RedirectResponse(DONE_PATH, status_code=303)
    if connection.expires_at is not None:
        done.set_cookie(
            DONE_COOKIE,
            cookie_value(connection.expires_at),
            max_age=DONE_COOKIE_S,
            path=DONE_PATH,
            secure=config.is_secure,
            httponly=True,
            samesite="lax",
        )
    return done


@router.post("/authorize", responses=problems(400, 409))
async def authorize(body: AuthorizeBody, user: SignedIn, services: CurrentServices) -> ConnectionPayload:
    """Complete a login with an auth code that the user pasted."""
    return ConnectionPayload.of(
        await services.fyers_login.authorize(user.id, body.auth_code, may_switch_account=body.switch_account)
    )


@router.post("/disconnect")
async def disconnect(user: SignedIn, services: CurrentServices) -> ConnectionPayload:
    """Disconnect the caller's Fyers session. Without a session nothing changes."""
    return ConnectionPayload.of(await services.fyers_login.disconnect(user.id))


@router.get("/status")
async def status(user: SignedIn, services: CurrentServices) -> ConnectionPayload:
    """Return the caller's Fyers session."""
    return ConnectionPayload.of(services.connections.connection(user.id))
