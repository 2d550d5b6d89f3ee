"""The pages about the API, without internet."""

import hashlib
import re
from collections.abc import Iterator

import pytest
from litestar import Litestar, get, post
from litestar.params import FromPath
from litestar.testing import TestClient

from serval.auth.permissions import rule_of
from serval.errors import NotFound, Unavailable, error_classes
from serval.http.docs import ASSETS, openapi_config
from serval.http.openapi import problem_responses
from serval.http.problems import problem_handlers

PAGES = ["/docs", "/redoc", "/docs/errors"]


@get("/things", responses=problem_responses(NotFound, Unavailable))
async def things() -> list[str]:
    return []


@post("/things", responses=problem_responses(Unavailable))
async def make_thing() -> dict[str, int]:
    return {}


@get("/things/{thing:str}", responses=problem_responses(NotFound))
async def thing(thing: FromPath[str]) -> str:
    return thing


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    app = Litestar(
        [things], exception_handlers=problem_handlers(), openapi_config=openapi_config(), logging_config=None
    )
    with TestClient(app) as client:
        yield client


def test_the_openapi_document_describes_the_routes_and_their_problems(client: TestClient[Litestar]) -> None:
    document = client.get("/openapi.json").json()
    assert list(document["paths"]) == ["/things"]
    responses = document["paths"]["/things"]["get"]["responses"]
    assert set(responses) == {"200", "404", "503"}
    assert list(responses["404"]["content"]) == ["application/problem+json"]


def test_the_order_of_routes_does_not_change_the_document() -> None:
    documents = []
    for routes in ([things, make_thing, thing], [thing, make_thing, things]):
        app = Litestar(routes, openapi_config=openapi_config(), logging_config=None)
        with TestClient(app) as client:
            documents.append(client.get("/openapi.json"))
    first, second = documents
    assert first.content == second.content
    paths = first.json()["paths"]
    assert {path: list(item) for path, item in paths.items()} == {
        "/things": ["post", "get"],
        "/things/{thing}": ["get"],
    }
    assert list(paths) == ["/things", "/things/{thing}"]


def test_the_viewers_keep_their_own_style(client: TestClient[Litestar]) -> None:
    linked = {page: "page.css" in client.get(page).text for page in PAGES}
    assert linked == {"/docs": False, "/redoc": False, "/docs/errors": True}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_only_what_serval_serves(client: TestClient[Litestar], page: str) -> None:
    text = client.get(page).text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert loaded
    for address in loaded:
        assert address == "data:," or (address.startswith("/docs/assets/") and client.get(address).status_code == 200)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_allows_only_scripts_that_serval_serves(client: TestClient[Litestar], page: str) -> None:
    response = client.get(page)
    assert "script-src 'self';" in response.headers["content-security-policy"]
    assert not re.search(r"<script(?! src=)", response.text)
    assert not re.search(r"\son\w+=", response.text)


@pytest.mark.parametrize("script", ["start-swagger.js", "start-redoc.js"])
def test_both_viewers_load_the_openapi_document(client: TestClient[Litestar], script: str) -> None:
    assert '"/openapi.json"' in client.get(f"/docs/assets/{script}").text


def test_every_error_has_the_anchor_of_its_problem_type(client: TestClient[Litestar]) -> None:
    text = client.get("/docs/errors").text
    assert [code for code in (error.code for error in error_classes()) if f'id="{code}"' not in text] == []


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/docs/nowhere", "/docs/assets/nowhere.js", "/docs/assets/%2e%2e/docs.py"]
)
def test_an_unknown_path_beside_the_pages_is_a_problem(client: TestClient[Litestar], path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


def test_every_page_is_public(client: TestClient[Litestar]) -> None:
    paths = {route.path_format for route in client.app.routes if route.path.startswith(("/docs", "/redoc", "/o"))}
    assert paths
    assert all(rule_of("GET", path).is_public for path in paths)


def test_the_vendored_scripts_have_the_published_checksums() -> None:
    sums = [line.split() for line in (ASSETS / "SHA256SUMS").read_text().splitlines()]
    assert [name for _, name in sums] == ["swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js"]
    assert all(hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == digest for digest, name in sums)
