"""An app of a test's own routes, which answers as Serval's does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.testing import TestClient
from litestar.types import Guard

from serval.http.problems import problem_handlers
from serval.http.request import HttpRequest


@contextmanager
def small_app(*routes: HTTPRouteHandler, guards: Sequence[Guard] = ()) -> Iterator[TestClient[Litestar]]:
    """A client of an app with these routes."""
    app = Litestar(
        routes,
        guards=guards,
        exception_handlers=problem_handlers(),
        request_class=HttpRequest,
        openapi_config=None,
        logging_config=None,
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
