"""The models that are served: real ones, sized by what one row costs."""

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ROW = [5.1, 3.5, 1.4, 0.2]


@cache
def iris() -> Any:
    """The model of the tables: a logistic regression, 4 columns, 3 classes."""
    return LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))


@cache
def customers() -> tuple[pd.DataFrame, Any]:
    """A table as companies have it: 3 numbers and 3 strings (40 categories together), and who left."""
    chance = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "tenure": chance.integers(0, 72, 2000).astype(float),
            "monthly": chance.normal(65, 20, 2000).round(2),
            "total": chance.normal(2000, 900, 2000).round(2),
            "plan": chance.choice(["basic", "plus", "pro", "max"], 2000),
            "city": chance.choice([f"city {number}" for number in range(30)], 2000),
            "payment": chance.choice(["card", "check", "wire", "cash", "app", "gift"], 2000),
        }
    )
    return frame, (frame["monthly"] + 10 * (frame["plan"] == "pro") + chance.normal(0, 5, 2000) > 66).to_numpy()


def churn() -> Any:
    """A logistic regression on that table."""
    encoded = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["tenure", "monthly", "total"]),
            ("strings", OneHotEncoder(handle_unknown="ignore"), ["plan", "city", "payment"]),
        ]
    )
    return make_pipeline(encoded, LogisticRegression()).fit(*customers())


def churn_of_numbers() -> Any:
    """The same without its strings: six numbers with names."""
    frame, left = customers()
    numbers = frame[["tenure", "monthly", "total"]]
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers.join(numbers, rsuffix="_before"), left)


def perceptron(*widths: int) -> Any:
    """A network on the iris columns, barely trained: what it costs is what counts (its weights have to come from
    memory)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MLPClassifier(widths, solver="sgd", max_iter=1, random_state=0).fit(*load_iris(return_X_y=True))
    del model._optimizer  # twice the weights again, of use for training only
    return model


def two_milliseconds() -> Any:
    return perceptron(1600, 1600)


def ten_milliseconds() -> Any:
    return perceptron(2000, 2000, 2000, 2000)


@cache
def forest() -> Any:
    """300 trees on 30 columns."""
    return RandomForestClassifier(300, random_state=0).fit(*load_breast_cancer(return_X_y=True))


def deep_forest() -> Any:
    """300 trees that learned noise by heart, so that what a model takes stands out from what a process takes."""
    chance = np.random.default_rng(0)
    return RandomForestClassifier(300, random_state=0).fit(
        chance.normal(size=(1000, 30)), chance.integers(2, size=1000)
    )


def forest_rows(count: int) -> list[list[float]]:
    rows = load_breast_cancer().data
    chance = np.random.default_rng(0)
    drawn: list[list[float]] = (
        (rows[chance.integers(len(rows), size=count)] * chance.uniform(0.99, 1.01, (count, 30))).round(4).tolist()
    )
    return drawn


def write(folder: Path) -> None:
    """Write the iris model as each contender takes it."""
    from skl2onnx import to_onnx

    model = iris()
    onnx = to_onnx(model, np.zeros((1, 4), np.float32), options={"zipmap": False}, target_opset=21)
    (folder / "iris.onnx").write_bytes(onnx.SerializeToString())
    joblib.dump(model, folder / "iris.joblib")
    (folder / "iris.json").write_text(
        json.dumps({"coefficients": model.coef_.tolist(), "intercepts": model.intercept_.tolist()})
    )
