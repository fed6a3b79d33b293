"""Linking a Fyers account: the app, the login round trip, disconnecting, and how the connection stands."""

import secrets
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import Field

from hullwatch.domain.failures import NotFound, Refusal, WrongAccount
from hullwatch.services.login.apps import AppCheck, LinkedApp
from hullwatch.services.login.redirect import Redirect
from hullwatch.web.dependencies import NONCE_COOKIE, ConfigNeeded, ServicesNeeded, SignedIn, who_is_there
from hullwatch.web.errors import kind_of, refusal_problem
from hullwatch.web.link_page import DONE_COOKIE, DONE_PATH, stamp
from hullwatch.web.nonces import keep_nonce, read_nonce
from hullwatch.web.openapi import problems
from hullwatch.web.pages import refusal_page
from hullwatch.web.payloads import ConnectionPayload, Payload

router = APIRouter(prefix="/api/fyers", tags=["fyers"])

DONE_COOKIE_S: Final = 600
"""How long the page of a finished login, reloaded, can say until when it lasts."""


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
        description="False for the server's app, which users without one of their own share."
    )

    @classmethod
    def of(cls, app: LinkedApp) -> "AppPayload":
        """Return the payload of an app."""
        return cls(app_id=app.app_id, redirect_uri=app.redirect_uri, is_own=app.is_own)


class AppCheckPayload(Payload):
    """What Fyers says to an app id and its secret."""

    outcome: AppCheck
    message: str


_CHECKED: Final = {
    AppCheck.ACCEPTED: "Fyers knows this app and does not object to its secret. Log in next.",
    AppCheck.REFUSED: "Fyers does not accept this app id together with this secret. Compare both with your app at Fyers.",
    AppCheck.UNKNOWN: "Fyers could not be asked just now. You can log in anyway; a wrong pair is refused then.",
}


class ConnectBody(Payload):
    """How to begin a login."""

    switch_account: bool = Field(
        default=False, description="Another Fyers id than the one linked before is meant."
    )


class LoginAddress(Payload):
    """Where to send the browser."""

    url: str


class LoginLinkPayload(Payload):
    """A login link, shown this once."""

    url: str
    expires_at: datetime


class AuthorizeBody(Payload):
    """What Fyers' redirect brought, pasted by hand."""

    auth_code: str = Field(
        max_length=8192, description="The auth code, or the whole address Fyers redirected to."
    )
    switch_account: bool = False


@router.put("/app")
async def put_app(body: AppBody, user: SignedIn, services: ServicesNeeded) -> AppPayload:
    """Store the own Fyers app; its secret is encrypted and never shown again."""
    return AppPayload.of(
        await services.fyers_login.put_app(user.id, body.app_id, body.secret, body.redirect_uri)
    )


@router.get("/app", responses=problems(404))
async def get_app(user: SignedIn, services: ServicesNeeded) -> AppPayload:
    """Return the app that logins go through."""
    app = await services.fyers_login.app(user.id)
    if app is None:
        raise NotFound("No Fyers app is set up yet: store your Fyers app id and secret first.")
    return AppPayload.of(app)


@router.post("/app/check", responses=problems(400))
async def check_app(user: SignedIn, services: ServicesNeeded) -> AppCheckPayload:
    """Ask Fyers whether it accepts the app id and secret that logins go through."""
    outcome = await services.fyers_login.check_app(user.id)
    return AppCheckPayload(outcome=outcome, message=_CHECKED[outcome])


@router.delete("/app", status_code=204)
async def remove_app(user: SignedIn, services: ServicesNeeded) -> None:
    """Forget the own Fyers app; the server's, if there is one, is used from then on."""
    await services.fyers_login.remove_app(user.id)


@router.post("/connect", responses=problems(400))
async def connect(
    *,
    request: Request,
    response: Response,
    user: SignedIn,
    services: ServicesNeeded,
    config: ConfigNeeded,
    body: ConnectBody | None = None,
) -> LoginAddress:
    """Begin a login and return the address of Fyers' login page."""
    nonce = read_nonce(request, NONCE_COOKIE) or secrets.token_urlsafe(32)
    url = await services.fyers_login.connect(
        user.id, nonce, may_switch_account=body is not None and body.switch_account
    )
    keep_nonce(nonce, response, config)
    return LoginAddress(url=url)


@router.post("/link", status_code=201, responses=problems(400, 409))
async def make_link(user: SignedIn, services: ServicesNeeded) -> LoginLinkPayload:
    """Make a link that leads to the own Fyers login on a device that is not signed in here; it is shown this once."""
    made = await services.login_links.own_link(user.id)
    return LoginLinkPayload(url=made.address.reveal(), expires_at=made.expires_at)


@router.get(
    "/callback",
    status_code=303,
    response_class=RedirectResponse,
    responses={
        303: {"description": "Connected: on to the dashboard, or to a last page where nobody is signed in."},
        **problems(400, 409),
    },
)
async def callback(
    *,
    request: Request,
    services: ServicesNeeded,
    config: ConfigNeeded,
    state: Annotated[str | None, Query(max_length=4096)] = None,
    auth_code: Annotated[str | None, Query(max_length=8192)] = None,
    s: Annotated[str | None, Query(max_length=64, description="`ok` or `error`.")] = None,
) -> Response:
    """Take Fyers' redirect: accepted once, in time, and only from who began it. Browsers get a page when it is refused."""
    user = await who_is_there(request, services)
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
            stamp(connection.expires_at),
            max_age=DONE_COOKIE_S,
            path=DONE_PATH,
            secure=config.is_secure,
            httponly=True,
            samesite="lax",
        )
    return done


@router.post("/authorize", responses=problems(400, 409))
async def authorize(body: AuthorizeBody, user: SignedIn, services: ServicesNeeded) -> ConnectionPayload:
    """Log in with an auth code pasted by hand."""
    return ConnectionPayload.of(
        await services.fyers_login.authorize(user.id, body.auth_code, may_switch_account=body.switch_account)
    )


@router.post("/disconnect")
async def disconnect(user: SignedIn, services: ServicesNeeded) -> ConnectionPayload:
    """End the session with Fyers; without one nothing happens."""
    return ConnectionPayload.of(await services.fyers_login.disconnect(user.id))


@router.get("/status")
async def status(user: SignedIn, services: ServicesNeeded) -> ConnectionPayload:
    """Return how the connection stands."""
    return ConnectionPayload.of(services.connections.connection(user.id))
