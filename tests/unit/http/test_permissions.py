"""Every route states its permission, in one table."""

from collections.abc import Iterator

from litestar import Router
from litestar.handlers import HTTPRouteHandler

from serval.auth.permissions import PERMISSIONS
from serval.http.docs import pages
from serval.wiring import ROUTES


def served() -> Iterator[str]:
    """Every route of the app, as `METHOD /path`."""
    for route in Router("/", route_handlers=[*ROUTES, *pages()]).routes:
        for handler in route.route_handlers:
            assert isinstance(handler, HTTPRouteHandler), f"{route.path} is no route of HTTP"
            yield from (f"{method} {route.path_format}" for method in handler.http_methods - {"HEAD", "OPTIONS"})


def test_every_route_states_its_permission_and_every_permission_has_a_route() -> None:
    assert set(served()) | {"GET /openapi.json"} == set(PERMISSIONS)
