"""Transformers before a linear model answer as scikit-learn computes them, also at the edges."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)

from serval.conversion.export.columns import infer
from serval.conversion.export.original import answers_of
from serval.conversion.from_sklearn import convert
from serval.conversion.samples import rows_of
from serval.conversion.verify import onnxruntime_engine as engines
from serval.conversion.verify.verify import compare
from serval.errors import NotConvertible
from support.sample_models import customers, iris

PLAIN = [
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    MinMaxScaler(clip=True),
    MaxAbsScaler(),
    RobustScaler(with_centering=False),
    Normalizer("l1"),
    Normalizer("max"),
    Binarizer(threshold=3.0),
    PCA(2, whiten=True),
    TruncatedSVD(2, random_state=0),
    SelectKBest(f_classif, k=2),
    VarianceThreshold(0.2),
    PolynomialFeatures(3, interaction_only=True),
    PolynomialFeatures(2, include_bias=False),
    SplineTransformer(),
    SplineTransformer(extrapolation="continue", include_bias=False),
    *(
        FunctionTransformer(function)
        for function in (np.log1p, np.log, np.expm1, np.sqrt, np.cbrt, np.log2, np.log10, np.square, np.abs)
    ),
]


def agrees(model: Any, held_out: list[list[Any]]) -> None:
    converted = convert(model)
    rows = rows_of(converted.signature, held_out)
    parity = compare(
        converted.signature,
        answers_of(model, converted.signature, rows),
        engines.run(converted.onnx, converted.signature, rows),
    )
    assert parity.reason is None
    assert parity.refused == 0


@pytest.mark.parametrize("transformer", PLAIN, ids=str)
def test_a_numeric_transformer_has_the_columns_of_the_original(transformer: Any) -> None:
    model = make_pipeline(transformer, StandardScaler(), LogisticRegression(max_iter=5000)).fit(
        iris()[0][::2], iris()[1][::2]
    )
    agrees(model, iris()[0][1::2].tolist())


@pytest.mark.parametrize("drop", [None, "first", "if_binary"])
@pytest.mark.parametrize("handle_unknown", ["ignore", "error", "infrequent_if_exist"])
def test_one_hot_encoders_encode_strings_and_booleans(drop: str | None, handle_unknown: str) -> None:
    frame, target = customers()
    frame = frame[["city", "member"]].fillna({"city": "Oslo"})
    encoder = OneHotEncoder(drop=drop, handle_unknown=handle_unknown, sparse_output=False)
    agrees(make_pipeline(encoder, LogisticRegression()).fit(frame, target), frame.to_numpy(dtype=object).tolist())


def test_one_hot_encoders_of_fractions_do_not_round_them() -> None:
    values = np.tile([0.5, 1.0, 1.5, 2.5], 20)[:, None]
    target = np.tile([0, 1, 0, 2], 20)
    agrees(make_pipeline(OneHotEncoder(), LogisticRegression()).fit(values, target), [[0.5], [1.0], [1.5], [2.5]])


def test_a_missing_value_is_a_category_of_its_own() -> None:
    frame, target = customers()
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(frame[["city"]], target)
    agrees(model, [["Rome"], [None], ["Oslo"]])


def test_columns_have_the_order_of_the_column_transformer() -> None:
    frame, target = customers()
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    chosen = ColumnTransformer(
        [("n", numbers, lambda table: ["income", "age"]), ("none", "drop", ["member"])],
        remainder=OneHotEncoder(),
        transformer_weights={"n": 0.5},
    )
    model = make_pipeline(chosen, LogisticRegression()).set_output(transform="default").fit(frame, target)
    with pytest.raises(NotConvertible):
        convert(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(frame["city"].fillna("x"), target))
    agrees(model, [[41.0, "Rome", True, 30_000.0], [None, "Oslo", False, 10_000.0]])


def test_pandas_output_between_steps_changes_nothing() -> None:
    frame, target = customers()
    encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    chosen = ColumnTransformer([("words", encoder, ["city"]), ("n", SimpleImputer(), ["age", "income"])])
    model = (
        make_pipeline(chosen, StandardScaler(), LogisticRegression()).set_output(transform="pandas").fit(frame, target)
    )
    agrees(model, [[41.0, "Rome", True, 30_000.0], [None, "Oslo", False, 10_000.0]])


def test_a_model_of_positive_numbers_has_a_positive_minimum() -> None:
    model = make_pipeline(PowerTransformer("box-cox"), LogisticRegression()).fit(iris()[0], iris()[1])
    signature, _, _ = infer(model, None, [], is_text=False)
    minimum = signature.columns[0].minimum
    assert minimum is not None
    assert 0 < minimum < 1e-300


def test_a_column_transformer_may_reorder_the_columns_of_a_frame() -> None:
    frame = pd.DataFrame(iris()[0], columns=["a", "b", "c", "d"])
    chosen = ColumnTransformer(
        [("late", StandardScaler(), ["d", "b"]), ("early", MinMaxScaler(), slice(0, 1))], remainder="passthrough"
    )
    model = make_pipeline(chosen, LogisticRegression(max_iter=5000)).fit(frame, iris()[1])
    agrees(model, iris()[0][:20].tolist())


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("add_indicator", [False, True])
def test_a_knn_imputer_fills_missing_values(weights: str, add_indicator: bool) -> None:
    chance = np.random.default_rng(0)
    features = chance.normal(size=(80, 3))
    target = (features[:, 0] + features[:, 1] > 0).astype(int)
    features[chance.random(features.shape) < 0.15] = np.nan
    model = make_pipeline(
        KNNImputer(n_neighbors=3, weights=weights, add_indicator=add_indicator), LogisticRegression()
    ).fit(features[::2], target[::2])
    agrees(model, [[None if np.isnan(cell) else cell for cell in row] for row in features[1::2].tolist()])
