"""Pages of every origin, where that is wished: predictions from anywhere, and logins from nowhere."""

import asyncio

import pytest

from serval.http.asgi import AsgiMap, AsgiReceive, AsgiSend
from serval.http.cross_origin import CrossOrigin

Headers = dict[bytes, bytes]


async def answering(scope: AsgiMap, receive: AsgiReceive, send: AsgiSend) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"asked"})


def asked(origins: list[str], method: str, headers: Headers) -> tuple[int, Headers, bytes]:
    """(status, headers, body) of an app behind the rules for these origins."""
    sent: list[AsgiMap] = []

    async def receive() -> AsgiMap:
        raise AssertionError("nobody reads a body here")

    async def send(message: AsgiMap) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "headers": list(headers.items())}
    asyncio.run(CrossOrigin(answering, origins)(scope, receive, send))
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


@pytest.mark.parametrize("origin", [b"https://app.example.com", b"null"])
def test_every_page_may_ask_where_every_origin_is_named(origin: bytes) -> None:
    status, headers, body = asked(["*"], "POST", {b"origin": origin})
    assert (status, body, headers[b"access-control-allow-origin"]) == (200, b"asked", b"*")
    assert b"access-control-allow-credentials" not in headers
    status, headers, body = asked(["*"], "OPTIONS", {b"origin": origin, b"access-control-request-method": b"POST"})
    assert (status, body, headers[b"access-control-allow-origin"]) == (204, b"", b"*")
    assert b"access-control-allow-credentials" not in headers


def test_options_that_are_no_preflight_are_the_apps_to_answer() -> None:
    page = {b"origin": b"https://app.example.com"}
    for headers in (page, {b"access-control-request-method": b"POST"}, {}):
        assert asked(["https://app.example.com"], "OPTIONS", headers)[::2] == (200, b"asked")


def test_a_cache_is_told_that_answers_differ_by_origin_also_by_those_that_grant_nothing() -> None:
    for headers in ({b"origin": b"https://app.example.com"}, {b"origin": b"https://evil.example"}, {}):
        assert asked(["https://app.example.com"], "GET", headers)[1][b"vary"] == b"Origin"


def test_where_no_origin_is_named_nothing_is_said() -> None:
    assert asked([], "GET", {b"origin": b"https://app.example.com"})[1] == {b"content-type": b"text/plain"}
