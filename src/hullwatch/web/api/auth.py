"""Accounts and logins: registering, signing in and out, password, name, API tokens."""

from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import Field

from hullwatch.domain.users.accounts import ApiToken, Role, User
from hullwatch.services.users.authentication import BROWSER_LIFETIME, BrowserLogin
from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import LOGIN_COOKIE, ConfigNeeded, ServicesNeeded, SignedIn, address_of
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Id, Payload

router = APIRouter(prefix="/api/auth", tags=["auth"])


class Registration(Payload):
    """A new account."""

    email: str = Field(max_length=400)
    password: str = Field(max_length=1024)
    full_name: str = Field(max_length=400)
    invite: str | None = Field(
        default=None, max_length=128, description="From an invite link, where one is needed."
    )


class Credentials(Payload):
    """Who signs in."""

    email: str = Field(max_length=400)
    password: str = Field(max_length=1024)


class PasswordChange(Payload):
    """The password that was and the one that shall be."""

    current_password: str = Field(max_length=1024)
    new_password: str = Field(max_length=1024)


class Profile(Payload):
    """What a user may change of the own account."""

    full_name: str = Field(max_length=400)


class UserPayload(Payload):
    """A user."""

    id: str
    email: str
    full_name: str
    role: Role

    @classmethod
    def of(cls, user: User) -> "UserPayload":
        """Return the payload of a user."""
        return cls(id=user.id, email=user.email, full_name=user.full_name, role=user.role)


class TokenName(Payload):
    """What an API token is for."""

    name: str = Field(max_length=400)


class TokenPayload(Payload):
    """An API token without its value."""

    id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None

    @classmethod
    def of(cls, token: ApiToken) -> "TokenPayload":
        """Return the payload of a token."""
        return cls(id=token.id, name=token.name, created_at=token.created_at, last_used_at=token.last_used_at)


class NewTokenPayload(TokenPayload):
    """An API token with its value, which is shown this once."""

    token: str


class TokensPayload(Payload):
    """A user's API tokens."""

    tokens: list[TokenPayload]


@router.post("/register", status_code=201, responses=problems(403, 409, 429))
async def register(
    body: Registration, request: Request, response: Response, services: ServicesNeeded, config: ConfigNeeded
) -> UserPayload:
    """Make an account and sign the browser in; the first account of a new install becomes admin."""
    user = await services.accounts.register(
        body.email, body.password, body.full_name, address=address_of(request), invite=body.invite
    )
    _keep(await services.authentication.open_browser(user), response, config)
    return UserPayload.of(user)


@router.post("/login", responses=problems(401, 429))
async def login(
    body: Credentials, request: Request, response: Response, services: ServicesNeeded, config: ConfigNeeded
) -> UserPayload:
    """Sign the browser in."""
    browser_login = await services.authentication.login(
        body.email, body.password, address=address_of(request)
    )
    _keep(browser_login, response, config)
    return UserPayload.of(browser_login.user)


@router.post("/logout", status_code=204)
async def logout(request: Request, services: ServicesNeeded, config: ConfigNeeded) -> Response:
    """Sign the browser out; without a login nothing happens."""
    value = request.cookies.get(LOGIN_COOKIE)
    if value:
        await services.authentication.logout(value)
    response = Response(status_code=204)
    response.delete_cookie(LOGIN_COOKIE, path="/", secure=config.is_secure, httponly=True, samesite="lax")
    return response


@router.get("/me")
async def me(user: SignedIn) -> UserPayload:
    """Return who is signed in."""
    return UserPayload.of(user)


@router.patch("/me")
async def change_profile(body: Profile, user: SignedIn, services: ServicesNeeded) -> UserPayload:
    """Change the own name."""
    return UserPayload.of(await services.accounts.rename(user.id, body.full_name))


@router.put("/password", status_code=204, responses=problems(429))
async def change_password(
    body: PasswordChange, request: Request, user: SignedIn, services: ServicesNeeded, config: ConfigNeeded
) -> Response:
    """Change the own password; all other browsers are signed out, API tokens stay."""
    browser_login = await services.accounts.change_password(
        user.id, body.current_password, body.new_password, address=address_of(request)
    )
    response = Response(status_code=204)
    if "authorization" not in request.headers:
        _keep(browser_login, response, config)
    return response


@router.post("/tokens", status_code=201, responses=problems(409))
async def add_token(body: TokenName, user: SignedIn, services: ServicesNeeded) -> NewTokenPayload:
    """Make an API token; its value is shown this once."""
    token, value = await services.authentication.add_token(user.id, body.name)
    return NewTokenPayload(**TokenPayload.of(token).model_dump(by_alias=False), token=value.reveal())


@router.get("/tokens")
async def tokens(user: SignedIn, services: ServicesNeeded) -> TokensPayload:
    """List the own API tokens, without values."""
    return TokensPayload(
        tokens=[TokenPayload.of(token) for token in await services.authentication.tokens(user.id)]
    )


@router.delete("/tokens/{token_id}", status_code=204)
async def remove_token(token_id: Id, user: SignedIn, services: ServicesNeeded) -> None:
    """End an own API token."""
    await services.authentication.remove_token(user.id, token_id)


def _keep(login: BrowserLogin, response: Response, config: WebConfig) -> None:
    response.set_cookie(
        LOGIN_COOKIE,
        login.value.reveal(),
        # An age, not a date: the server's clock may be another than the browser's.
        max_age=int(BROWSER_LIFETIME.total_seconds()),
        path="/",
        secure=config.is_secure,
        httponly=True,
        samesite="lax",
    )
