"""Serves the built files of the dashboard, which the build of the package makes from ``ui/``."""

import mimetypes
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from hullwatch.web.request_guard import PlainRoute

FOLDER: Final = Path(__file__).parent / "static"
_ALWAYS: Final = "public, max-age=31536000, immutable"
"""For files whose names change with their content."""
_NEVER: Final = "no-store"


def built_pages(folder: Path = FOLDER) -> Path | None:
    """Return the folder of the built pages, or `None` if this package was built without them."""
    return folder if (folder / "index.html").is_file() else None


class _Assets(StaticFiles):
    """Files with a hash in their names, each with a compressed copy beside it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        try:
            response = await self._find(path, scope)
        except (OSError, ValueError):  # no file can have this name
            raise HTTPException(404) from None
        response.headers["Vary"] = "Accept-Encoding"
        response.headers["Cache-Control"] = _ALWAYS if response.status_code < 400 else _NEVER
        return response

    async def _find(self, path: str, scope: Scope) -> Response:
        accepts_gzip = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        compressed, found = self.lookup_path(f"{path}.gz")
        if accepts_gzip and found is not None and not path.endswith(".gz"):
            kind = mimetypes.guess_type(path)[0]
            return FileResponse(compressed, media_type=kind, headers={"Content-Encoding": "gzip"})
        return await super().get_response(path, scope)


def page_routes(folder: Path) -> list[BaseRoute]:
    """Return the routes of the pages: one document, because the part behind the ``#`` names the page."""

    async def document(_: Request) -> Response:
        return FileResponse(folder / "index.html", headers={"Cache-Control": _NEVER})

    async def icon(_: Request) -> Response:
        return FileResponse(folder / "icon.svg", headers={"Cache-Control": "public, max-age=86400"})

    return [
        PlainRoute("/", document, methods=["GET"]),
        PlainRoute("/icon.svg", icon, methods=["GET"]),
        Mount("/assets", _Assets(directory=folder / "assets", check_dir=False)),
    ]
