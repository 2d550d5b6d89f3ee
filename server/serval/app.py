"""Builds the HTTP application: every router, listed once."""

from collections.abc import Awaitable, Callable
from typing import cast

from litestar import Litestar, Response, Router, get
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.types import Scope

from serval.audit.routes import list_audit
from serval.auth.caller import Caller
from serval.deployments.routes import ReleaseController
from serval.errors import NotPermitted, ServalError
from serval.history.routes import HistoryController
from serval.http.asgi import AsgiApp
from serval.http.authenticate import Authenticate, provide_caller
from serval.http.cross_origin import CrossOrigin
from serval.http.docs import openapi_config
from serval.http.openapi import KEYED
from serval.http.options_handler import OptionsHandler
from serval.http.path_normalization import PathNormalization
from serval.http.probes import health, info, live, ready
from serval.http.problems import keyed_responses, problem_handlers, request_id_of
from serval.http.proxy_headers import ProxyHeaders
from serval.http.request import HttpRequest
from serval.http.request_logging import RequestLogging
from serval.http.security_headers import SecurityHeaders
from serval.log import Log, RequestLog
from serval.models.routes import ModelController, short_list
from serval.models.sharing_routes import ShareController
from serval.models.upload_routes import upload, validate
from serval.predictions.routes import predict, predict_short, test_model
from serval.settings.addresses import Networks
from serval.users.key_routes import ApiKeyController
from serval.users.login_routes import AuthController
from serval.users.routes import UserController
from serval.wiring import Wiring


@get(
    "/metrics",
    summary="Metrics of your models as Prometheus text; all there are for administrators",
    tags=["Observability"],
    media_type="text/plain; version=0.0.4; charset=utf-8",
    responses=keyed_responses(),
    operation_class=KEYED,
)
async def metrics(caller: NamedDependency[Caller], wiring: NamedDependency[Wiring]) -> Response[bytes]:
    if caller.models is not None:
        raise NotPermitted(
            "This API key is for some models only, and these are the metrics of all: use one that is for all."
        )
    text = wiring.render_metrics() if caller.is_admin else wiring.render_metrics_of(caller.user_id)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


PREDICTING = (predict_short, predict)
"""Routes whose bodies are rows, as many as `max_body_bytes` hold."""

OTHERS = (
    HistoryController,
    upload,
    ModelController,
    ReleaseController,
    ShareController,
    test_model,
    validate,
    short_list,
    AuthController,
    UserController,
    ApiKeyController,
    list_audit,
    health,
    live,
    ready,
    info,
    metrics,
)
ROUTES = (*PREDICTING, *OTHERS)


JSON_BODY_BYTES = 64 * 1024
"""The largest body of any other route but uploads, which are bounded while they stream (`models/upload_form.py`)."""


def build_app(wiring: Wiring) -> RequestLogging:
    """Return the ASGI application of a wired service."""
    settings = wiring.settings
    parts = {
        "settings": settings,
        "storage": wiring.storage,
        "accounts": wiring.accounts,
        "sessions": wiring.sessions,
        "ring": wiring.ring,
        "csrf": wiring.csrf,
        "keys": wiring.keys,
        "models": wiring.models,
        "uploads": wiring.uploads,
        "releases": wiring.releases,
        "sharing": wiring.sharing,
        "conversions": wiring.conversions,
        "predictions": wiring.predictions,
        "past": wiring.past,
        "audit": wiring.audit,
        "probes": wiring.probes,
        "wiring": wiring,
    }
    predicting = Router("/", route_handlers=PREDICTING, request_max_body_size=settings.max_body_bytes)
    app = Litestar(
        [predicting, *OTHERS],
        dependencies={name: _always(part) for name, part in parts.items()}
        | {"caller": Provide(provide_caller, sync_to_thread=False)},
        middleware=[OptionsHandler(), Authenticate(wiring.gate, wiring.csrf)],
        exception_handlers=problem_handlers(),
        after_exception=[_log_faults(wiring.log)],
        request_class=HttpRequest,
        request_max_body_size=JSON_BODY_BYTES,
        openapi_config=openapi_config(),
        logging_config=None,
    )
    answering = SecurityHeaders(
        CrossOrigin(PathNormalization(cast(AsgiApp, app)), settings.cors_origins), https_only=settings.https_only
    )
    log = RequestLog(wiring.log, slow_ms=settings.slow_request_ms)
    return RequestLogging(ProxyHeaders(answering, Networks(settings.trusted_proxies)), wiring.metrics.http, log)


def _always(part: object) -> Provide:
    def provide() -> object:
        return part

    return Provide(provide, sync_to_thread=False, use_cache=True)


def _log_faults(log: Log) -> Callable[[Exception, Scope], Awaitable[None]]:
    """Log the cause of a 500: its answer says nothing of it but the request id."""

    async def log_fault(error: Exception, scope: Scope) -> None:
        if not isinstance(error, ServalError | HTTPException):
            log.error("internal_error", request_id=request_id_of(scope), exception=error)

    return log_fault
