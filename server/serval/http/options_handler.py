"""Responses to OPTIONS: the methods of a path, for every client."""

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Receive, Scope, Send


class OptionsHandler(ASGIMiddleware):
    """Answers OPTIONS for every route; Litestar's own response omits methods of separate handlers."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if scope.get("method") == "OPTIONS":
            routes = scope["litestar_app"].routes
            methods = {
                method
                for route in routes
                if route.path_format == scope["path_template"]
                for method in getattr(route, "methods", ())
            }
            next_app = ASGIResponse(status_code=204, headers={"Allow": allowed(methods)})
        await next_app(scope, receive, send)


def allowed(methods: set[str]) -> str:
    """Return the value of `Allow`; where GET is allowed, so is HEAD."""
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
