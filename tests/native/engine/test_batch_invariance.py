"""Results are batch-invariant: alone, in a batch, in any order, cached or not, equal bytes."""

import json
import re
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from serval._native import DataPlane
from support.planes import ask, converted, load, new_plane, put_caller, regressor, route, signature

CLASSIFIERS = {
    "logistic regression": LogisticRegression(max_iter=200),
    "scaled logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
    "support vectors": SVC(probability=False),
    "random forest": RandomForestClassifier(20, random_state=0),
    "boosted trees": GradientBoostingClassifier(n_estimators=20, random_state=0),
    "tree": DecisionTreeClassifier(random_state=0),
    "naive Bayes": GaussianNB(),
    "network": MLPClassifier((20,), max_iter=100, random_state=0),
}
REGRESSORS = {
    "linear regression": LinearRegression(),
    "ridge": Ridge(),
    "support vectors": SVR(),
    "extra trees": ExtraTreesRegressor(20, random_state=0),
    "network": MLPRegressor(hidden_layer_sizes=(20,), max_iter=100, random_state=0),
}
# What the converter makes of others for float64 rows, ONNX Runtime does not run.
IN_FLOAT64 = {
    "logistic regression",
    "scaled logistic regression",
    "naive Bayes",
    "network",
    "linear regression",
    "ridge",
}
OUTPUTS = {"label": "labels", "output_label": "labels", "output_probability": "probabilities", "variable": "values"}
DATA = {"classifier": [load_iris, load_breast_cancer], "regressor": [load_diabetes]}


def serving(estimator: Any, features: np.ndarray, answers: np.ndarray, kind: str, dtype: str) -> DataPlane:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn deprecates attributes that the converter reads
        model = converted(estimator.fit(features, answers), features.shape[1], OUTPUTS, dtype)
    scores = "float32" if model.graph.output[-1].type.tensor_type.elem_type == 1 else "float64"
    if kind == "classifier":
        contract = signature(
            features.shape[1], labels=[np.unique(answers).tolist()], numbers_dtype=dtype, scores_dtype=scores
        )
    else:
        contract = regressor(features.shape[1], numbers_dtype=dtype, scores_dtype=scores)
    plane = new_plane(max_rows=10_000, cache_bytes=1 << 26)
    put_caller(plane)
    plane.models.set_routes([route()])
    load(plane, model, contract, features)
    return plane


def unseen(features: np.ndarray, count: int) -> np.ndarray:
    """Rows that no probe was: the given ones moved by their spread."""
    random = np.random.default_rng(1)
    return features[random.integers(0, len(features), count)] + random.normal(
        0, 0.3, (count, features.shape[1])
    ) * features.std(axis=0)


def answers_together(plane: DataPlane, rows: np.ndarray, *, no_cache: bool) -> list[str]:
    """What each row of one request was answered with: the very text of its prediction and its probabilities."""
    body = ask(plane, json.dumps({"inputs": rows.tolist()}), all_probabilities=True, no_cache=no_cache).body.decode()
    predictions = re.search(r'"predictions":\[(.*?)\]', body)
    assert predictions
    scores = re.search(r'"probabilities":\[\[(.*?)\]\]', body)
    parts = scores[1].split("],[") if scores else [""] * len(rows)
    return [f"{prediction} {part}" for prediction, part in zip(predictions[1].split(","), parts, strict=True)]


def answer_alone(plane: DataPlane, row: np.ndarray, *, no_cache: bool) -> str:
    body = ask(plane, json.dumps({"input": row.tolist()}), all_probabilities=True, no_cache=no_cache).body.decode()
    prediction = re.search(r'"prediction":(.*?),"', body)
    scores = re.search(r'"probabilities":\{(.*?)\}', body)
    assert prediction
    return f"{prediction[1]} {','.join(pair.split(':')[1] for pair in scores[1].split(',')) if scores else ''}"


CASES = [
    pytest.param(kind, estimator, data, dtype, id=f"{name} on {data.__name__} in {dtype}")
    for kind, estimators in (("classifier", CLASSIFIERS), ("regressor", REGRESSORS))
    for name, estimator in estimators.items()
    for data in DATA[kind]
    for dtype in ("float32", "float64")
    if dtype == "float32" or name in IN_FLOAT64
]


@pytest.mark.parametrize(("kind", "estimator", "data", "dtype"), CASES)
def test_equal_rows_have_equal_bytes_in_every_batch(kind: str, estimator: Any, data: Any, dtype: str) -> None:
    features, answers = data(return_X_y=True)
    plane = serving(estimator, features, answers, kind, dtype)
    rows = unseen(features, 600)
    alone = [answer_alone(plane, row, no_cache=True) for row in rows]
    order = np.random.default_rng(2).permutation(len(rows))
    assert answers_together(plane, rows, no_cache=True) == alone
    assert answers_together(plane, rows[order], no_cache=True) == [alone[place] for place in order]
    for size in (2, 3, 7, 33):
        assert answers_together(plane, rows[:size], no_cache=True) == alone[:size]
    assert answers_together(plane, rows[::2], no_cache=False) == alone[::2]
    assert answers_together(plane, rows, no_cache=False) == alone
    assert [answer_alone(plane, row, no_cache=False) for row in rows] == alone
