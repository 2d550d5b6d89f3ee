"""Predictions over HTTP: every form of a body, every refusal, equal bytes for equal rows."""

import json
import pickle

import httpx2
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from support import plain_http
from support.http_client import Client

IRIS = load_iris(as_frame=True)
NAMES = list(IRIS.data.columns)
ROW = [5.1, 3.5, 1.4, 0.2]
NAMED = dict(zip(NAMES, ROW, strict=True))


def mixed() -> pd.DataFrame:
    generator = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "income": generator.normal(30_000, 9_000, 200),
            "age": np.where(generator.random(200) < 0.2, np.nan, generator.integers(18, 90, 200)),
            "city": generator.choice(["Oslo", "Lima", "Pune"], 200),
            "member": generator.random(200) < 0.5,
        }
    )


def mixed_model() -> bytes:
    data = mixed()
    encode = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["income", "age"]),
        (OneHotEncoder(handle_unknown="error", sparse_output=False), ["city"]),
        remainder="passthrough",
    )
    return pickle.dumps(
        make_pipeline(encode, LogisticRegression()).fit(data, np.where(data.income > 30_000, "rich", "not"))
    )


@pytest.fixture(scope="module")
def models(server: Client) -> Client:
    named = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS.data, IRIS.target)
    forest = RandomForestClassifier(30, random_state=0).fit(IRIS.data.to_numpy(), IRIS.target_names[IRIS.target])
    diabetes = load_diabetes()
    for name, content in {
        "iris-named": pickle.dumps(named),
        "iris-forest": pickle.dumps(forest),
        "diabetes": pickle.dumps(LinearRegression().fit(diabetes.data, diabetes.target)),
        "mixed": mixed_model(),
    }.items():
        # A column that is only passed through leaves no trace of its type in the pipeline; the sample tells that
        # `member` is a boolean.
        sample = {"sample": mixed().iloc[:20].to_json(orient="records")} if name == "mixed" else {}
        answer = server.upload(name, content, **sample)
        assert answer.status_code == 201, answer.text
    return server


@pytest.fixture(scope="module")
def partly_used(server: Client) -> Client:
    """Server with `some-columns`, fitted on a table of which it reads `income` and `member`."""
    data = mixed().assign(customer=[f"C-{row}" for row in range(200)], signup=pd.date_range("2024-01-01", periods=200))
    encode = make_column_transformer((StandardScaler(), ["income", "member"]), remainder="drop")
    model = make_pipeline(encode, LogisticRegression()).fit(data, np.where(data.income > 30_000, "rich", "not"))
    answer = server.upload("some-columns", pickle.dumps(model))
    assert answer.status_code == 201, answer.text
    assert [column["name"] for column in answer.json()["signature"]["columns"] if column["kind"] == "unused"] == [
        "age",
        "city",
        "customer",
        "signup",
    ]
    return server


@pytest.mark.parametrize(
    "row",
    [
        {"income": 90_000, "member": True},
        {"income": 90_000, "member": 1},
        {"income": 90_000, "age": None, "city": "Paris", "member": True, "customer": "C-1", "signup": "2024-01-01"},
        {"member": True, "customer": {"id": [1]}, "income": 90_000, "signup": 1.5e300},
        [90_000, "x", None, True, "C-1", 0],
    ],
)
def test_columns_that_no_step_reads_take_anything_or_nothing(partly_used: Client, row: object) -> None:
    answer = partly_used.predict("some-columns", {"input": row})
    assert answer.status_code == 200, answer.text
    assert told(answer) == told(partly_used.predict("some-columns", {"input": {"income": 90_000, "member": True}}))


@pytest.fixture(scope="module")
def dated(server: Client) -> Client:
    """Server with `dated`, which knows five days."""
    data = pd.DataFrame({"when": pd.date_range("2024-05-05", periods=5).tolist() * 20, "n": np.arange(100) / 50})
    encode = make_column_transformer((OneHotEncoder(), ["when"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression()).fit(data, np.where(data.when.dt.day > 6, "late", "early"))
    answer = server.upload("dated", pickle.dumps(model), sample=data.head(9).to_csv(index=False))
    assert answer.status_code == 201, answer.text
    column = answer.json()["signature"]["columns"][0]
    assert (column["kind"], column["categories"][0]) == ("timestamp", "2024-05-05T00:00:00Z")
    return server


@pytest.mark.parametrize("text", ["2024-05-09", "2024-05-09T00:00:00Z", "2024-05-08T20:00:00-04:00"])
def test_timestamps_are_rfc_3339(dated: Client, text: str) -> None:
    for body, headers in (
        (json.dumps({"inputs": [{"when": text, "n": 1.5}]}).encode(), {}),
        (f"n,when\n1.5,{text}\n".encode(), {"Content-Type": "text/csv"}),
    ):
        answer = dated.predict("dated", body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == ["late"]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("9 May 2024", 'expected a timestamp (RFC 3339) such as "2024-05-05T10:00:00Z", got "9 May 2024"'),
        (1_715_212_800_000_000, 'such as "2024-05-05T10:00:00Z", got 1715212800000000'),
        ("2024-06-01", 'the model was never shown "2024-06-01T00:00:00Z"'),
    ],
)
def test_other_values_of_timestamps_are_refused(dated: Client, cell: object, reason: str) -> None:
    answer = dated.predict("dated", {"input": {"when": cell, "n": 1.5}})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "input.when")
    assert reason in answer.json()["detail"]


def test_the_example_of_a_model_with_timestamps_is_answered(dated: Client) -> None:
    example = dated.http.get("/api/v1/models/dated/versions/1").json()["example"]
    assert example["input"]["when"].startswith("2024-05-0")
    assert dated.predict("dated", example).status_code == 200


@pytest.mark.parametrize(
    "text", ["income,member\n90000,True\n", "signup,member,income,customer\n2024-01-01T00:00:00,true,90000,\n"]
)
def test_csv_may_leave_out_columns_that_no_step_reads(partly_used: Client, text: str) -> None:
    answer = partly_used.predict("some-columns", text.encode(), headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == ["rich"]


def test_the_example_of_a_version_leaves_out_columns_that_no_step_reads(partly_used: Client) -> None:
    version = partly_used.http.get("/api/v1/models/some-columns/versions/1").json()
    assert "income" in version["curl"]
    assert "customer" not in version["curl"]


def test_a_column_that_a_step_reads_must_be_there(partly_used: Client) -> None:
    answer = partly_used.predict("some-columns", {"input": {"income": 1, "customer": "C-1"}})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "input.member")


def told(answer: httpx2.Response) -> dict[str, object]:
    """What an answer says but for its times and its cache."""
    fleeting = ("latency_ms", "timestamp", "cache_hit", "cache_hits")
    return {name: value for name, value in answer.json().items() if name not in fleeting}


@pytest.mark.parametrize(
    "body",
    [{"input": NAMED}, {"data": NAMED}, {"input": ROW}, {"features": ROW}, {"input": dict(reversed(NAMED.items()))}],
)
def test_every_form_of_a_row_gets_the_same_answer(models: Client, body: dict[str, object]) -> None:
    answer = models.predict("iris-named", body)
    assert answer.status_code == 200, answer.text
    assert told(answer) == told(models.predict("iris-named", {"features": ROW}))
    assert set(answer.json()) == {
        "prediction",
        "probability",
        "probabilities",
        "model",
        "version",
        "model_version",
        "latency_ms",
        "cache_hit",
        "timestamp",
    }


def test_the_short_route_answers_with_exactly_four_members(models: Client) -> None:
    answer = models.http.post("/predict", json={"model_name": "iris-named", "features": ROW})
    assert list(answer.json()) == ["prediction", "probability", "latency_ms", "cache_hit"]
    assert answer.json()["prediction"] == 0
    assert (
        models.http.post("/predict", json={"model_name": "diabetes", "features": [0.0] * 10}).json()["probability"]
        is None
    )


def test_many_rows_are_answered_in_order(models: Client) -> None:
    rows = IRIS.data.to_numpy()[[0, 60, 140]].tolist()
    answer = models.predict("iris-named", {"inputs": rows}).json()
    assert answer["predictions"] == [models.predict("iris-named", {"input": row}).json()["prediction"] for row in rows]
    by_name = models.predict("iris-named", {"inputs": [dict(zip(NAMES, row, strict=True)) for row in rows]}).json()
    assert by_name["predictions"] == answer["predictions"]


def test_csv_rows_are_answered_in_any_order_of_columns(models: Client) -> None:
    text = IRIS.data.iloc[[0, 60]][NAMES[::-1]].to_csv(index=False)
    answer = models.predict("iris-named", text.encode(), headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == [0, 1]


def test_strings_booleans_and_missing_values_reach_the_model(models: Client) -> None:
    row = {"income": 90_000.5, "age": None, "city": "Oslo", "member": True}
    answer = models.predict("mixed", {"input": row})
    assert answer.status_code == 200, answer.text
    assert answer.json()["prediction"] == "rich"
    assert set(answer.json()["probabilities"]) == {"rich", "not"}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"input": {"income": "n/a", "age": 30, "city": "Oslo", "member": True}}, "input.income"),
        ({"input": {"income": 1, "age": 30, "city": "Paris", "member": True}}, "input.city"),
        ({"input": {"income": 1, "age": 30, "city": None, "member": True}}, "input.city"),
        ({"input": {"income": 1, "age": 30, "city": "Oslo", "membre": True}}, "input.membre"),
        ({"input": {"income": 2**53 + 1, "age": 30, "city": "Oslo", "member": True}}, "input.income"),
        ({"inputs": [{"income": 1, "age": 1, "city": "Oslo", "member": 2}]}, "inputs[0].member"),
    ],
)
def test_a_wrong_value_is_a_400_that_names_its_path(models: Client, body: dict[str, object], path: str) -> None:
    answer = models.predict("mixed", body)
    assert answer.status_code == 400, answer.text
    assert path in [part["path"] for part in answer.json()["errors"]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1, 2, 3, 4]",
        b"null",
        b'{"input": [1, 2, 3, 4], "input": [1, 2, 3, 4]}',
        b'{"inputs": [1, 2]}',
        b'{"features": [[1, 2, 3, 4]]}',
        b'{"inputs": []}',
        b'{"input": [1, 2, 3, 4], "data": [1, 2, 3, 4]}',
        b"{}",
        b'{"rows": [1, 2, 3, 4]}',
        b'{"input": [1, 2, 3]}',
        b'{"input": [1, 2, 3, NaN]}',
        b'{"input": [1, 2, 3, 1e400]}',
        b'{"input": [1, 2, 3, "4"]}',
        b'{"input": [1, 2, 3, null]}',
        b'{"input": [01, 2, 3, 4]}',
        b'{"input": [1, 2, 3, 4]} x',
        b'\xff{"input": [1, 2, 3, 4]}',
        b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"input": {"\\ud800": 1}}',
    ],
)
def test_an_invalid_body_is_a_400_with_a_reason(models: Client, body: bytes) -> None:
    answer = models.predict("iris-named", body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_is_too_large_is_a_413(models: Client) -> None:
    assert models.predict("iris-named", b" " * (9 << 20)).status_code == 413


def test_too_many_rows_are_refused_with_the_limit(models: Client) -> None:
    answer = models.predict("iris-named", {"inputs": [ROW] * 10_001})
    assert answer.status_code == 413
    assert "10000" in answer.json()["detail"].replace(" ", "").replace("_", "").replace(",", "")


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", "multipart/form-data; boundary=x"])
def test_other_content_types_are_a_415(models: Client, content_type: str) -> None:
    assert models.predict("iris-named", {"input": ROW}, headers={"Content-Type": content_type}).status_code == 415


def test_an_unknown_model_is_a_404_and_a_missing_key_a_401(models: Client) -> None:
    assert models.predict("nobody", {"input": ROW}).status_code == 404
    assert (
        plain_http.post(f"{models.url}/predict", json={"model_name": "iris-named", "features": ROW}).status_code == 401
    )
    assert models.http.post("/predict", json={"features": ROW}).status_code == 400


def test_an_equal_prediction_is_a_cache_hit_unless_it_asks_for_no_cache(models: Client) -> None:
    row = {"input": [4.321, 3.5, 1.4, 0.2]}
    first, second = models.predict("iris-forest", row), models.predict("iris-forest", row)
    assert [first.json()["cache_hit"], second.json()["cache_hit"]] == [False, True]
    assert second.headers["x-cache"] == "l1"
    assert told(first) == told(second)
    fresh = models.predict("iris-forest", row, headers={"Cache-Control": "no-cache"})
    assert (fresh.headers["x-cache"], fresh.json()["cache_hit"]) == ("bypass", False)
    assert told(fresh) == told(first)


def test_equal_numbers_spelled_differently_are_a_cache_hit(models: Client) -> None:
    models.predict("iris-forest", b'{"input": [1.0, 2, 3.5, 4]}')
    answer = models.predict("iris-forest", b'{"features": [1, 2e0, 35e-1, 4.000]}')
    assert answer.json()["cache_hit"] is True


@pytest.mark.parametrize("model", ["iris-named", "iris-forest", "diabetes", "mixed"])
def test_answers_are_batch_invariant(models: Client, model: str) -> None:
    """Law 4: alone, among others, in any order, cached or not: equal bytes."""
    rows = load_diabetes().data[:40].tolist() if model == "diabetes" else IRIS.data.to_numpy()[::4].tolist()
    if model == "mixed":
        rows = json.loads(mixed().iloc[:40].to_json(orient="records"))
    ask = {"Cache-Control": "no-cache"}
    together = answers(models.predict(model, {"inputs": rows}, headers=ask, outputs="probabilities"))
    order = np.random.default_rng(1).permutation(len(rows))
    shuffled = answers(models.predict(model, {"inputs": [rows[i] for i in order]}, outputs="probabilities"))
    again = answers(models.predict(model, {"inputs": rows}, outputs="probabilities"))
    assert [together[i] for i in order] == shuffled
    assert again == together
    for row, expected in zip(rows, together, strict=True):
        alone = models.predict(model, {"inputs": [row]}, headers=ask, outputs="probabilities")
        assert answers(alone) == [expected]


def answers(response: httpx2.Response) -> list[str]:
    """Each row's prediction and probabilities, as they were printed."""
    assert response.status_code == 200, response.text
    body = json.loads(response.text, parse_float=str)
    probabilities = body.get("probabilities", [None] * len(body["predictions"]))
    return [json.dumps(pair) for pair in zip(body["predictions"], probabilities, strict=True)]


def test_two_versions_and_two_models_never_share_an_answer(models: Client) -> None:
    from sklearn.dummy import DummyClassifier

    for name, label in [("says-a", "a"), ("says-b", "b")]:
        dummy = DummyClassifier(strategy="constant", constant=label).fit(IRIS.data.to_numpy(), [label] + ["c"] * 149)
        assert models.upload(name, pickle.dumps(dummy)).status_code == 201
    for _ in range(3):
        assert models.predict("says-a", {"input": ROW}).json()["prediction"] == "a"
        assert models.predict("says-b", {"input": ROW}).json()["prediction"] == "b"


def test_server_timing_reports_the_stages_of_a_prediction(models: Client) -> None:
    answer = models.predict("iris-named", {"input": ROW})
    assert [part.split(";")[0].strip() for part in answer.headers["server-timing"].split(",")] == [
        "parse",
        "cache",
        "queue",
        "infer",
    ]
    assert answer.headers["x-model-version"] == "1"


def test_an_expensive_call_is_answered_without_blocking_the_others(models: Client) -> None:
    rows = IRIS.data.to_numpy().tolist() * 66
    answer = models.predict("iris-forest", {"inputs": rows}, headers={"Cache-Control": "no-cache"})
    assert len(answer.json()["predictions"]) == len(rows)
