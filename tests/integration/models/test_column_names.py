"""Names that the columns of a version are given after its upload, over HTTP."""

import pickle
import uuid
from typing import Any

import httpx2
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from support.http_client import Client

IRIS = load_iris()
NAMES = ["sepal length", "sepal width", "petal length", "petal width"]
ROW = [5.1, 3.5, 1.4, 0.2]
NAMED = dict(zip(NAMES, ROW, strict=True))
UNNAMED_MODEL = pickle.dumps(LogisticRegression(max_iter=500).fit(IRIS.data, IRIS.target))


@pytest.fixture
def unnamed(server: Client) -> str:
    """A model of one version that takes four columns without names."""
    return uploaded(server, UNNAMED_MODEL)


def uploaded(server: Client, content: bytes, **fields: str) -> str:
    name = f"iris-{uuid.uuid4().hex[:8]}"
    answer = server.upload(name, content, **fields)
    assert answer.status_code == 201, answer.text
    return name


def renamed(server: Client, model: str, columns: Any = NAMES, number: int = 1) -> httpx2.Response:
    return server.http.patch(f"/api/v1/models/{model}/versions/{number}", json={"columns": columns})


def test_rows_by_the_new_names_are_answered_at_once(server: Client, unnamed: str) -> None:
    before = server.predict(unnamed, {"input": ROW}).json()
    assert server.predict(unnamed, {"input": NAMED}).status_code == 400
    answer = renamed(server, unnamed)
    assert answer.status_code == 200, answer.text
    assert [column["name"] for column in answer.json()["signature"]["columns"]] == NAMES
    assert set(answer.json()["example"]["input"]) == set(NAMES)
    reversed_row = dict(reversed(NAMED.items()))
    for row in (NAMED, reversed_row, ROW):
        told = server.predict(unnamed, {"input": row})
        assert told.status_code == 200, told.text
        assert told.json()["probabilities"] == before["probabilities"]
    csv = "petal width,petal length,sepal width,sepal length\n0.2,1.4,3.5,5.1\n"
    told = server.predict(unnamed, csv.encode(), headers={"Content-Type": "text/csv"})
    assert told.json()["predictions"] == [before["prediction"]]
    assert server.predict(unnamed, {"data": {"x0": 5.1, "x1": 3.5, "x2": 1.4, "x3": 0.2}}).status_code == 400
    assert server.http.post(f"/api/v1/models/{unnamed}/test").status_code == 200


def test_what_the_cache_holds_from_before_stays_right(server: Client, unnamed: str) -> None:
    asked = [server.predict(unnamed, {"input": ROW}).json()["prediction"] for _ in range(2)]
    shuffled = ["petal length", "petal width", "sepal length", "sepal width"]
    assert renamed(server, unnamed, shuffled).status_code == 200
    by_name = dict(zip(shuffled, ROW, strict=True))
    told = [server.predict(unnamed, {"input": row}).json()["prediction"] for row in (by_name, NAMED, by_name)]
    swapped = LogisticRegression(max_iter=500).fit(IRIS.data, IRIS.target).predict([[1.4, 0.2, 5.1, 3.5]])
    assert told == [asked[0], int(swapped[0]), asked[0]]


def test_columns_are_named_once(server: Client, unnamed: str) -> None:
    assert renamed(server, unnamed).status_code == 200
    again = renamed(server, unnamed)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert "have names already" in again.json()["detail"]


def test_names_given_with_the_upload_stay(server: Client) -> None:
    model = uploaded(server, UNNAMED_MODEL, columns="a,b,c,d")
    assert renamed(server, model).status_code == 409
    assert server.predict(model, {"input": dict(zip("abcd", ROW, strict=True))}).status_code == 200


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (["a", "b", "c"], "3 names for a version that takes 4 columns"),
        ([], "0 names for a version that takes 4 columns"),
        (["a", "b", "a", "d"], "`a` is there twice"),
        (["a", "b", "", "d"], "`columns[2]`: is empty"),
        (["a", "b\x1a", "c", "d"], "holds U+0000 or U+001A"),
        (["a", "b", "c", 4], "columns[3]"),
        ("a,b,c,d", "columns"),
    ],
)
def test_other_names_are_refused_and_change_nothing(server: Client, unnamed: str, columns: Any, reason: str) -> None:
    answer = renamed(server, unnamed, columns)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert reason in answer.text.encode().decode("unicode_escape")
    version = server.http.get(f"/api/v1/models/{unnamed}/versions/1").json()
    assert [column["name"] for column in version["signature"]["columns"]] == ["x0", "x1", "x2", "x3"]
    assert server.predict(unnamed, {"input": ROW}).status_code == 200


def test_an_unknown_version_and_an_unknown_member_are_refused(server: Client, unnamed: str) -> None:
    assert renamed(server, unnamed, number=9).status_code == 404
    path = f"/api/v1/models/{unnamed}/versions/1"
    assert server.http.patch(path, json={"column": NAMES}).status_code == 400
    assert server.http.patch(path, json={}).json()["signature"]["has_names"] is False


def test_a_version_that_is_not_live_is_named_alone(server: Client, unnamed: str) -> None:
    assert server.upload(unnamed, UNNAMED_MODEL).status_code == 201
    assert renamed(server, unnamed).status_code == 200
    assert server.predict(unnamed, {"input": NAMED}, version="1").status_code == 200
    assert server.predict(unnamed, {"input": NAMED}).status_code == 400


def test_columns_that_nothing_reads_may_be_left_out_by_name(server: Client) -> None:
    encode = make_column_transformer((StandardScaler(), [0, 2]))
    model = uploaded(server, pickle.dumps(make_pipeline(encode, LogisticRegression()).fit(IRIS.data, IRIS.target)))
    answer = renamed(server, model)
    assert set(answer.json()["example"]["input"]) == {"sepal length", "petal length"}
    row = {"petal length": 1.4, "sepal length": 5.1}
    by_name, by_position = (server.predict(model, {"input": each}).json() for each in (row, ROW))
    assert by_name["probabilities"] == by_position["probabilities"]


def test_a_version_that_was_held_for_its_columns_says_that_they_were_named(server: Client) -> None:
    model = uploaded(server, UNNAMED_MODEL, columns="a,b,c,d")
    assert server.upload(model, UNNAMED_MODEL).json()["code"] == "schema_changed"
    named = renamed(server, model, list("abcd"), number=2).json()
    assert (named["is_live"], named["held"]["code"]) == (False, "schema_changed")
    assert "they were named since" in named["held"]["message"]
    promoted = server.http.post(f"/api/v1/models/{model}/versions/2/promote")
    assert (promoted.status_code, promoted.json()["held"]) == (200, None)
