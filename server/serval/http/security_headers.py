"""What keeps browsers and networks from misusing answers: headers of each one, and HTTPS alone where that is wished."""

from types import MappingProxyType

from serval.errors import HttpsRequired
from serval.http.asgi import AsgiApp, AsgiMap, AsgiReceive, AsgiSend
from serval.http.problems import send_problem
from serval.http.proxy_headers import HOST

ONE_YEAR_SECONDS = 31_536_000

EVERYWHERE = MappingProxyType(
    {
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"no-referrer",
        b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
        b"cache-control": b"no-store",
    }
)
"""Headers of every answer whose route says nothing else: what is JSON is no page, and what one caller may see is kept
by nobody."""
OVER_HTTPS = (b"strict-transport-security", b"max-age=%d" % ONE_YEAR_SECONDS)

PROBES = frozenset({"/health", "/health/live", "/health/ready"})
"""Asked from within, where there is no certificate."""


class SecurityHeaders:
    """Wraps the app: with the headers of every answer and, where that is wished, without plain HTTP."""

    def __init__(self, app: AsgiApp, *, https_only: bool) -> None:
        self._app = app
        self._https_only = https_only

    async def __call__(self, scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._https_only and scope["scheme"] != "https" and scope["path"] not in PROBES:
            await _lead_to_https(scope, guarded(send, scope))
        else:
            await self._app(scope, receive, guarded(send, scope))


def guarded(send: AsgiSend, scope: AsgiMap) -> AsgiSend:
    async def send_guarded(message: AsgiMap) -> None:
        if message["type"] == "http.response.start":
            said = {name.lower() for name, _ in message["headers"]}
            more = [header for header in EVERYWHERE.items() if header[0] not in said]
            message["headers"] = [*message["headers"], *more, *([OVER_HTTPS] if scope["scheme"] == "https" else [])]
        await send(message)

    return send_guarded


async def _lead_to_https(scope: AsgiMap, send: AsgiSend) -> None:
    """Answer 308 to what a browser may simply ask again, 403 to the rest: whatever it was has gone over the network in
    the clear."""
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    if scope["method"] not in {"GET", "HEAD"} or not HOST.fullmatch(host):
        error = HttpsRequired(
            "This server is for HTTPS alone: ask it with `https://`, and replace the key or password that you have sent."
        )
        await send_problem(scope, send, error)
        return
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    location = b"https://" + host.removesuffix(":80").encode() + scope["raw_path"] + query
    await send(
        {"type": "http.response.start", "status": 308, "headers": [(b"location", location), (b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})
