"""Users of hullwatch, and the Fyers apps that they log in through."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.secrets import AppSecret

LONGEST_EMAIL = 254
LONGEST_NAME = 120
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 256

_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]+\.[^@\s.\x00-\x1f]+")
_APP_ID = re.compile(r"[A-Z0-9]{4,32}-\d{3}")


class Role(StrEnum):
    """The rights of a user."""

    TRADER = "trader"
    """Sees and changes only their own data."""
    ADMIN = "admin"
    """A trader who also sees the token health of every account and can disconnect accounts."""


@dataclass(frozen=True, slots=True)
class User:
    """A person using hullwatch."""

    id: str
    email: str
    full_name: str
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """The login of a browser, without its value."""

    value_hash: str
    created_at: datetime
    expires_at: datetime

    @property
    def id(self) -> str:
        """Names it in the API. The hash of a random value shows nothing of the value, a part of it less than nothing."""
        return self.value_hash[:16]


@dataclass(frozen=True, slots=True)
class ValidLogins:
    """The role of a user, and the hashes of the user's unexpired browser logins and API tokens."""

    role: "Role"
    value_hashes: frozenset[str]


@dataclass(frozen=True, slots=True)
class ApiToken:
    """The login of a program, without its value, which is shown once and stored only as a hash."""

    id: str
    user_id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FyersApp:
    """A Fyers app, for the login page and the exchange of an auth code."""

    app_id: str
    secret: AppSecret
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login at Fyers that was started here; its `state` is stored as a hash and is valid once for a short time."""

    user_id: str
    app_id: str
    expires_at: datetime
    browser_hash: str
    """Hash of the nonce in the cookie of the browser that started it."""
    may_switch_account: bool = False
    """Whether the user chose to link another Fyers id than before."""
    link_generation: int | None = None
    """Generation of its login link: a later login makes both void. `None` if a signed-in user started it."""

    @property
    def is_by_link(self) -> bool:
        """Whether it was started with a login link, in a browser without a login to hullwatch."""
        return self.link_generation is not None


def read_email(text: str) -> str:
    """Return the address in the form in which it is stored and compared.

    Raises:
        InvalidInput: It is not an e-mail address.
    """
    email = text.strip().lower()
    if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email):
        raise InvalidInput("This is not an e-mail address.", field="email")
    return email


def read_full_name(text: str) -> str:
    """Return a name in the form in which it is shown.

    Raises:
        InvalidInput: It is empty, too long or holds control characters.
    """
    name = " ".join(text.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"A name has 1 to {LONGEST_NAME} printable characters.", field="fullName")
    return name


def check_password(password: str, *, email: str) -> None:
    """Refuse a password that is too short, too long, or the e-mail address itself.

    Raises:
        InvalidInput: The password is not allowed.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidInput(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.", field="password"
        )
    if password.strip().lower() in (email, email.split("@", 1)[0]):
        raise InvalidInput("The password must not be the e-mail address.", field="password")


def read_fyers_app(app_id: str, secret: str, redirect_uri: str) -> FyersApp:
    """Return a Fyers app from the typed values.

    Raises:
        InvalidInput: A value is invalid. White space around it is removed, since HTTP clients print a header with a leading space in
            full and so expose the token.
    """
    app_id, secret, redirect_uri = app_id.strip(), secret.strip(), redirect_uri.strip()
    if not _APP_ID.fullmatch(app_id):
        raise InvalidInput("A Fyers app id looks like ABCD1234XY-100, with the suffix.", field="appId")
    if not 4 <= len(secret) <= 128 or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise InvalidInput("This is not a Fyers app secret.", field="secret")
    parts = urlsplit(redirect_uri)
    if (
        len(redirect_uri) > 512
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.fragment
    ):
        raise InvalidInput(
            "The redirect address must be a full http or https address without a fragment.",
            field="redirectUri",
        )
    return FyersApp(app_id, AppSecret(secret), redirect_uri)
