"""Models whose attributes were changed after the fit are converted or refused in a sentence, never by an exception."""

import copy
import datetime
import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler

from serval.conversion.contents import predictor
from serval.conversion.from_sklearn import convert
from serval.conversion.refusals.places import parts_of
from serval.errors import ServalError
from support.refusal_cases import FRAME, TARGET, X, Y, logistic

RAW = re.compile(r"\b\w+(Error|Exception|Warning)\b|object at 0x|Traceback|ONNXRuntime")
ODD: list[Any] = [
    *(None, np.nan, "text", [], {}, -1, 10**30, object, pd.NA, (1, 2), b"x", float("inf"), set(), abs),
    *(np.array([]), np.array([np.nan] * 4), np.array(["a", "b"], dtype=object), np.zeros((0, 4)), np.array(5)),
    *([[1], [2, 3]], np.array([[{}]], dtype=object), {1: {}}, datetime.date(2024, 1, 1)),
]


def scaled() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(X[::3], Y[::3])


def encoded() -> Any:
    columns = ColumnTransformer([("n", SimpleImputer(), ["age"]), ("c", OneHotEncoder(), ["plan"])])
    return make_pipeline(columns, RandomForestClassifier(3)).fit(FRAME, TARGET)


def changed(model: Any, path: str, value: Any) -> Any:
    """The model after an assignment to an attribute of one of its parts; `path`: Python behind `model`."""
    exec(f"model{path} = value", {"model": model, "value": value})
    return model


def holding_itself() -> Any:
    model = scaled()
    model.steps.insert(1, ("itself", model))
    return model


CASES: dict[str, Callable[[], Any]] = {
    "categories that cannot be hashed": lambda: changed(
        encoded(), "[0].named_transformers_['c'].categories_[0]", np.array([{}, [], "c"], dtype=object)
    ),
    "no categories": lambda: changed(encoded(), "[0].named_transformers_['c'].categories_", [np.array([])]),
    "text in coefficients": lambda: changed(scaled(), "[1].coef_", np.array([["a"] * 4] * 3, dtype=object)),
    "complex labels": lambda: changed(logistic(), ".classes_", np.array([1j, 2j, 3j])),
    "NaN among the labels": lambda: changed(logistic(), ".classes_", np.array([np.nan, 1, 2])),
    "a pipeline in itself": holding_itself,
    "no steps": lambda: changed(scaled(), ".steps", []),
    "a scale of another width": lambda: changed(scaled(), "[0].scale_", np.ones(3)),
    "a step that is not fitted": lambda: Pipeline([("s", StandardScaler()), ("r", Ridge().fit(X, Y))]),
}


def refusal(model: Any) -> str | None:
    """The sentence that refuses a model; None if it converts. Any other exception ends the test."""
    try:
        predictor(model)
        convert(model)
    except ServalError as error:
        return error.message
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("build", CASES.values(), ids=CASES)
def test_an_odd_model_is_refused_in_a_sentence(build: Callable[[], Any]) -> None:
    message = refusal(build())
    assert message is not None
    assert not RAW.search(message)


def test_integers_of_numpy_in_a_column_of_objects_are_categories() -> None:
    frame = pd.DataFrame({"floor": pd.Series([np.int64(index % 3) for index in range(30)], dtype=object)})
    assert convert(make_pipeline(OneHotEncoder(), Ridge()).fit(frame, range(30))).signature.columns[0].kind == "number"


def estimators_within(model: Any, seen: set[int]) -> list[Any]:
    if id(model) in seen:
        return []
    seen.add(id(model))
    own = [model] if hasattr(model, "get_params") else []
    return own + [part for _, inner in parts_of(model) for part in estimators_within(inner, seen)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_whatever_replaces_an_attribute_no_exception_leaves_the_conversion(seed: int) -> None:
    models = [
        *(scaled(), encoded(), KNeighborsClassifier().fit(X[::3], Y[::3]), GaussianNB().fit(X, Y)),
        HistGradientBoostingClassifier(max_iter=2).fit(X, Y),
        make_pipeline(KBinsDiscretizer(3, encode="ordinal"), Ridge()).fit(X, Y),
        CalibratedClassifierCV(LogisticRegression(max_iter=200), cv=2).fit(X[::3], Y[::3]),
        VotingClassifier([("a", LogisticRegression(max_iter=200)), ("b", GaussianNB())], voting="soft").fit(X, Y),
    ]
    chance = random.Random(seed)
    refused = 0
    for _ in range(60):
        model = copy.deepcopy(chance.choice(models))
        part = chance.choice(estimators_within(model, set()))
        vars(part)[chance.choice(sorted(vars(part)))] = chance.choice(ODD)
        message = refusal(model)
        refused += message is not None
        assert not RAW.search(message or "")
    assert refused > 5
