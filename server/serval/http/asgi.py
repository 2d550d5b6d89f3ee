"""ASGI, as what wraps the whole app sees it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

AsgiMap = MutableMapping[str, Any]
"""A scope or a message."""
AsgiReceive = Callable[[], Awaitable[AsgiMap]]
AsgiSend = Callable[[AsgiMap], Awaitable[None]]
AsgiApp = Callable[[AsgiMap, AsgiReceive, AsgiSend], Awaitable[None]]
"""`(scope, receive, send)`."""
