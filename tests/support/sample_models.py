"""Tiny real models, fitted on real data, for all tests."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, RegressorChain
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits


@dataclass(frozen=True)
class Specimen:
    """A fitted model and rows that it was not fitted on."""

    model: Any
    held_out: Any


@cache
def iris() -> tuple[Any, Any]:
    return load_iris(return_X_y=True)


@cache
def cancer() -> tuple[Any, Any]:
    return load_breast_cancer(return_X_y=True)


@cache
def diabetes() -> tuple[Any, Any]:
    return load_diabetes(return_X_y=True)


@cache
def customers() -> tuple[pd.DataFrame, Any]:
    """Numbers, strings and booleans, some of them missing."""
    chance = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": chance.normal(40, 10, 300),
            "city": pd.Series(chance.choice(["Rome", "Paris", "Oslo"], 300), dtype=object),
            "member": chance.choice([True, False], 300),
            "income": chance.normal(30_000, 10_000, 300),
        }
    )
    leaves = (frame["income"] > 30_000) ^ (frame["city"] == "Rome")
    frame.loc[::7, "age"] = np.nan
    frame.loc[::11, "city"] = np.nan
    return frame, leaves.to_numpy()


def species() -> Any:
    return np.array(["setosa", "versicolor", "virginica"])[iris()[1]]


def mixed_columns(handle_unknown: str = "ignore") -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown=handle_unknown))
    return ColumnTransformer(
        [("numbers", numbers, ["age", "income"]), ("words", words, ["city"]), ("flags", "passthrough", ["member"])]
    )


def fitted(model: Any, features: Any, target: Any) -> Specimen:
    """Fit on every other row."""
    even, odd = (
        (features.iloc[::2], features.iloc[1::2])
        if isinstance(features, pd.DataFrame)
        else (features[::2], features[1::2])
    )
    with threadpool_limits(1):
        return Specimen(model.fit(even, target[::2]), odd)


def _iris(model: Any, target: Any = None) -> Specimen:
    return fitted(model, iris()[0], iris()[1] if target is None else target)


def _diabetes(model: Any, target: Any = None) -> Specimen:
    return fitted(model, diabetes()[0], diabetes()[1] if target is None else target)


def _customers(model: Any) -> Specimen:
    return fitted(model, *customers())


def _far(model: Any) -> Specimen:
    """Features around 10 000, where float32 loses what a scaler needs."""
    return fitted(model, iris()[0] + 10_000, iris()[1])


def _two_targets() -> Any:
    return np.column_stack([iris()[1], iris()[1] == 1])


def iris_classifier() -> bytes:
    """The pickle of a logistic regression on four columns."""
    return pickle.dumps(LogisticRegression(max_iter=1000).fit(*iris()))


def iris_pipeline(columns: int = 4, seed: int = 0) -> bytes:
    """A pickled pipeline, fitted on some columns of some rows of iris."""
    features, target = load_iris(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(target))[:120]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return pickle.dumps(model.fit(features[rows, :columns], target[rows]))


def saved_by_another_version(content: bytes) -> bytes:
    """The pickle, as if a scikit-learn had saved it of which nothing is known: its version is held."""
    version = sklearn.__version__.encode()
    assert version in content
    return content.replace(version, b"2.0.0"[: len(version)])


def forest(count: int = 10) -> RandomForestClassifier:
    return RandomForestClassifier(count, random_state=0)


def logistic() -> LogisticRegression:
    return LogisticRegression(max_iter=5000)


def _encoded(encoder: Any) -> ColumnTransformer:
    return ColumnTransformer([("words", encoder, ["city"]), ("rest", "passthrough", ["member", "income"])])


def _union() -> Any:
    return FeatureUnion(
        [("scaled", StandardScaler()), ("logs", FunctionTransformer(np.log1p))], transformer_weights={"logs": 2.0}
    )


SPECIMENS: dict[str, Callable[[], Specimen]] = {
    "iris logistic": lambda: _iris(logistic()),
    "string labels": lambda: _iris(logistic(), species()),
    "boolean labels": lambda: _iris(logistic(), iris()[1] == 1),
    "cancer forest": lambda: fitted(forest(50), *cancer()),
    "forest of strings": lambda: _iris(forest(), species()),
    "multi-output forest": lambda: _iris(forest(), _two_targets()),
    "forest regressor": lambda: _diabetes(RandomForestRegressor(20, random_state=0)),
    "extra trees regressor": lambda: _diabetes(ExtraTreesRegressor(20, random_state=0)),
    "boosting": lambda: _iris(GradientBoostingClassifier(n_estimators=20, random_state=0)),
    "boosting of two": lambda: fitted(GradientBoostingClassifier(n_estimators=30, random_state=0), *cancer()),
    "boosting regressor": lambda: _diabetes(GradientBoostingRegressor(random_state=0)),
    "histogram boosting": lambda: fitted(HistGradientBoostingClassifier(max_iter=20, random_state=0), *cancer()),
    "histogram boosting of strings": lambda: _iris(
        HistGradientBoostingClassifier(max_iter=10, random_state=0), species()
    ),
    "histogram boosting regressor": lambda: _diabetes(HistGradientBoostingRegressor(max_iter=30, random_state=0)),
    "adaboost": lambda: _iris(AdaBoostClassifier(n_estimators=20, random_state=0), species()),
    "linear regression": lambda: _diabetes(LinearRegression()),
    "two targets": lambda: _diabetes(Ridge(), np.column_stack([diabetes()[1], diabetes()[1] ** 2])),
    "poisson": lambda: _diabetes(PoissonRegressor()),
    "ridge classifier": lambda: _iris(RidgeClassifier(), species()),
    "linear SVC": lambda: _iris(make_pipeline(StandardScaler(), LinearSVC()), species()),
    "naive Bayes": lambda: _iris(GaussianNB()),
    "perceptron": lambda: _iris(make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=3000, random_state=0))),
    "scaler, forest": lambda: _far(make_pipeline(StandardScaler(), forest(30))),
    "robust scaler, boosting": lambda: _far(
        make_pipeline(RobustScaler(), GradientBoostingClassifier(n_estimators=10, random_state=0))
    ),
    "min-max scaler, histogram boosting": lambda: _far(
        make_pipeline(MinMaxScaler(), HistGradientBoostingClassifier(max_iter=10, random_state=0))
    ),
    "mixed columns, logistic": lambda: _customers(make_pipeline(mixed_columns(), logistic())),
    "mixed columns, forest": lambda: _customers(make_pipeline(mixed_columns("error"), forest())),
    "ordinal encoder, forest": lambda: _customers(
        make_pipeline(_encoded(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)), forest())
    ),
    "target encoder, logistic": lambda: _customers(
        make_pipeline(_encoded(TargetEncoder(cv=3)), StandardScaler(), logistic())
    ),
    "rare categories": lambda: _customers(
        make_pipeline(
            _encoded(OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.34, sparse_output=False)),
            StandardScaler(),
            logistic(),
        )
    ),
    "union": lambda: _iris(make_pipeline(_union(), logistic())),
    "polynomial ridge": lambda: _diabetes(make_pipeline(StandardScaler(), PolynomialFeatures(2), Ridge())),
    "voting": lambda: _iris(VotingClassifier([("a", logistic()), ("b", forest())], voting="soft"), species()),
    "stacking": lambda: _iris(StackingClassifier([("a", logistic()), ("b", forest())], cv=3), species()),
    "bagging": lambda: _iris(BaggingClassifier(n_estimators=5, random_state=0), species()),
    "calibrated forest": lambda: _iris(CalibratedClassifierCV(forest(), cv=3), species()),
    "calibrated by steps": lambda: _iris(CalibratedClassifierCV(LinearSVC(), method="isotonic", cv=3)),
    "one against rest": lambda: _iris(OneVsRestClassifier(logistic()), species()),
    "one against one": lambda: _iris(OneVsOneClassifier(logistic()), species()),
    "several classifiers": lambda: _iris(MultiOutputClassifier(logistic()), _two_targets()),
    "classifier chain": lambda: _iris(
        ClassifierChain(logistic(), order=[1, 0]), np.column_stack([iris()[1] > 0, iris()[1] > 1]).astype(int)
    ),
    "regressor chain": lambda: _diabetes(
        RegressorChain(Ridge(), order=[1, 0]), np.column_stack([diabetes()[1], diabetes()[1] ** 2])
    ),
    "logarithm of the target": lambda: _diabetes(
        TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1)
    ),
    "grid search": lambda: _iris(
        GridSearchCV(make_pipeline(StandardScaler(), logistic()), {"logisticregression__C": [0.1, 1.0]}, cv=3)
    ),
}


@cache
def specimen(name: str) -> Specimen:
    return SPECIMENS[name]()
