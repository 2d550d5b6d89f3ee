"""The OpenAPI document, its two viewers and the list of errors, all served without internet access."""

from html import escape
from pathlib import Path
from typing import Any

from litestar import MediaType, Request, Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import BaseRoute
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

from serval import __version__
from serval.errors import ServalError, error_classes

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
[list of errors](/docs/errors)."""

METHODS = ("post", "get", "put", "patch", "delete")
"""The methods of a path in the document's order: what makes a thing comes before what shows it and what ends it."""


def openapi_config() -> OpenAPIConfig:
    """Return the configuration of `/openapi.json` and its pages: `/docs` (Swagger UI), `/redoc`, `/docs/errors`."""
    config = OpenAPIConfig(
        title="Serval",
        version=__version__,
        description=DESCRIPTION,
        openapi_router=_SchemaRouter("/", route_handlers=pages(), include_in_schema=False),
        render_plugins=[_OpenApiPlugin(path="/openapi.json", media_type=MediaType.JSON)],
        components=Components(
            security_schemes={
                "ApiKey": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header"),
                "Bearer": SecurityScheme(type="http", scheme="bearer"),
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
    return [show_swagger, show_redoc, show_errors, files]


class _SchemaRouter(Router):
    """Litestar's router of the schema, without its HTML page for unknown paths, which would replace 404 problems."""

    def register(self, value: ControllerRouterHandler) -> list[BaseRoute]:
        is_catch_all = "/{path:str}" in getattr(value, "paths", ())
        return [] if is_catch_all else super().register(value)


class _OpenApiPlugin(JsonRenderPlugin):
    """Writes unions as `anyOf`: Litestar writes `oneOf`, which fails for an integer, because it is also a number."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, in_order(with_any_of(openapi_schema)))


def with_any_of(node: Any) -> Any:
    """Return the document with `anyOf` instead of `oneOf`."""
    if isinstance(node, dict):
        return {"anyOf" if key == "oneOf" else key: with_any_of(value) for key, value in node.items()}
    return [with_any_of(item) for item in node] if isinstance(node, list) else node


def in_order(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with its paths, operations and named schemas in an order that does not depend on routing.

    Paths are sorted by their parts, so that a collection comes before its members and a member before its actions.
    """
    paths = {path: _operations_in_order(item) for path, item in sorted(document["paths"].items(), key=_path_rank)}
    components = {
        kind: dict(sorted(parts.items())) if isinstance(parts, dict) else parts
        for kind, parts in document.get("components", {}).items()
    }
    return {**document, "paths": paths, "components": components}


def _path_rank(entry: tuple[str, Any]) -> list[str]:
    return entry[0].split("/")


def _operations_in_order(item: dict[str, Any]) -> dict[str, Any]:
    known = {method: item[method] for method in METHODS if method in item}
    return known | {key: value for key, value in sorted(item.items()) if key not in known}


@get("/docs", media_type=MediaType.HTML, sync_to_thread=False)
def show_swagger() -> Response[str]:
    return _page("Serval API", ["swagger-ui.css"], ["swagger-ui-bundle.js", "start-swagger.js"])


@get("/redoc", media_type=MediaType.HTML, sync_to_thread=False)
def show_redoc() -> Response[str]:
    return _page("Serval API reference", [], ["redoc.standalone.js", "start-redoc.js"])


@get("/docs/errors", media_type=MediaType.HTML, sync_to_thread=False)
def show_errors() -> Response[str]:
    """Show the errors, to which the `type` of every problem points."""
    entries = "".join(_error_entry(error) for error in error_classes())
    return _page("Serval errors", ["page.css"], [], f"<main><h1>Errors</h1><dl>{entries}</dl></main>")


def _error_entry(error: type[ServalError]) -> str:
    return f'<dt id="{error.code}"><code>{error.code}</code></dt><dd>{error.status}: {escape(error.title)}.</dd>'


def _page(title: str, styles: list[str], scripts: list[str], body: str = '<div id="page"></div>') -> Response[Any]:
    links = "".join(f'<link rel="stylesheet" href="{ASSETS_PATH}/{name}">' for name in styles)
    tags = "".join(f'<script src="{ASSETS_PATH}/{name}"></script>' for name in scripts)
    return Response(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>{links}</head>'
        f'<body style="margin:0">{body}{tags}</body></html>',
        media_type=MediaType.HTML,
        headers={"content-security-policy": CONTENT_SECURITY_POLICY},
    )
