"""Cross-origin requests: which origins are allowed, and what their pages may read."""

import pytest

from serval.http.asgi import AsgiMap, AsgiReceive, AsgiSend
from serval.http.cross_origin import CrossOrigin

pytestmark = pytest.mark.anyio

Headers = dict[bytes, bytes]


async def app(scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"asked"})


async def response_of(origins: list[str], method: str, headers: Headers) -> tuple[int, Headers, bytes]:
    """(status, headers, body) of an app that allows these origins."""
    sent: list[AsgiMap] = []

    async def receive() -> AsgiMap:
        raise AssertionError("nobody reads a body here")

    async def send(message: AsgiMap) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "headers": list(headers.items())}
    await CrossOrigin(app, origins)(scope, receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


@pytest.mark.parametrize("origin", [b"https://app.example.com", b"null"])
async def test_pages_of_every_origin_are_allowed_by_a_wildcard(origin: bytes) -> None:
    status, headers, body = await response_of(["*"], "POST", {b"origin": origin})
    assert (status, body, headers[b"access-control-allow-origin"]) == (200, b"asked", b"*")
    assert b"access-control-allow-credentials" not in headers
    status, headers, body = await response_of(
        ["*"], "OPTIONS", {b"origin": origin, b"access-control-request-method": b"POST"}
    )
    assert (status, body, headers[b"access-control-allow-origin"]) == (204, b"", b"*")
    assert b"access-control-allow-credentials" not in headers


async def test_options_requests_without_a_preflight_reach_the_app() -> None:
    page = {b"origin": b"https://app.example.com"}
    for headers in (page, {b"access-control-request-method": b"POST"}, {}):
        assert (await response_of(["https://app.example.com"], "OPTIONS", headers))[::2] == (200, b"asked")


async def test_every_response_varies_by_origin() -> None:
    for headers in ({b"origin": b"https://app.example.com"}, {b"origin": b"https://evil.example"}, {}):
        assert (await response_of(["https://app.example.com"], "GET", headers))[1][b"vary"] == b"Origin"


async def test_without_allowed_origins_no_header_is_added() -> None:
    assert (await response_of([], "GET", {b"origin": b"https://app.example.com"}))[1] == {
        b"content-type": b"text/plain"
    }
