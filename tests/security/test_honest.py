"""What the confinement must not break: scikit-learn, its threads, its converter and ONNX Runtime."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from support import honest_tasks
from support.sandbox_lab import LIMITS, Laboratory

TASKS = Path(honest_tasks.__file__)
GENEROUS = LIMITS.__class__(memory_bytes=1 << 30, cpu_seconds=60, wall_seconds=120.0, output_bytes=64 << 20, threads=32)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return load_iris().data


@pytest.fixture(scope="module")
def models(rows: np.ndarray) -> list[object]:
    models = [
        RandomForestClassifier(20, n_jobs=-1),
        HistGradientBoostingClassifier(max_iter=5),
        KNeighborsClassifier(n_jobs=-1),
        make_pipeline(StandardScaler(), LogisticRegression()),
        VotingClassifier([("a", LogisticRegression(max_iter=500)), ("b", SVC())], n_jobs=2),
        GridSearchCV(SVC(), {"C": [1, 2]}, n_jobs=-1),
        MLPClassifier((8,), max_iter=20),
    ]
    target = load_iris().target
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [model.fit(rows, target) for model in models]


def test_models_with_parallel_jobs_predict_like_unconfined(
    laboratory: Laboratory, models: list[object], rows: np.ndarray
) -> None:
    laboratory.sandbox = laboratory.make(GENEROUS, tasks=TASKS)
    answer = pickle.loads(laboratory.run("predict", pickle.dumps((models, rows))))
    for model, predicted in zip(models, answer, strict=True):
        np.testing.assert_array_equal(predicted, model.predict(rows))  # type: ignore[attr-defined]


def test_a_conversion_and_a_run_of_its_onnx_agree_with_the_original(
    laboratory: Laboratory, models: list[object], rows: np.ndarray
) -> None:
    laboratory.sandbox = laboratory.make(GENEROUS, tasks=TASKS)
    floats = rows.astype(np.float32)
    onnx = laboratory.run("convert", pickle.dumps((models[0], floats)))
    labels = pickle.loads(laboratory.run("infer", onnx, pickle.dumps(floats)))
    np.testing.assert_array_equal(labels, models[0].predict(floats))  # type: ignore[attr-defined]
