"""Authentication and authorization of requests, before the body is read."""

from typing import cast

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from serval.auth.caller import Caller
from serval.auth.credentials import Credential, read_credential
from serval.auth.csrf import SAFE_METHODS, Csrf
from serval.auth.permissions import RouteRule, rule_of
from serval.auth.request_limiter import RequestLimiter
from serval.http.asgi import AsgiSend, Headers, with_headers
from serval.http.request_logging import client_of, note


class Authenticate(ASGIMiddleware):
    """Enforces the rule of each route and the rate of its caller.

    The data plane checks predictions with a key or a bearer token: it knows earlier callers.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, limiter: RequestLimiter, csrf: Csrf) -> None:
        self._limiter = limiter
        self._csrf = csrf

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        method = str(scope.get("method"))
        rule = rule_of(method, scope["path_template"])
        headers = await self._admit(scope, method, rule)
        await next_app(
            scope,
            receive,
            cast(Send, with_headers(cast(AsgiSend, send), _encoded(headers))) if headers else send,
        )

    async def _admit(self, scope: Scope, method: str, rule: RouteRule) -> dict[str, str]:
        """Return the headers that state what is left of a rate. Raises NotAuthenticated, NotPermitted, RateLimited."""
        if rule.is_public:
            return self._limiter.admit_client(client_of(scope), rule.account) if rule.is_charged else {}
        credential = read_credential(scope["headers"])
        if scope["route_handler"].opt.get("own_authentication") and not credential.is_cookie:
            return {}
        caller = await self._limiter.identify(credential, client_of(scope))
        scope["user"] = caller
        note(scope, user=caller.user_id)
        self._check_csrf(scope, method, credential, caller)
        rule.check(caller)
        return self._limiter.admit(caller) if rule.is_charged else {}

    def _check_csrf(self, scope: Scope, method: str, credential: Credential, caller: Caller) -> None:
        if credential.is_cookie and method not in SAFE_METHODS:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self._csrf.check(caller.session_id or "", f"{scope['scheme']}://{headers.get('host', '')}", headers)


def _encoded(headers: dict[str, str]) -> Headers:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def provide_caller(scope: Scope) -> Caller:
    """Provide the dependency `caller` of handlers."""
    caller: Caller = scope["user"]
    return caller
