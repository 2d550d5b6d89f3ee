"""Parameters of the query: which a route takes, and how others are refused."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from litestar import Litestar, get, post
from litestar.params import FromPath, QueryParameter
from litestar.testing import TestClient

from serval.http.query_parameters import check_query_parameters
from serval.http.request import HttpRequest
from support.small_app import small_app

Version = Annotated[int | None, QueryParameter(name="version", ge=1, required=False)]
Outputs = Annotated[Literal["labels", "probabilities"] | None, QueryParameter(name="outputs", required=False)]
Tags = Annotated[list[str] | None, QueryParameter(name="tag", required=False)]


@get("/things/{thing:str}")
async def show(
    thing: FromPath[str], number: Version = None, kind: Outputs = None, tags: Tags = None
) -> dict[str, object]:
    return {"thing": thing, "version": number, "outputs": kind, "tags": tags}


@post("/things")
async def make(request: HttpRequest) -> None:
    await request.body()
    raise AssertionError("the body is not read")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    with small_app(show, make, guards=[check_query_parameters]) as client:
        yield client


def refused(response: Any) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (400, "bad_request")
    return body


def test_known_parameters_are_taken_under_the_names_of_the_query(client: TestClient[Litestar]) -> None:
    answer = client.get("/things/a?version=2&outputs=labels&tag=x&tag=y")
    assert answer.json() == {"thing": "a", "version": 2, "outputs": "labels", "tags": ["x", "y"]}
    assert client.get("/things/a?&").status_code == 200


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        (
            "verzion=7",
            (
                "`verzion`: unknown query parameter (did you mean `version`?); this route takes `outputs`, `tag` and"
                " `version`."
            ),
        ),
        ("colour=red", "`colour`: unknown query parameter; this route takes `outputs`, `tag` and `version`."),
        ("number=7", "`number`: unknown query parameter; this route takes `outputs`, `tag` and `version`."),
        ("thing=b", "`thing`: unknown query parameter; this route takes `outputs`, `tag` and `version`."),
        ("version=1&version=1", "`version`: given more than once; send it once."),
    ],
)
def test_other_parameters_are_refused_by_name(client: TestClient[Litestar], query: str, detail: str) -> None:
    assert refused(client.get(f"/things/a?{query}"))["detail"] == detail


@pytest.mark.parametrize("query", ["Version=1", "=1", "version%00=1", "%ff=1", "x", "version;outputs=1"])
def test_a_name_is_taken_to_the_letter(client: TestClient[Litestar], query: str) -> None:
    assert "unknown query parameter" in refused(client.get(f"/things/a?{query}"))["detail"]


def test_each_wrong_parameter_is_listed(client: TestClient[Litestar]) -> None:
    body = refused(client.get(f"/things/a?one=1&two=2&{'x' * 100}=3&version=1&version=2"))
    assert [error["path"] for error in body["errors"]] == ["one", "two", "x" * 39 + "…", "version"]
    many = "&".join(f"p{number}" for number in range(100))
    assert len(refused(client.get(f"/things/a?{many}"))["errors"]) == 10


def test_a_route_without_parameters_takes_none_and_reads_no_body(client: TestClient[Litestar]) -> None:
    body = refused(client.post("/things?force=true", content=b"{}"))
    assert body["detail"] == "`force`: unknown query parameter; this route takes none."


@pytest.mark.parametrize(
    ("query", "path", "message"),
    [
        ("outputs=everything", "outputs", "Expected one of `labels`, `probabilities`, got 'everything'"),
        ("version=0", "version", "Expected `int` >= 1"),
    ],
)
def test_an_invalid_value_is_named_as_in_the_query(
    client: TestClient[Litestar], query: str, path: str, message: str
) -> None:
    body = refused(client.get(f"/things/a?{query}"))
    assert body["errors"] == [{"path": path, "message": message}]
