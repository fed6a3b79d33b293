"""Routes about accounts and logins: registration, sign-in and sign-out, password, name, API tokens."""

from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import Field

from hullwatch.domain.users.accounts import Role
from hullwatch.services.users.authentication import BROWSER_LIFETIME, BrowserLogin
from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import CurrentConfig, CurrentServices, SignedIn, address_of, login_cookie
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Id, Payload
from hullwatch.web.registration import registration_mode

router = APIRouter(prefix="/api/auth", tags=["auth"])


class Registration(Payload):
    """A new account."""

    email: str = Field(max_length=400)
    password: str = Field(max_length=1024)
    full_name: str = Field(max_length=400)
    invite: str | None = Field(
        default=None, max_length=128, description="The value of an invite link, if registration needs one."
    )


class Credentials(Payload):
    """E-mail address and password."""

    email: str = Field(max_length=400)
    password: str = Field(max_length=1024)


class PasswordChange(Payload):
    """The current and the new password."""

    current_password: str = Field(max_length=1024)
    new_password: str = Field(max_length=1024)
    sign_out_everywhere: bool = Field(
        default=False,
        description="Also end all API tokens and login links; other browsers are signed out always.",
    )


class Profile(Payload):
    """What users can change about their own account."""

    full_name: str = Field(max_length=400)


class UserPayload(Payload):
    """A user."""

    id: str
    email: str
    full_name: str
    role: Role


class TokenName(Payload):
    """The name of an API token, such as its purpose."""

    name: str = Field(max_length=400)


class TokenPayload(Payload):
    """An API token without its value."""

    id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None


class NewTokenPayload(TokenPayload):
    """An API token with its value, which is shown only once."""

    token: str


class LoginPayload(Payload):
    """The login of a browser."""

    id: str
    created_at: datetime
    expires_at: datetime
    is_current: bool = Field(description="Whether this request came with it.")


class LoginsPayload(Payload):
    """A user's browser logins, newest first."""

    logins: list[LoginPayload]


class TokensPayload(Payload):
    """A user's API tokens."""

    tokens: list[TokenPayload]


@router.post("/register", status_code=201, responses=problems(403, 409, 429))
async def register(
    body: Registration, request: Request, response: Response, services: CurrentServices, config: CurrentConfig
) -> UserPayload:
    """Create an account and sign the browser in. The first account of a new install is an admin."""
    user = await services.accounts.register(
        body.email,
        body.password,
        body.full_name,
        address=address_of(request),
        registration=registration_mode(request.headers, config),
        invite=body.invite,
    )
    _set_cookie(await services.authentication.open_browser(user), response, config)
    return UserPayload.of(user)


@router.post("/login", responses=problems(401, 429))
async def login(
    body: Credentials, request: Request, response: Response, services: CurrentServices, config: CurrentConfig
) -> UserPayload:
    """Sign the browser in."""
    browser_login = await services.authentication.login(
        body.email, body.password, address=address_of(request)
    )
    _set_cookie(browser_login, response, config)
    return UserPayload.of(browser_login.user)


@router.post("/logout", status_code=204)
async def logout(request: Request, services: CurrentServices, config: CurrentConfig) -> Response:
    """Sign the browser out. A browser that is not signed in gets the same answer."""
    value = request.cookies.get(login_cookie(config))
    if value:
        await services.authentication.logout(value)
    response = Response(status_code=204)
    response.delete_cookie(
        login_cookie(config), path="/", secure=config.is_secure, httponly=True, samesite="lax"
    )
    return response


@router.get("/me")
async def me(user: SignedIn) -> UserPayload:
    """Return the caller's account."""
    return UserPayload.of(user)


@router.patch("/me")
async def change_profile(body: Profile, user: SignedIn, services: CurrentServices) -> UserPayload:
    """Change the caller's name."""
    return UserPayload.of(await services.accounts.rename(user.id, body.full_name))


@router.put("/password", status_code=204, responses=problems(429))
async def change_password(
    body: PasswordChange, request: Request, user: SignedIn, services: CurrentServices, config: CurrentConfig
) -> Response:
    """Change the caller's password. All other browsers are signed out; API tokens stay valid unless they are ended too."""
    browser_login = await services.accounts.change_password(
        user.id,
        body.current_password,
        body.new_password,
        address=address_of(request),
        ends_all=body.sign_out_everywhere,
    )
    response = Response(status_code=204)
    if "authorization" not in request.headers:
        _set_cookie(browser_login, response, config)
    return response


@router.get("/logins")
async def logins(
    request: Request, user: SignedIn, services: CurrentServices, config: CurrentConfig
) -> LoginsPayload:
    """Return the caller's browser logins."""
    is_browser = "authorization" not in request.headers
    cookie = request.cookies.get(login_cookie(config)) if is_browser else None
    found = await services.authentication.browsers(user.id, cookie=cookie)
    return LoginsPayload(logins=[LoginPayload.of(one, is_current=is_current) for one, is_current in found])


@router.delete("/logins/{login_id}", status_code=204)
async def remove_login(login_id: Id, user: SignedIn, services: CurrentServices) -> None:
    """Sign one of the caller's browsers out."""
    await services.authentication.remove_browser(user.id, login_id)


@router.post("/sign-out-everywhere", status_code=204)
async def sign_out_everywhere(
    request: Request, user: SignedIn, services: CurrentServices, config: CurrentConfig
) -> Response:
    """End all logins, API tokens and login links of the caller. The calling browser stays signed in."""
    browser_login = await services.accounts.sign_out_everywhere(user.id)
    response = Response(status_code=204)
    if "authorization" not in request.headers:
        _set_cookie(browser_login, response, config)
    return response


@router.post("/tokens", status_code=201, responses=problems(409))
async def add_token(body: TokenName, user: SignedIn, services: CurrentServices) -> NewTokenPayload:
    """Create an API token. Its value is shown only in this answer."""
    token, value = await services.authentication.add_token(user.id, body.name)
    return NewTokenPayload.of(token, token=value.reveal())


@router.get("/tokens")
async def tokens(user: SignedIn, services: CurrentServices) -> TokensPayload:
    """Return the caller's API tokens, without their values."""
    return TokensPayload(
        tokens=[TokenPayload.of(token) for token in await services.authentication.tokens(user.id)]
    )


@router.delete("/tokens/{token_id}", status_code=204)
async def remove_token(token_id: Id, user: SignedIn, services: CurrentServices) -> None:
    """Delete an API token of the caller. It is refused from then on."""
    await services.authentication.remove_token(user.id, token_id)


def _set_cookie(login: BrowserLogin, response: Response, config: WebConfig) -> None:
    response.set_cookie(
        login_cookie(config),
        login.value.reveal(),
        # An age instead of a date: the clocks of server and browser can differ.
        max_age=int(BROWSER_LIFETIME.total_seconds()),
        path="/",
        secure=config.is_secure,
        httponly=True,
        samesite="lax",
    )
