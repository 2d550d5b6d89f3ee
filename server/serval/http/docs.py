"""The OpenAPI document, its two viewers, the list of errors and the way to them, all served without internet access."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from litestar import MediaType, Request, Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.routes import BaseRoute
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

from serval import __version__
from serval.http.error_page import error_list
from serval.http.openapi_document import declared_operations, served_document
from serval.http.root_path import root_path_of

ASSETS = Path(__file__).parent / "assets"
ASSETS_PATH = "/docs/assets"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI and Redoc need inline styles; no page has inline scripts."""

DESCRIPTION = """Predictions of trained models over HTTP.

Every request but a few public ones carries a key, as `X-API-Key: KEY` or `Authorization: Bearer KEY`. The first key is
the administrator's, which the server writes to `admin.key` in its data folder: `cat serval-data/admin.key` prints it.
`serval key create` makes further keys. Every error is a problem document whose `type` leads to the
[list of errors](docs/errors)."""

KEY_DESCRIPTION = (
    "An API key, `srv_…`. The administrator's is in `admin.key` of the data folder: `cat serval-data/admin.key`."
)
BEARER_DESCRIPTION = "An API key, or the access token of a login (`POST /api/v1/auth/login`)."

TAGS = (
    ("Models", "Upload models, see and change what you have, and share it."),
    ("Predictions", "Ask models, and look up what they answered."),
    ("Versions", "Each upload under a name is a version: how it was converted, and which one is live."),
    ("Keys", "Keys for programs: what they may do, for which models, and until when."),
    ("Users", "Accounts: your own and, for administrators, all."),
    ("Logins", "Logins of people by password, for pages and scripts without a key."),
    ("Audit", "Who did what, and when."),
    ("Observability", "Health and metrics."),
)
"""Names of groups of operations and what they are for, in the order of the document."""


def openapi_config(routes: Sequence[ControllerRouterHandler] = ()) -> OpenAPIConfig:
    """Return the configuration of `/openapi.json` and its pages: `/docs` (Swagger UI), `/redoc`, `/docs/errors`.

    `routes`: those of the API, whose order is that of the document.
    """
    config = OpenAPIConfig(
        title="Serval",
        version=__version__,
        description=DESCRIPTION,
        openapi_router=_SchemaRouter("/", route_handlers=pages(), include_in_schema=False),
        render_plugins=[_OpenApiPlugin(routes)],
        tags=[Tag(name=name, description=description) for name, description in TAGS],
        use_handler_docstrings=True,
        components=Components(
            security_schemes={
                "ApiKey": SecurityScheme(
                    type="apiKey", name="X-API-Key", security_scheme_in="header", description=KEY_DESCRIPTION
                ),
                "Bearer": SecurityScheme(type="http", scheme="bearer", description=BEARER_DESCRIPTION),
            }
        ),
        security=[{"ApiKey": []}, {"Bearer": []}],
    )
    config.default_plugin = None
    return config


def pages() -> list[ControllerRouterHandler]:
    files = create_static_files_router(
        ASSETS_PATH, directories=[ASSETS], cache_control=CacheControlHeader(max_age=3600, public=True)
    )
    return [show_index, show_swagger, show_redoc, show_errors, files]


class _SchemaRouter(Router):
    """Litestar's router of the schema, without its HTML page for unknown paths, which would replace 404 problems."""

    def register(self, value: ControllerRouterHandler) -> list[BaseRoute]:
        is_catch_all = "/{path:str}" in getattr(value, "paths", ())
        return [] if is_catch_all else super().register(value)


class _OpenApiPlugin(JsonRenderPlugin):
    """Writes the document so that clients can be generated from it."""

    def __init__(self, routes: Sequence[ControllerRouterHandler]) -> None:
        super().__init__(path="/openapi.json", media_type=MediaType.JSON)
        self._order = declared_operations(routes)
        self._document: dict[str, Any] | None = None
        """Made at the first request, when all routes are known."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._document is None:
            self._document = served_document(openapi_schema, self._order)
        return super().render(request, {**self._document, "servers": [{"url": root_path_of(request.scope) or "/"}]})


@get("/", sync_to_thread=False)
def show_index(request: Request[Any, Any, Any]) -> Response[Any]:
    """Lead people to the documentation, and say to programs where things are."""
    root_path = root_path_of(request.scope)
    headers = {"vary": "Accept"}
    if request.accept.best_match([MediaType.JSON, MediaType.HTML]) == MediaType.HTML:
        return Response(None, status_code=302, headers={**headers, "location": f"{root_path}/docs"})
    places = {"docs": "/docs", "openapi": "/openapi.json", "health": "/health", "errors": "/docs/errors"}
    found = {name: root_path + path for name, path in places.items()}
    return Response({"name": "serval", "version": __version__, **found}, headers=headers)


@get("/docs", media_type=MediaType.HTML, sync_to_thread=False)
def show_swagger(request: Request[Any, Any, Any]) -> Response[str]:
    return _page(
        request, "Serval API", ["swagger-ui.css", "swagger-contrast.css"], ["swagger-ui-bundle.js", "start-swagger.js"]
    )


@get("/redoc", media_type=MediaType.HTML, sync_to_thread=False)
def show_redoc(request: Request[Any, Any, Any]) -> Response[str]:
    return _page(request, "Serval API reference", [], ["redoc.standalone.js", "start-redoc.js"])


@get("/docs/errors", media_type=MediaType.HTML, sync_to_thread=False)
def show_errors(request: Request[Any, Any, Any]) -> Response[str]:
    return _page(request, "Serval errors", ["page.css"], [], error_list(root_path_of(request.scope)))


def _page(
    request: Request[Any, Any, Any],
    title: str,
    styles: list[str],
    scripts: list[str],
    body: str = '<div id="page"></div>',
) -> Response[Any]:
    assets = root_path_of(request.scope) + ASSETS_PATH
    links = "".join(f'<link rel="stylesheet" href="{assets}/{name}">' for name in styles)
    tags = "".join(f'<script src="{assets}/{name}"></script>' for name in scripts)
    return Response(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>{links}</head>'
        f'<body style="margin:0">{body}{tags}</body></html>',
        media_type=MediaType.HTML,
        headers={"content-security-policy": CONTENT_SECURITY_POLICY},
    )
