"""Probes, metrics, the API's own documents, the log."""

import pytest

from support import plain_http
from support.http_client import Client


def test_health_lists_the_dependencies(server: Client) -> None:
    health = plain_http.get(f"{server.url}/health").json()
    assert health["status"] == "ok"
    assert health["checks"] == {"database": "ok", "redis": "ok", "models": "ok", "disk": "ok"}
    assert health["uptime_seconds"] > 0


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/info", "/docs", "/redoc", "/openapi.json", "/docs/errors"]
)
def test_probes_and_documents_need_no_key(server: Client, path: str) -> None:
    assert plain_http.get(server.url + path).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/models", "/api/v1/models", "/api/v1/api-keys"])
def test_every_other_route_needs_a_key(server: Client, path: str) -> None:
    answer = plain_http.get(server.url + path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]


def test_a_well_formed_request_id_is_kept_and_a_malformed_one_replaced(server: Client) -> None:
    assert server.http.get("/health", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert server.http.get("/health", headers={"X-Request-Id": "not mine"}).headers["x-request-id"].startswith("req_")


def test_an_unknown_path_is_a_problem(server: Client) -> None:
    answer = server.http.get("/nothing")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_metrics_cover_requests_connections_and_pools(server: Client) -> None:
    text = server.http.get("/metrics").text
    for name in (
        "serval_http_requests_total",
        "serval_http_request_seconds_bucket",
        "serval_http_connections",
        "serval_uptime_seconds",
    ):
        assert name in text
    assert "serval_redis_connections_idle" in text


def test_a_request_is_logged_once_without_its_key(server: Client) -> None:
    server.http.get("/health", headers={"X-Request-Id": "look-for-me"})
    line = server.process.until_line("request", request_id="look-for-me")
    assert (line["method"], line["endpoint"], line["status"]) == ("GET", "/health", 200)
    assert line["ms"] >= 0
    assert server.key not in str(line)


def test_a_body_near_its_limit_is_logged_as_a_warning(server: Client) -> None:
    body = b'{"model_name": "nobody", "features": [' + b"1," * 3_500_000 + b"1]}"
    assert (
        server.http.post(
            "/predict", content=body, headers={"X-Request-Id": "large", "Content-Type": "application/json"}
        ).status_code
        == 404
    )
    line = server.process.until_line("large_request", request_id="large")
    assert (line["level"], line["body_bytes"], line["near_limit_bytes"]) == ("warning", len(body), 8 << 20)
