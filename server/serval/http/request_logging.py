"""The id, the log line and the metrics of every request."""

import time
from collections.abc import Iterable
from typing import Any, cast

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.types import Method, Scope
from litestar.utils.path import normalize_path

from serval.auth.caller import ClientInfo
from serval.http.asgi import AsgiApp, AsgiMap, AsgiReceive, AsgiSend
from serval.http.problems import request_id_of
from serval.log import RequestLog
from serval.metrics import HttpMetrics

_FIELDS = "serval_log_fields"
NEAR_LIMIT_SHARE = 0.8
"""A body above this share of its limit is logged as a warning: the next one may be refused."""
METHOD_NOT_ALLOWED = 405


class RequestLogging:
    """Wraps the whole app, so that requests refused before routing are logged too."""

    def __init__(self, app: AsgiApp, metrics: HttpMetrics, log: RequestLog) -> None:
        self._app = app
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        scope.setdefault("state", {})
        request_id = request_id_of(cast(Scope, scope))
        status, received_bytes, sent_bytes = 500, 0, 0

        async def counted_receive() -> AsgiMap:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            return message

        async def counted_send(message: AsgiMap) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == METHOD_NOT_ALLOWED:
                    _note_template(scope, message["headers"])
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            await send(message)

        with self._metrics.in_progress():
            try:
                await self._app(scope, counted_receive, counted_send)
            finally:
                seconds = time.perf_counter() - started
                self._metrics.count(scope["method"], _endpoint(scope), status, seconds, received_bytes, sent_bytes)
                fields = scope["state"].get(_FIELDS, {})
                user, limit_bytes = fields.pop("user", None), fields.pop("body_limit_bytes", None) or _body_limit(scope)
                if limit_bytes is not None and received_bytes > NEAR_LIMIT_SHARE * limit_bytes:
                    fields |= {"body_bytes": received_bytes, "near_limit_bytes": limit_bytes}
                self._log.write(
                    request_id=request_id,
                    client=scope["client"][0] if scope["client"] else None,
                    user=user,
                    endpoint=_endpoint(scope),
                    method=scope["method"],
                    status=status,
                    ms=seconds * 1e3,
                    **fields,
                )


def client_of(scope: Scope) -> ClientInfo:
    """Return where a request came from."""
    client = scope["client"]
    return ClientInfo(client[0] if client else "", request_id_of(scope))


def note(scope: Scope, **fields: Any) -> None:
    """Add fields to the log line of a request: `user`, `model`, `version`, `waited_ms` for what the client
    has asked to wait for, or the route's own `body_limit_bytes`."""
    scope["state"].setdefault(_FIELDS, {}).update(fields)


def _body_limit(scope: AsgiMap) -> int | None:
    """Return the largest body that the route accepts; None: no route, or the route has its own limit."""
    handler: HTTPRouteHandler | None = scope.get("route_handler")
    return None if handler is None else handler.resolve_request_max_body_size()


def _note_template(scope: AsgiMap, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Keep the template of a path that is known with other methods, which the router does not tell."""
    methods = next((value.decode() for name, value in headers if name.lower() == b"allow"), "")
    if methods and not scope.get("path_template"):
        router = cast(Litestar, scope["litestar_app"]).asgi_router
        path = normalize_path(scope["path"])
        scope["path_template"] = router.handle_routing(path=path, method=cast(Method, methods.split(", ")[0]))[-1]


def _endpoint(scope: AsgiMap) -> str:
    """Return the template of the route, so that unknown paths do not create labels without bound."""
    return scope.get("path_template") or "unmatched"
