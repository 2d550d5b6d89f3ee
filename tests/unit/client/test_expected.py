"""The answers of a model where it was fitted, as an upload has them."""

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from serval_client.expected import MAX_BYTES, evenly_spaced, names_of, sample_fields

X, Y = load_iris(return_X_y=True, as_frame=True)
LABELS = np.array(["setosa", "versicolor", "virginica"])[Y]
CLASSIFIER = LogisticRegression(max_iter=1000).fit(X, LABELS)


def rows_of(model: Any, sample: Any, columns: list[str] | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(sample_fields(model, sample, columns, is_answered=True)["sample"])
    return rows


def test_each_row_has_the_answer_and_the_probabilities_of_the_model() -> None:
    fields = sample_fields(CLASSIFIER, X, None, is_answered=True)
    rows = json.loads(fields["sample"])
    assert fields["expected_with"] == sklearn.__version__
    assert [row.pop("prediction") for row in rows] == CLASSIFIER.predict(X).tolist()
    assert [row.pop("probabilities") for row in rows] == CLASSIFIER.predict_proba(X).tolist()
    assert rows == X.to_dict("records")


def test_rows_of_an_array_have_the_names_that_they_have_in_csv_or_those_given() -> None:
    model = LinearRegression().fit(X.to_numpy(), Y)
    assert list(rows_of(model, X.to_numpy()[:1])[0]) == ["x0", "x1", "x2", "x3", "prediction"]
    assert list(rows_of(model, X[:1], ["a", "b", "c", "d"])[0]) == ["a", "b", "c", "d", "prediction"]


def test_a_column_that_the_model_does_not_know_is_left_out() -> None:
    names = list(X.columns)
    model = make_pipeline("passthrough", LogisticRegression(max_iter=1000)).fit(X, LABELS)
    assert names_of(model) == names
    selecting = sklearn.compose.ColumnTransformer([("kept", "passthrough", names)])
    selecting = make_pipeline(selecting, LogisticRegression(max_iter=1000)).fit(X, LABELS)
    assert list(rows_of(selecting, X.assign(target=LABELS))[0]) == [*names, "prediction", "probabilities"]


def test_a_classifier_without_probabilities_sends_none() -> None:
    assert "probabilities" not in rows_of(RidgeClassifier().fit(X, LABELS), X)[0]


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_a_model_and_its_sample_may_be_files(tmp_path: Path, suffix: str) -> None:
    joblib.dump(CLASSIFIER, tmp_path / "model.joblib")
    sample = tmp_path / f"rows.{suffix}"
    sample.write_text(X.to_csv(index=False) if suffix == "csv" else json.dumps(X.to_dict("records")))
    assert rows_of(tmp_path / "model.joblib", sample) == rows_of(CLASSIFIER, X)


def test_a_sample_without_answers_goes_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,prediction\n1,0\n")
    assert sample_fields("no such file", tmp_path / "rows.csv", None, is_answered=False) == {
        "sample": "a,prediction\n1,0\n"
    }
    rows = [{"a": 1, "prediction": np.int64(0), "probabilities": [0.75, 0.25]}]
    assert sample_fields("no such file", rows, None, is_answered=False) == {
        "sample": '[{"a":1,"prediction":0,"probabilities":[0.75,0.25]}]'
    }
    assert sample_fields("no such file", X[:1], None, is_answered=False) == {
        "sample": json.dumps(X[:1].to_dict("records"), separators=(",", ":"))
    }


def test_the_rows_of_a_large_sample_are_evenly_spaced() -> None:
    assert evenly_spaced(np.arange(1000), 4).tolist() == [0, 250, 500, 750]
    assert evenly_spaced(list(range(10)), 5) == [0, 2, 4, 6, 8]
    assert evenly_spaced(X, 300) is X


def test_a_wide_sample_has_as_many_rows_as_the_server_takes() -> None:
    wide = np.full((9, 40_000), 1.0 / 3.0)
    model = LinearRegression().fit(wide[:2], [0.0, 1.0])
    text = sample_fields(model, wide, None, is_answered=True)["sample"]
    assert MAX_BYTES / 2 < len(text) <= MAX_BYTES


def test_a_column_named_as_an_answer_is_refused_with_a_way_out() -> None:
    frame = pd.DataFrame({"prediction": [1.0, 2.0]})
    with pytest.raises(ValueError, match=r"a column `prediction`.* `expected_answers=False`"):
        rows_of(LinearRegression().fit(frame, [0, 1]), frame)


def test_a_skops_file_is_not_loaded() -> None:
    with pytest.raises(ValueError, match=r"`model\.skops` is not loaded here: .*`expected_answers=False`"):
        rows_of("model.skops", X)


MOMENTS = ["2024-05-05", "2024-05-06", "2024-05-07", "2024-05-08"]


def as_moments(kind: str) -> list[Any]:
    if kind == "text":
        return list(MOMENTS)
    stamps = [pd.Timestamp(text, tz="Europe/Berlin" if kind == "instants" else None) for text in MOMENTS]
    return [stamp.date() for stamp in stamps] if kind == "dates" else stamps


@pytest.mark.parametrize("suffix", ["csv", "json", "dicts"])
@pytest.mark.parametrize("kind", ["timestamps", "instants", "dates", "text"])
def test_text_of_a_sample_is_a_moment_where_the_model_was_fitted_on_moments(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    frame = pd.DataFrame({"when": as_moments(kind), "amount": [1.0, 2.0, 3.0, 4.0]})
    encoded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["when"]), remainder="passthrough")
    model = make_pipeline(encoded, LinearRegression()).fit(frame, [1.0, 5.0, 2.0, 9.0])
    texts = [moment.isoformat() if hasattr(moment, "isoformat") else moment for moment in frame["when"]]
    rows = frame.assign(when=texts).iloc[[3, 1, 0]]
    sample: Any = rows.to_dict("records")
    if suffix != "dicts":
        sample = tmp_path / f"rows.{suffix}"
        sample.write_text(rows.to_csv(index=False) if suffix == "csv" else rows.to_json(orient="records"))
    sent = rows_of(model, sample)
    assert [row["when"] for row in sent] == [texts[3], texts[1], texts[0]]
    np.testing.assert_allclose([row["prediction"] for row in sent], model.predict(frame.iloc[[3, 1, 0]]))


def test_text_that_a_model_refuses_is_read_as_moments() -> None:
    frame = pd.DataFrame({"when": pd.to_datetime(MOMENTS), "amount": [1.0, 2.0, 3.0, 4.0]})
    days = FunctionTransformer(lambda moments: moments.apply(lambda column: column.dt.day))
    parts = make_column_transformer((days, ["when"]), remainder="passthrough")
    model = make_pipeline(parts, LinearRegression()).fit(frame, [1.0, 5.0, 2.0, 9.0])
    sent = rows_of(model, frame.assign(when=MOMENTS).to_dict("records"))
    np.testing.assert_allclose([row["prediction"] for row in sent], model.predict(frame))
