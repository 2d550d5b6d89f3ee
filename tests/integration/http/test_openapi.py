"""The contract over HTTP: what `/openapi.json` promises, and requests that nobody means well."""

import asyncio
import io
import json
import pickle
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sqlalchemy import update

from serval.auth.permissions import rule_of
from serval.db.engine import Database, database_url, open_engine
from serval.http.path_normalization import ALIASES, canonical_path
from serval.users.tables import ApiKey
from support import plain_http
from support.http_client import Client, serving

IRIS = load_iris(as_frame=True)
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
ROW = b'{"input": [5.1, 3.5, 1.4, 0.2]}'
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
TAGS = ["Models", "Predictions", "Versions", "Keys", "Users", "Logins", "Audit", "Observability"]
OPERATION_IDS = {
    "POST /predict": "predict_short",
    "POST /api/v1/predict/{model}": "predict",
    "POST /api/v1/predict/{owner}/{model}": "predict_shared",
    "GET /api/v1/predictions": "list_predictions",
    "GET /api/v1/predictions/{prediction_id}": "get_prediction",
    "GET /models": "list_models_short",
    "GET /api/v1/models": "list_models",
    "POST /api/v1/models/upload": "upload_model",
    "POST /api/v1/storage/validate": "validate_model",
    "GET /api/v1/models/{model}": "get_model",
    "PATCH /api/v1/models/{model}": "update_model",
    "DELETE /api/v1/models/{model}": "delete_model",
    "POST /api/v1/models/{model}/restore": "restore_model",
    "POST /api/v1/models/{model}/rollback": "rollback_model",
    "POST /api/v1/models/{model}/test": "test_model",
    "GET /api/v1/models/{model}/shares": "list_shares",
    "PUT /api/v1/models/{model}/shares": "share_model",
    "DELETE /api/v1/models/{model}/shares/{share_id}": "unshare_model",
    "GET /api/v1/models/{model}/versions": "list_versions",
    "GET /api/v1/models/{model}/versions/{number}": "get_version",
    "PATCH /api/v1/models/{model}/versions/{number}": "update_version",
    "GET /api/v1/models/{model}/versions/{number}/report": "get_report",
    "GET /api/v1/models/{model}/versions/{number}/golden": "get_golden_requests",
    "GET /api/v1/models/{model}/versions/{number}/download": "download_onnx",
    "POST /api/v1/models/{model}/versions/{number}/promote": "promote_version",
    "POST /api/v1/models/{model}/versions/{number}/deprecate": "deprecate_version",
    "POST /api/v1/models/{model}/versions/{number}/archive": "archive_version",
    "GET /api/v1/api-keys": "list_keys",
    "POST /api/v1/api-keys": "create_key",
    "GET /api/v1/api-keys/{key_id}": "get_key",
    "DELETE /api/v1/api-keys/{key_id}": "revoke_key",
    "POST /api/v1/api-keys/{key_id}/rotate": "rotate_key",
    "POST /api/v1/auth/register": "register",
    "POST /api/v1/auth/login": "login",
    "POST /api/v1/auth/refresh": "refresh_login",
    "POST /api/v1/auth/logout": "logout",
    "GET /api/v1/auth/me": "get_me",
    "POST /api/v1/auth/signing-keys": "rotate_signing_key",
    "GET /api/v1/users/me": "get_current_user",
    "PATCH /api/v1/users/me": "update_current_user",
    "POST /api/v1/users/me/password": "change_password",
    "GET /api/v1/users": "list_users",
    "POST /api/v1/users": "create_user",
    "GET /api/v1/users/{user}": "get_user",
    "PATCH /api/v1/users/{user}": "update_user",
    "POST /api/v1/users/{user}/disable": "disable_user",
    "POST /api/v1/users/{user}/enable": "enable_user",
    "POST /api/v1/users/{user}/password": "reset_password",
    "GET /api/v1/audit": "list_audit_entries",
    "GET /health": "get_health",
    "GET /health/live": "get_liveness",
    "GET /health/ready": "get_readiness",
    "GET /info": "get_info",
    "GET /metrics": "get_metrics",
}
PUBLIC = {"/health", "/health/live", "/health/ready", "/info"}
BOUNDARY = "multipart/form-data; boundary=b"
FILE_PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="m.pkl"\r\n\r\n'
PATIENCE_SECONDS = 60.0


def fitted(columns: int = 4) -> bytes:
    data = IRIS.data.set_axis(NAMES, axis="columns").iloc[:, :columns]
    return pickle.dumps(LogisticRegression(max_iter=500).fit(data, IRIS.target))


@pytest.fixture(scope="module")
def iris(server: Client) -> Client:
    """A server with the model that the examples of the document ask."""
    if server.http.get("/api/v1/models/iris").status_code == 404:
        assert server.upload("iris", fitted()).status_code == 201
    return server


@pytest.fixture
def name() -> str:
    return f"iris-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def document(server: Client) -> dict[str, Any]:
    found: dict[str, Any] = plain_http.get(f"{server.url}/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def port_of(client: Client) -> int:
    return client.process.port


def sent(client: Client, request: bytes, *, shut: bool = False) -> bytes:
    """What the server says to bytes on a connection of their own."""
    with socket.create_connection(("127.0.0.1", port_of(client)), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def send_request(client: Client, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    """(status, body) of a request whose target is sent to the letter."""
    fields = {"Host": "x", "Connection": "close", "X-API-Key": client.key, "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return parted(sent(client, f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body))


def parted(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body.decode()


def head_of_upload(client: Client, *more: str, prefer: str = "wait=120") -> bytes:
    lines = [
        "POST /api/v1/models/upload HTTP/1.1",
        "Host: x",
        f"X-API-Key: {client.key}",
        f"Prefer: {prefer}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, f"Content-Type: {BOUNDARY}", *more, "", ""]).encode()


@contextmanager
def half_an_upload(client: Client) -> Iterator[socket.socket]:
    """An upload that has announced more than it has sent, as long as the block lasts."""
    with socket.create_connection(("127.0.0.1", port_of(client)), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head_of_upload(client, "Content-Length: 10000000") + FILE_PART + b"half of it")
        yield connection


def arriving(client: Client) -> int:
    return len(client.arriving())


def until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_the_openapi_document_shows_authentication_and_its_errors(document: dict[str, Any]) -> None:
    assert document["security"] == [{"ApiKey": []}, {"Bearer": []}]
    for method, path, operation in operations(document):
        assert (operation.get("security") == []) == rule_of(method.upper(), path).is_public, path
        if path not in PUBLIC:
            assert {"400", "401", "503"} <= set(operation["responses"]), path
        if "{model}" in path:
            assert "404" in operation["responses"], path
        if "requestBody" in operation:
            assert {"413", "415"} <= set(operation["responses"]), path


def test_every_operation_has_an_explicit_unique_id(document: dict[str, Any]) -> None:
    """Generated clients name their methods after these."""
    shown = {f"{method.upper()} {path}": operation["operationId"] for method, path, operation in operations(document)}
    assert shown == OPERATION_IDS
    assert len(set(shown.values())) == len(shown)
    assert [name for name in shown.values() if not re.fullmatch("[a-z]+(_[a-z]+)*", name)] == []


def test_every_operation_has_one_known_tag_a_summary_and_a_description(document: dict[str, Any]) -> None:
    assert [tag["name"] for tag in document["tags"]] == TAGS
    assert all(tag["description"] for tag in document["tags"])
    for _, path, operation in operations(document):
        assert len(operation["tags"]) == 1, path
        assert operation["tags"][0] in TAGS, path
        assert re.fullmatch("[A-Z][^.]+", operation["summary"]), path
        assert re.fullmatch(r"[A-Z].+\.", operation["description"], re.DOTALL), path


def test_operations_follow_the_life_of_what_they_are_about(document: dict[str, Any]) -> None:
    ids: dict[str, list[str]] = {}
    for _, _, operation in operations(document):
        ids.setdefault(operation["tags"][0], []).append(operation["operationId"])
    assert ids["Models"][:2] == ["upload_model", "list_models"]
    assert (ids["Versions"][0], ids["Versions"][-1]) == ("list_versions", "archive_version")
    assert ids["Predictions"][:3] == ["predict_short", "predict", "predict_shared"]


def schemas_of(node: Any) -> Iterator[dict[str, Any]]:
    """Every object within a part of the document."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from schemas_of(value)


def test_generated_clients_need_no_name_or_type_of_their_own_making(document: dict[str, Any]) -> None:
    """openapi-python-client leaves out what breaks these rules, or invents names such as `PredictJsonBodyType0`."""
    kinds = {"application/json", "multipart/form-data"}
    for method, path, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert "null" not in json.dumps(parameter["schema"]), (path, parameter["name"])
            assert parameter["required"] or parameter["in"] != "path", (path, parameter["name"])
        content = operation.get("requestBody", {"content": {}})["content"]
        assert set(content) <= kinds, (method, path)
        for media in content.values():
            members = media["schema"].get("anyOf", [media["schema"]])
            assert all("$ref" in member or member == {"type": "null"} for member in members), (method, path)
    schemas = document["components"]["schemas"]
    assert [name for name, schema in schemas.items() if schema.get("title", name) != name] == []
    for node in schemas_of(document):
        assert "oneOf" not in node
        assert node.get("$ref", "#/components/schemas/Row").rpartition("/")[2] in schemas


def test_the_openapi_document_names_nothing_that_is_not_there(document: dict[str, Any]) -> None:
    assert "alias" not in json.dumps(document).lower()
    linked = [word for text in (document["info"]["description"],) for word in re.findall(r"\]\(([^)]+)\)", text)]
    assert linked == ["docs/errors"]


def test_the_openapi_document_shows_problems_and_request_ids(
    document: dict[str, Any],
) -> None:
    for _, path, operation in operations(document):
        for status, response in operation["responses"].items():
            assert "X-Request-Id" in response["headers"]
            if int(status) >= 400 and path not in PUBLIC:
                assert list(response["content"]) == ["application/problem+json"], (path, status)


def test_the_openapi_document_shows_the_parts_of_an_upload(document: dict[str, Any]) -> None:
    body = document["paths"]["/api/v1/models/upload"]["post"]["requestBody"]
    assert body["content"]["multipart/form-data"]["schema"] == {"$ref": "#/components/schemas/Upload"}
    form = document["components"]["schemas"]["Upload"]
    assert set(form["properties"]) == {
        "file",
        "name",
        "model_type",
        "description",
        "columns",
        "sample",
        "expected_with",
        "allow_schema_change",
    }
    assert form["required"] == ["file", "name"]
    filled = {name: part.get("default", part.get("example")) for name, part in form["properties"].items()}
    assert filled == {
        "file": None,
        "name": "iris",
        "model_type": "auto",
        "description": "",
        "columns": "",
        "sample": "",
        "expected_with": "",
        "allow_schema_change": "false",
    }


@pytest.mark.parametrize("path", ["/predict", "/api/v1/predict/{model}", "/api/v1/predict/{owner}/{model}"])
def test_every_example_of_the_openapi_document_works(iris: Client, document: dict[str, Any], path: str) -> None:
    content = document["paths"][path]["post"]["requestBody"]["content"]
    bodies = [(kind, example["value"]) for kind, media in content.items() for example in media["examples"].values()]
    assert bodies
    for kind, body in bodies:
        raw = body if isinstance(body, str) else json.dumps(body)
        target = path.format(owner="admin", model="iris")
        answer = iris.http.post(target, content=raw.encode(), headers={"Content-Type": kind})
        assert answer.status_code == 200, (kind, body, answer.text)


def test_the_openapi_document_omits_aliases(document: dict[str, Any]) -> None:
    assert [path for path in document["paths"] if path.startswith("/api/") and not path.startswith("/api/v1/")] == []


def test_every_prefix_of_the_api_has_an_alias(document: dict[str, Any]) -> None:
    rooms = {"/".join(path.split("/")[:4]) for path in document["paths"] if path.startswith("/api/v1/")}
    assert rooms == set(ALIASES.values())


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("/api/models", "/api/v1/models"),
        ("/api/models/iris/versions", "/api/v1/models/iris/versions"),
        ("/api/predict/admin/iris", "/api/v1/predict/admin/iris"),
        ("/api/v1/models", "/api/v1/models"),
        ("/api/modelsx", "/api/modelsx"),
        ("/api/", "/api/"),
        ("/", "/"),
        ("/models", "/models"),
    ],
)
def test_an_alias_has_one_canonical_path(path: str, first: str) -> None:
    assert canonical_path(path) == first


def test_an_alias_is_the_same_route_with_the_same_rule(iris: Client) -> None:
    assert iris.http.get("/api/models/iris").json() == iris.http.get("/api/v1/models/iris").json()
    assert send_request(iris, "POST", "/api/predict/iris", ROW, Content_Type="application/json")[0] == 200
    assert plain_http.get(f"{iris.url}/api/models").status_code == 401


@pytest.mark.parametrize("path", ["/health", "/info", "/models", "/openapi.json", "/docs", "/metrics"])
def test_head_is_get_without_the_body(server: Client, path: str) -> None:
    head, get = server.http.head(path), server.http.get(path)
    assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", get.headers["content-type"])
    assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/health", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
        ("/api/v1/api-keys", "GET, HEAD, OPTIONS, POST"),
        ("/api/models/iris", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/api/v1/predict/iris", "OPTIONS, POST"),
    ],
)
def test_options_lists_the_methods_without_a_key(server: Client, path: str, methods: str) -> None:
    answer = httpx2.options(server.url + path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, methods, b"")
    assert plain_http.put(server.url + path).headers["allow"] == methods


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "PURGE"])
def test_an_unsupported_method_is_405(server: Client, method: str) -> None:
    status, body = send_request(server, method, "/api/v1/predict/iris")
    assert (status, json.loads(body)["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/v1/models/%00", 404),
        ("/api/v1/models/a%00b/versions", 404),
        ("/api/v1/models/%ff", 404),
        ("/api/v1/models/%ED%A0%80", 404),
        ("/api/v1/models/%E2%98%83", 404),
        ("/api/v1/models/%F0%9F%98%80/versions/1", 404),
        ("/api/v1/models/a%0d%0aX-Injected:1", 404),
        ("/api/v1/models/%zz", 404),
        ("/api/v1/models/" + "a" * 5000, 400),
        ("/api/v1/models/..%2f..%2fadmin.key", 404),
        ("/api/v1/models/ir%69s", 200),
        ("/api/v1/models?colour=%00&colour=%ff", 400),
        ("/api/v1/models/iris/versions/0", 400),
        ("/api/v1/models/iris/versions/-1", 400),
        ("/api/v1/models/iris/versions/2147483647", 404),
        ("/api/v1/models/iris/versions/9999999999999999999999", 400),
        ("/api/v1/models/iris/versions/" + "9" * 5000, 404),
        ("/api/v1/models/iris/versions/one", 404),
        ("//", 404),
    ],
)
def test_unusual_paths_are_answered_like_any_other(iris: Client, target: str, status: int) -> None:
    assert send_request(iris, "GET", target)[0] == status


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("version=1", 200),
        ("version=0", 400),
        ("version=-1", 400),
        ("version=", 400),
        ("version=one", 400),
        ("version=%00", 400),
        ("version=2147483647", 404),
        ("version=4294967297", 400),
        ("version=9999999999999999999999", 400),
        ("version=1&version=1", 400),
        ("verzion=7", 400),
        ("alias=canary", 400),
        ("owner=admin", 400),
        ("outputs=probabilities", 200),
        ("outputs=everything", 400),
        ("outputs=probabilities&outputs=probabilities", 400),
        ("colour=%00", 400),
        ("colour=%ff", 400),
        ("colour", 400),
    ],
)
def test_a_query_parameter_is_valid_or_refused(iris: Client, query: str, status: int) -> None:
    assert (
        send_request(iris, "POST", f"/api/v1/predict/iris?{query}", ROW, Content_Type="application/json")[0] == status
    )


def test_every_route_refuses_unknown_parameters(server: Client, document: dict[str, Any]) -> None:
    pages = [("get", page) for page in ("/docs", "/redoc", "/docs/errors", "/docs/assets/page.css", "/openapi.json")]
    routes = [(method, path) for method, path, _ in operations(document)]
    for method, template in [*pages, *routes]:
        path = re.sub("{[a-z_]+}", "1", template)
        status, body = send_request(server, method.upper(), f"{path}?verzion=7", Content_Type="application/json")
        assert (status, json.loads(body)["errors"][0]["path"]) == (400, "verzion"), (method, path)


def test_a_wrong_choice_is_refused_with_the_right_ones(iris: Client) -> None:
    def detail(answer: httpx2.Response) -> str:
        assert answer.status_code == 400
        return str(answer.json()["detail"])

    assert "outputs: Expected one of `probabilities`, got 'proba'" in detail(
        iris.http.post("/api/v1/predict/iris?outputs=proba", content=ROW)
    )
    assert "format: Expected one of `csv`, `json`, got 'xml'" in detail(iris.http.get("/api/v1/audit?format=xml"))
    share = {"everybody": True, "permission": "read"}
    assert "permission: Expected one of `manage`, `predict`" in detail(
        iris.http.put("/api/v1/models/iris/shares", json=share)
    )
    assert "cache: Expected one of `auto`, `l1`, `l2`, `off`" in detail(
        iris.http.patch("/api/v1/models/iris", json={"cache": "on"})
    )
    assert "did you mean `cache_ttl_seconds`?" in detail(
        iris.http.patch("/api/v1/models/iris", json={"cache_ttl_second": 1})
    )


@pytest.mark.parametrize(
    ("model", "status"),
    [
        ("admin/iris", 200),
        ("admin%2Firis", 404),
        ("%00", 404),
        ("%ff", 404),
        ("..", 404),
        ("a" * 5000, 404),
        ("a/b/c", 404),
    ],
)
def test_an_unusual_model_name_is_not_found(iris: Client, model: str, status: int) -> None:
    assert send_request(iris, "POST", f"/api/v1/predict/{model}", ROW, Content_Type="application/json")[0] == status


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Content-Encoding", "gzip", 415),
        ("Content-Encoding", "identity", 200),
        ("Content-Type", "application/json; charset=utf-8", 200),
        ("Content-Type", "APPLICATION/JSON", 200),
        ("Content-Type", "text/json", 415),
        ("Content-Type", "*/*", 415),
        ("Content-Type", "a" * 5000, 415),
        ("Content-Type", "text/csv; delimiter=ab", 415),
        ("X-Large", "a" * 60_000, 200),
        ("X-Large", "a" * 600_000, 431),
        ("X-Request-Id", "\xe9", 200),
        ("Expect", "nothing", 200),
        ("Authorization", "Bearer srv_x", 400),
        ("Authorization", "Basic YTpi", 400),
    ],
)
def test_an_unusual_header_is_ignored_or_refused(iris: Client, name: str, value: str, status: int) -> None:
    headers = {"Content-Type": "application/json"} | {name: value}
    assert send_request(iris, "POST", "/api/v1/predict/iris", ROW, **headers)[0] == status


def test_two_keys_are_refused_by_every_prediction_route(iris: Client) -> None:
    for target in ("/api/v1/predict/iris", "/api/v1/models/iris/test"):
        lines = (
            f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(ROW)}\r\n"
        )
        keys = f"X-API-Key: {iris.key}\r\n" * 2
        assert parted(sent(iris, (lines + keys + "\r\n").encode() + ROW))[0] == 400


@pytest.mark.parametrize(
    ("cache_control", "cache"),
    [
        ("no-cache", "bypass"),
        ("max-age=0, No-Cache", "bypass"),
        ('no-cache="x"', "bypass"),
        ("x-no-cache-x", "l1"),
        ("max-age=0", "l1"),
        (",,;=", "l1"),
    ],
)
def test_no_cache_is_a_directive_and_not_a_substring(iris: Client, cache_control: str, cache: str) -> None:
    iris.predict("iris", ROW)
    assert iris.predict("iris", ROW, headers={"Cache-Control": cache_control}).headers["x-cache"] == cache


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"description": "\xf0\x9f\x98\x80"}', "application/json", 200),
        (b'{"description": "\\u0000"}', "application/json", 400),
        (b'{"description": "\\ud800"}', "application/json", 400),
        (b'{"description": "\xff"}', "application/json", 400),
        (b'{"description": "' + b"x" * 10_001 + b'"}', "application/json", 400),
        (b'{"description": null}', "application/json", 400),
        (b'{"cache": "l3"}', "application/json", 400),
        (b'{"cache_ttl_seconds": -1}', "application/json", 400),
        (b'{"cache_l2_ttl_seconds": 1e300}', "application/json", 400),
        (b"null", "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"description": "x"}', "text/xml", 415),
        (b'{"description": "' + b"x" * (9 << 20) + b'"}', "application/json", 413),
    ],
)
def test_an_update_of_a_model_is_well_formed_or_refused(
    iris: Client, body: bytes, content_type: str, status: int
) -> None:
    answer = iris.http.patch("/api/v1/models/iris", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text


def test_a_compressed_body_is_refused_by_every_route(iris: Client) -> None:
    gzip = {"Content-Encoding": "gzip"}
    assert iris.http.patch("/api/v1/models/iris", json={"description": "x"}, headers=gzip).status_code == 415
    assert (
        iris.http.post(
            "/api/v1/models/upload", files={"file": ("m.pkl", b"x")}, data={"name": "abc"}, headers=gzip
        ).status_code
        == 415
    )


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("wait=abc", 400),
        ("wait=-1", 400),
        ("wait=1.5", 400),
        ("wait=", 400),
        ("wait=999999", 422),
        ("respond-async", 202),
        ("dance", 422),
    ],
)
def test_the_wait_of_an_upload_is_in_seconds(server: Client, name: str, prefer: str, status: int) -> None:
    answer = server.http.post(
        "/api/v1/models/upload", files={"file": ("a.png", PNG)}, data={"name": name}, headers={"Prefer": prefer}
    )
    assert answer.status_code == status, answer.text
    if status == 202:
        with pytest.raises(AssertionError, match="failed"):
            server.await_version(name, 1, "ready")


@pytest.mark.parametrize(
    "fields",
    [
        {"description": "a\0b"},
        {"description": "x" * 10_001},
        {"columns": '["a\\u0000"]'},
        {"columns": '["a", 1]'},
        {"sample": '[{"a": [1]}]'},
        {"sample": '[{"a": 1, "prediction": null}]'},
        {"sample": '[["a\\u0000"]]'},
        {"sample": "[[99999999999999999999]]"},
        {"sample": '"open'},
        {"sample": "a,b\n1\n"},
        {"sample": "string"},
        {"sample": "a,b\n"},
        {"sample": "[]"},
        {"expected_with": "string"},
        {"allow_schema_change": "maybe"},
        {"model_type": "torch"},
    ],
    ids=str,
)
def test_an_invalid_field_of_an_upload_is_refused_before_storing(
    server: Client, name: str, fields: dict[str, str]
) -> None:
    answer = server.upload(name, b"x", **fields)
    assert answer.status_code == 400, answer.text
    assert f"`{next(iter(fields))}`" in answer.json()["detail"]
    assert server.http.get(f"/api/v1/models/{name}").status_code == 404
    assert arriving(server) == 0


def test_an_empty_field_of_an_upload_is_one_that_is_not_given(server: Client, name: str) -> None:
    """Forms of browsers send every field."""
    optional = ("model_type", "description", "columns", "sample", "expected_with", "allow_schema_change")
    answer = server.upload(name, fitted(), **dict.fromkeys(optional, ""))
    assert answer.status_code == 201, answer.text
    nameless = server.upload("", fitted())
    assert (nameless.status_code, "`name`" in nameless.json()["detail"]) == (400, True)


def test_names_for_the_columns_of_a_model_with_names_are_refused(server: Client, name: str) -> None:
    answer = server.upload(name, fitted(), columns="string")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_convertible")
    assert answer.json()["detail"] == (
        "`columns` names `string`, but the model was fitted on a table with names: `sepal_length`, `sepal_width`, "
        "`petal_length`, `petal_width`: leave `columns` out, and name the columns as the table did."
    )
    assert server.upload(name, fitted(), columns=",".join(NAMES)).status_code == 201


@pytest.mark.parametrize("filename", ["a\0b.pkl", "../../../x.pkl", "é😀.pkl", "x" * 3000, 'a"b.pkl', ""])
def test_an_unusual_filename_does_not_break_an_upload(server: Client, name: str, filename: str) -> None:
    quoted = filename.replace('"', '\\"').encode()
    body = (
        FILE_PART.replace(b"m.pkl", quoted)
        + PNG
        + b'\r\n--b\r\nContent-Disposition: form-data; name="name"\r\n\r\n'
        + name.encode()
    )
    answer = server.http.post(
        "/api/v1/models/upload", content=body + b"\r\n--b--\r\n", headers={"Content-Type": BOUNDARY}
    )
    assert answer.status_code in {400, 422}, answer.text


@pytest.mark.parametrize(
    "rest",
    [
        b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n--b\r\nx\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhalf",
        b"Content-Length: 1000\r\n\r\n" + FILE_PART,
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n--b\r\nx",
        b"Content-Length: -1\r\n\r\n",
    ],
)
def test_an_upload_with_a_wrong_length_is_refused_and_leaves_nothing(server: Client, rest: bytes) -> None:
    head = head_of_upload(server).removesuffix(b"\r\n")
    answer = sent(server, head + rest, shut=True)
    assert answer == b"" or parted(answer)[0] == 400
    until(lambda: arriving(server) == 0, "a part of it is left")


def test_disconnected_uploads_leave_no_files_and_free_their_slots(server: Client, name: str) -> None:
    for _ in range(6):
        with half_an_upload(server):
            until(lambda: arriving(server) == 1, "it did not begin")
        until(lambda: arriving(server) == 0, "a part of it is left")
    assert server.upload(name, PNG).status_code == 422


def test_the_fifth_concurrent_upload_is_refused_before_its_body(server: Client, name: str) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(half_an_upload(server))
        until(lambda: arriving(server) == 4, "they did not begin")
        status, body = parted(sent(server, head_of_upload(server, "Content-Length: 10000000")))
        assert (status, json.loads(body)["code"]) == (429, "rate_limited")
        assert server.http.post("/api/v1/storage/validate", files={"file": ("a.png", PNG)}).headers["retry-after"]
    until(lambda: arriving(server) == 0, "a part of them is left")
    assert server.upload(name, PNG).status_code == 422


def test_an_oversized_file_is_refused_early_and_leaves_no_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("small") / "data"
    with serving(folder, {"SERVAL_MAX_UPLOAD_BYTES": "100000"}) as client:
        announced = parted(sent(client, head_of_upload(client, "Content-Length: 1000000000")))
        assert (announced[0], json.loads(announced[1])["code"]) == (413, "too_large")
        answer = client.upload("large", bytes(100_001))
        assert (answer.status_code, "100000" in answer.json()["detail"]) == (413, True)
        assert (
            client.http.post("/api/v1/storage/validate", files={"file": ("m.pkl", bytes(100_001))}).status_code == 413
        )
        assert arriving(client) == 0
        assert client.http.get("/api/v1/models").json()["items"] == []


def test_concurrent_uploads_under_one_name_become_two_versions(server: Client, name: str) -> None:
    barrier = threading.Barrier(2)

    def upload(_: int) -> httpx2.Response:
        barrier.wait()
        return server.upload(name, fitted())

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(upload, range(2)))
    assert [answer.status_code for answer in answers] == [201, 201], [answer.text for answer in answers]
    assert {answer.json()["version"] for answer in answers} == {1, 2}


def test_a_model_deleted_during_its_conversion_can_be_restored(server: Client, name: str) -> None:
    pending = server.upload(name, fitted(), wait_seconds=0)
    assert pending.status_code == 202
    model = pending.json()["model_id"]
    assert server.http.delete(f"/api/v1/models/{model}").status_code == 204
    assert server.predict(name, ROW).status_code == 404
    assert server.http.get(f"/api/v1/models/{model}/versions/1").status_code == 404
    assert server.http.post(f"/api/v1/models/{model}/restore").status_code == 200
    server.await_version(name, 1, "ready")
    assert server.predict(name, ROW).status_code == 200


def test_a_pending_version_cannot_be_downloaded_promoted_or_tested(server: Client, name: str) -> None:
    assert server.upload(name, PNG).status_code == 422
    base = f"/api/v1/models/{name}"
    assert server.http.get(f"{base}/versions/1/download").status_code == 409
    assert server.http.post(f"{base}/versions/1/promote").status_code == 409
    assert server.http.post(f"{base}/rollback").status_code == 409
    assert server.http.post(f"{base}/test").status_code == 409
    assert server.predict(name, ROW).status_code == 404
    assert server.upload(name, fitted(), wait_seconds=0).status_code == 202
    assert server.http.get(f"{base}/versions/2/download").status_code == 409
    server.await_version(name, 2, "ready")


def test_a_key_revoked_in_use_stops_at_once(iris: Client) -> None:
    made = iris.http.post(
        "/api/v1/api-keys", json={"name": "short", "scopes": ["predict", "models:read", "admin"]}
    ).json()
    own = {"X-API-Key": made["key"]}
    assert iris.predict("iris", ROW, headers=own).status_code == 200
    assert iris.http.delete(f"/api/v1/api-keys/{made['id']}", headers=own).status_code == 204
    assert iris.predict("iris", ROW, headers=own).status_code == 401
    assert iris.http.get("/api/v1/models", headers=own).status_code == 401


def test_an_expired_key_is_refused(iris: Client, backend: dict[str, str]) -> None:
    made = iris.http.post("/api/v1/api-keys", json={"name": "old", "expires_in_days": 1}).json()
    asyncio.run(expire(database_url(backend.get("SERVAL_DATABASE_URL"), iris.folder), made["id"]))
    own = {"X-API-Key": made["key"]}
    assert iris.http.get("/api/v1/models", headers=own).status_code == 401
    assert iris.predict("iris", ROW, headers=own).status_code == 401


async def expire(url: Any, key_id: str) -> None:
    database = Database(open_engine(url))
    async with database.write() as session:
        await session.execute(
            update(ApiKey).where(ApiKey.id == key_id).values(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        )
    await database.close()


def test_the_test_route_predicts_the_stored_example(iris: Client) -> None:
    tested = iris.http.post("/api/v1/models/iris/test")
    assert tested.status_code == 200, tested.text
    assert tested.headers["x-cache"] == "bypass"
    body = tested.json()
    assert body["request"] == iris.http.get("/api/v1/models/iris/versions/1").json()["example"]
    assert body["answer"]["prediction"] == iris.predict("iris", body["request"]).json()["prediction"]
    assert iris.http.post("/api/v1/models/nobody/test").status_code == 404


def test_validating_a_file_does_not_store_it(server: Client) -> None:
    before = (
        server.http.get("/api/v1/models").json(),
        sorted(path.name for path in (server.folder / "models").iterdir()),
    )
    good = server.http.post("/api/v1/storage/validate", files={"file": ("m.pkl", io.BytesIO(fitted()))})
    assert good.status_code == 200, good.text
    found = good.json()
    assert (found["converts"], found["failure"], found["inspection"]["estimator"]) == (True, None, "LogisticRegression")
    assert [column["name"] for column in found["signature"]["columns"]] == NAMES
    assert found["report"]["agreement"] == 1.0
    after = server.http.get("/api/v1/models").json(), sorted(path.name for path in (server.folder / "models").iterdir())
    assert after == before
    assert arriving(server) == 0


def test_validating_an_unsupported_file_shows_the_reason(server: Client) -> None:
    found = server.http.post("/api/v1/storage/validate", files={"file": ("a.png", PNG)}).json()
    assert (found["converts"], found["failure"]["code"], found["inspection"]) == (False, "not_a_model", None)
    named = server.http.post("/api/v1/storage/validate", files={"file": ("a.png", PNG)}, data={"name": "x"})
    assert (named.status_code, "`name`" in named.json()["detail"]) == (400, True)
