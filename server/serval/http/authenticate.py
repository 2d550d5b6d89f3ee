"""Who is calling and may they, found out before the body is read."""

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from serval.auth.caller import Caller, FindCaller, Origin
from serval.auth.credentials import presented
from serval.auth.permissions import permission_of
from serval.http.observe import note
from serval.http.problems import request_id_of


class Authenticate(ASGIMiddleware):
    """Holds each call to the permission of its route. Predictions are checked by the data plane, which knows who has called before."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, find_caller: FindCaller) -> None:
        self._find_caller = find_caller

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        permission = permission_of(str(scope.get("method")), scope["path_template"])
        if not permission.is_public and not scope["route_handler"].opt.get("own_authentication"):
            caller = await self._find_caller(presented(scope["headers"]), origin_of(scope))
            permission.check(caller)
            scope["user"] = caller
            note(scope, user=caller.user_id)
        await next_app(scope, receive, send)


def origin_of(scope: Scope) -> Origin:
    """Where a request came from."""
    client = scope["client"]
    return Origin(client[0] if client else "", request_id_of(scope))


def provide_caller(scope: Scope) -> Caller:
    """Return who is calling, to a handler that asks for `caller`."""
    caller: Caller = scope["user"]
    return caller
