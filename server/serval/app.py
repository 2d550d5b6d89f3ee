"""Builds the HTTP application from the features of a service."""

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import Scope

from serval.errors import ServalError
from serval.feature import Feature
from serval.http.asgi import AsgiApp
from serval.http.authenticate import Authenticate, provide_caller
from serval.http.body_pace import BodyPace
from serval.http.cross_origin import CrossOrigin
from serval.http.docs import openapi_config
from serval.http.options_handler import OptionsHandler
from serval.http.path_normalization import PathNormalization
from serval.http.problems import problem_handlers, request_id_of
from serval.http.proxy_headers import ProxyHeaders
from serval.http.query_parameters import check_query_parameters
from serval.http.request import HttpRequest
from serval.http.request_logging import RequestLogging
from serval.http.security_headers import SecurityHeaders
from serval.log import Log, RequestLog
from serval.settings.addresses import Networks
from serval.wiring import ROUTES, Service

JSON_BODY_BYTES = 64 * 1024
"""The largest body of any other route but uploads, which are bounded while they stream (`models/upload_form.py`)."""


def build_app(service: Service) -> RequestLogging:
    """Return the ASGI application of a service."""
    settings, log = service.core.settings, service.core.log
    dependencies = _dependencies(service.features)
    app = Litestar(
        [_router(feature) for feature in service.features if feature.routes],
        dependencies={
            "settings": _always(settings),
            "caller": Provide(provide_caller, sync_to_thread=False),
            **{name: _always(part) for name, part in dependencies.items()},
        },
        guards=[check_query_parameters],
        middleware=[OptionsHandler(), Authenticate(service.limiter, service.csrf)],
        exception_handlers=problem_handlers(),
        after_exception=[_log_internal_errors(log)],
        request_class=HttpRequest,
        request_max_body_size=JSON_BODY_BYTES,
        openapi_config=openapi_config(ROUTES),
        logging_config=None,
    )
    normalized = PathNormalization(cast(AsgiApp, app))
    paced = normalized if settings.front else BodyPace(normalized, settings)  # the front has its own pace
    secured = SecurityHeaders(CrossOrigin(paced, settings.cors_origins), https_only=settings.https_only)
    proxied = ProxyHeaders(secured, Networks(settings.trusted_proxies), settings.root_path)
    return RequestLogging(proxied, service.core.metrics.http, RequestLog(log, slow_ms=settings.slow_request_ms))


def _dependencies(features: Sequence[Feature]) -> dict[str, object]:
    """The dependencies of all features by name. Raises ValueError for a name that two of them claim."""
    dependencies: dict[str, object] = {}
    for feature in features:
        for name in feature.dependencies.keys() & dependencies.keys():
            raise ValueError(f"two features bring a dependency `{name}`")
        dependencies |= feature.dependencies
    return dependencies


def _router(feature: Feature) -> Router:
    return Router("/", route_handlers=feature.routes, request_max_body_size=feature.max_body_bytes or JSON_BODY_BYTES)


def _always(part: object) -> Provide:
    def provide() -> object:
        return part

    return Provide(provide, sync_to_thread=False, use_cache=True)


def _log_internal_errors(log: Log) -> Callable[[Exception, Scope], Awaitable[None]]:
    """Log the cause of a 500: its answer says nothing of it but the request id."""

    async def log_internal_error(error: Exception, scope: Scope) -> None:
        if not isinstance(error, ServalError | HTTPException):
            log.error("internal_error", request_id=request_id_of(scope), exception=error)

    return log_internal_error
