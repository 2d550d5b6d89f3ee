"""Types of ASGI, as middleware around the whole app uses them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

AsgiMap = MutableMapping[str, Any]
"""A scope or a message."""
AsgiReceive = Callable[[], Awaitable[AsgiMap]]
AsgiSend = Callable[[AsgiMap], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
"""Names in lower case, and values."""
AsgiApp = Callable[[AsgiMap, AsgiReceive, AsgiSend], Awaitable[None]]
"""`(scope, receive, send)`."""


def with_headers(send: AsgiSend, headers: Headers) -> AsgiSend:
    """Return a `send` that adds headers to the response."""

    async def send_with_headers(message: AsgiMap) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *headers]
        await send(message)

    return send_with_headers
