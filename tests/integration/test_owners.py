"""Two owners share nothing, also where they uploaded the same file."""

import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from client import Client, serving
from serval.auth import keys
from serval.ids import new_id

ROW = {"input": [5.1, 3.5, 1.4, 0.2]}


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("serval") / "data", {}) as client:
        yield client


@pytest.fixture(scope="module")
def ada(admin: Client) -> dict[str, str]:
    return key_of_a_new_user(admin.folder, "ada")


@pytest.fixture(scope="module")
def bob(admin: Client) -> dict[str, str]:
    return key_of_a_new_user(admin.folder, "bob")


@pytest.fixture(scope="module")
def same_file(admin: Client, ada: dict[str, str], bob: dict[str, str]) -> bytes:
    iris = load_iris()
    content = pickle.dumps(DecisionTreeClassifier(random_state=0).fit(iris.data, iris.target))
    for owner in (ada, bob):
        answer = admin.http.post(
            "/api/v1/models/upload", files={"file": ("tree.pkl", content)}, data={"name": "tree"}, headers={**owner, "Prefer": "wait=120"}
        )
        assert answer.status_code == 201, answer.text
    return content


def key_of_a_new_user(folder: Path, username: str) -> dict[str, str]:
    """A user and a key, written where the service finds them: there is no route that makes users yet."""
    user_id, secret, at = new_id("usr"), keys.new_key(), "2026-01-01 00:00:00.000000"
    with sqlite3.connect(folder / "serval.sqlite", timeout=20) as database:
        database.execute("INSERT INTO users (id, username, role, created_at) VALUES (?, ?, 'user', ?)", (user_id, username, at))
        database.execute(
            "INSERT INTO api_keys (id, user_id, name, digest, prefix, created_at) VALUES (?, ?, 'test', ?, ?, ?)",
            (new_id("key"), user_id, keys.digest(secret), keys.visible_prefix(secret), at),
        )
    database.close()
    return {"X-API-Key": secret}


def test_equal_rows_of_the_same_file_are_cached_for_each_owner_apart(
    admin: Client, ada: dict[str, str], bob: dict[str, str], same_file: bytes
) -> None:
    hits = [admin.predict("tree", ROW, headers=owner).json()["cache_hit"] for owner in (ada, ada, bob, bob)]
    assert hits == [False, True, False, True]


@pytest.mark.parametrize("method_path", ["GET ", "GET /versions", "GET /versions/1/report", "POST /rollback", "DELETE "])
def test_the_model_of_another_does_not_exist(
    admin: Client, ada: dict[str, str], bob: dict[str, str], same_file: bytes, method_path: str
) -> None:
    method, _, path = method_path.partition(" ")
    model = admin.http.get("/api/v1/models/tree", headers=ada).json()["id"]
    answer = admin.http.request(method, f"/api/v1/models/{model}{path}", headers=bob)
    assert (answer.status_code, answer.json()["detail"]) == (404, f"There is no model `{model}`.")
    for name in ("ada/tree", model):
        assert admin.predict(name, ROW, headers=bob).status_code == 404


def test_each_sees_and_lists_only_what_is_theirs_and_an_administrator_sees_all(
    admin: Client, ada: dict[str, str], bob: dict[str, str], same_file: bytes
) -> None:
    for headers, owners in ((ada, {"ada"}), (bob, {"bob"}), ({}, {"ada", "bob"})):
        listed = admin.http.get("/api/v1/models", headers=headers).json()["items"]
        assert {model["owner"] for model in listed} == owners
    assert "ada/tree" not in admin.http.get("/metrics", headers=bob).text
    assert 'model="ada/tree"' in admin.http.get("/metrics").text
