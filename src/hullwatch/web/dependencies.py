"""What routes work with: the services, and who asks. Everything is handed in when the app is made; nothing is global."""

from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from hullwatch.domain.failures import NotAllowed, NotSignedIn
from hullwatch.domain.users.accounts import Role, User
from hullwatch.services.services import Services
from hullwatch.web.config import WebConfig

LOGIN_COOKIE: Final = "hullwatch_session"
NONCE_COOKIE: Final = "hullwatch_link"
"""What the browser that begins a login at Fyers is known by when it comes back."""
LINK_COOKIE: Final = "hullwatch_reconnect"
"""The same for the page of login links, which the other cookie is not sent to."""
EXPECTED_USER: Final = "x-hullwatch-user"
"""Header in which an open page says whose it is, since its browser's cookie may be somebody else's by now; sockets say it as ``?user=``."""


def services_of(connection: HTTPConnection) -> Services:
    """Return the services that this app was made with."""
    services: Services = connection.app.state.services
    return services


def config_of(connection: HTTPConnection) -> WebConfig:
    """Return the configuration that this app was made with."""
    config: WebConfig = connection.app.state.config
    return config


ServicesNeeded = Annotated[Services, Depends(services_of)]
ConfigNeeded = Annotated[WebConfig, Depends(config_of)]

_COOKIE = APIKeyCookie(
    name=LOGIN_COOKIE,
    scheme_name="browserLogin",
    auto_error=False,
    description="Set by logging in; for browsers.",
)
_BEARER = HTTPBearer(
    scheme_name="apiToken",
    auto_error=False,
    description="An API token, made at /api/auth/tokens; for programs.",
)


async def who_asks(connection: HTTPConnection, services: Services) -> User:
    """Return whose request this is; an `Authorization` header that is there is the only thing looked at.

    Raises:
        NotSignedIn: nobody's.
    """
    header = connection.headers.get("authorization")
    if header is None:
        user = await services.authentication.authenticate(cookie=connection.cookies.get(LOGIN_COOKIE))
        expected = connection.headers.get(EXPECTED_USER) or connection.query_params.get("user")
        if expected and expected != user.id:
            raise NotSignedIn("Somebody else has signed in to this browser meanwhile.")
        return user
    scheme, _, value = header.partition(" ")
    return await services.authentication.authenticate(
        bearer=value.strip() if scheme.lower() == "bearer" else ""
    )


async def _signed_in(
    request: Request,
    services: ServicesNeeded,
    _cookie: Annotated[str | None, Security(_COOKIE)],
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> User:
    # The two schemes stand here for the OpenAPI document; `who_asks` reads the headers itself.
    return await who_asks(request, services)


SignedIn = Annotated[User, Depends(_signed_in)]


async def _admin(user: SignedIn) -> User:
    if user.role is not Role.ADMIN:
        raise NotAllowed("Only an admin may do this.")
    return user


Admin = Annotated[User, Depends(_admin)]


async def who_is_there(connection: HTTPConnection, services: Services) -> User | None:
    """Return whose request it is, or `None` when nobody is signed in, where that is no refusal."""
    try:
        return await who_asks(connection, services)
    except NotSignedIn:
        return None


def address_of(connection: HTTPConnection) -> str:
    """Return the network address that a request came from, as the server tells it."""
    return connection.client.host if connection.client else "unknown"
