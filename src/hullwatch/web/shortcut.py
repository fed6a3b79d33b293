"""The polled status, answered from memory before any routing: dashboards ask for it more often than for everything else together.

A shortcut answers only the plain case: our host, one browser login that is remembered, a validation that is remembered. In every other case
it says nothing, and the request takes the ordinary way through ``api/token_validation.py``, which gives the same answer.
"""

from starlette.types import Scope

from hullwatch.domain.sessions.connection import Connection
from hullwatch.services.services import Services
from hullwatch.services.sessions.validation import Validation
from hullwatch.web.api.token_validation import status_bytes
from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import EXPECTED_USER, LOGIN_COOKIE
from hullwatch.web.edge import is_own_host

_EXPECTED_USER = EXPECTED_USER.encode()
_COOKIE_START = f"{LOGIN_COOKIE}=".encode()
_MOST_HOSTS = 64
_MOST_KEPT = 20_000


def _is_expected(headers: list[tuple[bytes, bytes]], user_id: str) -> bool:
    """Whether the page that asks names nobody else as its user."""
    return all(value == user_id.encode() for name, value in headers if name == _EXPECTED_USER)


class StatusShortcut:
    """Answers the status of a browser that asks again."""

    def __init__(self, services: Services, config: WebConfig) -> None:
        self._services = services
        self._config = config
        self._hosts: set[bytes] = set()
        self._kept: dict[str, tuple[Connection, bool, bytes]] = {}

    def __call__(self, scope: Scope) -> bytes | None:
        """Return the body of the answer, or nothing when the request has to take the ordinary way."""
        cookie = self._plain_cookie(scope["headers"])
        user = self._services.authentication.remembered(cookie) if cookie is not None else None
        if user is None or not _is_expected(scope["headers"], user.id):
            return None
        validation = self._services.validation.status_from_cache(user.id)
        return None if validation is None else self._body(validation)

    def _plain_cookie(self, headers: list[tuple[bytes, bytes]]) -> str | None:
        """Return the login's value when host and login are the plain ones."""
        host = cookie = None
        for name, value in headers:
            if name == b"cookie":
                if cookie is not None:
                    return None
                cookie = value
            elif name == b"host":
                host = value
            elif name == b"authorization":
                return None
        if host is None or cookie is None or not self._is_own(host) or cookie.count(_COOKIE_START) != 1:
            return None
        for part in cookie.split(b";"):
            part = part.strip()  # noqa: PLW2901 - what is left of it
            if part.startswith(_COOKIE_START):
                return part[len(_COOKIE_START) :].decode("latin-1")
        return None

    def _is_own(self, host: bytes) -> bool:
        if host in self._hosts:
            return True
        is_own = is_own_host(host.decode("latin-1"), self._config)
        if is_own and len(self._hosts) < _MOST_HOSTS:
            self._hosts.add(host)
        return is_own

    def _body(self, validation: Validation) -> bytes:
        """Return the rendered answer; a connection is a new value for every change, so the same one reads the same."""
        connection = validation.connection
        kept = self._kept.get(connection.user_id)
        if kept is not None and kept[0] is connection and kept[1] is validation.from_cache:
            return kept[2]
        body = status_bytes(validation)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[connection.user_id] = (connection, validation.from_cache, body)
        return body
