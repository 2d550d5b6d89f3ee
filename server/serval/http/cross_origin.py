"""Cross-origin requests of web pages: who may send them, and which headers (CORS, by the Fetch standard)."""

from collections.abc import Collection

from serval.auth.rate_headers import LIMIT_HEADERS
from serval.http.asgi import AsgiApp, AsgiMap, AsgiReceive, AsgiSend, Headers, with_headers
from serval.settings.addresses import ANY_ORIGIN

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, Prefer, X-API-Key, X-CSRF-Token, X-Request-Id"
"""Headers that a page may send, beside those that are always allowed."""
_RESPONSE_HEADERS = (
    "Content-Disposition",
    "Location",
    "Retry-After",
    "Server-Timing",
    "WWW-Authenticate",
    "X-Cache",
    "X-Model-Version",
    "X-Request-Id",
)
EXPOSED_HEADERS = ", ".join((*_RESPONSE_HEADERS, *LIMIT_HEADERS))
"""Response headers that a page may read, beside those that are always readable."""
MAX_AGE_SECONDS = 600


class CrossOrigin:
    """Allows pages of these origins, and adds nothing for any other.

    Credentials are never allowed: login cookies are for pages of this server, and a key is a header that a page sends.
    """

    def __init__(self, app: AsgiApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] != "http" or not self._origins:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        grants = self._grants(headers.get(b"origin"))
        if b"access-control-allow-origin" in dict(grants) and _is_preflight(scope, headers):
            await send({"type": "http.response.start", "status": 204, "headers": [*grants, *_preflight_headers()]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, with_headers(send, grants))

    def _grants(self, origin: bytes | None) -> Headers:
        """Return the headers of every response to a page of an origin; None: the request has no `Origin`."""
        if ANY_ORIGIN in self._origins:
            return [(b"access-control-allow-origin", ANY_ORIGIN.encode()), *_exposed()]
        vary = [(b"vary", b"Origin")]  # always: a cache must not share responses between origins
        if origin is None or origin.decode("latin-1") not in self._origins:
            return vary
        return [(b"access-control-allow-origin", origin), *_exposed(), *vary]


def _is_preflight(scope: AsgiMap, headers: dict[bytes, bytes]) -> bool:
    return scope["method"] == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers


def _preflight_headers() -> Headers:
    return [
        (b"access-control-allow-methods", METHODS.encode()),
        (b"access-control-allow-headers", REQUEST_HEADERS.encode()),
        (b"access-control-max-age", str(MAX_AGE_SECONDS).encode()),
    ]


def _exposed() -> Headers:
    return [(b"access-control-expose-headers", EXPOSED_HEADERS.encode())]
