"""What is converted of a column of categories grows with their number, not with its square."""

import warnings
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeRegressor

from serval.conversion.messages import MAX_CATEGORIES
from serval.conversion.signature_check import check_signature
from serval.errors import NotConvertible
from support.served import Served, records

LEVELS = 2000
BYTES_FOR_EACH = 200
"""A table of levels by levels of booleans needs ten times as many."""


def table(levels: int = LEVELS, *, as_numbers: bool = False) -> pd.DataFrame:
    random = np.random.default_rng(0)
    codes = np.concatenate([np.arange(levels), random.integers(0, levels, 300)])
    names: Any = codes / 7 if as_numbers else np.array([f"{code:06d}" for code in codes], dtype=object)
    return pd.DataFrame(
        {"n": random.normal(size=len(codes)), "zip": names, "city": random.choice(list("abc"), len(codes))}
    )


def columns(encoder: Any) -> ColumnTransformer:
    return ColumnTransformer([("n", StandardScaler(), ["n"]), ("c", encoder, ["zip", "city"])], remainder="drop")


FREQUENT = OneHotEncoder(min_frequency=2, handle_unknown="infrequent_if_exist")
PIPELINES = {
    "linear": make_pipeline(columns(OneHotEncoder()), Ridge(solver="lsqr")),
    "linear without the first": make_pipeline(columns(OneHotEncoder(drop="first")), Ridge(solver="lsqr")),
    "linear with rare ones together": make_pipeline(columns(FREQUENT), Ridge(solver="lsqr")),
    "scaled": make_pipeline(columns(OneHotEncoder()), StandardScaler(with_mean=False), Ridge(solver="lsqr")),
    "scaled twice": make_pipeline(
        columns(OneHotEncoder()), MaxAbsScaler(), StandardScaler(with_mean=False), Ridge(solver="lsqr")
    ),
    "selected": make_pipeline(columns(OneHotEncoder()), SelectKBest(f_regression, k=900), Ridge(solver="lsqr")),
    "rotated": make_pipeline(columns(OneHotEncoder()), TruncatedSVD(3, random_state=0), LinearRegression()),
    "network": make_pipeline(
        columns(OneHotEncoder()), MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, random_state=0)
    ),
    "tree": make_pipeline(columns(OneHotEncoder()), DecisionTreeRegressor(max_leaf_nodes=30, random_state=0)),
    "codes": make_pipeline(columns(OrdinalEncoder()), DecisionTreeRegressor(max_leaf_nodes=30, random_state=0)),
    "means": make_pipeline(columns(TargetEncoder(random_state=0)), Ridge()),
    "union": make_pipeline(columns(FeatureUnion([("one", OneHotEncoder()), ("two", OrdinalEncoder())])), Ridge()),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_column_of_many_categories_makes_a_small_graph(name: str) -> None:
    rows = table()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PIPELINES[name].fit(rows, np.sin(np.arange(len(rows))) + rows.n)
    served = Served(model)
    asked = rows.iloc[::40]
    np.testing.assert_allclose(served.predict(records(asked)), model.predict(asked), rtol=1e-5, atol=1e-9)
    assert len(served.converted.onnx) < LEVELS * BYTES_FOR_EACH


@pytest.mark.parametrize(
    "encoder", [OneHotEncoder(), OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder()], ids=str
)
def test_numbers_as_categories_make_a_small_graph(encoder: Any) -> None:
    rows = table(as_numbers=True)
    model = make_pipeline(columns(encoder), Ridge(solver="lsqr")).fit(rows, np.cos(np.arange(len(rows))))
    served = Served(model)
    asked = rows.iloc[::40]
    np.testing.assert_allclose(served.predict(records(asked)), model.predict(asked), rtol=1e-9)
    assert len(served.converted.onnx) < LEVELS * BYTES_FOR_EACH


def test_labels_by_many_categories_are_looked_up() -> None:
    rows = table()
    model = make_pipeline(columns(OneHotEncoder(handle_unknown="ignore")), LogisticRegression(max_iter=5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows, np.arange(len(rows)) % 3)
    served = Served(model, in_data_plane=True)
    asked = [*records(rows.iloc[::40]), {"n": 0.5, "zip": "never seen", "city": "a"}]
    np.testing.assert_array_equal(served.predict(asked), model.predict(pd.DataFrame(asked)))


def test_twelve_thousand_categories_that_an_encoder_insists_on_are_carried() -> None:
    rows = table(12_000)
    model = make_pipeline(columns(OneHotEncoder()), Ridge(solver="lsqr")).fit(rows, np.sin(np.arange(len(rows))))
    served = Served(model)
    check_signature(served.signature)
    assert len(served.signature.columns[1].categories or ()) == 12_000
    asked = rows.iloc[::400]
    np.testing.assert_allclose(served.predict(records(asked)), model.predict(asked), rtol=1e-9)


def test_more_categories_than_serval_keeps_are_refused() -> None:
    rows = table(10)
    signature = Served(make_pipeline(columns(OneHotEncoder()), Ridge()).fit(rows, np.arange(len(rows)))).signature
    column = msgspec.structs.replace(signature.columns[1], categories=tuple(map(str, range(MAX_CATEGORIES + 1))))
    with pytest.raises(NotConvertible, match=f"more than {MAX_CATEGORIES} categories"):
        check_signature(msgspec.structs.replace(signature, columns=(signature.columns[0], column)))
