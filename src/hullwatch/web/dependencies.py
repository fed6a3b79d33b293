"""Parameters of routes: the services, the configuration, and the user of the request."""

from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from hullwatch.domain.failures import NotAllowed, NotSignedIn
from hullwatch.domain.users.accounts import Role, User
from hullwatch.services.services import Services
from hullwatch.web.config import WebConfig

LOGIN_COOKIE: Final = "hullwatch_session"
SECURE_LOGIN_COOKIE: Final = f"__Host-{LOGIN_COOKIE}"
"""Where users connect by https: browsers accept this name from this host alone, not from another one of its domain."""
NONCE_COOKIE: Final = "hullwatch_link"
"""Identifies the browser that started a login at Fyers when it returns."""
LINK_COOKIE: Final = "hullwatch_reconnect"
"""The same for the page of login links, to which browsers do not send the other cookie."""
EXPECTED_USER: Final = "x-hullwatch-user"
"""Header with the user of an open page, because another user may have signed in to its browser; sockets use ``?user=``."""


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the app."""
    services: Services = connection.app.state.services
    return services


def config_of(connection: HTTPConnection) -> WebConfig:
    """Return the configuration of the app."""
    config: WebConfig = connection.app.state.config
    return config


def login_cookie(config: WebConfig) -> str:
    """Return the name of the cookie with a browser's login."""
    return SECURE_LOGIN_COOKIE if config.is_secure else LOGIN_COOKIE


CurrentServices = Annotated[Services, Depends(services_of)]
CurrentConfig = Annotated[WebConfig, Depends(config_of)]

_COOKIE = APIKeyCookie(
    name=LOGIN_COOKIE,
    scheme_name="browserLogin",
    auto_error=False,
    description="Set by a login; for browsers.",
)
_BEARER = HTTPBearer(
    scheme_name="apiToken",
    auto_error=False,
    description="An API token, created at /api/auth/tokens; for programs.",
)


async def current_user(connection: HTTPConnection, services: Services) -> User:
    """Return the user of a request. If it has an `Authorization` header, the cookie is ignored.

    Raises:
        NotSignedIn: The request has no valid login.
    """
    header = connection.headers.get("authorization")
    if header is None:
        user = await services.authentication.authenticate(
            cookie=connection.cookies.get(login_cookie(config_of(connection)))
        )
        expected = connection.headers.get(EXPECTED_USER) or connection.query_params.get("user")
        if expected and expected != user.id:
            raise NotSignedIn("Another user has signed in to this browser.")
        return user
    scheme, _, value = header.partition(" ")
    return await services.authentication.authenticate(
        bearer=value.strip() if scheme.lower() == "bearer" else ""
    )


async def _signed_in(
    request: Request,
    services: CurrentServices,
    _cookie: Annotated[str | None, Security(_COOKIE)],
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> User:
    # The two schemes are parameters for the OpenAPI document; `current_user` reads the headers itself.
    return await current_user(request, services)


SignedIn = Annotated[User, Depends(_signed_in)]


async def _admin(user: SignedIn) -> User:
    if user.role is not Role.ADMIN:
        raise NotAllowed("Only admins can do this.")
    return user


Admin = Annotated[User, Depends(_admin)]


async def current_user_or_none(connection: HTTPConnection, services: Services) -> User | None:
    """Return the user of a request, or `None` without a valid login."""
    try:
        return await current_user(connection, services)
    except NotSignedIn:
        return None


def address_of(connection: HTTPConnection) -> str:
    """Return the network address of a request, as the server reports it."""
    return connection.client.host if connection.client else "unknown"
