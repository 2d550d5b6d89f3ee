"""The metrics of both planes as one text."""

import pickle
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from support import plain_http
from support.http_client import Client

IRIS = load_iris()
ROW = IRIS.data[0].tolist()
PREDICT, PREDICT_OF_OWNER = "/api/v1/predict/{model}", "/api/v1/predict/{owner}/{model}"
UNITS = {"milliseconds", "ms", "minutes", "hours", "kb", "mb", "kilobytes", "megabytes", "percent", "micros", "sec"}
KINDS = {"counter", "gauge", "histogram", "summary"}


def text_of(client: Client) -> str:
    """All metrics, as the operators' port has them."""
    (ready,) = [line for line in client.process.events if line["event"] == "ready"]
    return plain_http.get(f"http://127.0.0.1:{ready['metrics_port']}/metrics").text


def requests_of(client: Client) -> Counter[tuple[str, str, str]]:
    """Answered requests by (method, route, status)."""
    families = {family.name: family for family in text_string_to_metric_families(text_of(client))}
    return Counter(
        {
            (sample.labels["method"], sample.labels["route"], sample.labels["status"]): int(sample.value)
            for sample in families["serval_http_requests"].samples
        }
    )


@pytest.fixture(scope="module")
def model(server: Client) -> Iterator[str]:
    content = pickle.dumps(LogisticRegression(max_iter=500).fit(IRIS.data, IRIS.target))
    assert server.upload("counted", content).json()["is_live"]
    yield "counted"
    server.http.delete("/api/v1/models/counted")


def test_each_answer_counts_under_its_method_route_and_status_whoever_gave_it(server: Client, model: str) -> None:
    before = requests_of(server)
    for _ in range(3):
        assert server.predict(model, {"input": ROW}).status_code == 200
    server.predict(model, {"input": ["x", 1, 2, 3]})
    server.predict(f"admin/{model}", {"input": ROW})
    server.http.post("/predict", json={"model_name": model, "features": ROW})
    server.http.post("/api/predict/counted", json={"input": ROW})
    plain_http.post(f"{server.url}/predict", json={"model_name": model, "features": ROW})
    plain_http.post(f"{server.url}/api/v1/predict/admin/{model}", json={"input": ROW})
    server.http.get("/health/live")
    server.http.get("/info")
    server.http.get("/nothing/here")
    assert requests_of(server) - before == {
        ("POST", PREDICT, "200"): 4,
        ("POST", PREDICT, "400"): 1,
        ("POST", PREDICT_OF_OWNER, "200"): 1,
        ("POST", PREDICT_OF_OWNER, "401"): 1,
        ("POST", "/predict", "200"): 1,
        ("POST", "/predict", "401"): 1,
        ("GET", "/health/live", "200"): 1,
        ("GET", "/info", "200"): 1,
        ("GET", "unmatched", "404"): 1,
    }


def test_a_wrong_method_counts_under_the_route_of_its_path(server: Client) -> None:
    before = requests_of(server)
    for method, path in [("GET", "/predict"), ("PUT", "/api/v1/models/iris/versions/1"), ("DELETE", "/api/models")]:
        assert server.http.request(method, path).status_code == 405
    assert requests_of(server) - before == {
        ("GET", "/predict", "405"): 1,
        ("PUT", "/api/v1/models/{model}/versions/{number}", "405"): 1,
        ("DELETE", "/api/v1/models", "405"): 1,
    }


def test_the_text_follows_the_rules_of_prometheus(server: Client, model: str) -> None:
    assert server.predict(model, {"input": ROW}).status_code == 200
    text = text_of(server)
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    assert len(re.findall("^# TYPE", text, re.MULTILINE)) == len(kinds) == len(helps) > 50
    assert list(kinds) == list(helps)
    assert [name for name, help_text in helps.items() if not re.fullmatch(r"[A-Z0-9].*[^.]\.", help_text)] == []
    assert [name for name, kind in kinds.items() if (kind == "counter") != name.endswith("_total")] == []
    assert [name for name in kinds if not re.fullmatch("(serval|process)_[a-z0-9_]+[a-z0-9]", name)] == []
    assert [name for name in kinds if (UNITS | KINDS | {"created"}) & set(name.split("_"))] == []
    assert [name for name in kinds if name.endswith(("_bucket", "_count", "_sum"))] == []
    samples = re.findall(r"^([a-z0-9_]+)(\{.*\})? (\S+)$", text, re.MULTILINE)
    assert len(samples) == len({(name, labels) for name, labels, _ in samples})
    families = {name if name in kinds else re.sub("_(bucket|count|sum)$", "", name) for name, *_ in samples}
    assert families <= set(kinds)
    assert [labels for _, labels, _ in samples if re.search("[A-Z]", re.sub('"[^"]*"', "", labels))] == []


def test_the_process_shows_what_it_takes_of_the_machine(server: Client) -> None:
    families = {family.name: family for family in text_string_to_metric_families(text_of(server))}
    value = {name: family.samples[0].value for name, family in families.items() if name.startswith("process_")}
    assert value["process_resident_memory_bytes"] > 50 << 20
    assert 5 < value["process_open_fds"] < value["process_max_fds"]
    assert value["process_cpu_seconds"] > 0.1
    assert value["process_start_time_seconds"] > 1.7e9
