"""Errors on the wire."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import pytest
from litestar import Litestar, get, post
from litestar.exceptions import HTTPException, MethodNotAllowedException
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.testing import TestClient

from serval.errors import (
    InvalidFeatures,
    NotAuthenticated,
    NotVerified,
    RateLimited,
    Unavailable,
    error_classes,
)
from serval.http.problems import problem_handlers, request_id_of


class Item(msgspec.Struct, forbid_unknown_fields=True):
    size: Annotated[int, msgspec.Meta(ge=1)]


class Order(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    items: list[Item]


RAISED = {error.code: error for error in error_classes()} | {
    "fault": RuntimeError,
    "teapot": HTTPException,
    "key": KeyError,
}


@get("/raise/{code:str}")
async def fail(code: FromPath[str]) -> None:
    match code:
        case "teapot":
            raise HTTPException("short and stout", status_code=418)
        case "other_methods":
            raise MethodNotAllowedException(headers={"allow": "POST, OPTIONS, GET"})
        case "invalid_features":
            raise InvalidFeatures("input.x: no", errors=[("input.x", "no")])
        case "not_verified":
            raise NotVerified("It answers differently.", extra={"report": {"rows": 3}, "status": 200})
        case "slow_down":
            raise RateLimited("100 requests a minute are over.", retry_after_seconds=30)
    raise RAISED[code]("a secret of the server" if code == "fault" else f"{code} it is.")


@get("/counted/{count:int}")
async def counted(count: FromPath[int], limit: FromQuery[int]) -> str:
    return str(count + limit)


@post("/order")
async def order(data: JSONBody[Order]) -> str:
    return data.name


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    app = Litestar(
        [fail, counted, order], exception_handlers=problem_handlers(), openapi_config=None, logging_config=None
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def problem_of(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["type"] == f"/docs/errors#{code}"
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(body)
    return body


@pytest.mark.parametrize(
    "error", [error for error in error_classes() if error.status != 500], ids=lambda error: error.code
)
def test_every_error_is_a_problem_with_its_code_and_status(client: TestClient[Litestar], error: Any) -> None:
    assert problem_of(client.get(f"/raise/{error.code}"), error.status, error.code)["title"] == error.title


def test_invalid_parts_of_a_request_are_listed_with_their_paths(client: TestClient[Litestar]) -> None:
    body = problem_of(client.get("/raise/invalid_features"), 400, "invalid_features")
    assert body["errors"] == [{"path": "input.x", "message": "no"}]


def test_a_problem_without_invalid_parts_has_no_list(client: TestClient[Litestar]) -> None:
    assert "errors" not in client.get("/raise/not_found").json()


def test_extra_members_of_an_error_never_replace_standard_ones(client: TestClient[Litestar]) -> None:
    assert client.get("/raise/not_verified").json()["report"] == {"rows": 3}
    assert client.get("/raise/not_verified").json()["status"] == 422


def test_a_fault_shows_the_request_id_and_hides_its_cause(client: TestClient[Litestar]) -> None:
    response = client.get("/raise/fault", headers={"X-Request-Id": "mine-1"})
    body = problem_of(response, 500, "internal_error")
    assert "mine-1" in body["detail"]
    assert "secret" not in response.text


def test_a_key_error_of_the_server_is_a_fault(client: TestClient[Litestar]) -> None:
    problem_of(client.get("/raise/key"), 500, "internal_error")


def test_retry_after_is_sent_only_where_a_retry_helps(client: TestClient[Litestar]) -> None:
    assert client.get("/raise/slow_down").headers["retry-after"] == "30"
    assert client.get(f"/raise/{Unavailable.code}").headers["retry-after"] == "1"
    assert "retry-after" not in client.get("/raise/not_found").headers


def test_401_names_the_authentication_scheme(client: TestClient[Litestar]) -> None:
    assert client.get(f"/raise/{NotAuthenticated.code}").headers["www-authenticate"].startswith("Bearer")


def test_an_unknown_path_is_not_found(client: TestClient[Litestar]) -> None:
    problem_of(client.get("/nowhere"), 404, "not_found")


def test_405_names_the_allowed_methods(client: TestClient[Litestar]) -> None:
    response = client.delete("/order")
    problem_of(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == {"POST", "OPTIONS"}


def test_the_allowed_methods_are_sorted(client: TestClient[Litestar]) -> None:
    response = client.get("/raise/other_methods")
    assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert response.json()["detail"] == "This path allows GET, HEAD, OPTIONS, POST."


def test_a_client_error_without_a_class_is_a_bad_request(client: TestClient[Litestar]) -> None:
    problem_of(client.get("/raise/teapot"), 400, "bad_request")


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        ({"name": 1, "items": []}, "name", "Expected `str`, got `int`"),
        ({"name": "a", "items": [{"size": 1}, {"size": 0}]}, "items[1].size", "Expected `int` >= 1"),
        ({"name": "a", "items": [], "colour": 1}, "body", "Object contains unknown field `colour`"),
    ],
)
def test_a_body_that_fails_its_schema_names_the_path(
    client: TestClient[Litestar], body: object, path: str, message: str
) -> None:
    answer = problem_of(client.post("/order", json=body), 400, "bad_request")
    assert answer["errors"] == [{"path": path, "message": message}]
    assert answer["detail"] == f"{path}: {message}"


def test_a_missing_body_is_reported(client: TestClient[Litestar]) -> None:
    assert problem_of(client.post("/order"), 400, "bad_request")["detail"] == "body: absent"


@pytest.mark.parametrize("query", ["", "?limit=many"])
def test_an_invalid_parameter_is_named(client: TestClient[Litestar], query: str) -> None:
    assert "limit" in problem_of(client.get(f"/counted/1{query}"), 400, "bad_request")["detail"]


@pytest.mark.parametrize("offered", ["a", "A-z_0.9", "x" * 128])
def test_a_well_formed_request_id_is_kept(client: TestClient[Litestar], offered: str) -> None:
    assert client.get("/nowhere", headers={"X-Request-Id": offered}).json()["request_id"] == offered


@pytest.mark.parametrize("offered", ["", "a b", "x" * 129, 'a"b', "a/b"])
def test_a_malformed_request_id_is_replaced(client: TestClient[Litestar], offered: str) -> None:
    request_id = client.get("/nowhere", headers={"X-Request-Id": offered}).json()["request_id"]
    assert request_id.startswith("req_")


def test_a_request_keeps_its_id() -> None:
    scope: Any = {"state": {}, "headers": []}
    assert request_id_of(scope) == request_id_of(scope)
    assert request_id_of(scope) != request_id_of({**scope, "state": {}})


def test_a_problem_is_plain_json(client: TestClient[Litestar]) -> None:
    assert json.loads(client.get("/nowhere").content)
