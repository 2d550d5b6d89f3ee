"""The 99 classifiers and regressors of scikit-learn 1.9, each with arguments and data, and random pipelines."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import SelectKBest, f_classif, f_regression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators

Rows = np.ndarray | pd.DataFrame

NAMES = [
    "ARDRegression",
    "AdaBoostClassifier",
    "AdaBoostRegressor",
    "BaggingClassifier",
    "BaggingRegressor",
    "BayesianRidge",
    "BernoulliNB",
    "CCA",
    "CalibratedClassifierCV",
    "CategoricalNB",
    "ClassifierChain",
    "ComplementNB",
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "DummyClassifier",
    "DummyRegressor",
    "ElasticNet",
    "ElasticNetCV",
    "ExtraTreeClassifier",
    "ExtraTreeRegressor",
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "FixedThresholdClassifier",
    "GammaRegressor",
    "GaussianNB",
    "GaussianProcessClassifier",
    "GaussianProcessRegressor",
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "HuberRegressor",
    "IsotonicRegression",
    "KNeighborsClassifier",
    "KNeighborsRegressor",
    "KernelRidge",
    "LabelPropagation",
    "LabelSpreading",
    "Lars",
    "LarsCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "LinearDiscriminantAnalysis",
    "LinearRegression",
    "LinearSVC",
    "LinearSVR",
    "LogisticRegression",
    "LogisticRegressionCV",
    "MLPClassifier",
    "MLPRegressor",
    "MultiOutputClassifier",
    "MultiOutputRegressor",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "MultinomialNB",
    "NearestCentroid",
    "NuSVC",
    "NuSVR",
    "OneVsOneClassifier",
    "OneVsRestClassifier",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "OutputCodeClassifier",
    "PLSCanonical",
    "PLSRegression",
    "PassiveAggressiveClassifier",
    "PassiveAggressiveRegressor",
    "Perceptron",
    "PoissonRegressor",
    "QuadraticDiscriminantAnalysis",
    "QuantileRegressor",
    "RANSACRegressor",
    "RadiusNeighborsClassifier",
    "RadiusNeighborsRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
    "RegressorChain",
    "Ridge",
    "RidgeCV",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "SGDClassifier",
    "SGDRegressor",
    "SVC",
    "SVR",
    "SelfTrainingClassifier",
    "StackingClassifier",
    "StackingRegressor",
    "TheilSenRegressor",
    "TransformedTargetRegressor",
    "TunedThresholdClassifierCV",
    "TweedieRegressor",
    "VotingClassifier",
    "VotingRegressor",
]

MULTI_TARGET = {
    "CCA",
    "MultiOutputRegressor",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "PLSCanonical",
    "RegressorChain",
}
MULTI_LABEL = {"ClassifierChain", "MultiOutputClassifier"}
BINARY = {"FixedThresholdClassifier", "TunedThresholdClassifierCV"}
COUNTS = {"CategoricalNB", "ComplementNB", "MultinomialNB"}
POSITIVE_TARGET = {"GammaRegressor", "PoissonRegressor", "TweedieRegressor"}
PARTLY_LABELLED = {"SelfTrainingClassifier"}
SCALE_SENSITIVE = {"RadiusNeighborsClassifier", "RadiusNeighborsRegressor"}

ARGUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "AdaBoostClassifier": lambda: {"n_estimators": 8},
    "AdaBoostRegressor": lambda: {"n_estimators": 8},
    "BaggingClassifier": lambda: {"max_features": 0.7},
    "BaggingRegressor": lambda: {"bootstrap_features": True},
    "CategoricalNB": lambda: {"min_categories": 20},
    "ClassifierChain": lambda: {"estimator": LogisticRegression()},
    "ExtraTreesClassifier": lambda: {"n_estimators": 12},
    "ExtraTreesRegressor": lambda: {"n_estimators": 12},
    "FixedThresholdClassifier": lambda: {
        "estimator": LogisticRegression(),
        "threshold": 0.4,
        "response_method": "predict_proba",
    },
    "GaussianProcessClassifier": lambda: {"optimizer": None},
    "GaussianProcessRegressor": lambda: {"alpha": 1e-3},
    "GradientBoostingClassifier": lambda: {"n_estimators": 10},
    "GradientBoostingRegressor": lambda: {"n_estimators": 10},
    "HistGradientBoostingClassifier": lambda: {"max_iter": 10},
    "HistGradientBoostingRegressor": lambda: {"max_iter": 10},
    "IsotonicRegression": lambda: {"out_of_bounds": "clip"},
    "KNeighborsRegressor": lambda: {"weights": "distance"},
    "MLPClassifier": lambda: {"hidden_layer_sizes": (8,), "max_iter": 60},
    "MLPRegressor": lambda: {"hidden_layer_sizes": (8,), "max_iter": 60},
    "MultiOutputClassifier": lambda: {"estimator": LogisticRegression()},
    "MultiOutputRegressor": lambda: {"estimator": Ridge()},
    "OneVsOneClassifier": lambda: {"estimator": LogisticRegression()},
    "OneVsRestClassifier": lambda: {"estimator": LogisticRegression()},
    "OutputCodeClassifier": lambda: {"estimator": LogisticRegression()},
    "RadiusNeighborsClassifier": lambda: {"radius": 60.0},
    "RadiusNeighborsRegressor": lambda: {"radius": 60.0},
    "RandomForestClassifier": lambda: {"n_estimators": 12},
    "RandomForestRegressor": lambda: {"n_estimators": 12},
    "RegressorChain": lambda: {"estimator": Ridge(), "order": [1, 0]},
    "SelfTrainingClassifier": lambda: {"estimator": LogisticRegression()},
    "StackingClassifier": lambda: {
        "estimators": [("tree", DecisionTreeClassifier(max_depth=3)), ("bayes", GaussianNB())]
    },
    "StackingRegressor": lambda: {"estimators": [("tree", DecisionTreeRegressor(max_depth=3)), ("ridge", Ridge())]},
    "TransformedTargetRegressor": lambda: {"regressor": LinearRegression(), "transformer": StandardScaler()},
    "TunedThresholdClassifierCV": lambda: {"estimator": LogisticRegression()},
    "VotingClassifier": lambda: {
        "estimators": [("tree", RandomForestClassifier(n_estimators=5)), ("bayes", GaussianNB())],
        "voting": "soft",
        "weights": [2, 1],
    },
    "VotingRegressor": lambda: {"estimators": [("forest", RandomForestRegressor(n_estimators=5)), ("ridge", Ridge())]},
}


@dataclass(frozen=True)
class Case:
    """A fitted model, the rows it was fitted on, and rows it has never seen."""

    name: str
    model: Any
    X: Rows
    y: np.ndarray
    held_out: Rows

    @property
    def is_classifier(self) -> bool:
        return bool(is_classifier(self.model))


def create(name: str, seed: int = 0, **arguments: Any) -> BaseEstimator:
    """The unfitted estimator of this name with the arguments it needs; `random_state` is set where there is one."""
    kind = dict(all_estimators(type_filter=["classifier", "regressor"]))[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = kind(**{**ARGUMENTS.get(name, dict)(), **arguments})
        seeds = {key: seed for key in estimator.get_params() if key.endswith("random_state")}
        return estimator.set_params(**seeds)


def numbers(name: str, rows: int, random: np.random.Generator) -> np.ndarray:
    """Float64 features `[rows, columns]` that this estimator can take: counts, one column, or columns of different
    scale and offset."""
    if name in COUNTS:
        return random.poisson(3.0, (rows, 6)).astype(np.float64)
    if name == "IsotonicRegression":
        return random.normal(size=(rows, 1)) * 10
    return random.normal(size=(rows, 5)) * [1.0, 3.0, 0.5, 20.0, 1.0] + [0.0, 5.0, -1.0, 30.0, 0.0]


def targets(name: str, x: np.ndarray, random: np.random.Generator, classes: int = 3) -> np.ndarray:
    """The target of each row as this estimator wants it; classes are `0 .. classes-1`."""
    centred = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-300)
    signal = centred @ random.normal(size=(x.shape[1], 2)) + 0.3 * random.normal(size=(len(x), 2))
    if name in MULTI_LABEL:
        return (signal > 0).astype(np.int64)
    if name in MULTI_TARGET:
        return signal
    if is_classifier(create(name)):
        edges = np.quantile(signal[:, 0], np.linspace(0, 1, (2 if name in BINARY else classes) + 1)[1:-1])
        return np.searchsorted(edges, signal[:, 0]).astype(np.int64)
    return np.exp(signal[:, 0] / 2) if name in POSITIVE_TARGET else signal[:, 0] * 4 + 7


def fit(estimator: Any, x: Rows, y: np.ndarray) -> Any:
    """The estimator fitted without its warnings about convergence, deprecation and the like."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(x, y)


def plain(name: str, seed: int = 0, classes: int = 3, **arguments: Any) -> Case:
    """The estimator of this name, alone, fitted on 150 rows of numbers; 100 rows are held out."""
    random = np.random.default_rng(seed)
    x = numbers(name, 250, random)
    y = targets(name, x, random, classes)
    train, held_out = x[:150], x[150:]
    given = y[:150].copy()
    if name in PARTLY_LABELLED:
        given[::5] = -1
    return Case(name, fit(create(name, seed, **arguments), train, given), train, y[:150], held_out)


def labelled(y: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The same classes with other labels: integers as they are or with gaps, strings, or booleans where there are
    two."""
    if y.ndim > 1 or y.min() < 0:
        return y
    choices = [y, y * 10 - 5, np.array(["ant", "bee", "cow", "dog", "eel"])[y]]
    if y.max() == 1:
        choices.append(y == 1)
    return choices[random.integers(len(choices))]


def scaler(random: np.random.Generator) -> BaseEstimator:
    kinds: list[Callable[[], BaseEstimator]] = [
        StandardScaler,
        lambda: StandardScaler(with_mean=False),
        MinMaxScaler,
        lambda: MinMaxScaler(feature_range=(-1, 1), clip=True),
        MaxAbsScaler,
        RobustScaler,
        PowerTransformer,
        lambda: QuantileTransformer(n_quantiles=20),
        lambda: QuantileTransformer(n_quantiles=30, output_distribution="normal"),
    ]
    weights = np.array([5, 1, 3, 1, 2, 3, 1, 0.5, 0.5])
    return kinds[random.choice(len(kinds), p=weights / weights.sum())]()


def encoder(random: np.random.Generator, *, is_nominal: bool) -> BaseEstimator:
    kinds: list[Callable[[], BaseEstimator]] = [
        lambda: OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        lambda: OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False),
        lambda: OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=12, sparse_output=False),
        lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-2, encoded_missing_value=-1),
        lambda: TargetEncoder(random_state=0),
    ]
    weights = np.array([4, 1, 1, 2, 1, 1 if is_nominal else 0])
    return kinds[random.choice(len(kinds), p=weights / weights.sum())]()


def imputer(random: np.random.Generator) -> BaseEstimator:
    return SimpleImputer(
        strategy=str(random.choice(["mean", "median", "most_frequent", "constant"])),
        add_indicator=bool(random.random() < 0.2),
    )


def suited(name: str, estimator: Any) -> list[BaseEstimator]:
    """The steps that this estimator, with the estimator itself last, needs before it to take any numbers at all."""
    if name == "CategoricalNB":
        return [KBinsDiscretizer(n_bins=4, encode="ordinal", quantile_method="averaged_inverted_cdf"), estimator]
    if name in COUNTS:
        return [MinMaxScaler(clip=True), estimator]
    if name == "IsotonicRegression":
        return [SelectKBest(f_classif if is_classifier(estimator) else f_regression, k=1), estimator]
    if name in POSITIVE_TARGET:
        return [StandardScaler(), estimator]
    return [estimator]


def stressed(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The features with some columns moved to 10 000 or -10 000 and some scaled by 0.001 or 1000."""
    offsets = random.choice([0.0, 0.0, 10_000.0, -10_000.0], x.shape[1])
    scales = random.choice([1.0, 1.0, 0.001, 1000.0], x.shape[1])
    return x * scales + offsets


def with_gaps(x: np.ndarray, random: np.random.Generator, share: float = 0.08) -> np.ndarray:
    return np.where(random.random(x.shape) < share, np.nan, x)


def numeric_pipeline(name: str, seed: int) -> Case:
    """Numbers without names, offsets and scales far apart, perhaps with gaps: imputer, one or two scalers, the
    estimator."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(260, 5))
    y = targets(name, base, random, classes=int(random.integers(2, 5)))
    x = stressed(base, random)
    steps: list[BaseEstimator] = []
    if random.random() < 0.4:
        x = with_gaps(x, random)
        steps.append(imputer(random))
    steps += [scaler(random) for _ in range(random.integers(0 if name not in SCALE_SENSITIVE else 1, 3))]
    return _pipeline_case(name, steps, x, y, seed, random)


def mixed_pipeline(name: str, seed: int) -> Case:
    """A table of numbers, booleans and strings with gaps: a ColumnTransformer of imputers, scalers and encoders, the
    estimator."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(260, 4))
    y = targets(name, base, random, classes=int(random.integers(2, 4)))
    table = pd.DataFrame(with_gaps(stressed(base, random), random), columns=["age", "income", "height", "score"])
    table["member"] = random.random(260) < 0.5
    table["city"] = np.array(["Oslo", "Rome", "Lima", "Bern", "São Paulo"], dtype=object)[
        np.digitize(base[:, 0], [-1, 0, 1, 2])
    ]
    table["tier"] = np.array(["gold", "silver", "bronze"], dtype=object)[random.integers(0, 3, 260)]
    table.loc[random.random(260) < 0.05, "city"] = np.nan
    is_nominal = y.ndim == 1
    steps = [
        ColumnTransformer(
            [
                ("numbers", make_pipeline(imputer(random), scaler(random)), ["age", "income", "height", "score"]),
                (
                    "city",
                    make_pipeline(SimpleImputer(strategy="most_frequent"), encoder(random, is_nominal=is_nominal)),
                    ["city"],
                ),
                ("tier", encoder(random, is_nominal=is_nominal), ["tier"]),
            ],
            remainder="passthrough" if random.random() < 0.5 else "drop",
            sparse_threshold=0,
        )
    ]
    case = _pipeline_case(name, steps, table, y, seed, random)
    case.held_out.loc[case.held_out.index[:5], "city"] = "Atlantis"
    return case


def pipeline(seed: int) -> Case:
    """A random estimator behind random scalers, encoders and imputers; the same for the same seed."""
    random = np.random.default_rng([seed, 7])
    single = [name for name in NAMES if name not in MULTI_TARGET | MULTI_LABEL | PARTLY_LABELLED]
    name = str(random.choice(single))
    return (numeric_pipeline if random.random() < 0.6 else mixed_pipeline)(name, seed)


def _pipeline_case(
    name: str, steps: list[BaseEstimator], x: Rows, y: np.ndarray, seed: int, random: np.random.Generator
) -> Case:
    estimator = create(name, seed, **({"radius": 5.0} if name in SCALE_SENSITIVE else {}))
    if name == "RadiusNeighborsClassifier":
        estimator.set_params(outlier_label="most_frequent")
    if is_classifier(estimator):
        y = labelled(y, random)
    model = fit(make_pipeline(*steps, *suited(name, estimator)), x[:160], y[:160])
    return Case(name, model, x[:160], y[:160], x[160:].copy())


def steps_of(model: Any) -> str:
    """A readable name of a pipeline: the class names of its steps."""
    return (
        " > ".join(type(step).__name__ for _, step in model.steps)
        if isinstance(model, Pipeline)
        else type(model).__name__
    )


def probabilities(model: Any, rows: Rows) -> np.ndarray | None:
    """`[rows, classes]`, of several targets their classes side by side, where the model has them and does not refuse to
    answer; one table for several targets holds the probability of the second label of each."""
    try:
        found = model.predict_proba(rows)
    except (AttributeError, ValueError):
        return None
    if isinstance(found, list):
        return np.concatenate(found, axis=1)
    return np.stack([1 - found, found], axis=2).reshape(len(found), -1) if np.ndim(model.predict(rows)) > 1 else found


def margins(model: Any, rows: Rows, chances: np.ndarray | None) -> Any:
    """By how much the first class leads the second."""
    if np.ndim(model.predict(rows)) > 1 or not (hasattr(model, "decision_function") or chances is not None):
        return np.inf
    scores = np.asarray(model.decision_function(rows) if hasattr(model, "decision_function") else chances)
    if scores.ndim == 1:
        return np.abs(scores)
    ordered = np.sort(scores, axis=1)
    return ordered[:, -1] - ordered[:, -2]
