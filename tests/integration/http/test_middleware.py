"""The middleware around every answer: proxies, HTTPS only, security headers, CORS, body limits, path tricks."""

import json
import pickle
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from support import plain_http
from support.http_client import SERVAL, Client, serving
from support.raw_http import Reply, connected, exchanged, next_reply, replies

IRIS = load_iris()
ROW = {"input": IRIS.data[0].tolist()}
ORIGIN = "https://app.example.com"
HTTPS = {"X-Forwarded-Proto": "https"}
JSON_BODY_BYTES = 64 * 1024
NOTHING_HERE = "There is nothing at this path; /docs lists all routes."


@pytest.fixture(scope="module", params=["front", "app"])
def proxied(
    request: pytest.FixtureRequest, folder_with_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A server for HTTPS alone that trusts the proxy on this machine, as which the tests speak, and pages of one
    origin. A test asks for it or for `server`: with both, it would be started anew for each backend."""
    settings = {
        "SERVAL_FRONT": str(request.param == "front").lower(),
        "SERVAL_TRUSTED_PROXIES": "192.0.2.1, 127.0.0.0/8",
        "SERVAL_HTTPS_ONLY": "true",
        "SERVAL_CORS_ORIGINS": f"{ORIGIN}, http://localhost:3000",
        "SERVAL_MAX_BODY_BYTES": "200000",
        "SERVAL_MAX_UPLOAD_BYTES": "1 MiB",
    }
    folder = shutil.copytree(folder_with_models, tmp_path_factory.mktemp("proxied") / "data")
    with serving(folder, settings) as client:
        client.http.headers.update(HTTPS)
        yield client


def fitted() -> bytes:
    return pickle.dumps(LogisticRegression(max_iter=500).fit(IRIS.data, IRIS.target))


def said(client: Client, head: str, body: bytes = b"", *, shut: bool = False) -> list[Reply]:
    """The answers to a request whose head, lines parted by line feeds, is sent to the letter; `KEY` stands for the
    key."""
    lines = head.strip().replace("KEY", client.key).replace("\n", "\r\n")
    return replies(
        exchanged(client.process.port, f"{lines}\r\nHost: x\r\nConnection: close\r\n\r\n".encode() + body, shut=shut)
    )


def test_links_use_the_scheme_and_host_of_the_client(proxied: Client) -> None:
    through = {"Forwarded": "for=203.0.113.7;proto=https;host=api.example.com"}
    for headers in (through, {"X-Forwarded-Host": "api.example.com"}):
        version = proxied.http.get("/api/v1/models/iris/versions/1", headers=headers).json()
        assert version["predict_url"].startswith("https://api.example.com/")
    uploaded = proxied.upload("another", fitted(), wait_seconds=0)
    assert uploaded.headers["location"].startswith(proxied.url.replace("http://", "https://") + "/api/v1/models/")


@pytest.mark.parametrize("prefix", ["/serval", "/a/b/"])
def test_addresses_have_the_prefix_of_the_proxy(proxied: Client, prefix: str) -> None:
    root = prefix.removesuffix("/")
    own = {"X-Forwarded-Prefix": prefix}
    host = proxied.url.removeprefix("http://")
    version = proxied.http.get("/api/v1/models/iris/versions/1", headers=own).json()
    assert version["predict_url"] == f"https://{host}{root}/api/v1/predict/iris"
    assert proxied.http.get("/openapi.json", headers=own).json()["servers"] == [{"url": root}]
    assert proxied.http.get("/info", headers=own).json()["docs"] == f"{root}/docs"
    assert f'src="{root}/docs/assets/' in proxied.http.get("/docs", headers=own).text
    for answer in (
        proxied.http.get("/nowhere", headers=own),
        proxied.http.get("/docs//x", headers=own),
        proxied.http.get("/api/v1/models", headers=own | {"X-API-Key": "srv_no"}),
        proxied.http.post("/api/v1/predict/iris", json={"input": [1]}, headers=own),
        proxied.http.post("/api/v1/predict/iris", json=ROW, headers=own | {"X-API-Key": "srv_no"}),
    ):
        assert answer.json()["type"] == f"{root}/docs/errors#{answer.json()['code']}"
    redirect = plain_http.get(f"{proxied.url}/info", headers=own, follow_redirects=False)
    assert redirect.headers["location"] == f"https://{host}{root}/info"


def test_an_invalid_prefix_is_ignored(proxied: Client) -> None:
    for prefix in ("//evil.example", "/a/../b", "https://evil.example", "/a, /b"):
        own = {"X-Forwarded-Prefix": prefix}
        assert proxied.http.get("/openapi.json", headers=own).json()["servers"] == [{"url": "/"}]


def test_the_prefix_of_a_stranger_is_ignored(server: Client) -> None:
    answer = server.http.get("/openapi.json", headers={"X-Forwarded-Prefix": "/serval"})
    assert answer.json()["servers"] == [{"url": "/"}]


@pytest.mark.parametrize("page", ["/docs", "/redoc", "/docs/errors"])
def test_a_page_with_a_slash_leads_to_the_one_without(proxied: Client, page: str) -> None:
    answer = proxied.http.get(f"{page}/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"], answer.content) == (308, page, b"")
    answer = proxied.http.get(f"{page}/", headers={"X-Forwarded-Prefix": "/serval"}, follow_redirects=False)
    assert answer.headers["location"] == f"/serval{page}"
    assert proxied.http.get(f"{page}//").status_code == 404
    assert proxied.http.post(f"{page}/").status_code == 404


def test_the_root_leads_to_the_documentation(proxied: Client) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "X-Forwarded-Prefix": "/serval"}
    answer = proxied.http.get("/", headers=browser, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "/serval/docs")
    assert proxied.http.get("/").json()["docs"] == "/docs"


def test_the_request_log_names_the_client_not_the_proxy(proxied: Client) -> None:
    headers = {"X-Forwarded-For": "198.51.100.66, 203.0.113.7, 192.0.2.1", "X-Request-Id": "through-two"}
    assert proxied.http.get("/info", headers=headers).status_code == 200
    assert proxied.process.until_line("request", request_id="through-two")["client"] == "203.0.113.7"


def test_without_trusted_proxies_forwarded_headers_are_ignored(server: Client) -> None:
    headers = {
        "Forwarded": "for=203.0.113.7;proto=https;host=evil.example",
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Host": "evil.example",
        "X-Serval-Peer": "203.0.113.7:1",
        "X-Serval-Scheme": "https",
        "X-Request-Id": "not-believed",
        **HTTPS,
    }
    answer = server.http.get("/info", headers=headers)
    assert "strict-transport-security" not in answer.headers
    assert server.process.until_line("request", request_id="not-believed")["client"] == "127.0.0.1"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reads_are_redirected_to_https(proxied: Client, method: str) -> None:
    target = f"{proxied.url}/api/v1/models?a=1&b=%2F"
    for headers in ({}, {"X-Forwarded-Proto": "http"}, {"Forwarded": "proto=http", **HTTPS}):
        answer = plain_http.request(method, target, headers=headers, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (308, target.replace("http://", "https://"))
        assert "strict-transport-security" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "port"), [("api.example.com:80", ""), ("api.example.com", ""), ("[2001:db8::1]:8080", ":8080")]
)
def test_the_redirect_to_https_drops_the_default_port(proxied: Client, host: str, port: str) -> None:
    answer = plain_http.get(f"{proxied.url}/info", headers={"Host": host}, follow_redirects=False)
    assert answer.headers["location"] == f"https://{re.sub(':(80|8080)$', '', host)}{port}/info"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/predict/iris"),
        ("POST", "/predict"),
        ("POST", "/api/v1/models/upload"),
        ("DELETE", "/api/v1/models/iris"),
        ("OPTIONS", "/predict"),
        ("PUT", "/nothing"),
    ],
)
def test_writes_over_plain_http_are_refused(proxied: Client, method: str, path: str) -> None:
    answer = plain_http.request(method, proxied.url + path, headers={"X-API-Key": proxied.key}, json=ROW)
    assert (answer.status_code, answer.json()["code"]) == (403, "https_required")
    assert "https://" in answer.json()["detail"]


def test_an_invalid_host_is_not_redirected(proxied: Client) -> None:
    answer = plain_http.get(f"{proxied.url}/info", headers={"Host": "evil.example'(x)"}, follow_redirects=False)
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_probes_are_answered_over_plain_http(proxied: Client, path: str) -> None:
    assert plain_http.get(proxied.url + path).status_code == 200


def test_predictions_over_https_have_an_hsts_header(proxied: Client) -> None:
    assert proxied.predict("iris", ROW).status_code == 200
    answer = proxied.http.get("/info")
    assert (answer.status_code, answer.headers["strict-transport-security"]) == (200, "max-age=31536000")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health/live", 200),
        ("GET", "/health", 200),
        ("GET", "/info", 200),
        ("GET", "/docs", 200),
        ("GET", "/docs/assets/page.css", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/nothing", 404),
        ("GET", "/info/", 404),
        ("GET", "/api/v1/models", 200),
        ("GET", "/api/v1/api-keys", 200),
        ("POST", "/api/v1/api-keys", 400),
        ("PUT", "/api/v1/models", 405),
        ("OPTIONS", "/api/v1/models", 204),
        ("HEAD", "/info", 200),
        ("POST", "/predict", 400),
        ("POST", "/api/v1/predict/nobody", 404),
    ],
)
def test_every_response_has_the_security_headers(server: Client, method: str, path: str, status: int) -> None:
    answer = server.http.request(method, path, json=ROW if method == "POST" and "api-keys" not in path else None)
    assert answer.status_code == status
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert "strict-transport-security" not in answer.headers
    assert not re.search(r"\d", answer.headers.get("server", ""))
    assert "x-powered-by" not in answer.headers
    if path != "/health/live":  # the front says of its JSON what a browser heeds there
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == ("max-age=3600, public" if "assets" in path else "no-store")
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
        assert ("script-src 'self'" in answer.headers["content-security-policy"]) == (path == "/docs")


def test_a_filename_cannot_break_out_of_its_header(server: Client) -> None:
    for name in ('a"; filename="evil', "a\r\nX-Injected: 1", "a\\", "añb"):
        assert server.upload(name, b"").status_code in {400, 422}
    assert server.upload("around", fitted(), filename='m"\r\nX-Injected: 1.pkl').status_code == 201
    answer = server.http.get("/api/v1/models/around/versions/1/download")
    assert answer.headers["content-disposition"] == 'attachment; filename="around-1.onnx"'
    assert "x-injected" not in answer.headers


def test_cross_origin_pages_are_not_allowed_by_default(server: Client) -> None:
    request_headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    for answer in (
        server.http.options("/predict", headers=request_headers),
        server.http.get("/api/v1/models", headers=request_headers),
        server.http.post("/predict", headers=request_headers, json={}),
    ):
        assert [name for name in answer.headers if name.startswith("access-control-")] == []
    preflight, plain = server.http.options("/predict", headers=request_headers), server.http.options("/predict")
    assert (
        (preflight.status_code, preflight.headers["allow"])
        == (204, "OPTIONS, POST")
        == (plain.status_code, plain.headers["allow"])
    )


def test_a_page_of_an_allowed_origin_passes_its_preflight(proxied: Client) -> None:
    request_headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key",
    }
    for path in ("/predict", "/api/v1/predict/iris", "/nothing"):
        answer = httpx2.options(proxied.url + path, headers=request_headers | HTTPS)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert {"content-type", "x-api-key"} <= set(answer.headers["access-control-allow-headers"].lower().split(", "))
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("path", "key", "content", "status"),
    [
        ("/api/v1/predict/iris", "KEY", json.dumps(ROW).encode(), 200),
        ("/api/v1/predict/iris", None, json.dumps(ROW).encode(), 401),
        ("/api/v1/predict/iris", "srv_no", json.dumps(ROW).encode(), 401),
        ("/api/v1/predict/iris", "KEY", b"{", 400),
        ("/api/v1/predict/iris", "KEY", b" " * 300_000, 413),
        ("/api/v1/predict/nobody", "KEY", json.dumps(ROW).encode(), 404),
        ("/api/v1/predict/iris/", "KEY", json.dumps(ROW).encode(), 404),
    ],
)
def test_a_page_of_an_allowed_origin_may_read_predictions_and_refusals(
    proxied: Client, path: str, key: str | None, content: bytes, status: int
) -> None:
    assert proxied.predict("iris", ROW).status_code == 200  # now the front knows the caller
    headers = {"Origin": ORIGIN, "Content-Type": "application/json", **HTTPS, **({"X-API-Key": key} if key else {})}
    headers = {name: value.replace("KEY", proxied.key) for name, value in headers.items()}
    answer = plain_http.post(proxied.url + path, content=content, headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
    assert {"X-Request-Id", "X-Model-Version", "Retry-After", "RateLimit"} <= set(
        answer.headers["access-control-expose-headers"].split(", ")
    )
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example.com",
        f"{ORIGIN}.evil.example",
        f"{ORIGIN}:8443",
        "https://appXexample.com",
        "null",
    ],
)
def test_a_page_of_another_origin_is_not_allowed(proxied: Client, origin: str) -> None:
    request_headers = {"Origin": origin, "Access-Control-Request-Method": "POST", **HTTPS}
    for answer in (
        httpx2.options(f"{proxied.url}/predict", headers=request_headers),
        proxied.http.post("/predict", headers=request_headers, json={}),
    ):
        assert [name for name in answer.headers if name.startswith("access-control-")] == []
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--trusted-proxies", "nonsense", "`nonsense` is neither an IP address nor a network"),
        ("--cors-origins", "example.com", "is no origin"),
    ],
)
def test_an_invalid_setting_ends_the_start_with_one_sentence(
    tmp_path: Path, option: str, value: str, sentence: str
) -> None:
    ended = subprocess.run(
        [SERVAL, "serve", "--data-dir", tmp_path / "data", option, value], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"serval: `{option}`: ")
    assert sentence in line


KEYS = "POST /api/v1/api-keys HTTP/1.1\nX-API-Key: KEY\nContent-Type: application/json\n"


def key_named(size: int) -> bytes:
    """A request for a key, of this many bytes."""
    return json.dumps({"name": "around"}).encode().ljust(size)


def test_a_json_body_may_have_64_kib(server: Client) -> None:
    (taken,) = said(server, f"{KEYS}Content-Length: {JSON_BODY_BYTES}\nX-Request-Id: near", key_named(JSON_BODY_BYTES))
    assert taken.status == 201
    line = server.process.until_line("large_request", request_id="near")
    assert (line["body_bytes"], line["near_limit_bytes"]) == (JSON_BODY_BYTES, JSON_BODY_BYTES)
    (refused,) = said(server, f"{KEYS}Content-Length: {JSON_BODY_BYTES + 1}", key_named(JSON_BODY_BYTES + 1))
    assert (refused.status, json.loads(refused.body)["code"]) == (413, "too_large")


def test_a_chunked_body_is_limited_by_its_size(server: Client) -> None:
    chunks = b"".join(b"1000\r\n%b\r\n" % part for part in [key_named(4096)] * 17) + b"0\r\n\r\n"
    assert said(server, f"{KEYS}Transfer-Encoding: chunked", chunks)[0].status == 413


def test_a_refused_body_does_not_cost_the_next_request_its_answer(embedded_server: Client) -> None:
    large = f"{KEYS}Content-Length: {JSON_BODY_BYTES + 1}"
    for _ in range(30):
        assert said(embedded_server, large, key_named(JSON_BODY_BYTES + 1))[0].status == 413
        assert said(embedded_server, "GET /health HTTP/1.1")[0].status == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("POST /api/v1/api-keys", 413),
        ("POST /api/v1/predict/iris", 413),
        ("POST /api/v1/models/upload", 413),
        ("PATCH /api/v1/models/iris", 413),
    ],
)
@pytest.mark.parametrize("more", ["", "Expect: 100-continue\r\n"], ids=["sent", "asked"])
def test_an_excessive_content_length_is_refused_before_the_body(
    proxied: Client, target: str, status: int, more: str
) -> None:
    head = (
        f"{target} HTTP/1.1\r\nHost: x\r\nX-API-Key: {proxied.key}\r\nX-Forwarded-Proto: https\r\n"
        f"Content-Length: 99999999\r\n{more}\r\n"
    )
    with connected(proxied.process.port) as connection:
        connection.sendall(head.encode())
        reply = next_reply(connection)
    assert (reply.status, json.loads(reply.body)["code"]) == (status, "too_large")


def test_a_wrong_content_length_ends_the_body_or_the_request(server: Client) -> None:
    first, *rest = said(server, f"{KEYS}Content-Length: 10", key_named(1000))
    assert first.status == 400
    assert all(reply.status == 400 for reply in rest)
    assert [reply.status for reply in said(server, f"{KEYS}Content-Length: 1000", key_named(100), shut=True)] in (
        [],
        [400],
    )
    assert server.http.get("/info").status_code == 200


def tricks(path: str) -> list[str]:
    """Other ways to write a path, of which no reader may make the path itself."""
    return [
        f"/{path}", f"{path}/", f"{path}//", path.replace("/", "//"), f"/.{path}", f"/x/..{path}", f"/%2e{path}",
        f"/x/%2e%2e{path}", f"/x/.%2E{path}", f"/docs/assets/../..{path}", f"/health/..{path}",
        f"/docs/assets/..%2f..{path}", f"/%2F{path[1:]}",
        f"/{path[1:].replace('/', '%2f')}%2f", f"/x%2f..{path}", f"{path}/.", f"{path}/..", f"{path}%2f",
        f"{path}%5c", f"{path}\\", path.upper(), path.title(), f"{path}%00", f"{path}%00.css", f"{path}%0a",
        f"{path}%0d%0aX-Injected:1", f"{path}%20", f"{path};x=1", f"{path}.json", f"{path}%3f", f"/%252e%252e{path}",
        f"/%c0%ae%c0%ae{path}", f"{path}%ff",
        f"{path}%c0%af",
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/models", "/api/v1/api-keys", "/api/models", "/models", "/info"])
def test_an_ambiguous_path_is_not_found(server: Client, path: str) -> None:
    answers = {
        (trick, key): said(server, f"GET {trick} HTTP/1.1\n{key}")
        for trick in tricks(path)
        for key in ("X-API-Key: KEY", "X: none")
    }
    assert {
        request: replies for request, replies in answers.items() if [reply.status for reply in replies] != [404]
    } == {}
    assert "x-injected" not in {name for (reply,) in answers.values() for name in reply.headers}
    assert {json.loads(reply.body)["detail"] for (reply,) in answers.values()} == {NOTHING_HERE}
    assert said(server, f"GET {path} HTTP/1.1\nX-API-Key: KEY")[0].status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/models/%2Fetc",
        "/api/v1/models/..",
        "/api/v1/models/..%2f..%2f..%2fetc%2fpasswd",
        "/api/v1/models/%2e%2e%2fapi-keys",
        "/api/v1/models/around/../../api-keys",
        "/api/v1/models/around%2Fversions",
        "/api/v1/models/a%00b",
        "/docs/assets/..%2fdocs.py",
        "/docs/assets/../docs.py",
        "/docs/assets//etc/passwd",
        "/docs/assets/%2fetc/passwd",
    ],
)
def test_dot_segments_do_not_leave_a_route(server: Client, path: str) -> None:
    for key in ("X-API-Key: KEY", "X: none"):
        assert [reply.status for reply in said(server, f"GET {path} HTTP/1.1\n{key}")] == [404]


def test_an_overlong_name_is_refused(server: Client) -> None:
    path = "/api/v1/models/" + "a" * 8000
    assert [reply.status for reply in said(server, f"GET {path} HTTP/1.1\nX-API-Key: KEY")] == [400]
    assert [reply.status for reply in said(server, f"GET {path} HTTP/1.1")] == [401]
