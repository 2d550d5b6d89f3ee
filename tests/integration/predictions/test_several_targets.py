"""Probabilities of classifiers of several targets over HTTP: a table for each target, in every form of an answer."""

import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from support.http_client import Client
from support.waiting import wait_until

IRIS = load_iris()
TAGS = np.stack([IRIS.target > 0, IRIS.target > 1, IRIS.data[:, 0] > 6], axis=1).astype(int)
TABLE = pd.DataFrame({"length": IRIS.data[:, 0], "width": IRIS.data[:, 3], "site": np.tile(["a", "b", "c"], 50)})
WORDS = np.stack([IRIS.target_names[IRIS.target], np.where(IRIS.data[:, 0] > 6, "long", "short")], axis=1)

TAGGED = OneVsRestClassifier(LogisticRegression(max_iter=500)).fit(IRIS.data, TAGS)
WORDED = make_pipeline(
    make_column_transformer((OneHotEncoder(), ["site"]), remainder="passthrough"),
    MultiOutputClassifier(LogisticRegression(max_iter=500)),
).fit(TABLE, WORDS)
SCORED = MultiOutputClassifier(RidgeClassifier()).fit(IRIS.data, TAGS)

Case = tuple[str, list[Any], list[np.ndarray], list[list[Any]]]


def tagged() -> Case:
    """A model's name, rows, for each target the original's probabilities, and the labels in their order."""
    positive = TAGGED.predict_proba(IRIS.data)
    tables = [np.stack([1 - column, column], axis=1) for column in positive.T]
    return "tagged", IRIS.data.tolist(), tables, [[0, 1]] * 3


def worded() -> Case:
    labels = [["setosa", "versicolor", "virginica"], ["long", "short"]]
    return "worded", TABLE.to_dict("records"), WORDED.predict_proba(TABLE), labels


@pytest.fixture(scope="module")
def models(server: Client) -> Client:
    for name, model in {"tagged": TAGGED, "worded": WORDED, "scored": SCORED}.items():
        answer = server.upload(name, pickle.dumps(model))
        assert answer.status_code == 201, answer.text
        signature = answer.json()["signature"]
        assert (signature["has_probabilities"], signature["is_multi_target"]) == (name != "scored", True)
    return server


@pytest.mark.parametrize("case", [tagged, worded])
def test_one_row_has_a_map_and_a_probability_for_each_target(models: Client, case: Any) -> None:
    name, rows, tables, labels = case()
    for index in (0, 77, 149):
        answer = models.predict(name, {"input": rows[index]}).json()
        assert [list(told) for told in answer["probabilities"]] == [list(map(str, known)) for known in labels]
        found = [list(told.values()) for told in answer["probabilities"]]
        for told, table in zip(found, tables, strict=True):
            np.testing.assert_allclose(told, table[index], rtol=0, atol=1e-9)
        best = [known[int(table[index].argmax())] for known, table in zip(labels, tables, strict=True)]
        assert answer["prediction"] == best
        assert answer["probability"] == [max(told) for told in found]


@pytest.mark.parametrize("is_csv", [False, True], ids=["json", "csv"])
@pytest.mark.parametrize("case", [tagged, worded])
def test_many_rows_have_classes_and_tables_when_asked(models: Client, case: Any, is_csv: bool) -> None:
    name, rows, tables, labels = case()
    body: Any = {"inputs": rows}
    headers = {"Content-Type": "application/json"}
    if is_csv:
        frame = TABLE if name == "worded" else pd.DataFrame(rows)
        headers = {"Content-Type": "text/csv" if name == "worded" else "text/csv; header=absent"}
        body = frame.to_csv(index=False, header=name == "worded").encode()
    answer = models.predict(name, body, headers=headers, outputs="probabilities")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["classes"] == labels
    assert len(told["probabilities"]) == len(rows)
    for target, table in enumerate(tables):
        found = [row[target] for row in told["probabilities"]]
        np.testing.assert_allclose(found, table, rtol=0, atol=1e-9)
        predicted = [row[target] for row in told["predictions"]]
        assert predicted == [labels[target][place] for place in table.argmax(axis=1)]
    assert "probabilities" not in models.predict(name, body, headers=headers).json()


def test_the_short_route_answers_with_the_probability_of_each_target(models: Client) -> None:
    answer = models.http.post("/predict", json={"model_name": "tagged", "features": IRIS.data[0].tolist()}).json()
    assert set(answer) == {"prediction", "probability", "latency_ms", "cache_hit"}
    np.testing.assert_allclose(answer["probability"], 1 - TAGGED.predict_proba(IRIS.data[:1])[0], rtol=0, atol=1e-9)


def test_a_cached_answer_has_the_same_tables(models: Client) -> None:
    rows = [row | {"length": 4.0 + place / 7} for place, row in enumerate(worded()[1][:20])]
    asked = {"inputs": rows}
    fresh = models.predict("worded", asked, headers={"Cache-Control": "no-cache"}, outputs="probabilities")
    models.predict("worded", asked)
    cached = models.predict("worded", asked, outputs="probabilities")
    assert (fresh.headers["x-cache"], cached.headers["x-cache"]) == ("bypass", "l1")
    assert cached.json()["probabilities"] == fresh.json()["probabilities"]
    one = models.predict("worded", {"input": rows[3]})
    assert [list(table.values()) for table in one.json()["probabilities"]] == fresh.json()["probabilities"][3]


@pytest.mark.parametrize("body", [{"input": IRIS.data[0].tolist()}, {"inputs": IRIS.data[:2].tolist()}])
def test_probabilities_of_a_model_that_has_none_are_refused(models: Client, body: dict[str, Any]) -> None:
    assert models.predict("scored", body).status_code == 200
    refused = models.predict("scored", body, outputs="probabilities")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")
    assert refused.json()["errors"][0]["path"] == "outputs"
    assert "version 1 of the model has no probabilities" in refused.json()["detail"]


def test_the_history_keeps_the_probability_of_each_target(models: Client) -> None:
    answer = models.predict("tagged", {"input": [5.5, 3.1, 4.4, 1.25]}).json()

    def stored() -> list[dict[str, Any]]:
        items = models.http.get("/api/v1/predictions", params={"model": "tagged"}).json()["items"]
        return [item for item in items if item["probabilities"] == [answer["probability"]]]

    wait_until(lambda: bool(stored()))
    assert stored()[0]["predictions"] == [answer["prediction"]]


@pytest.mark.parametrize("form", ["tables", "maps", "one number a target"])
def test_expected_probabilities_of_each_target_are_compared(models: Client, form: str) -> None:
    rows, (first, second, third) = IRIS.data[::15], TAGGED.predict_proba(IRIS.data[::15]).T

    def sample(third: np.ndarray) -> str:
        told = []
        for row, prediction, positive in zip(
            rows, TAGGED.predict(rows), np.stack([first, second, third], 1), strict=True
        ):
            tables: list[Any] = {
                "tables": [[1 - p, p] for p in positive.tolist()],
                "maps": [{"1": p, "0": 1 - p} for p in positive.tolist()],
                "one number a target": positive.tolist(),
            }[form]
            cells = {f"x{place}": cell for place, cell in enumerate(row.tolist())}
            told.append({**cells, "prediction": prediction.tolist(), "probabilities": tables})
        return json.dumps(told)

    name, content = f"expected-{form.replace(' ', '-')}", pickle.dumps(TAGGED)
    right = models.upload(name, content, sample=sample(third), expected_with=sklearn.__version__)
    assert right.status_code == 201, right.text
    assert (right.json()["report"]["expected_rows"], right.json()["report"]["expected_agreement"]) == (len(rows), 1.0)
    moved = np.where(np.arange(len(rows)) == 4, third + 0.001, third)
    wrong = models.upload(f"{name}-moved", content, sample=sample(moved), expected_with=sklearn.__version__)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "not_verified")
    assert "1 of 10 rows of the sample get another answer" in wrong.json()["detail"]
    assert "row 5" in wrong.json()["detail"]
