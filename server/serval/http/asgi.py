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


async def send_redirect(send: AsgiSend, location: bytes) -> None:
    """Send a permanent redirect that keeps the method (308, RFC 9110, 15.4.9)."""
    headers = [(b"location", location), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 308, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def with_headers(send: AsgiSend, headers: Headers) -> AsgiSend:
    """Return a `send` that adds headers to the response."""

    async def send_with_headers(message: AsgiMap) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *headers]
        await send(message)

    return send_with_headers
