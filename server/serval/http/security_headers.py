"""Security headers of every response, and HTTPS only where the settings require it."""

from types import MappingProxyType

from serval.errors import HttpsRequired
from serval.http.asgi import AsgiApp, AsgiMap, AsgiReceive, AsgiSend, send_redirect
from serval.http.problems import send_problem
from serval.http.proxy_headers import HOST
from serval.http.root_path import root_path_of

ONE_YEAR_SECONDS = 31_536_000

DEFAULT_HEADERS = MappingProxyType(
    {
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"no-referrer",
        b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
        b"cache-control": b"no-store",
    }
)
"""Headers of every response whose route does not set them: JSON is not a page, and no cache may store it."""
HSTS_HEADER = (b"strict-transport-security", b"max-age=%d" % ONE_YEAR_SECONDS)

PROBES = frozenset({"/health", "/health/live", "/health/ready"})
"""Called from inside the cluster, without a certificate."""


class SecurityHeaders:
    """Adds the headers to every response and, if set, refuses plain HTTP."""

    def __init__(self, app: AsgiApp, *, https_only: bool) -> None:
        self._app = app
        self._https_only = https_only

    async def __call__(self, scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._https_only and scope["scheme"] != "https" and scope["path"] not in PROBES:
            await _redirect_to_https(scope, with_security_headers(send, scope))
        else:
            await self._app(scope, receive, with_security_headers(send, scope))


def with_security_headers(send: AsgiSend, scope: AsgiMap) -> AsgiSend:
    async def send_with_headers(message: AsgiMap) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            more = [header for header in DEFAULT_HEADERS.items() if header[0] not in present]
            message["headers"] = [*message["headers"], *more, *([HSTS_HEADER] if scope["scheme"] == "https" else [])]
        await send(message)

    return send_with_headers


async def _redirect_to_https(scope: AsgiMap, send: AsgiSend) -> None:
    """Redirect GET and HEAD with 308; refuse the rest with 403, because their content was sent unencrypted."""
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    if scope["method"] not in {"GET", "HEAD"} or not HOST.fullmatch(host):
        error = HttpsRequired(
            "This server requires HTTPS: use `https://`, and replace the key or password that you sent."
        )
        await send_problem(scope, send, error)
        return
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    origin = f"https://{host.removesuffix(':80')}{root_path_of(scope)}"
    await send_redirect(send, origin.encode() + scope["raw_path"] + query)
