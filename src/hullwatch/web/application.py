"""The web application: routes, pages and the request guard."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.responses import Response

from hullwatch.domain.failures import NotSignedIn
from hullwatch.services.services import Services
from hullwatch.web import errors, openapi
from hullwatch.web.api import (
    admin,
    auth,
    channels,
    chart,
    coverage,
    dashboard,
    fyers,
    health,
    hma,
    market,
    monitoring,
    notifications,
    password_resets,
    readiness,
    reconnect,
    renewal,
    token_validation,
)
from hullwatch.web.built_pages import page_routes
from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import current_user, login_cookie, services_of
from hullwatch.web.event_socket import events_route
from hullwatch.web.link_page import link_page_routes
from hullwatch.web.pages import STYLE, STYLE_PATH, docs_page, home_page
from hullwatch.web.request_guard import PlainRoute, RequestGuard

_ROUTERS = (
    auth.router,
    password_resets.router,
    fyers.router,
    renewal.router,
    token_validation.router,
    market.router,
    hma.router,
    chart.router,
    dashboard.router,
    monitoring.router,
    coverage.router,
    notifications.router,
    reconnect.router,
    readiness.router,
    readiness.admin_router,
    channels.router,
    admin.router,
    password_resets.admin_router,
    channels.admin_router,
    coverage.admin_router,
    health.router,
)


class _App(FastAPI):
    """FastAPI with the completed OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """Return the document, which is built once."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.document(self, self.version, cookie=login_cookie(self.state.config))
        return self.openapi_schema


def create_web(services: Services, config: WebConfig) -> FastAPI:
    """Return the ASGI app; it opens no resources."""
    app = _App(
        title="hullwatch",
        version=config.version,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.config = config
    app.add_middleware(RequestGuard, config=config)
    errors.install(app, _ROUTERS)
    for router in _ROUTERS:
        app.include_router(router)
    app.router.routes.append(events_route)
    _add_pages(app, config)
    return app


def _add_pages(app: FastAPI, config: WebConfig) -> None:
    """Add the pages, which are not part of the API."""

    async def home(request: Request) -> Response:
        services = services_of(request)
        try:
            user = await current_user(request, services)
        except NotSignedIn:
            return HTMLResponse(home_page(None, None))
        return HTMLResponse(home_page(user, services.connections.connection(user.id)), headers=_PRIVATE)

    async def docs(_: Request) -> Response:
        return HTMLResponse(docs_page(app.openapi()))

    async def document(_: Request) -> Response:
        return JSONResponse(app.openapi())

    async def style(_: Request) -> Response:
        return PlainTextResponse(STYLE, media_type="text/css")

    home_routes = (
        [PlainRoute("/", home, methods=["GET"])] if config.pages is None else page_routes(config.pages)
    )
    app.router.routes.extend(home_routes)
    app.router.routes.extend(link_page_routes())
    for path, page in (
        ("/api/docs", docs),
        ("/api/openapi.json", document),
        (STYLE_PATH, style),
    ):
        app.router.routes.append(PlainRoute(path, page, methods=["GET"]))


_PRIVATE = {"Cache-Control": "no-store"}
