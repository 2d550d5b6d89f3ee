"""Who is calling and may they, found out before the body is read."""

from typing import cast

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from serval.auth.caller import Caller, ClientInfo
from serval.auth.credentials import Credential, presented
from serval.auth.csrf import SAFE_METHODS, Csrf
from serval.auth.permissions import Permission, permission_of
from serval.auth.rate_headers import rate_headers
from serval.auth.request_limiter import RequestLimiter
from serval.data_plane.plane import RateState
from serval.http.asgi import AsgiSend, Headers, with_headers
from serval.http.problems import request_id_of
from serval.http.request_logging import note


class Authenticate(ASGIMiddleware):
    """Holds each call to the permission of its route and to the rate of its caller.

    Predictions with a key or a bearer token are checked by the data plane, which knows who has called before.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, gate: RequestLimiter, csrf: Csrf) -> None:
        self._gate = gate
        self._csrf = csrf

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        method = str(scope.get("method"))
        permission = permission_of(method, scope["path_template"])
        rate = await self._admit(scope, method, permission)
        await next_app(
            scope, receive, send if rate is None else cast(Send, with_headers(cast(AsgiSend, send), _told(rate)))
        )

    async def _admit(self, scope: Scope, method: str, permission: Permission) -> RateState | None:
        """Raises NotAuthenticated, NotPermitted, RateLimited."""
        if permission.is_public:
            return self._gate.admit_anybody(origin_of(scope)) if permission.is_charged else None
        credential = presented(scope["headers"])
        if scope["route_handler"].opt.get("own_authentication") and not credential.is_cookie:
            return None
        caller = await self._gate.identify(credential, origin_of(scope))
        scope["user"] = caller
        note(scope, user=caller.user_id)
        self._check_csrf(scope, method, credential, caller)
        permission.check(caller)
        return self._gate.admit(caller) if permission.is_charged else None

    def _check_csrf(self, scope: Scope, method: str, credential: Credential, caller: Caller) -> None:
        if credential.is_cookie and method not in SAFE_METHODS:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self._csrf.check(caller.session_id or "", f"{scope['scheme']}://{headers.get('host', '')}", headers)


def _told(rate: RateState) -> Headers:
    """What the answer says of what is left of the caller's rate."""
    return [(name.encode(), value.encode()) for name, value in rate_headers(rate).items()]


def origin_of(scope: Scope) -> ClientInfo:
    """Where a request came from."""
    client = scope["client"]
    return ClientInfo(client[0] if client else "", request_id_of(scope))


def provide_caller(scope: Scope) -> Caller:
    """Return who is calling, to a handler that asks for `caller`."""
    caller: Caller = scope["user"]
    return caller
