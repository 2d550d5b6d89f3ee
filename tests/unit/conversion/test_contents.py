"""Files that hold more than a model are never served in part, and their advice joins them without fitting again."""

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelEncoder,
    MultiLabelBinarizer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from serval.conversion import messages, samples, tasks
from serval.conversion.contents import joined, predictor
from serval.conversion.freeze import FreezeRequest, freeze
from serval.conversion.loading import load
from serval.errors import NotAModel
from support.in_process import InProcessSandbox, OnnxRuntime
from support.sample_models import iris

pytestmark = pytest.mark.anyio
Build = Callable[[], tuple[Any, Any, Any]]

X, Y = iris()
NAMES = np.array(["setosa", "versicolor", "virginica"])
BODIES, PROGRESS = load_diabetes(return_X_y=True)


def logistic(x: Any, y: Any = Y) -> Any:
    return LogisticRegression(max_iter=500).fit(x, y)


def scaler_in_a_dict() -> tuple[Any, Any, Any]:
    scaler = StandardScaler().fit(X)
    model = logistic(scaler.transform(X))
    return {"model": model, "scaler": scaler, "version": 3}, X, model.predict(scaler.transform(X))


def scaler_in_a_tuple() -> tuple[Any, Any, Any]:
    saved, rows, expected = scaler_in_a_dict()
    return (saved["scaler"], saved["model"]), rows, expected


def scaler_in_a_list_in_a_dict() -> tuple[Any, Any, Any]:
    saved, rows, expected = scaler_in_a_dict()
    return {"parts": [saved["model"], saved["scaler"]], "columns": list("abcd")}, rows, expected


def steps_of_other_widths() -> tuple[Any, Any, Any]:
    squares = PolynomialFeatures().fit(X)
    shadows = PCA(3).fit(squares.transform(X))
    model = logistic(shadows.transform(squares.transform(X)))
    expected = model.predict(shadows.transform(squares.transform(X)))
    return {"pca": shadows, "poly": squares, "clf": model}, X, expected


def order_shown_by_names() -> tuple[Any, Any, Any]:
    table = pd.DataFrame(X, columns=list("abcd"))
    imputer = SimpleImputer().fit(table)
    scaler = StandardScaler().fit(imputer.transform(table))
    model = logistic(scaler.transform(imputer.transform(table)))
    expected = model.predict(scaler.transform(imputer.transform(table)))
    return {"scaler": scaler, "imputer": imputer, "model": model}, table, expected


def encoder_before_a_model() -> tuple[Any, Any, Any]:
    table = pd.DataFrame({"c": list("abcd") * 30, "d": list("xyz") * 40})
    encoder = OneHotEncoder(handle_unknown="ignore").fit(table)
    model = logistic(encoder.transform(table), np.arange(120) % 3)
    return [encoder, model], table, model.predict(encoder.transform(table))


def scaled_target() -> tuple[Any, Any, Any]:
    features, target = StandardScaler().fit(BODIES), StandardScaler().fit(PROGRESS[:, None])
    model = Ridge().fit(features.transform(BODIES), target.transform(PROGRESS[:, None]).ravel())
    values = target.inverse_transform(model.predict(features.transform(BODIES))[:, None]).ravel()
    return {"model": model, "x_scaler": features, "y_scaler": target}, BODIES, values


def labels_of_a_forest() -> tuple[Any, Any, Any]:
    encoder = LabelEncoder().fit(NAMES[Y])
    model = RandomForestClassifier(5, random_state=0).fit(X, encoder.transform(NAMES[Y]))
    return {"model": model, "label_encoder": encoder}, X, NAMES[model.predict(X)]


def labels_of_a_search_behind_a_scaler() -> tuple[Any, Any, Any]:
    encoder, scaler = LabelEncoder().fit(NAMES[Y]), StandardScaler().fit(X)
    pipeline = make_pipeline(PCA(2), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0]}, cv=2).fit(scaler.transform(X), Y)
    return (search, scaler, encoder), X, NAMES[search.predict(scaler.transform(X))]


JOINABLE = [
    scaler_in_a_dict, scaler_in_a_tuple, scaler_in_a_list_in_a_dict, steps_of_other_widths, order_shown_by_names,
    encoder_before_a_model, scaled_target, labels_of_a_forest, labels_of_a_search_behind_a_scaler,
]  # fmt: skip


def refusal(content: bytes) -> str:
    with pytest.raises(NotAModel) as caught:
        predictor(load(content).content)
    return caught.value.message


def followed(advice: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the lines of Python in an advice save, run where the file lies."""
    monkeypatch.chdir(path.parent)
    spans = re.findall(r"`([^`]+)`", advice)
    lines = [span for span in spans if re.match(r"[a-z_.\[\]'0-9, -]+ = |joblib\.dump|with open", span)]
    names = {"joblib": joblib, "path": path, "make_pipeline": make_pipeline}
    exec("\n".join(lines), names | {"TransformedTargetRegressor": TransformedTargetRegressor, "open": open})
    return joblib.load(path.with_name("joined.joblib"))


async def assert_live_and_equal(model: Any, rows: Any, expected: Any, folder: Path) -> None:
    path = folder / "whole.pkl"
    path.write_bytes(pickle.dumps(model))

    async def stage(_: str) -> None:
        pass

    made = await freeze(InProcessSandbox(), path, FreezeRequest(), stage)
    cells = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else np.asarray(rows).tolist()
    batch = samples.rows_of(made.signature, samples.fitting(cells, made.signature.columns, is_text=False))
    answers = OnnxRuntime().run(made.onnx, made.signature, batch)
    if made.signature.kind == "regressor":
        np.testing.assert_allclose(answers.scores.ravel(), expected, rtol=1e-5)
    else:
        assert [made.signature.labels[0][code] for code in answers.labels[:, 0]] == list(expected)


@pytest.mark.parametrize("build", JOINABLE, ids=lambda build: build.__name__)
async def test_following_the_advice_makes_one_model_that_answers_like_all_parts(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, rows, expected = build()
    path = tmp_path / "saved.joblib"
    joblib.dump(saved, path)
    advice = refusal(path.read_bytes())
    assert "fits nothing again" in advice
    assert "serval check FILE --join" in advice
    await assert_live_and_equal(followed(advice, path, monkeypatch), rows, expected, tmp_path)


@pytest.mark.parametrize("build", JOINABLE, ids=lambda build: build.__name__)
def test_the_task_joins_what_the_advice_joins(build: Build) -> None:
    saved, rows, expected = build()
    content = tasks.join(pickle.dumps(saved), messages.encode(messages.InspectRequest(1 << 30)))
    found = pickle.loads(content).predict(rows)
    if np.asarray(expected).dtype.kind == "f":
        np.testing.assert_allclose(found, expected)
    else:
        assert found.tolist() == expected.tolist()


def consecutive(objects: tuple[Any, ...], dump: Any = pickle.dump) -> bytes:
    out = io.BytesIO()
    for each in objects:
        dump(each, out)
    return out.getvalue()


@pytest.mark.parametrize("dump", [pickle.dump, joblib.dump], ids=["pickle", "joblib"])
@pytest.mark.parametrize("is_model_first", [True, False])
async def test_objects_one_after_the_other_are_refused_with_how_to_join_them(
    dump: Any, is_model_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, rows, expected = scaler_in_a_dict()
    objects = (saved["model"], saved["scaler"])
    path = tmp_path / "two.pkl"
    path.write_bytes(consecutive(objects if is_model_first else objects[::-1], dump))
    advice = refusal(path.read_bytes())
    assert "2 objects, one after the other" in advice
    assert "`LogisticRegression`" in advice
    assert "`StandardScaler`" in advice
    await assert_live_and_equal(followed(advice, path, monkeypatch), rows, expected, tmp_path)


def test_objects_of_one_pickler_are_both_found() -> None:
    saved, *_ = scaler_in_a_dict()
    out = io.BytesIO()
    pickler = pickle.Pickler(out)
    pickler.dump(saved["scaler"])
    pickler.dump(saved["model"])
    assert "make_pipeline(saved[0], saved[1])" in refusal(out.getvalue())


def test_compressed_objects_one_after_the_other_are_joined_by_the_command_alone() -> None:
    saved, rows, expected = scaler_in_a_dict()
    content = consecutive((saved["model"], saved["scaler"]), lambda each, out: joblib.dump(each, out, compress=3))
    assert "joblib.load" not in refusal(content)
    assert joined(load(content).content).predict(rows).tolist() == expected.tolist()


@pytest.mark.parametrize("rest", [b"\n", b"\0" * 512, b"  \r\n"])
def test_padding_behind_a_model_is_no_second_object(rest: bytes) -> None:
    assert type(predictor(load(pickle.dumps(logistic(X)) + rest).content)) is LogisticRegression


@pytest.mark.parametrize("rest", [bytes(range(1, 65)), b"end of file", b"\x80\x04X"])
def test_other_bytes_behind_a_model_are_refused(rest: bytes) -> None:
    assert "bytes that are no pickle" in refusal(pickle.dumps(logistic(X)) + b"\xff" + rest)


def test_a_model_and_texts_are_saved_alone() -> None:
    advice = refusal(pickle.dumps({"model": logistic(X), "threshold": 0.3, "columns": ["a", "b"]}))
    assert "save `saved['model']` alone" in advice
    assert "What else it holds is not served: `saved['threshold']`, `saved['columns']`" in advice


def test_a_transformer_that_is_in_the_model_already_is_not_put_before_it() -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    saved = {"model": model, "scaler": model[0]}
    assert "save `saved['model']` alone" in refusal(pickle.dumps(saved))
    assert joined(pickle.loads(pickle.dumps(saved))).predict(X).tolist() == model.predict(X).tolist()


def test_a_second_scaler_is_left_to_the_owner() -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    assert "has a `StandardScaler` of its own" in refusal(pickle.dumps([model, StandardScaler().fit(X + 1)]))


def test_a_transformer_that_does_not_count_its_columns_is_left_to_the_owner() -> None:
    saved = {"log": FunctionTransformer(np.log1p), "model": logistic(X)}
    assert "takes columns that it does not count" in refusal(pickle.dumps(saved))


def test_an_order_that_the_file_does_not_show_is_left_to_the_owner() -> None:
    imputer, scaler = SimpleImputer().fit(X), StandardScaler().fit(X)
    saved = {"imputer": imputer, "scaler": scaler, "model": logistic(X)}
    assert "in the order in which your code calls them" in refusal(pickle.dumps(saved))
    with pytest.raises(NotAModel, match="does not show in which order"):
        joined(saved)


async def test_transformers_side_by_side_are_joined_by_a_column_transformer(tmp_path: Path) -> None:
    table = pd.DataFrame({"age": np.arange(90.0), "city": list("abc") * 30})
    scaler, encoder = StandardScaler().fit(table[["age"]]), OneHotEncoder(sparse_output=False).fit(table[["city"]])
    features = np.hstack([scaler.transform(table[["age"]]), encoder.transform(table[["city"]])])
    saved = {"scaler": scaler, "encoder": encoder, "model": logistic(features, np.arange(90) // 30)}
    advice = refusal(pickle.dumps(saved))
    found = re.search(r"`side = (.+?)`", advice)
    assert found is not None
    names = {"ColumnTransformer": ColumnTransformer, "FrozenEstimator": FrozenEstimator, "saved": saved, "X": table}
    whole = make_pipeline(eval(found[1], names), saved["model"])
    await assert_live_and_equal(whole, table, saved["model"].predict(features), tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        VotingClassifier([("a", LogisticRegression(max_iter=500))]).fit(X, Y),
        MLPClassifier((3,), max_iter=2000, tol=1e-2, random_state=0).fit(X, Y),
    ],
    ids=lambda model: type(model).__name__,
)
def test_labels_that_a_model_cannot_take_are_told(model: Any) -> None:
    advice = refusal(pickle.dumps({"model": model, "encoder": LabelEncoder().fit(NAMES)}))
    assert "save `saved['model']` without it" in advice
    assert "1 for 'versicolor'" in advice


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ({"a": logistic(X), "b": Ridge().fit(X, Y)}, "2 models: save each in a file of its own"),
        ({"s": StandardScaler().fit(X)}, "no model among them"),
        ([1, 2], "no model among them"),
        ({"m": logistic(X), "s": StandardScaler().fit(X[:, :2])}, "with a ColumnTransformer"),
        ({"m": logistic(X), "b": MultiLabelBinarizer().fit([["a"]])}, "save `saved['m']` without it"),
        ({"m": Ridge().fit(X[:, :1], Y), "s": StandardScaler().fit(X[:, :1])}, "of the features"),
    ],
)
def test_what_cannot_be_joined_is_refused_with_the_reason(saved: Any, said: str) -> None:
    assert said in refusal(pickle.dumps(saved))
    with pytest.raises(NotAModel):
        joined(saved)


def test_one_model_is_nothing_to_join() -> None:
    with pytest.raises(NotAModel, match="nothing to join"):
        tasks.join(pickle.dumps(logistic(X)), messages.encode(messages.InspectRequest(1 << 30)))
