"""The dashboard's built files: where they lie in the package, and how they are served. They are made from ``ui/`` when the package is built."""

import mimetypes
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from hullwatch.web.edge import PlainRoute

FOLDER: Final = Path(__file__).parent / "static"
_ALWAYS: Final = "public, max-age=31536000, immutable"
"""For files whose names change with their content."""
_NEVER: Final = "no-store"


def built_pages(folder: Path = FOLDER) -> Path | None:
    """Return the folder of the built pages, or `None` when this package was built without them."""
    return folder if (folder / "index.html").is_file() else None


class _Assets(StaticFiles):
    """Files with a hash in their names, and beside each one the same made small."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        takes_small = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        small, found = self.lookup_path(f"{path}.gz")
        if takes_small and found is not None and not path.endswith(".gz"):
            kind = mimetypes.guess_type(path)[0]
            response: Response = FileResponse(small, media_type=kind, headers={"Content-Encoding": "gzip"})
        else:
            response = await super().get_response(path, scope)
        response.headers["Vary"] = "Accept-Encoding"
        response.headers["Cache-Control"] = _ALWAYS if response.status_code < 400 else _NEVER
        return response


def page_routes(folder: Path) -> list[BaseRoute]:
    """Return the routes that serve the pages; which page is shown is said behind the ``#``, so that there is one document."""

    async def document(_: Request) -> Response:
        return FileResponse(folder / "index.html", headers={"Cache-Control": _NEVER})

    async def icon(_: Request) -> Response:
        return FileResponse(folder / "icon.svg", headers={"Cache-Control": "public, max-age=86400"})

    return [
        PlainRoute("/", document, methods=["GET"]),
        PlainRoute("/icon.svg", icon, methods=["GET"]),
        Mount("/assets", _Assets(directory=folder / "assets", check_dir=False)),
    ]
