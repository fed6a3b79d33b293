"""Compares the address in the browser with the one that Fyers redirects to, before a user is sent to Fyers' login."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from hullwatch.domain.failures import LinkRefused

CALLBACK: Final = "/api/fyers/callback"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class AddressDifference(StrEnum):
    """What keeps a login at Fyers from returning to the page that starts it."""

    OPEN_OTHER_ADDRESS = "open_other_address"
    """Fyers redirects to another address of this server: open that one."""
    CHANGE_REDIRECT_ADDRESS = "change_redirect_address"
    """Fyers redirects to an address that this browser does not reach, or reaches on another machine."""
    RETURNS_ELSEWHERE = "returns_elsewhere"
    """Fyers redirects to another page, whose address can be pasted here."""


@dataclass(frozen=True, slots=True)
class AddressAdvice:
    """What to do about the difference."""

    difference: AddressDifference
    message: str
    open_at: str | None = None
    """The address of this server to open instead."""
    redirect_uri: str | None = None
    """The redirect address that fits this browser."""


class LoginAddressDiffers(LinkRefused):
    """The login would not return to the page that starts it."""

    def __init__(self, advice: AddressAdvice) -> None:
        super().__init__(advice.message, reason="other_address")
        self.advice = advice


@dataclass(frozen=True, slots=True)
class _Origin:
    scheme: str
    host: str
    port: int | None

    @property
    def text(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_default = self.port == _DEFAULT_PORTS.get(self.scheme)
        return f"{self.scheme}://{host}" if is_default else f"{self.scheme}://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return self.host in _LOOPBACK


def compare_addresses(
    redirect_uri: str, *, opened_at: str, public_url: str, is_own_app: bool
) -> AddressAdvice | None:
    """Return what to do before the login, or `None` when Fyers returns to the address that is open.

    Args:
        redirect_uri: The redirect address of the Fyers app.
        opened_at: The origin of the page in the browser, as a browser sends it: scheme, host and port that the user sees,
            behind port forwarding and proxies too.
        public_url: The address of this server in its settings.
        is_own_app: Whether the user can change the redirect address here.
    """
    redirect, opened, public = (_origin(one) for one in (redirect_uri, opened_at, public_url))
    if redirect is None or opened is None or public is None:
        return None
    is_callback = urlsplit(redirect_uri).path.rstrip("/") == CALLBACK
    if is_callback and redirect == opened:
        return None
    wanted = f"{opened.text}{CALLBACK}"
    if not is_callback or not _is_this_server(redirect, opened, public):
        return AddressAdvice(
            AddressDifference.RETURNS_ELSEWHERE,
            f"Fyers will send you to {redirect.text}, not back to this page. Log in, then paste the address of "
            "that page under “Paste the auth code by hand”.",
            redirect_uri=wanted,
        )
    if _can_open(redirect, opened, public):
        return AddressAdvice(
            AddressDifference.OPEN_OTHER_ADDRESS,
            f"This page is open at {opened.text}, but Fyers returns to {redirect.text}. "
            f"Open {redirect.text} and log in to Fyers there.",
            open_at=redirect.text,
            redirect_uri=wanted,
        )
    where = "in your Fyers app here and at Fyers" if is_own_app else "in FYERS_REDIRECT_URI and at Fyers"
    also = ""
    if opened != public:
        also = f" An administrator also has to set HULLWATCH_PUBLIC_URL to {opened.text}."
    return AddressAdvice(
        AddressDifference.CHANGE_REDIRECT_ADDRESS,
        f"Fyers returns to {redirect.text}, but this page is open at {opened.text}. "
        f"Change the redirect address to {wanted}, {where}.{also}",
        redirect_uri=wanted,
    )


def needs_other_host(redirect_uri: str, opened_at: str) -> bool:
    """Whether a login by link cannot return: its cookie belongs to the host in the browser, whatever the port."""
    redirect, opened = _origin(redirect_uri), _origin(opened_at)
    return redirect is not None and opened is not None and redirect.host != opened.host


def _is_this_server(redirect: _Origin, opened: _Origin, public: _Origin) -> bool:
    """Whether the redirect address is, by its host, an address of this server; ports may be forwarded."""
    return redirect.host in (opened.host, public.host) or redirect.is_loopback


def _can_open(redirect: _Origin, opened: _Origin, public: _Origin) -> bool:
    """Whether the browser reaches this server at the redirect address.

    A loopback address reaches it only from a browser that uses one already, at the same port: otherwise it is another
    machine, or a forwarded port. The address in the settings is meant for all browsers.
    """
    if redirect.is_loopback:
        return opened.is_loopback and (redirect.scheme, redirect.port) == (opened.scheme, opened.port)
    return redirect == public


def _origin(address: str) -> _Origin | None:
    try:
        parts = urlsplit(address)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:  # the port is not a number
        return None
    return _Origin(parts.scheme, parts.hostname, port) if parts.hostname else None
