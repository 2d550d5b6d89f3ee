"""Other spellings of requests: aliases of paths, HEAD for GET, and ambiguous paths, which are refused."""

import re

from serval.errors import NotFound
from serval.http.asgi import AsgiApp, AsgiMap, AsgiReceive, AsgiSend, send_redirect
from serval.http.problems import NOTHING_HERE, send_problem
from serval.http.root_path import root_path_of

ALIASES = {
    "/api/api-keys": "/api/v1/api-keys",
    "/api/audit": "/api/v1/audit",
    "/api/auth": "/api/v1/auth",
    "/api/models": "/api/v1/models",
    "/api/predict": "/api/v1/predict",
    "/api/predictions": "/api/v1/predictions",
    "/api/storage": "/api/v1/storage",
    "/api/users": "/api/v1/users",
}
"""Prefixes of paths that older clients use, and what they stand for."""

PAGES_WITH_SLASH = frozenset({b"/docs/", b"/redoc/", b"/docs/errors/"})
"""Pages for people, whose other spelling leads to the right one."""

_AMBIGUOUS = re.compile(
    rb"""
      // | (?<=.)/\Z             # an empty segment
    | /(\.|%2e){1,2}(?=/|\Z)     # a dot segment
    | %2f | %5c | \\             # an encoded slash or a backslash
    | %[01][0-9a-f] | %7f        # a control character
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What a proxy may resolve and the app not, so that the proxy's rules would apply to another path than the route's."""


class PathNormalization:
    """Rewrites other spellings before routing: same handler, same rule."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] == "http":
            scope["path"] = canonical_path(scope["path"])
            if scope["method"] == "HEAD":
                scope["method"], send = "GET", _without_body(send)
            if scope["raw_path"] in PAGES_WITH_SLASH and scope["method"] == "GET":
                await send_redirect(send, f"{root_path_of(scope)}{scope['path'].removesuffix('/')}".encode())
                return
            if not is_unambiguous(scope["raw_path"]):
                await send_problem(scope, send, NotFound(NOTHING_HERE))
                return
        await self._app(scope, receive, send)


def canonical_path(path: str) -> str:
    """Return the path that an alias stands for, or the path itself."""
    if not path.startswith("/api/") or path.startswith("/api/v1/"):
        return path
    head = "/".join(path.split("/", 3)[:3])
    return ALIASES.get(head, head) + path[len(head) :]


def is_unambiguous(raw_path: bytes) -> bool:
    """Whether every parser resolves a path, as it was sent, to the same one."""
    return _AMBIGUOUS.search(raw_path) is None


def _without_body(send: AsgiSend) -> AsgiSend:
    async def send_head(message: AsgiMap) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head
