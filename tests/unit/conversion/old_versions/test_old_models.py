"""Models of older versions answer as the real older versions did, or wait for their owner."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.base
import skops.io
from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from serval.conversion import samples
from serval.conversion.freeze import FreezeRequest, Frozen, freeze
from serval.conversion.loading import load
from serval.conversion.old_versions.changes import CHANGES
from support.in_process import InProcessSandbox, OnnxRuntime
from support.old_models import VERSIONS, OldModel, old_models
from support.sample_models import iris, specimen

pytestmark = pytest.mark.anyio

CHANGED = [
    *[("1.5.2", f"logistic {name}") for name in ("ovr lbfgs 3", "auto liblinear 3", "multinomial lbfgs 2", "cv ovr")],
    *[("1.5.2", name) for name in ("logistic auto newton-cholesky 3", "adaptive SAMME.R 2", "centroid", "latent")],
    *[("1.7.2", name) for name in ("calibrated", "voting", "gradient Decision 3", "encoded", "ridge 3")],
    *[("1.3.2", name) for name in ("tree 3", "forest 2", "bagging 3", "gradient None 3", "adaptive SAMME.R 3")],
    *[("1.2.2", name) for name in ("extra 3", "adaptive SAMME 3", "latent of two targets", "sgd log 3")],
    *[("1.1.3", name) for name in ("calibrated gradient 3", "histogram 3", "passed through")],
    *[("1.0.2", name) for name in ("bins ordinal", "exponential", "histogram poisson", "poisson", "stacking")],
]


def missing_in(table: Any, column: int) -> Any:
    row = table[:1].copy()
    if isinstance(row, pd.DataFrame):
        row.iloc[0, column] = np.nan
    else:
        row[0, column] = np.nan
    return row


def refuses(model: Any, row: Any) -> bool:
    try:
        model.predict(row)
    except ValueError:
        return True
    return False


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", VERSIONS)
def test_every_old_model_is_evaluated_as_its_version_did(version: str) -> None:
    models = old_models(version)
    assert len(models) > 50
    for name, old in models.items():
        loaded = load(old.content)
        assert loaded.saved_by == version
        assert loaded.is_evaluated_as_saved
        model, expected = loaded.content, old.answers
        if is_classifier(model):
            assert np.asarray(model.predict(old.table)).tolist() == expected["predictions"], name
        else:
            np.testing.assert_allclose(model.predict(old.table), expected["predictions"], rtol=1e-6, err_msg=name)
        for method in ("predict_proba", "decision_function"):
            assert hasattr(model, method) == (expected[method] is not None), name
            if expected[method] is not None:
                found = np.asarray(getattr(model, method)(old.table))
                np.testing.assert_allclose(found, expected[method], rtol=1e-6, atol=1e-9, err_msg=name)
        missing = [refuses(model, missing_in(old.table, column)) for column in range(old.table.shape[1])]
        assert missing == expected["refuses_missing"], name


async def frozen(content: bytes, folder: Path, request: FreezeRequest | None = None) -> Frozen:
    path = folder / "model.pkl"
    path.write_bytes(content)

    async def stage(_: str) -> None:
        pass

    return await freeze(InProcessSandbox(), path, request or FreezeRequest(), stage)


async def assert_live_and_equal(old: OldModel, folder: Path) -> None:
    made = await frozen(old.content, folder)
    assert made.report.hold_reason is None
    cells = samples.fitting(old.answers["rows"], made.signature.columns, is_text=False)
    rows = samples.rows_of(made.signature, cells)
    answers = OnnxRuntime().run(made.onnx, made.signature, rows)
    assert answers.is_answered.all()
    expected = np.asarray(old.answers["predictions"]).reshape(len(rows), made.signature.targets)
    if made.signature.kind == "regressor":
        np.testing.assert_allclose(answers.scores, expected, rtol=1e-5)
        return
    for target, labels in enumerate(made.signature.labels):
        assert [labels[code] for code in answers.labels[:, target]] == expected[:, target].tolist()
    if made.signature.has_probabilities:
        tables = side_by_side(old.answers["predict_proba"], len(rows), made.signature.score_width)
        np.testing.assert_allclose(answers.scores, tables, rtol=0, atol=1e-6)
    else:
        assert old.answers["predict_proba"] is None


def side_by_side(answered: Any, rows: int, width: int) -> Any:
    """`[rows, classes]`: the tables of all targets. scikit-learn answers with a list of them, or with the probabilities
    of the second of two labels."""
    if np.ndim(answered) == 3 or len(answered) != rows:
        return np.concatenate([np.asarray(table) for table in answered], axis=1)
    table = np.asarray(answered)
    return table if table.shape[1] == width else np.stack([1 - table, table], axis=2).reshape(rows, width)


@pytest.mark.parametrize(("version", "name"), CHANGED, ids=[f"{version} {name}" for version, name in CHANGED])
async def test_old_models_whose_meaning_changed_go_live_and_answer_as_before(
    version: str, name: str, tmp_path: Path
) -> None:
    await assert_live_and_equal(old_models(version)[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
async def test_old_models_go_live_and_answer_as_before(version: str, tmp_path: Path) -> None:
    for old in list(old_models(version).values())[VERSIONS.index(version) % 4 :: 4]:
        await assert_live_and_equal(old, tmp_path)


def signed(model: Any, version: str, monkeypatch: pytest.MonkeyPatch, dump: Any = pickle.dumps) -> bytes:
    """The model as a file that names another version."""
    with monkeypatch.context() as patch:
        patch.setattr(sklearn.base, "__version__", version)
        return bytes(dump(model))


async def test_an_old_model_of_an_estimator_that_was_not_compared_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    model = KNeighborsClassifier(3).fit(rng.normal(size=(60, 2)), rng.integers(0, 2, 60))
    held = (await frozen(signed(model, "1.5.2", monkeypatch), tmp_path)).report.hold_reason
    assert held is not None
    assert "1.5.2" in held


@pytest.mark.parametrize("version", ["0.24.2", "1.10.0", "2.0.0", "development"])
async def test_a_model_of_a_version_that_was_not_compared_is_held(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = signed(specimen("iris logistic").model, version, monkeypatch)
    assert (await frozen(content, tmp_path)).report.hold_reason is not None


@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps], ids=["pickle", "skops"])
def test_one_versus_rest_is_known_by_its_attribute(dump: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LogisticRegression(max_iter=500).fit(*iris())
    model.multi_class = "ovr"
    sigmoids = 1 / (1 + np.exp(-model.decision_function(iris()[0])))
    loaded = load(signed(model, "1.5.2", monkeypatch, dump))
    assert loaded.is_evaluated_as_saved
    expected = sigmoids / sigmoids.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loaded.content.predict_proba(iris()[0]), expected)


def test_a_model_that_the_present_version_saved_keeps_the_present_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LogisticRegression(max_iter=500).fit(*iris())
    model.multi_class = "ovr"
    loaded = load(pickle.dumps(model)).content
    assert (loaded.predict_proba(iris()[0]) == model.predict_proba(iris()[0])).all()


def test_the_changes_are_listed_from_the_newest_and_say_what_serval_does() -> None:
    versions = [change.since for change in CHANGES]
    assert versions == sorted(versions, reverse=True)
    assert all(change.what and change.seen and change.done for change in CHANGES)
