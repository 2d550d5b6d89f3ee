"""Second spellings of requests: paths of older clients, HEAD for GET, and paths that would be taken for others."""

import re

from serval.errors import NotFound
from serval.http.asgi import AsgiApp, AsgiMap, AsgiReceive, AsgiSend
from serval.http.problems import NOTHING_HERE, send_problem

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
"""What older clients write before the rest of a path, and what it stands for."""

_TAKEN_FOR_ANOTHER = re.compile(
    rb"""
      // | (?<=.)/\Z             # an empty step
    | /(\.|%2e){1,2}(?=/|\Z)     # a step up, or on the spot
    | %2f | %5c | \\             # a slash that is none
    | %[01][0-9a-f] | %7f        # a control character
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What one reader of a path resolves and another does not: a proxy's rules would hold for one path and a route answer
another."""


class PathNormalization:
    """Turns a second spelling into the first before any route is looked for: same handler, same permission."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] == "http":
            scope["path"] = first_spelling(scope["path"])
            if scope["method"] == "HEAD":
                scope["method"], send = "GET", _without_body(send)
            if not is_unambiguous(scope["raw_path"]):
                await send_problem(scope, send, NotFound(NOTHING_HERE))
                return
        await self._app(scope, receive, send)


def first_spelling(path: str) -> str:
    """The path that an alias stands for, any other as it is."""
    if not path.startswith("/api/") or path.startswith("/api/v1/"):
        return path
    head = "/".join(path.split("/", 3)[:3])
    return ALIASES.get(head, head) + path[len(head) :]


def is_unambiguous(raw_path: bytes) -> bool:
    """Whether a path, as it was sent, means the same to every reader."""
    return _TAKEN_FOR_ANOTHER.search(raw_path) is None


def _without_body(send: AsgiSend) -> AsgiSend:
    async def send_head(message: AsgiMap) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head
