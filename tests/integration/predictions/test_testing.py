"""Tests of a version by those who manage its model, over HTTP: also of a held one, which answers nobody else."""

import json
import pickle
import uuid
from typing import Any

import httpx2
import pytest

from support.http_client import Client
from support.sample_models import iris, iris_pipeline, saved_by_another_version, specimen
from support.waiting import wait_until

ROW = {"input": [5.1, 3.5, 1.4, 0.2]}
CHANGING = ("latency_ms", "timestamp", "cache_hit", "cache_hits")


@pytest.fixture
def name() -> str:
    return f"tested-{uuid.uuid4().hex[:8]}"


def held(server: Client, name: str, content: bytes | None = None) -> dict[str, Any]:
    """A version that was uploaded and is held."""
    uploaded = server.upload(name, saved_by_another_version(content or iris_pipeline()))
    assert uploaded.status_code == 201, uploaded.text
    version: dict[str, Any] = uploaded.json()
    assert version["held"]["code"] == "unproven"
    return version


def ask(
    server: Client, name: str, body: Any = None, headers: dict[str, str] | None = None, **query: Any
) -> httpx2.Response:
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = {"Content-Type": "application/json"} | (headers or {})
    return server.http.post(f"/api/v1/models/{name}/test", content=content, headers=asked, params=query)


def lasting(answer: dict[str, Any]) -> dict[str, Any]:
    """What two answers for the same rows have in common."""
    return {name: value for name, value in answer.items() if name not in CHANGING}


def test_a_held_version_answers_tests_and_says_why_it_is_held(server: Client, name: str) -> None:
    version = held(server, name)
    answer = ask(server, name, ROW, version=1)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["version"], found["is_live"], found["held"]) == (1, False, version["held"])
    assert "request" not in found
    assert (answer.headers["x-model-version"], answer.headers["x-cache"]) == ("1", "bypass")
    by_example = ask(server, name, version=1).json()
    assert by_example["request"] == version["example"]
    many = ask(server, name, {"inputs": [ROW["input"]] * 3}, version=1).json()["answer"]
    assert many["predictions"] == [found["answer"]["prediction"]] * 3
    csv = ask(server, name, b"5.1,3.5,1.4,0.2", {"Content-Type": "text/csv; header=absent"}, version=1)
    assert csv.json()["answer"]["predictions"] == [found["answer"]["prediction"]]
    assert "/test?version=1'" in version["curl"]
    assert server.predict(name, ROW, version="1").status_code == 409


@pytest.mark.parametrize("model", ["string labels", "cancer forest", "multi-output forest", "two targets"])
def test_a_held_version_answers_tests_as_it_answers_when_it_is_promoted(
    embedded_server: Client, name: str, model: str
) -> None:
    chosen = specimen(model)
    held(embedded_server, name, pickle.dumps(chosen.model, protocol=4))
    rows = [list(row) for row in chosen.held_out[:20]]
    bodies = [{"inputs": rows}, {"input": rows[0]}]
    before = [ask(embedded_server, name, body, version=1).json()["answer"] for body in bodies]
    assert embedded_server.http.post(f"/api/v1/models/{name}/versions/1/promote").status_code == 200
    after = [embedded_server.predict(name, body, outputs="probabilities").json() for body in bodies]
    assert [lasting(answer) for answer in before] == [lasting(answer) for answer in after]
    again = ask(embedded_server, name, bodies[0], version=1).json()
    assert (again["held"], again["is_live"], lasting(again["answer"])) == (None, True, lasting(after[0]))


def test_rows_that_do_not_fit_and_versions_that_cannot_answer_are_refused(server: Client, name: str) -> None:
    held(server, name)
    wrong = ask(server, name, {"input": [5.1, "n/a", 1.4, 0.2]}, version=1)
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (400, "input[1]")
    assert ask(server, name, b"{", version=1).json()["code"] == "malformed_body"
    assert ask(server, name, {"inputs": [ROW["input"]] * 10_001}, version=1).status_code == 413
    assert ask(server, name, b"x", {"Content-Type": "text/plain"}, version=1).status_code == 415
    assert ask(server, name, ROW).json()["code"] == "conflict"
    assert ask(server, name, ROW, version=2).status_code == 404
    assert ask(server, name, ROW, version=0).status_code == 400
    assert ask(server, name, ROW, version=[1, 1]).status_code == 400
    assert server.upload(name, b"no model").status_code == 422
    assert ask(server, name, ROW, version=2).status_code == 409
    assert server.http.post(f"/api/v1/models/{name}/versions/1/archive").status_code == 200
    assert ask(server, name, ROW, version=1).status_code == 409


def test_tests_of_a_held_version_are_charged_like_predictions(server: Client, name: str) -> None:
    version = held(server, name)
    made = server.http.post("/api/v1/api-keys", json={"name": f"one {name}", "monthly_quota": 1}).json()
    own = {"X-API-Key": made["key"]}
    assert ask(server, name, {"input": ["x"]}, own, version=1).status_code == 400
    assert ask(server, name, ROW, own, version=1).status_code == 200

    def used() -> int:
        return int(server.http.get(f"/api/v1/api-keys/{made['id']}").json()["used_this_month"])

    wait_until(used)
    spent = ask(server, name, ROW, own, version=1)
    assert (spent.status_code, "quota of 1 predictions" in spent.json()["detail"]) == (429, True)
    slow = server.http.post("/api/v1/api-keys", json={"name": f"slow {name}", "predict_rate": "1/day"}).json()
    statuses = [ask(server, name, ROW, {"X-API-Key": slow["key"]}, version=1) for _ in range(2)]
    assert [answer.status_code for answer in statuses] == [200, 429]
    assert statuses[0].headers["ratelimit-remaining"] == "0"
    assert server.http.get("/api/v1/predictions", params={"model": version["model_id"]}).json()["items"] == []


def test_the_live_version_answers_rows_too(server: Client, name: str) -> None:
    server.upload(name, iris_pipeline())
    rows = {"inputs": iris()[0][:5].tolist()}
    found = ask(server, name, rows).json()
    assert (found["is_live"], found["held"]) == (True, None)
    assert found["answer"]["predictions"] == server.predict(name, rows).json()["predictions"]
