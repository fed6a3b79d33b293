"""The cookie that identifies the browser that started a login at Fyers; the server stores its hash."""

from typing import Final

from fastapi import Request, Response

from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import NONCE_COOKIE

NONCE_LIFETIME_S: Final = 900
"""Longer than the lifetime of a `state`, so that the cookie never expires before it."""


def read_nonce(request: Request, name: str) -> str | None:
    """Return the nonce that the browser sent, if it has a possible length."""
    nonce = request.cookies.get(name, "")
    return nonce if 20 <= len(nonce) <= 100 else None


def set_nonce(
    nonce: str,
    response: Response,
    config: WebConfig,
    *,
    name: str = NONCE_COOKIE,
    path: str = "/api/fyers/callback",
    lifetime_s: int = NONCE_LIFETIME_S,
) -> None:
    """Set the nonce as a cookie that the browser sends to one path only."""
    response.set_cookie(
        name,
        nonce,
        max_age=lifetime_s,
        path=path,
        secure=config.is_secure,
        httponly=True,
        samesite="lax",
    )
