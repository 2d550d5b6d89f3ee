"""The front of a server: what it answers by itself, and what it forwards to the app."""

import http.client
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sklearn.datasets import load_iris

from serval.auth import key_format as keys
from serval.auth.rate_headers import limit_headers
from support import plain_http
from support.http_client import Client, serving

IRIS = load_iris()
ROW = {"input": IRIS.data[0].tolist()}


@pytest.fixture(scope="module")
def fronted(folder_with_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = shutil.copytree(folder_with_models, tmp_path_factory.mktemp("front") / "data")
    with serving(folder, {"SERVAL_MAX_BODY_BYTES": "20000"}) as client:
        assert client.predict("iris", ROW).status_code == 200
        yield client


class Counted:
    """How many requests were answered, refused and forwarded by the front while the block lasted."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._before = self._read()

    def _read(self) -> dict[str, int]:
        (ready,) = [line for line in self._client.process.events if line["event"] == "ready"]
        text = plain_http.get(f"http://127.0.0.1:{ready['metrics_port']}/metrics").text
        found = re.findall(r'^serval_front_requests_total\{outcome="(\w+)"\} (\d+)$', text, re.MULTILINE)
        return {outcome: int(count) for outcome, count in found}

    def so_far(self) -> dict[str, int]:
        now = self._read()
        return {outcome: now[outcome] - before for outcome, before in self._before.items()}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", {"model_name": "iris", "features": ROW["input"]}),
        ("/api/v1/predict/iris", ROW),
        ("/api/predict/iris", ROW),
        ("/api/v1/predict/admin/iris?version=1&outputs=probabilities", ROW),
        ("/api/v1/predict/iris", {"inputs": [ROW["input"]] * 3}),
    ],
)
def test_a_prediction_of_numbers_does_not_reach_the_app(fronted: Client, path: str, body: object) -> None:
    counted = Counted(fronted)
    answer = fronted.http.post(path, json=body)
    assert answer.status_code == 200
    assert answer.headers["x-model-version"] == "1"
    assert {"x-request-id", "x-cache", "server-timing", "content-type", "content-length"} <= set(answer.headers)
    assert counted.so_far() == {"answered": 1, "refused": 0, "forwarded": 0}


def test_the_liveness_probe_does_not_reach_the_app(fronted: Client) -> None:
    counted = Counted(fronted)
    assert fronted.http.get("/health/live").json() == {"status": "live"}
    assert counted.so_far() == {"answered": 1, "refused": 0, "forwarded": 0}


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "srv_no"}, {"Authorization": "Basic eDp5"}])
def test_a_request_without_a_key_is_refused_without_its_body_or_the_app(
    fronted: Client, headers: dict[str, str]
) -> None:
    counted = Counted(fronted)
    answer = plain_http.post(fronted.url + "/predict", json={}, headers=headers | {"X-Request-Id": "mine"})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (answer.json()["code"], answer.json()["request_id"], answer.headers["x-request-id"]) == (
        "not_authenticated",
        "mine",
        "mine",
    )
    assert counted.so_far() == {"answered": 0, "refused": 1, "forwarded": 0}


def test_a_body_that_is_too_large_is_refused_by_its_content_length(fronted: Client) -> None:
    counted = Counted(fronted)
    answer = fronted.predict("iris", b'{"input": [' + b" " * 30_000 + b"1]}")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert counted.so_far() == {"answered": 0, "refused": 1, "forwarded": 0}


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b'{"input": [1, 2]}', 400), (b'{"input": [1, 2, 3, "4"]}', 400), (json.dumps(ROW).encode(), 200)],
)
def test_refusals_that_need_an_explanation_come_from_the_app(fronted: Client, body: bytes, status: int) -> None:
    counted = Counted(fronted)
    assert fronted.predict("iris", body).status_code == status
    assert counted.so_far()["forwarded"] == (status != 200)


def test_a_chunked_prediction_does_not_reach_the_app(fronted: Client) -> None:
    counted = Counted(fronted)
    pieces = iter([b'{"input": ', json.dumps(ROW["input"]).encode(), b"}"])
    answer = fronted.http.post("/api/v1/predict/iris", content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert counted.so_far() == {"answered": 1, "refused": 0, "forwarded": 0}


def test_the_socket_of_the_app_is_open_to_the_server_only(fronted: Client) -> None:
    (socket,) = Path(fronted.folder).glob("app-*.sock")
    assert socket.stat().st_mode & 0o777 == 0o600


def test_an_unknown_key_is_refused_by_the_front_the_second_time(fronted: Client) -> None:
    wrong = {"X-API-Key": keys.new_key()}
    counted = Counted(fronted)
    first, second = (fronted.http.post("/predict", json={}, headers=wrong) for _ in range(2))
    assert (first.status_code, second.status_code) == (401, 401)
    assert {**first.json(), "request_id": ""} == {**second.json(), "request_id": ""}
    assert counted.so_far() == {"answered": 0, "refused": 1, "forwarded": 1}


def test_the_front_and_the_app_refuse_predictions_over_the_rate_alike(folder_with_models: Path, tmp_path: Path) -> None:
    answers = {}
    for front in ("true", "false"):
        settings = {"SERVAL_PREDICT_RATE": "1", "SERVAL_FRONT": front}
        with serving(shutil.copytree(folder_with_models, tmp_path / front), settings) as client:
            refused = next(
                answer for answer in iter(lambda: client.predict("iris", ROW), None) if answer.status_code != 200
            )
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            headers = {name: refused.headers[name] for name in ("content-type", *limit_headers("user", 1, 1, 0, 1))}
            answers[front] = ({**refused.json(), "request_id": ""}, headers)
    assert answers["true"] == answers["false"]


def test_a_refusal_leaves_the_connection_open_for_the_next_request(fronted: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", fronted.process.port, timeout=30)
    for key, status in (("srv_no", 401), (fronted.key, 200), ("srv_no", 401), (fronted.key, 200)):
        connection.putrequest("POST", "/api/v1/predict/iris")
        body = json.dumps(ROW).encode()
        for name, value in (
            ("X-API-Key", key),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
        ):
            connection.putheader(name, value)
        connection.endheaders()  # the body follows in a packet of its own
        connection.send(body)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("connection")) == (status, None)
        answer.read()
    connection.close()
