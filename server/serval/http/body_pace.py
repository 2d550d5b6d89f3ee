"""How long clients may take for their bodies where no front is before the app; `front/pace.rs` has the same rules."""

import asyncio
import time

from serval.errors import RequestTimeout
from serval.http.asgi import AsgiApp, AsgiMap, AsgiReceive, AsgiSend
from serval.settings.settings import Settings


class BodyPace:
    """Ends requests whose body comes too slowly: `receive` raises RequestTimeout."""

    def __init__(self, app: AsgiApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
        is_request = scope["type"] == "http"
        await self._app(scope, _Paced(receive, self._settings) if is_request else receive, send)


class _Paced:
    """`receive` of one request."""

    def __init__(self, receive: AsgiReceive, settings: Settings) -> None:
        self._receive = receive
        self._settings = settings
        self._received_bytes = 0
        self._waited_seconds = 0.0
        self._is_whole = False

    async def __call__(self) -> AsgiMap:
        if self._is_whole:
            return await self._receive()  # it waits for the client to hang up
        patience = self._settings.body_timeout_seconds
        allowance = self._allowance_seconds()
        started = time.monotonic()
        try:
            async with asyncio.timeout(min(patience, max(allowance - self._waited_seconds, 0.0))):
                message = await self._receive()
        except TimeoutError:
            waited = self._waited_seconds + time.monotonic() - started
            is_large = self._received_bytes > self._settings.small_body_bytes
            if is_large and waited >= allowance:
                raise RequestTimeout.too_slow(self._settings.min_upload_bytes_per_second) from None
            raise RequestTimeout.incomplete(patience) from None
        self._waited_seconds += time.monotonic() - started
        self._received_bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        return message

    def _allowance_seconds(self) -> float:
        """How long the client may be waited for in all, after what it has sent."""
        patience = self._settings.body_timeout_seconds
        if self._received_bytes <= self._settings.small_body_bytes:
            return patience
        return max(patience, self._received_bytes / self._settings.min_upload_bytes_per_second)
