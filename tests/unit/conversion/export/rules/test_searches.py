"""Searches of parameters answer as the best estimator that they found."""

import sys
from typing import Any

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, HalvingRandomSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serval.conversion.from_sklearn import convert
from serval.conversion.tasks import PICKLED
from support.estimators import Case, fit, with_gaps

IRIS, SPECIES = load_iris(return_X_y=True)
STRENGTHS = {"C": [0.1, 1.0]}
HALVING: dict[str, Any] = {"cv": 2, "min_resources": 60, "random_state": 0}

ENABLING = {
    HalvingGridSearchCV: enable_halving_search_cv.__name__.rpartition(".")[2],
    IterativeImputer: enable_iterative_imputer.__name__.rpartition(".")[2],
}

CLASSIFIERS = {
    "halving grid": HalvingGridSearchCV(LogisticRegression(max_iter=500), STRENGTHS, **HALVING),
    "halving at random": HalvingRandomSearchCV(LogisticRegression(max_iter=500), STRENGTHS, **HALVING),
    "at random": RandomizedSearchCV(LogisticRegression(max_iter=500), STRENGTHS, n_iter=1, cv=2, random_state=0),
    "over a pipeline": HalvingGridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1.0]}, **HALVING
    ),
    "over a forest": HalvingGridSearchCV(RandomForestClassifier(3, random_state=0), {"max_depth": [2, 3]}, **HALVING),
    "in a pipeline": make_pipeline(StandardScaler(), HalvingGridSearchCV(LogisticRegression(), STRENGTHS, **HALVING)),
    "of a search": GridSearchCV(
        HalvingGridSearchCV(LogisticRegression(), STRENGTHS, **{**HALVING, "min_resources": 30}),
        {"factor": [2]},
        cv=2,
    ),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_search_answers_as_its_best_estimator(name, agrees):
    agrees(Case(name, fit(CLASSIFIERS[name], IRIS[::2], SPECIES[::2]), IRIS[::2], SPECIES[::2], IRIS[1::2]))


def test_a_search_over_an_imputer_takes_missing_values():
    gaps = with_gaps(IRIS, np.random.default_rng(0))
    steps = make_pipeline(SimpleImputer(), LogisticRegression(max_iter=500))
    model = fit(HalvingGridSearchCV(steps, {"logisticregression__C": [0.1, 1.0]}, **HALVING), gaps, SPECIES)
    assert {column.missing for column in convert(model).signature.columns} == {"nan"}


def test_a_search_inside_a_transformed_target(agrees):
    x, y = load_diabetes(return_X_y=True)
    search = HalvingGridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, **HALVING)
    model = fit(TransformedTargetRegressor(search, func=np.log1p, inverse_func=np.expm1), x[:200], y[:200])
    agrees(Case("target", model, x[:200], y[:200], x[200:]))


@pytest.mark.parametrize("kind", [HalvingGridSearchCV, IterativeImputer])
def test_experimental_estimators_are_loaded_before_there_is_an_upload(kind):
    assert f"sklearn.experimental.{ENABLING[kind]}" in {f"sklearn.{name}" for name in PICKLED.split()}
    assert kind.__module__ in sys.modules
