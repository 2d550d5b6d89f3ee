"""Models whose steps jump at values that an earlier step computed are asked there, and answer like the original."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from serval.conversion.export.original import answers_of
from serval.conversion.export.training_rows import training_rows
from serval.conversion.from_sklearn import convert
from serval.conversion.rows import Rows
from serval.conversion.samples import rows_of
from serval.conversion.verify import jumps, onnxruntime_engine
from serval.conversion.verify.reaching import reaching_rows
from serval.conversion.verify.stored_values import rows_at_stored_values
from serval.conversion.verify.verify import compare

DIABETES, PROGRESS = load_diabetes(return_X_y=True)
IRIS, SPECIES = load_iris(return_X_y=True)
AMOUNTS = np.random.default_rng(1).lognormal(3, 1, (300, 3)).round(1)
AGES = np.random.default_rng(2).integers(18, 90, (300, 3)).astype(np.float64)
BINS = {"quantile_method": "averaged_inverted_cdf"}
JUMPING = {
    "quantiles behind a power": ([PowerTransformer(), QuantileTransformer(n_quantiles=50), Lasso()], DIABETES[:331]),
    "quantiles on whole ranks": ([PowerTransformer(), QuantileTransformer(n_quantiles=50), Lasso()], DIABETES),
    "normal quantiles": (
        [PowerTransformer(), QuantileTransformer(n_quantiles=30, output_distribution="normal"), Ridge()],
        AGES,
    ),
    "bins behind box-cox": ([PowerTransformer("box-cox"), KBinsDiscretizer(5, **BINS), Ridge()], AGES),
    "bins behind a logarithm": ([FunctionTransformer(np.log1p), KBinsDiscretizer(6, **BINS), Ridge()], AMOUNTS),
    "quantiles behind components": ([PCA(3), QuantileTransformer(n_quantiles=40), Ridge()], IRIS),
    "quantiles behind a scaler": ([StandardScaler(), QuantileTransformer(n_quantiles=40), Ridge()], AGES),
}


def numbers(values: np.ndarray) -> Rows:
    return Rows(np.asarray(values, dtype=np.float64), np.empty((len(values), 0), dtype=object))


@pytest.mark.parametrize("name", JUMPING)
def test_the_training_rows_get_the_original_answers(name):
    steps, x = JUMPING[name]
    model = make_pipeline(*steps).fit(x, x[:, 0] * 3 + np.arange(len(x)) % 7)
    converted = convert(model)
    answers = onnxruntime_engine.run(converted.onnx, converted.signature, numbers(x))
    np.testing.assert_allclose(answers.scores[:, 0], model.predict(x), rtol=1e-9, atol=1e-9)


def test_stored_values_are_reached_through_earlier_steps():
    model = make_pipeline(PowerTransformer(), QuantileTransformer(n_quantiles=20), Ridge()).fit(AGES, AGES[:, 0])
    signature = convert(model).signature
    rows = rows_at_stored_values(model, signature, numbers(AGES))
    powers = model[0].transform(rows.numbers)
    edges = [edge for edge in model[1].quantiles_[1:-1, 0] if np.abs(powers[:, 0] - edge).min() < 1e-14]
    assert len(edges) >= 15


def test_a_graph_that_does_not_meet_the_quantiles_fails_verification():
    """A graph of the same model in which one knot is moved by 1e-9, less than a float32 step."""
    steps, x = JUMPING["bins behind box-cox"]
    model = make_pipeline(*steps).fit(x, np.arange(len(x)) % 7)
    moved = deepcopy(model)
    moved[1].bin_edges_[0] = moved[1].bin_edges_[0] + np.array([0.0, 0.0, 1e-9, 0.0, 0.0, 0.0])
    right, wrong = convert(model), convert(moved)
    rows = reaching_rows(model, right.signature, numbers(x), answers_of(model, right.signature, numbers(x)))
    original = answers_of(model, right.signature, rows)
    answers = onnxruntime_engine.run(wrong.onnx, right.signature, rows)
    asked = jumps.questions(right.signature, rows, original, answers)
    excused = jumps.excused(right.signature, asked, answers_of(model, right.signature, asked.rows), answers)
    assert compare(right.signature, original, answers, is_beside_jump=excused).reason is not None


@pytest.mark.parametrize("scalers", [[], [StandardScaler()], [RobustScaler(), StandardScaler()]], ids=len)
def test_the_rows_that_a_model_keeps_are_asked_exactly(scalers):
    model = make_pipeline(*scalers, KNeighborsRegressor()).fit(IRIS[:, :3], IRIS[:, 3])
    signature = convert(make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS[:, :3], SPECIES)).signature
    assert np.array_equal(training_rows(model, signature).numbers, IRIS[:, :3])


@pytest.mark.parametrize(("steps", "is_right"), [(0, True), (3, True), (4, False), (9, False)])
def test_a_row_beside_a_threshold_is_right_within_four_steps_and_wrong_beyond(steps, is_right):
    model = make_pipeline(Binarizer(threshold=0.5), Ridge()).fit(IRIS[:, 3:], SPECIES)
    signature = convert(model).signature
    value = 0.5
    for _ in range(steps):
        value = float(np.nextafter(value, -np.inf))
    rows = rows_of(signature, [[value], [0.2], [2.0]])
    original = answers_of(model, signature, rows)
    converted = replace(original, scores=original.scores[[2, 1, 2]])
    asked = jumps.questions(signature, rows, original, converted)
    excused = jumps.excused(signature, asked, answers_of(model, signature, asked.rows), converted)
    parity = compare(signature, original, converted, is_beside_jump=excused)
    assert (parity.reason is None, parity.jumps) == (is_right, int(is_right))
