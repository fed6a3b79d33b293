"""The page that a login link opens, and the last page of a login by link. Both work without the dashboard.

The page is the same for every link. Its script requests what the link is for, with the part behind the ``#``, which browsers send to no server.
"""

from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute

from hullwatch.services.texts.times import in_ist
from hullwatch.web.request_guard import PlainRoute

LINK_PATH: Final = "/reconnect"
DONE_PATH: Final = "/reconnect/done"
DONE_COOKIE: Final = "hullwatch_until"
"""Expiry of the session after a login by link, for the last page only; it is no secret."""
_COOKIE_FORMAT: Final = "%Y%m%dT%H%M%SZ"
_FOLDER: Final = Path(__file__).parent / "link_page_files"
_FILES: Final = {"reconnect.js": "text/javascript", "reconnect.css": "text/css"}
_NO_STORE: Final = {"Cache-Control": "no-store"}


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex"><link rel="icon" href="data:,">'
        f'<title>{escape(title)} · hullwatch</title><link rel="stylesheet" href="/reconnect.css">'
        '<script type="module" src="/reconnect.js"></script></head>'
        f'<body><main><p class="brand">hullwatch</p><h1>{escape(title)}</h1>{body}</main></body></html>\n'
    )


LINK_PAGE: Final = _page(
    "Log in to Fyers",
    '<div class="card" id="reconnect">'
    '<p id="message" role="status"></p>'
    '<dl id="facts" hidden>'
    '<dt>Requested by</dt><dd id="requested-by"></dd>'
    '<dt>Requested at</dt><dd id="requested-at"></dd>'
    '<dt>User</dt><dd id="email"></dd>'
    '<dt>Fyers account</dt><dd id="fyers-id"></dd>'
    '<dt>Valid until</dt><dd id="expires-at"></dd></dl>'
    '<button type="button" id="begin" hidden>Log in to Fyers</button>'
    '<button type="button" id="retry" hidden>Try again</button>'
    '<button type="button" id="send-again" hidden>Send a new link</button>'
    '<p class="hint" id="alternative" hidden>You can also <a href="/">open hullwatch</a> and log in to Fyers there.</p>'
    '<noscript><p>This page needs JavaScript. You can also <a href="/">sign in to hullwatch</a> and press '
    "<b>Log in to Fyers</b> there.</p></noscript></div>"
    '<p class="hint" id="about">The button opens the login page of Fyers. hullwatch never sees your password. '
    "The link works once and only for this account. It does not sign you in to hullwatch.</p>",
)


def done_page(expires_at: datetime | None) -> str:
    """Return the last page of a login by link."""
    until = "" if expires_at is None else f" until {in_ist(expires_at)}"
    return _page(
        "Connected to Fyers",
        f'<div class="card"><p id="done">You are connected{escape(until)}. Monitoring continues, and missed candles are fetched.</p>'
        "<p>You can close this page.</p></div>"
        '<p class="hint">You are not signed in to hullwatch here. <a href="/">Sign in</a> to see your watchlist.</p>',
    )


def cookie_value(expires_at: datetime) -> str:
    """Return the value of `DONE_COOKIE`."""
    return expires_at.astimezone(UTC).strftime(_COOKIE_FORMAT)


def _read_cookie(text: str) -> datetime | None:
    try:
        return datetime.strptime(text[:20], _COOKIE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def link_page_routes() -> list[BaseRoute]:
    """Return the routes of both pages and their files."""

    async def link(_: Request) -> Response:
        return HTMLResponse(LINK_PAGE, headers=_NO_STORE)

    async def done(request: Request) -> Response:
        return HTMLResponse(done_page(_read_cookie(request.cookies.get(DONE_COOKIE, ""))), headers=_NO_STORE)

    routes = [PlainRoute(LINK_PATH, link, methods=["GET"]), PlainRoute(DONE_PATH, done, methods=["GET"])]
    return [*routes, *(_file_route(name, kind) for name, kind in _FILES.items())]


def _file_route(name: str, kind: str) -> PlainRoute:
    content = (_FOLDER / name).read_bytes()

    async def file(_: Request) -> Response:
        return Response(content, media_type=kind, headers=_NO_STORE)

    return PlainRoute(f"/{name}", file, methods=["GET"])
