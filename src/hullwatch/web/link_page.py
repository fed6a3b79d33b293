"""The page that login links open, and the last page of a login by link. They are no part of the dashboard and work without its build.

The page is the same for everybody and whatever opens it: what a link is about is asked for by its script, with the part behind the ``#`` that
browsers send to nobody.
"""

from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute

from hullwatch.services.texts.connection import in_ist
from hullwatch.web.edge import PlainRoute

LINK_PATH: Final = "/reconnect"
DONE_PATH: Final = "/reconnect/done"
DONE_COOKIE: Final = "hullwatch_until"
"""Until when the session lasts that a login by link has brought; no secret, and sent to the last page only."""
_UNTIL: Final = "%Y%m%dT%H%M%SZ"
_FOLDER: Final = Path(__file__).parent / "plain"
_FILES: Final = {"reconnect.js": "text/javascript", "reconnect.css": "text/css"}
_NEVER: Final = {"Cache-Control": "no-store"}


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
    '<p id="said" role="status"></p>'
    '<dl id="facts" hidden>'
    '<dt>Asked by</dt><dd id="asked-by"></dd>'
    '<dt>Asked at</dt><dd id="asked-at"></dd>'
    '<dt>For</dt><dd id="email"></dd>'
    '<dt>Fyers account</dt><dd id="fyers-id"></dd>'
    '<dt>Good until</dt><dd id="expires-at"></dd></dl>'
    '<button type="button" id="go" hidden>Log in to Fyers</button>'
    '<button type="button" id="retry" hidden>Try again</button>'
    '<button type="button" id="again" hidden>Send me a new link</button>'
    '<p class="hint" id="else" hidden>Or <a href="/">open hullwatch</a> and log in to Fyers from there.</p>'
    '<noscript><p>This page needs JavaScript. Without it, <a href="/">sign in to hullwatch</a> and press '
    "<b>Log in to Fyers</b> there.</p></noscript></div>"
    '<p class="hint" id="about">Nothing happens until you press the button. It opens Fyers\' own login page; hullwatch never sees your password. '
    "The link is good once, for this account only, and does not sign you in to hullwatch.</p>",
)


def done_page(expires_at: datetime | None) -> str:
    """Return the last page of a login by link."""
    until = "" if expires_at is None else f" until {in_ist(expires_at)}"
    return _page(
        "Connected to Fyers",
        f'<div class="card"><p id="done">You are connected{escape(until)}. What you watch goes on by itself, and what was missed is fetched.</p>'
        "<p>You may close this page.</p></div>"
        '<p class="hint">You are not signed in to hullwatch here. <a href="/">Sign in</a> to see your watchlist.</p>',
    )


def stamp(expires_at: datetime) -> str:
    """Return what `DONE_COOKIE` holds."""
    return expires_at.astimezone(UTC).strftime(_UNTIL)


def _read_stamp(text: str) -> datetime | None:
    try:
        return datetime.strptime(text[:20], _UNTIL).replace(tzinfo=UTC)
    except ValueError:
        return None


def link_page_routes() -> list[BaseRoute]:
    """Return the routes of both pages and their files."""

    async def link(_: Request) -> Response:
        return HTMLResponse(LINK_PAGE, headers=_NEVER)

    async def done(request: Request) -> Response:
        return HTMLResponse(done_page(_read_stamp(request.cookies.get(DONE_COOKIE, ""))), headers=_NEVER)

    routes = [PlainRoute(LINK_PATH, link, methods=["GET"]), PlainRoute(DONE_PATH, done, methods=["GET"])]
    return [*routes, *(_file_route(name, kind) for name, kind in _FILES.items())]


def _file_route(name: str, kind: str) -> PlainRoute:
    content = (_FOLDER / name).read_bytes()

    async def file(_: Request) -> Response:
        return Response(content, media_type=kind, headers=_NEVER)

    return PlainRoute(f"/{name}", file, methods=["GET"])
