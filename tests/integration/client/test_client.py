"""The client at a running server: push, predict, errors, with and without `await`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pandas as pd
import pytest
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import serval_client as serval
from support.http_client import Client as Server

X, Y = load_iris(return_X_y=True, as_frame=True)
LABELS = np.array(["setosa", "versicolor", "virginica"])[Y]
IRIS = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, LABELS)


@pytest.fixture(scope="module")
def client(embedded_server: Server) -> Iterator[serval.Client]:
    with serval.Client(embedded_server.url, embedded_server.key) as client:
        yield client


@pytest.fixture(scope="module")
def iris(client: serval.Client) -> serval.Version:
    return client.models.push(IRIS, name="client-iris", sample=X, description="flowers")


def test_a_pushed_model_is_live_and_compared_with_the_answers_here(
    client: serval.Client, iris: serval.Version, embedded_server: Server
) -> None:
    assert (iris.is_live, iris.held) == (True, None)
    assert iris.report is not None
    assert (iris.report["expected_rows"], iris.report["expected_agreement"]) == (150, 1.0)
    golden = embedded_server.http.get(f"/api/v1/models/{iris.model_id}/versions/{iris.version}/golden").json()
    assert golden["expected_with"] == sklearn.__version__
    assert client.models.show("client-iris").description == "flowers"
    assert iris.model_id in [model.id for model in client.models.list()]
    for called in ("client-iris", "admin/client-iris", iris.model_id):
        assert client.models.version(called, iris.version) == iris
    assert client.models.show("admin/client-iris") == client.models.show("client-iris")
    with pytest.raises(serval.NotFound, match="no model `admin/nosuch`"):
        client.models.versions("admin/nosuch")
    assert iris in client.models.versions("client-iris")


@pytest.mark.parametrize(
    "rows", [X, X.to_numpy(), X.to_numpy().tolist(), X.to_dict("records")], ids=["frame", "array", "lists", "dicts"]
)
@pytest.mark.usefixtures("iris")
def test_predictions_are_those_of_the_model(client: serval.Client, rows: Any) -> None:
    answer = client.predict("client-iris", rows, probabilities=True)
    assert np.asarray(answer).tolist() == list(answer) == IRIS.predict(X).tolist()
    assert answer.classes == IRIS.classes_.tolist()
    np.testing.assert_allclose(answer.probabilities, IRIS.predict_proba(X), atol=1e-12)


def test_a_table_that_no_single_request_may_hold_is_answered(
    client: serval.Client, iris: serval.Version, tmp_path: Path
) -> None:
    many = pd.concat([X] * 70, ignore_index=True)
    many.to_csv(tmp_path / "many.csv", index=False)
    expected = IRIS.predict(many).tolist()
    for rows in (many, tmp_path / "many.csv"):
        answer = client.predict("client-iris", rows)
        assert (answer.predictions, answer.version) == (expected, iris.version)
    many.loc[10_200, X.columns[0]] = np.inf
    many.to_csv(tmp_path / "many.csv", index=False)
    with pytest.raises(serval.BadRequest, match=r"^line 10202, sepal length"):
        client.predict("client-iris", tmp_path / "many.csv")


@pytest.mark.parametrize(
    "row",
    [X.iloc[0], X.to_numpy()[0], X.to_numpy()[0].tolist(), X.iloc[0].to_dict()],
    ids=["series", "array", "list", "dict"],
)
def test_one_row_gets_one_prediction(client: serval.Client, iris: serval.Version, row: Any) -> None:
    answer = client.predict("admin/client-iris", row, version=iris.version)
    assert (len(answer), answer[0], answer.version, answer.probabilities) == (1, "setosa", iris.version, None)


def test_a_frame_of_every_kind_of_column_is_answered_as_by_the_model(client: serval.Client) -> None:
    frame = pd.DataFrame(
        {
            "plan": pd.Categorical(["a", "b", "a", "c"] * 5),
            "country": ["DE", None, "FR", "DE"] * 5,
            "active": [True, False, True, True] * 5,
            "age": [30.5, np.nan, 41.0, 8.0] * 5,
            "since": pd.to_datetime(["2024-05-05", "2024-05-06", "2024-05-05", "2024-05-07"] * 5),
        }
    )
    steps = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["plan", "country", "since"]),
        ("passthrough", ["active"]),
        (SimpleImputer(), ["age"]),
    )
    model = make_pipeline(steps, LinearRegression()).fit(frame, range(20))
    assert client.models.push(model, name="client-columns", sample=frame).is_live
    np.testing.assert_allclose(client.predict("client-columns", frame), model.predict(frame), rtol=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(3, random_state=0),
        MLPClassifier((3,), max_iter=5000, random_state=0),
        MultiOutputClassifier(LogisticRegression()),
        StackingClassifier([("mlp", MLPClassifier((3,), max_iter=5000))], RandomForestClassifier(3, random_state=0)),
    ],
    ids=["list", "second-label", "each-target", "first-label"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_probabilities_of_several_targets_are_compared_in_whatever_shape_they_come(
    client: serval.Client, model: Any
) -> None:
    targets = np.column_stack([Y == 0, Y == 2]).astype(int)
    rows = X.to_numpy()[::3]
    version = client.models.push(model.fit(rows, targets[::3]), name="client-targets", sample=rows)
    assert version.report is not None
    assert (version.report["expected_rows"], version.report["expected_agreement"]) == (50, 1.0)
    assert client.predict("client-targets", rows)[:] == model.predict(rows).tolist()


def test_a_file_is_pushed_with_its_answers_and_each_stage_is_shown(client: serval.Client, tmp_path: Path) -> None:
    joblib.dump(IRIS, tmp_path / "iris.joblib")
    X.to_csv(tmp_path / "rows.csv", index=False)
    moments: list[serval.Progress] = []
    version = client.models.push(
        tmp_path / "iris.joblib", name="client-file", sample=tmp_path / "rows.csv", progress=moments.append
    )
    assert (version.is_live, version.filename) == (True, "iris.joblib")
    stages = list(dict.fromkeys(moment.stage for moment in moments))
    assert stages[:3] == ["asking the model", "saving the model", "uploading"]
    assert len(stages) > 3
    size = (tmp_path / "iris.joblib").stat().st_size
    assert ("uploading", size, size) in moments


def test_a_version_with_other_columns_is_held_with_the_reason(client: serval.Client) -> None:
    client.models.push(IRIS, name="client-held")
    other = LogisticRegression(max_iter=1000).fit(X.iloc[:, :2], LABELS)
    held = client.models.push(other, name="client-held")
    assert not held.is_live
    assert held.held is not None
    assert held.held.code == "schema_changed"
    assert client.models.wait(held) == held
    assert client.models.push(other, name="client-held", allow_schema_change=True).is_live


def test_a_version_that_is_held_can_be_promoted_and_left_again(client: serval.Client) -> None:
    client.models.push(IRIS, name="client-promoted")
    held = client.models.push(LogisticRegression(max_iter=1000).fit(X.iloc[:, :2], LABELS), name="client-promoted")
    with pytest.raises(serval.Conflict, match="columns"):
        client.models.promote("client-promoted", held.version)
    assert client.models.promote("client-promoted", held.version, allow_schema_change=True).is_live
    assert client.models.rollback("client-promoted").version == 1


def test_a_check_says_what_would_become_of_a_model_and_stores_nothing(client: serval.Client) -> None:
    fine = client.models.check(IRIS, sample=X)
    assert (fine.converts, fine.failure) == (True, None)
    assert fine.report is not None
    assert fine.report["expected_agreement"] == 1.0
    refused = client.models.check({"a": 1})
    assert not refused.converts
    assert refused.failure is not None
    assert refused.failure.code == "not_a_model"


def test_a_route_without_a_method_can_be_requested(client: serval.Client, iris: serval.Version) -> None:
    path = f"/api/v1/models/{iris.model_id}"
    assert client.request("PATCH", path, {"cache": "off"})["cache"] == "off"
    assert client.request("GET", "/api/v1/predictions", query={"model": iris.model_id, "limit": "1"})["items"]
    assert client.request("GET", "/metrics").startswith("# HELP")
    with pytest.raises(serval.BadRequest, match="cache"):
        client.request("PATCH", path, {"cache": "on"})


def test_columns_give_names_to_a_model_without(client: serval.Client) -> None:
    model = LinearRegression().fit(X.to_numpy(), Y)
    client.models.push(model, name="client-named", sample=X.to_numpy(), columns=["a", "b", "c", "d"])
    row = dict(zip("abcd", X.to_numpy()[0].tolist(), strict=True))
    np.testing.assert_allclose(client.predict("client-named", row), model.predict(X.to_numpy()[:1]), rtol=1e-12)


def test_answers_of_ones_own_are_compared_too(client: serval.Client) -> None:
    wrong = [{**row, "prediction": "virginica"} for row in X[:5].to_dict("records")]
    with pytest.raises(serval.Refused, match="expected") as refusal:
        client.models.push(IRIS, name="client-wrong", sample=wrong, expected_answers=False)
    assert refusal.value.code == "not_verified"


@pytest.mark.usefixtures("iris")
def test_problems_of_the_server_are_exceptions(client: serval.Client, embedded_server: Server) -> None:
    with pytest.raises(serval.NotFound, match='no model "iriss"'):
        client.predict("iriss", X)
    with pytest.raises(serval.BadRequest, match=r"inputs\[0\]\.sepal: unknown column"):
        client.predict("client-iris", {"sepal": 1.0})
    with pytest.raises(serval.BadRequest, match="expected 4 values"):
        client.predict("client-iris", [1.0])
    with pytest.raises(serval.Refused, match="no model among them"):
        client.models.push({"a": 1}, name="client-dict")
    with serval.Client(embedded_server.url, "srv_wrong") as stranger, pytest.raises(serval.NotAuthenticated) as error:
        stranger.predict("client-iris", X)
    assert "srv_wrong" not in repr([error.value, vars(error.value), error.value.__context__, error.value.__cause__])


def test_a_server_that_is_away_is_unreachable() -> None:
    client = serval.Client("http://127.0.0.1:9", "srv_secret", retry_seconds=0)
    with client, pytest.raises(serval.Unreachable) as error:
        client.models.list()
    assert "srv_secret" not in repr([error.value, vars(error.value), error.value.__context__, error.value.__cause__])


def test_no_proxy_stands_before_a_server_on_this_machine(
    embedded_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serval.Client(embedded_server.url, embedded_server.key) as client:
        assert client.models.list() is not None


@pytest.mark.anyio
async def test_everything_can_be_awaited(embedded_server: Server) -> None:
    async with serval.AsyncClient(embedded_server.url, embedded_server.key) as client:
        version = await client.models.push(IRIS, name="client-async", sample=X)
        assert version.is_live
        assert list(await client.predict("client-async", X)) == IRIS.predict(X).tolist()
        with pytest.raises(serval.NotFound):
            await client.models.show("iriss")
    async with serval.AsyncClient("http://127.0.0.1:9", "srv_secret", retry_seconds=0) as stranger:
        with pytest.raises(serval.Unreachable):
            await stranger.models.list()


def test_an_upload_that_is_waited_for_later_is_the_version_of_a_push(client: serval.Client) -> None:
    rows = X.assign(prediction=LABELS).head(20).to_json(orient="records")
    sample = serval.Sample(rows, sklearn.__version__)
    started = client.models.upload(IRIS, name="client-upload", sample=sample)
    ended = client.models.wait(started)
    assert (ended.version, ended.is_live) == (started.version, True)
    assert ended.report is not None
    assert ended.report["expected_rows"] == 20


def test_a_file_is_downloaded_in_parts_and_an_error_has_its_document(
    client: serval.Client, iris: serval.Version
) -> None:
    path = f"/api/v1/models/client-iris/versions/{iris.version}/download"
    with client.download(path) as parts:
        content = b"".join(parts)
    assert onnx.load_from_string(content).graph.input
    with pytest.raises(serval.NotFound) as missing, client.download("/api/v1/models/client-iris/versions/99/download"):
        pass
    assert missing.value.document is not None
    assert missing.value.document["type"].endswith("/docs/errors#not_found")
    nobody = serval.Client("http://127.0.0.1:9", "k")
    with pytest.raises(serval.Unreachable, match="does not respond"), nobody, nobody.download(path):
        pass
