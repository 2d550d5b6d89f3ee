"""The pages about the API, without internet."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from litestar import Litestar, get, post
from litestar.params import FromPath
from litestar.testing import TestClient

from serval import __version__
from serval.auth.permissions import rule_of
from serval.errors import NotFound, Unavailable, error_classes
from serval.http.asgi import AsgiApp
from serval.http.docs import ASSETS, openapi_config
from serval.http.openapi import problem_responses
from serval.http.problems import problem_handlers
from serval.http.proxy_headers import ProxyHeaders
from serval.settings.addresses import Networks

PAGES = ["/docs", "/redoc", "/docs/errors"]
SERVED_PATHS = ('"/things"', "")
"""The path of the only route in the OpenAPI document, which has no prefix: its server has."""


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
    loaded = re.findall(r'(?:<link[^>]* href|src)="([^"]+)"', text)
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
    assert '"openapi.json"' in client.get(f"/docs/assets/{script}").text


def test_every_error_has_the_anchor_of_its_problem_type(client: TestClient[Litestar]) -> None:
    text = client.get("/docs/errors").text
    assert [code for code in (error.code for error in error_classes()) if f'id="{code}"' not in text] == []


@pytest.mark.parametrize(
    "path", ["/nowhere", "/docs/nowhere", "/docs/assets/nowhere.js", "/docs/assets/%2e%2e/docs.py"]
)
def test_an_unknown_path_beside_the_pages_is_a_problem(client: TestClient[Litestar], path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


def test_every_page_is_public(client: TestClient[Litestar]) -> None:
    paths = {
        route.path_format
        for route in client.app.routes
        if route.path == "/" or route.path.startswith(("/docs", "/redoc", "/o"))
    }
    assert paths
    assert all(rule_of("GET", path).is_public for path in paths)


def test_every_error_says_what_to_do_in_the_words_of_the_documentation(client: TestClient[Litestar]) -> None:
    text = client.get("/docs/errors").text
    sections = dict(re.findall(r'<section><h2 id="(\w+)">(.*?)</section>', text))
    assert list(sections) == [error.code for error in error_classes()]
    for code, section in sections.items():
        words = re.sub("<[^>]+>", "", section)
        assert len(words.split()) > len(f"{code} {error_titles()[code]}".split()) + 8, code
        assert not re.search(r"`|\]\(|\*\*|\n- ", section), code
    assert "<code>Retry-After</code>" in sections["rate_limited"]
    assert "<li>a model of another library" in sections["not_a_model"]
    assert text.count('<a href="/docs">API documentation</a>') == 1
    assert "<h1>Errors</h1>" in text


def error_titles() -> dict[str, str]:
    return {error.code: error.title for error in error_classes()}


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        "application/json;q=0.5, text/html",
    ],
)
def test_the_root_leads_people_to_the_documentation(client: TestClient[Litestar], accept: str) -> None:
    response = client.get("/", headers={"Accept": accept}, follow_redirects=False)
    assert (response.status_code, response.headers["location"], response.headers["vary"]) == (302, "/docs", "Accept")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/*", "text/html;q=0.5, application/json"])
def test_the_root_tells_programs_where_things_are(client: TestClient[Litestar], accept: str) -> None:
    response = client.get("/", headers={"Accept": accept})
    assert response.json() == {
        "name": "serval",
        "version": __version__,
        "docs": "/docs",
        "openapi": "/openapi.json",
        "health": "/health",
        "errors": "/docs/errors",
    }
    assert response.headers["vary"] == "Accept"
    for page in ("docs", "openapi", "errors"):
        assert client.get(response.json()[page]).status_code == 200


@pytest.mark.parametrize("page", [*PAGES, "/", "/openapi.json", "/nowhere"])
def test_every_address_of_a_page_has_the_prefix_of_the_proxy(page: str) -> None:
    app = Litestar(
        [things], exception_handlers=problem_handlers(), openapi_config=openapi_config(), logging_config=None
    )
    proxied = ProxyHeaders(cast(AsgiApp, app), Networks([]), "/serval")
    with TestClient(cast(Any, proxied)) as client:
        response = client.get(page)
        assert re.findall(r'"(/(?!serval[/"])[^"]*)"', response.text.replace(*SERVED_PATHS)) == []
        redirect = client.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
        assert redirect.headers["location"] == "/serval/docs"


def test_the_vendored_scripts_have_the_published_checksums() -> None:
    sums = [line.split() for line in (ASSETS / "SHA256SUMS").read_text().splitlines()]
    assert [name for _, name in sums] == ["swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js"]
    assert all(hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == digest for digest, name in sums)
