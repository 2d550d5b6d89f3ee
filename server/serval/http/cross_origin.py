"""Pages of other origins: which may ask from a browser, and what they may send and read (CORS, by the Fetch standard)."""

from collections.abc import Collection

from serval.auth.rate_headers import LIMIT_HEADERS
from serval.http.asgi import AsgiApp, AsgiMap, AsgiReceive, AsgiSend, Headers, with_headers
from serval.settings.addresses import ANY_ORIGIN

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
SENT = "Authorization, Content-Type, Idempotency-Key, Prefer, X-API-Key, X-CSRF-Token, X-Request-Id"
"""Headers that a page may send, beside the few that every page may."""
_OF_ANSWERS = (
    "Content-Disposition", "Location", "Retry-After", "Server-Timing", "WWW-Authenticate", "X-Cache", "X-Model-Version", "X-Request-Id",
)  # fmt: skip
READ = ", ".join((*_OF_ANSWERS, *LIMIT_HEADERS))
"""Headers of answers that a page may read, beside the few that every page may."""
REMEMBERED_SECONDS = 600


class CrossOrigin:
    """Tells browsers that pages of these origins may ask, and says nothing to any other.

    Never with credentials: the cookie of a login is for pages of this server alone, and a key is a header that a page
    sends itself.
    """

    def __init__(self, app: AsgiApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] != "http" or not self._origins:
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"])
        granted = self._granted(given.get(b"origin"))
        if b"access-control-allow-origin" in dict(granted) and _is_preflight(scope, given):
            await send({"type": "http.response.start", "status": 204, "headers": [*granted, *_allowed()]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, with_headers(send, granted))

    def _granted(self, origin: bytes | None) -> Headers:
        """What every answer says to a page of an origin; None: to whoever is no page of another origin."""
        if ANY_ORIGIN in self._origins:
            return [(b"access-control-allow-origin", ANY_ORIGIN.encode()), *_exposed()]
        vary = [(b"vary", b"Origin")]  # of every answer: a cache must not give one origin's to another
        if origin is None or origin.decode("latin-1") not in self._origins:
            return vary
        return [(b"access-control-allow-origin", origin), *_exposed(), *vary]


def _is_preflight(scope: AsgiMap, headers: dict[bytes, bytes]) -> bool:
    return scope["method"] == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers


def _allowed() -> Headers:
    return [
        (b"access-control-allow-methods", METHODS.encode()),
        (b"access-control-allow-headers", SENT.encode()),
        (b"access-control-max-age", str(REMEMBERED_SECONDS).encode()),
    ]


def _exposed() -> Headers:
    return [(b"access-control-expose-headers", READ.encode())]
