"""Transformers of numbers."""

import numpy as np
import pytest
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from support.estimators import fit, with_gaps

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 4)) * [1.0, 0.001, 3.0, 1.0] + [0.0, 10_000.0, -5.0, 2.0]
ROWS = np.concatenate(
    [RANDOM.normal(size=(60, 4)) * [3.0, 0.01, 9.0, 3.0] + [0.0, 10_000.0, -5.0, 2.0], X[:20], X.min(axis=0)[None]]
)
Y = X[:, 0] + X[:, 3]


@pytest.mark.parametrize(
    "model",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        RobustScaler(),
        RobustScaler(unit_variance=True, with_centering=False),
        MaxAbsScaler(),
        MinMaxScaler(),
        MinMaxScaler((-2, 3), clip=True),
        Normalizer(),
        Normalizer("l1"),
        Normalizer("max"),
        Binarizer(threshold=0.3),
        PowerTransformer(),
        PowerTransformer(standardize=False),
        QuantileTransformer(n_quantiles=30),
        QuantileTransformer(n_quantiles=30, output_distribution="normal"),
        KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"),
        KBinsDiscretizer(4, encode="ordinal", strategy="uniform"),
        KBinsDiscretizer(2, encode="onehot-dense", strategy="uniform"),
        PolynomialFeatures(3),
        PolynomialFeatures(2, interaction_only=True, include_bias=False),
        PCA(2),
        PCA(3, whiten=True),
        IncrementalPCA(2),
        TruncatedSVD(2),
        SelectKBest(k=2),
        SelectFromModel(Lasso(0.01)),
        VarianceThreshold(0.5),
        FeatureUnion([("pca", PCA(2)), ("scale", StandardScaler())], transformer_weights={"pca": 3.0}),
        make_pipeline(StandardScaler(), "passthrough", MinMaxScaler()),
        FunctionTransformer(),
        FunctionTransformer(np.square),
    ],
    ids=str,
)
def test_a_transformer_has_the_columns_of_the_original(model, transforms_alike):
    transforms_alike(model.fit(X, Y.mean() < Y if isinstance(model, SelectKBest) else Y), ROWS)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("arguments", [{}, {"add_indicator": True}, {"keep_empty_features": True}], ids=str)
def test_an_imputer_fills_missing_values_and_adds_indicators(strategy, arguments, transforms_alike):
    gaps = with_gaps(X, np.random.default_rng(1))
    gaps[:, 2] = np.nan
    model = SimpleImputer(strategy=strategy, fill_value=-1.0 if strategy == "constant" else None, **arguments)
    transforms_alike(fit(model, gaps, Y), gaps)


def test_an_imputer_uses_its_own_missing_value_marker(transforms_alike):
    values = np.array([[1.0, -1.0], [-1.0, 4.0], [3.0, 6.0]])
    transforms_alike(SimpleImputer(missing_values=-1).fit(values), values)


@pytest.mark.parametrize(
    "model", [PowerTransformer(), QuantileTransformer(n_quantiles=20), StandardScaler(), MinMaxScaler()], ids=str
)
def test_a_missing_value_stays_missing(model, transforms_alike):
    gaps = with_gaps(X, np.random.default_rng(2))
    transforms_alike(model.fit(gaps), gaps)


def test_box_cox_agrees_on_positive_numbers(transforms_alike):
    transforms_alike(PowerTransformer("box-cox").fit(np.exp(X[:, [0, 2]])), np.exp(ROWS[:, [0, 2]] / 3))


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_a_row_of_almost_no_length_keeps_it(norm, transforms_alike):
    rows = np.array([[0.0, 0.0], [1e-16, -3e-16], [1e-14, 0.0], [3.0, 4.0]])
    transforms_alike(make_pipeline(Normalizer(norm), FunctionTransformer(np.sign)).fit(rows), rows)


def test_an_indicator_of_no_column_adds_none(transforms_alike):
    transforms_alike(SimpleImputer(add_indicator=True).fit(X), X)


@pytest.mark.parametrize("step", [PowerTransformer(), FunctionTransformer(np.arcsinh)], ids=str)
def test_computed_numbers_meet_the_categories_of_an_encoder(step, transforms_alike):
    whole = np.round(np.abs(X[:, [0, 2, 3]]), 1)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    transforms_alike(make_pipeline(step, encoder).fit(whole), whole)
