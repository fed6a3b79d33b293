"""The cookie by which a browser that begins a login at Fyers is known again; what it is compared with is stored as a hash."""

from typing import Final

from fastapi import Request, Response

from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import NONCE_COOKIE

NONCE_LIFETIME_S: Final = 900
"""Longer than a `state` lives, so that the cookie is never what ends first."""


def read_nonce(request: Request, name: str) -> str | None:
    """Return the nonce that the browser sent, if it looks like one of ours."""
    nonce = request.cookies.get(name, "")
    return nonce if 20 <= len(nonce) <= 100 else None


def keep_nonce(
    nonce: str,
    response: Response,
    config: WebConfig,
    *,
    name: str = NONCE_COOKIE,
    path: str = "/api/fyers/callback",
    lifetime_s: int = NONCE_LIFETIME_S,
) -> None:
    """Give the browser its nonce, sent back to one place only."""
    response.set_cookie(
        name,
        nonce,
        max_age=lifetime_s,
        path=path,
        secure=config.is_secure,
        httponly=True,
        samesite="lax",
    )
