"""Who may create an account by a request."""

from typing import Final

from starlette.datastructures import Headers

from hullwatch.services.users.accounts import Registration
from hullwatch.web.config import WebConfig
from hullwatch.web.request_guard import is_foreign, is_foreign_origin

_FORWARDING: Final = frozenset(
    {
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-forwarded-for",
        "true-client-ip",
        "cf-connecting-ip",
        "fastly-client-ip",
    }
)
"""Headers that proxies add to a request, besides those that begin with ``x-forwarded-``."""


def registration_mode(headers: Headers, config: WebConfig) -> Registration:
    """Return the registration mode for one request.

    Open registration is for people at this machine. A request that came through a proxy, or from a page at another
    address, shows that others can reach the server whatever its settings say, so it needs an invite.
    """
    mode = Registration(config.registration)
    if mode is not Registration.OPEN:
        return mode
    is_direct = not any(name in _FORWARDING or name.startswith("x-forwarded-") for name in headers)
    is_own = not is_foreign(headers, config) and not is_foreign_origin(headers, config)
    return mode if is_direct and is_own else Registration.INVITE
