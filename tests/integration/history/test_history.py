"""Predictions can be read back by the users they concern."""

import pickle
import re
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serval.db.engine import now
from serval.ids import first_id, new_id
from support.backends import Postgres
from support.http_client import Client, serving
from support.stored_users import add_person
from support.waiting import wait_until

IRIS = load_iris()
MODEL = pickle.dumps(LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target))
ROW = [5.1, 3.5, 1.4, 0.2]
LISTED_SECONDS = 2.0

Headers = dict[str, str]


@pytest.fixture(scope="module")
def users(server: Client, backend: dict[str, str]) -> list[Headers]:
    """Two who have no rights beyond their own: headers of each."""
    return [add_person(server, backend, name).headers for name in ("owner", "other")]


@pytest.fixture(scope="module")
def owner(server: Client, users: list[Headers]) -> Headers:
    """The one of them that has a model `seen` with two versions."""
    for _ in range(2):
        files, headers = {"file": ("model.pkl", MODEL)}, {**users[0], "Prefer": "wait=120"}
        assert (
            server.http.post("/api/v1/models/upload", files=files, data={"name": "seen"}, headers=headers).status_code
            == 201
        )
    return users[0]


@pytest.fixture(scope="module")
def other(users: list[Headers]) -> Headers:
    return users[1]


@pytest.fixture
def start(owner: Headers) -> str:
    """The moment from which on a test looks at what was predicted."""
    return datetime.now(UTC).isoformat()


def listed(client: Client, headers: Headers | None = None, **query: Any) -> list[dict[str, Any]]:
    answer = client.http.get("/api/v1/predictions", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def wait_for_listed(
    client: Client, count: int, headers: Headers | None = None, within_seconds: float = LISTED_SECONDS, **query: Any
) -> list[dict[str, Any]]:
    """What is listed when there are so many."""
    found: list[dict[str, Any]] = []

    def are_listed() -> bool:
        found[:] = listed(client, headers, **query)
        return len(found) >= count

    wait_until(are_listed, within_seconds=within_seconds)
    assert len(found) == count
    return found


def test_a_prediction_is_listed_within_two_seconds(server: Client, owner: Headers, start: str) -> None:
    answer = server.predict("seen", {"input": ROW}, headers=owner).json()
    [item] = wait_for_listed(server, 1, owner, model="seen", since=start)
    assert (item["predictions"], item["probabilities"]) == ([answer["prediction"]], [answer["probability"]])
    assert (item["model"], item["version_id"], item["version"]) == ("seen", answer["version"], 2)
    assert (item["rows"], item["latency_ms"], item["inputs"]) == (1, answer["latency_ms"], None)
    assert item["cache"] in {"l1", "miss"}
    assert re.fullmatch("[0-9a-f]{32}", item["digest"])
    assert abs(datetime.fromisoformat(item["created_at"]) - datetime.fromisoformat(answer["timestamp"])) < timedelta(
        milliseconds=2
    )
    assert server.http.get(f"/api/v1/predictions/{item['id']}", headers=owner).json() == item


def test_of_a_large_batch_the_first_rows_are_listed(server: Client, owner: Headers, start: str) -> None:
    answer = server.predict("seen", {"inputs": IRIS.data.tolist()}, headers=owner).json()
    [item] = wait_for_listed(server, 1, owner, since=start)
    assert item["rows"] == len(IRIS.data)
    assert item["predictions"] == answer["predictions"][: len(item["predictions"])]
    assert len(item["predictions"]) == len(item["probabilities"]) == 8


def test_equal_rows_have_equal_digests_however_they_are_written(server: Client, owner: Headers, start: str) -> None:
    for body in ({"input": ROW}, {"features": ROW}, {"inputs": [ROW]}, {"input": [5, *ROW[1:]]}):
        assert server.predict("seen", body, headers=owner).status_code == 200
    csv = "x0,x1,x2,x3\n" + ",".join(map(str, ROW)) + "\n"
    assert server.predict("seen", csv.encode(), headers={**owner, "Content-Type": "text/csv"}).status_code == 200
    items = wait_for_listed(server, 5, owner, since=start)
    assert sorted(Counter(item["digest"] for item in items).values()) == [1, 4]


def test_the_owner_and_administrators_see_a_prediction_and_others_do_not(
    server: Client, owner: Headers, other: Headers, start: str
) -> None:
    model = server.http.get("/api/v1/models/seen", headers=owner).json()["id"]
    assert server.predict(model, {"input": ROW}).status_code == 200  # an administrator asks
    [item] = wait_for_listed(server, 1, owner, since=start)
    assert item in listed(server, since=start)
    assert listed(server, other) == []
    assert server.http.get(f"/api/v1/predictions/{item['id']}", headers=other).status_code == 404
    assert server.http.get("/api/v1/predictions", params={"model": model}, headers=other).status_code == 404


def test_pages_of_predictions_follow_each_other_newest_first(server: Client, owner: Headers, start: str) -> None:
    for _ in range(5):
        assert server.predict("seen", {"input": ROW}, headers=owner).status_code == 200
    all_ids = [item["id"] for item in wait_for_listed(server, 5, owner, since=start)]
    assert all_ids == sorted(all_ids, reverse=True)
    paged: list[str] = []
    query: dict[str, Any] = {"since": start, "limit": 2}
    while True:
        page = server.http.get("/api/v1/predictions", params=query, headers=owner).json()
        paged += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert paged == all_ids


def test_predictions_can_be_filtered_by_version_and_time(server: Client, owner: Headers, start: str) -> None:
    for version in ("1", "2", "1"):
        assert server.predict("seen", {"input": ROW}, headers=owner, version=version).status_code == 200
    wait_for_listed(server, 3, owner, since=start)
    assert [item["version"] for item in listed(server, owner, since=start, version=1)] == [1, 1]
    assert listed(server, owner, since=start, until=start) == []
    assert listed(server, owner, since="2999-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "query", ["cursor=nothing", "limit=0", "limit=501", "since=yesterday", "version=0", "version=1&version=2"]
)
def test_an_invalid_filter_is_refused(server: Client, query: str) -> None:
    assert server.http.get(f"/api/v1/predictions?{query}").status_code == 400


def test_an_unknown_prediction_is_not_found(server: Client) -> None:
    assert server.http.get(f"/api/v1/predictions/{new_id('prd')}").status_code == 404


def test_the_public_metrics_cover_only_models_of_the_caller(server: Client, owner: Headers, other: Headers) -> None:
    assert server.predict("seen", {"input": ROW}, headers=owner).status_code == 200
    text = server.http.get("/metrics", headers=owner).text
    assert set(re.findall(r'model="[^"/]+/([^"]+)"', text)) == {"seen"}
    assert "serval_http_requests_total" not in text
    assert "model=" not in server.http.get("/metrics", headers=other).text
    assert "/seen" in server.http.get("/metrics").text


def rows_of(folder: Path) -> list[tuple[Any, ...]]:
    """What is in the table of a server that has stopped."""
    with closing(sqlite3.connect(folder / "serval.sqlite")) as database:
        return database.execute("SELECT id, inputs, predictions FROM predictions ORDER BY id").fetchall()


@pytest.fixture
def folder(folder_with_models: Path, tmp_path: Path) -> Path:
    """A data folder of a test's own, where the model `iris` is live."""
    return shutil.copytree(folder_with_models, tmp_path / "data")


def test_an_orderly_stop_writes_the_last_predictions(folder: Path) -> None:
    with serving(folder, {"SERVAL_HISTORY_INPUTS": "values"}) as client:
        assert client.predict("iris", {"input": ROW}).status_code == 200
    [(_, inputs, predictions)] = rows_of(folder)
    assert (inputs, predictions) == ("[[5.1,3.5,1.4,0.2]]", "[0]")


def test_predictions_are_logged_by_sample_and_slow_ones_as_warnings(folder: Path) -> None:
    with serving(folder, {"SERVAL_LOG_PREDICTIONS_SAMPLE": "1"}) as client:
        answer = client.predict("iris", {"input": ROW}).json()
        client.predict("iris", {"input": ROW})  # whose key the data plane knows
        line = client.process.until("prediction")
        assert (line["level"], line["version"], line["rows"]) == ("info", answer["model_version"], 1)
    with serving(folder, {"SERVAL_LOG_PREDICTIONS_SAMPLE": "0", "SERVAL_SLOW_REQUEST_MS": "0.0001"}) as client:
        for _ in range(2):
            client.predict("iris", {"input": ROW})
        assert client.process.until("slow_prediction")["level"] == "warning"


def test_a_sample_of_zero_records_nothing(folder: Path) -> None:
    with serving(folder, {"SERVAL_HISTORY_SAMPLE": "0"}) as client:
        for _ in range(20):
            assert client.predict("iris", {"input": ROW}).status_code == 200
        assert "serval_history_dropped_total 0\n" in client.http.get("/metrics").text
    assert rows_of(folder) == []


def test_a_full_ring_counts_dropped_records_and_fails_no_prediction(folder: Path) -> None:
    with serving(folder, {"SERVAL_HISTORY_CAPACITY": "1"}) as client:
        for _ in range(200):
            assert client.predict("iris", {"input": ROW}).status_code == 200
        dropped = re.search(r"^serval_history_dropped_total (\d+)$", client.http.get("/metrics").text, re.MULTILINE)
    assert dropped is not None
    assert int(dropped[1]) > 0
    assert int(dropped[1]) + len(rows_of(folder)) == 200


def test_predictions_beyond_the_retention_are_deleted(folder: Path) -> None:
    with serving(folder, {}) as client:
        for _ in range(3):
            client.predict("iris", {"input": ROW})
    [first, second, last] = [row[0] for row in rows_of(folder)]
    with closing(sqlite3.connect(folder / "serval.sqlite")) as database, database:
        for prediction, days in ((first, 31), (second, 29)):
            aged = first_id("prd", now() - timedelta(days=days))
            database.execute("UPDATE predictions SET id = ? WHERE id = ?", (aged, prediction))
    with serving(folder, {}) as client:
        wait_until(lambda: len(listed(client)) <= 2)
        items = listed(client)
    assert [item["id"] for item in items] == [last, aged]


def test_predictions_made_in_a_database_outage_are_written_afterwards(database: Postgres, tmp_path: Path) -> None:
    with serving(tmp_path / "data", {"SERVAL_DATABASE_URL": database.url()}) as client:
        assert client.upload("iris", MODEL).status_code == 201
        client.predict("iris", {"input": ROW})
        wait_for_listed(client, 1)
        database.stop()
        try:
            for _ in range(50):
                assert client.predict("iris", {"input": ROW}).status_code == 200
            client.process.until("history_waiting_for_database")
        finally:
            database.start()
        wait_until(lambda: client.http.get("/api/v1/predictions").status_code == 200)
        wait_for_listed(client, 51, within_seconds=30)
        assert "serval_history_lost_total 0.0\n" in client.http.get("/metrics").text
