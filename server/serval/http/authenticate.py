"""Who is calling, found out before the body is read."""

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from serval.auth.caller import Caller, FindCaller
from serval.auth.keys import digest, presented_key
from serval.http.observe import note


class Authenticate(ASGIMiddleware):
    """Refuses calls without a valid key, but for routes that say `public` or `own_authentication`."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, find_caller: FindCaller) -> None:
        self._find_caller = find_caller

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        opt = scope["route_handler"].opt
        if not opt.get("public") and not opt.get("own_authentication"):
            caller = await self._find_caller(digest(presented_key(scope["headers"])))
            scope["user"] = caller
            note(scope, user=caller.user_id)
        await next_app(scope, receive, send)


def provide_caller(scope: Scope) -> Caller:
    """Return who is calling, to a handler that asks for `caller`."""
    caller: Caller = scope["user"]
    return caller
