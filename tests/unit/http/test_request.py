"""Bodies of requests: how they are read, and which are refused."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar import Litestar, post
from litestar.exceptions import InternalServerException
from litestar.params import JSONBody
from litestar.testing import RequestFactory, TestClient

from serval.errors import BadRequest, MalformedBody
from serval.http.request import HttpRequest
from support.small_app import small_app


class Order(msgspec.Struct, forbid_unknown_fields=True):
    name: str


@post("/order")
async def order(data: JSONBody[Order]) -> str:
    return data.name


@post("/upload", request_max_body_size=1000)
async def upload(request: HttpRequest) -> int:
    return len(await request.form())


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    with small_app(order, upload) as client:
        yield client


def problem_of(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    return body


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000 + b"]" * 100_000, b'{"name": "\xff"}', b"nothing"])
def test_a_body_that_is_not_json_is_malformed(client: TestClient[Litestar], body: bytes) -> None:
    problem_of(client.post("/order", content=body), 400, MalformedBody.code)


def multipart(part: bytes) -> dict[str, Any]:
    return {"content": part, "headers": {"Content-Type": "multipart/form-data; boundary=edge"}}


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (b"no boundary at all", "bad_request"),
        (b'--edge\r\nContent-Disposition: form-data; name="f"\r\n\r\n\xff\r\n--edge--\r\n', "malformed_body"),
        (
            (
                b'--edge\r\nContent-Disposition: form-data; name="f"\r\n'
                b"Content-Type: a; charset=no\r\n\r\nx\r\n--edge--\r\n"
            ),
            "malformed_body",
        ),
    ],
    ids=["no boundary", "not UTF-8", "unknown charset"],
)
def test_a_malformed_form_is_a_client_error(client: TestClient[Litestar], part: bytes, code: str) -> None:
    problem_of(client.post("/upload", **multipart(part)), 400, code)


def test_a_body_beyond_the_limit_is_too_large(client: TestClient[Litestar]) -> None:
    problem_of(client.post("/upload", **multipart(b"x" * 2000)), 413, "too_large")


def test_a_valid_body_is_read(client: TestClient[Litestar]) -> None:
    assert client.post("/order", json={"name": "tea"}).text == "tea"


def request_with(*messages: dict[str, Any]) -> HttpRequest:
    """A request whose body arrives in these messages."""
    remaining = iter(messages)

    async def receive() -> Any:
        return next(remaining)

    scope = RequestFactory().post("/").scope
    scope["state"] = {}  # the factory keeps its own body there
    return HttpRequest(scope, receive)


@pytest.mark.anyio
async def test_a_client_that_disconnects_within_its_body_is_a_bad_request() -> None:
    request = request_with({"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"})
    with pytest.raises(BadRequest, match="ended too early"):
        await request.body()


@pytest.mark.anyio
async def test_reading_a_stream_twice_is_a_fault() -> None:
    request = request_with({"type": "http.request", "body": b"{}", "more_body": False})
    assert b"".join([chunk async for chunk in request.stream()]) == b"{}"
    with pytest.raises(InternalServerException):
        _ = [chunk async for chunk in request.stream()]
