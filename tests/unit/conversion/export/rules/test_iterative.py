"""Imputers that predict missing values from the other columns."""

from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from serval.conversion.from_sklearn import convert
from serval.errors import NotConvertible
from support.estimators import Case, fit, with_gaps

IRIS, SPECIES = load_iris(return_X_y=True)
GAPS = with_gaps(IRIS, np.random.default_rng(0), share=0.15)
EMPTY = np.where(np.arange(4) == 1, np.nan, GAPS)

ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"add_indicator": True},
    {"imputation_order": "roman", "initial_strategy": "median"},
    {"imputation_order": "random", "random_state": 1, "tol": 1e-9, "max_iter": 4},
    {"min_value": 0.5, "max_value": [6.0, 3.0, 5.0, 2.0]},
    {"n_nearest_features": 2, "random_state": 0, "skip_complete": True},
    {"initial_strategy": "constant", "fill_value": 3.0, "estimator": Ridge()},
    {"estimator": DecisionTreeRegressor(max_depth=4, random_state=0)},
    {"estimator": RandomForestRegressor(3, random_state=0), "max_iter": 2},
    {"max_iter": 0},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_an_iterative_imputer_fills_as_the_original(arguments, transforms_alike):
    transforms_alike(fit(IterativeImputer(**arguments), GAPS, None), GAPS)


@pytest.mark.parametrize("keep_empty_features", [False, True])
def test_columns_that_held_nothing_are_left_out_or_constant(keep_empty_features, transforms_alike):
    imputer = IterativeImputer(keep_empty_features=keep_empty_features, add_indicator=True)
    transforms_alike(fit(imputer, EMPTY, None), EMPTY)


def test_another_marker_than_nan_is_missing(transforms_alike):
    marked = np.where(np.isnan(GAPS), -1.0, GAPS)
    transforms_alike(fit(IterativeImputer(missing_values=-1), marked, None), marked)


def test_a_single_column_has_nothing_to_be_predicted_from(transforms_alike):
    transforms_alike(fit(IterativeImputer(), GAPS[:, :1], None), GAPS[:, :1])


def test_steps_after_an_iterative_imputer_find_their_columns(agrees):
    chosen = ColumnTransformer(
        [("s", StandardScaler(), [0, -1]), ("k", KBinsDiscretizer(3, encode="ordinal"), [2])], remainder="passthrough"
    )
    model = make_pipeline(IterativeImputer(add_indicator=True), chosen, LogisticRegression(max_iter=2000))
    agrees(Case("imputed", fit(model, GAPS, SPECIES), GAPS, SPECIES, GAPS))
    assert {column.missing for column in convert(model).signature.columns} == {"nan"}


def test_an_imputer_that_draws_is_refused_with_a_way_out_that_works():
    drawing = IterativeImputer(sample_posterior=True, random_state=0)
    model = fit(make_pipeline(drawing, LogisticRegression(max_iter=2000)), GAPS, SPECIES)
    with pytest.raises(NotConvertible, match=r"\(pipeline step 1, `iterativeimputer`\) draws .*set_params"):
        convert(model)
    model[0].set_params(sample_posterior=False)
    convert(model)
