"""Columns that no part of an estimator reads."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from serval.conversion.export.unused_columns import unused_columns
from serval.conversion.from_sklearn import convert

GENERATOR = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "id": [f"C-{row}" for row in range(60)],
        "at": pd.date_range("2024-01-01", periods=60),
        "age": GENERATOR.normal(40, 10, 60),
        "plan": GENERATOR.choice(["basic", "pro"], 60),
        "size": GENERATOR.normal(size=60),
    }
)
TARGET = (TABLE.age > 40).astype(int)


def on(*columns: str) -> Any:
    return make_column_transformer((StandardScaler(), list(columns)))


def with_encoder() -> Any:
    return make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["plan"]))


REGRESSION = LogisticRegression()
CASES = {
    "not selected": (make_pipeline(on("age"), REGRESSION), ["id", "at", "plan", "size"]),
    "with an encoder": (make_pipeline(with_encoder(), REGRESSION), ["id", "at", "size"]),
    "dropped, and the remainder passed": (
        make_pipeline(ColumnTransformer([("drop", "drop", ["id", "at", "plan"])], remainder="passthrough"), REGRESSION),
        ["id", "at", "plan"],
    ),
    "behind steps that pass everything": (
        make_pipeline("passthrough", on("age", "size"), REGRESSION),
        ["id", "at", "plan"],
    ),
    "read by one of two parts": (make_pipeline(make_union(on("age"), on("size")), REGRESSION), ["id", "at", "plan"]),
    "inside a search": (
        GridSearchCV(make_pipeline(on("age"), REGRESSION), {"logisticregression__C": [0.1, 1.0]}, cv=2),
        ["id", "at", "plan", "size"],
    ),
    "read by one of two voters": (
        VotingClassifier([("a", make_pipeline(on("age"), REGRESSION)), ("b", make_pipeline(on("size"), REGRESSION))]),
        ["id", "at", "plan"],
    ),
    "inside a calibration": (
        CalibratedClassifierCV(make_pipeline(on("age"), REGRESSION), cv=2),
        ["id", "at", "plan", "size"],
    ),
    "not selected by a transformer inside": (
        make_pipeline(make_column_transformer((on("age"), ["id", "age", "plan"])), REGRESSION),
        ["id", "at", "plan", "size"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_columns_that_are_not_read_are_unused(name: str) -> None:
    model, expected = CASES[name]
    model.fit(TABLE, TARGET)
    columns = convert(model).signature.columns
    assert [column.name for column in columns if column.kind == "unused"] == expected


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), REGRESSION),
        make_pipeline(FunctionTransformer(), StandardScaler(), REGRESSION),
        REGRESSION,
    ],
    ids=["scaler", "function", "regression"],
)
def test_every_column_of_a_plain_model_is_read(model: Any) -> None:
    assert unused_columns(model.fit(TABLE[["age", "size"]], TARGET), 2) == frozenset()


def test_columns_without_names_can_be_unused() -> None:
    rows = TABLE[["age", "size", "age"]].to_numpy()
    model = make_pipeline(make_column_transformer((StandardScaler(), [1])), REGRESSION).fit(rows, TARGET)
    assert [column.kind for column in convert(model).signature.columns] == ["unused", "number", "unused"]


def test_a_sample_may_hold_unused_columns_or_leave_them_out() -> None:
    model = make_pipeline(on("age"), REGRESSION).fit(TABLE, TARGET)
    whole = TABLE.astype(object).assign(at=TABLE["at"].astype(str)).iloc[:5].to_dict("records")
    for sample in (whole, [{"age": row["age"]} for row in whole]):
        assert convert(model, sample=sample).signature == convert(model).signature
