"""Second spellings of requests: paths of older clients, and HEAD for GET."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

AsgiMap = MutableMapping[str, Any]
AsgiReceive = Callable[[], Awaitable[AsgiMap]]
AsgiSend = Callable[[AsgiMap], Awaitable[None]]
AsgiApp = Callable[[AsgiMap, AsgiReceive, AsgiSend], Awaitable[None]]

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


class Spellings:
    """Turns a second spelling into the first before any route is looked for: same handler, same permission."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] == "http":
            scope["path"] = first_spelling(scope["path"])
            if scope["method"] == "HEAD":
                scope["method"], send = "GET", _without_body(send)
        await self._app(scope, receive, send)


def first_spelling(path: str) -> str:
    """The path that an alias stands for, any other as it is."""
    if not path.startswith("/api/") or path.startswith("/api/v1/"):
        return path
    head = "/".join(path.split("/", 3)[:3])
    return ALIASES.get(head, head) + path[len(head) :]


def _without_body(send: AsgiSend) -> AsgiSend:
    async def send_head(message: AsgiMap) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head
