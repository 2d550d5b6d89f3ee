"""Estimators made of other estimators."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import RFE
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, QuantileTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from serval.conversion.export.graph import Graph
from serval.conversion.export.predictors import emitter
from serval.conversion.export.tensor import Tensor
from serval.errors import NotConvertible
from support.estimators import Case, fit, plain

MODELS = [
    BaggingClassifier(SVC(), max_samples=0.3, bootstrap_features=True, n_estimators=3),
    BaggingClassifier(LogisticRegression(), max_samples=5, n_estimators=6, random_state=0),
    VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB()), ("c", SVC())]),
    VotingClassifier(
        [("a", GaussianNB()), ("gone", "drop"), ("b", make_pipeline(StandardScaler(), LogisticRegression()))],
        voting="soft",
    ),
    StackingClassifier([("a", LinearSVC()), ("b", KNeighborsClassifier())], passthrough=True, cv=3),
    StackingClassifier([("a", LinearSVC()), ("b", DecisionTreeClassifier())], stack_method="predict", cv=3),
    StackingClassifier([("a", GaussianNB())], final_estimator=RandomForestClassifier(5, random_state=0), cv=3),
    CalibratedClassifierCV(LinearSVC(), method="isotonic", cv=3),
    CalibratedClassifierCV(GaussianNB(), method="sigmoid", cv=3),
    CalibratedClassifierCV(LogisticRegression(), method="temperature", cv=3),
    CalibratedClassifierCV(GaussianNB(), method="temperature", cv=3),
    CalibratedClassifierCV(RandomForestClassifier(5), ensemble=False, method="isotonic", cv=3),
    OneVsRestClassifier(SVC()),
    OneVsRestClassifier(GaussianNB()),
    OneVsOneClassifier(GaussianNB()),
    OneVsOneClassifier(LinearSVC()),
    OutputCodeClassifier(LogisticRegression(), random_state=0),
    GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": [1, 2]}, cv=2),
    RFE(LogisticRegression()),
    MLPClassifier((6, 4), activation="tanh", max_iter=30, random_state=0),
    DummyClassifier(strategy="most_frequent"),
    DummyClassifier(strategy="constant", constant=1),
]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_classifier_of_classifiers_agrees(model, classes, agrees):
    case = plain("LogisticRegression", classes=classes)
    agrees(Case("meta", fit(model, case.X, case.y), case.X, case.y, case.held_out))


@pytest.mark.parametrize("names", [["ant", "bee", "cow"], [-5, 7, 30], [0.5, 1.0, 2.0]], ids=str)
@pytest.mark.parametrize("model", [MODELS[0], *MODELS[2:6], MODELS[12], MODELS[16]], ids=str)
def test_labels_may_be_anything(model, names, agrees):
    case = plain("LogisticRegression")
    y = np.array(names)[case.y]
    if y.dtype.kind == "f":
        y = y.astype(str)
    agrees(Case("labels", fit(model, case.X, y), case.X, y, case.held_out))


@pytest.mark.parametrize(
    "arguments",
    [
        {"threshold": 0.3},
        {"threshold": "auto"},
        {"threshold": 0.3, "pos_label": 0},
        {"threshold": 0.2, "pos_label": 0, "response_method": "decision_function"},
    ],
    ids=str,
)
def test_a_threshold_decides_for_its_positive_label(arguments, agrees):
    case = plain("LogisticRegression", classes=2)
    agrees(
        Case(
            "threshold",
            fit(FixedThresholdClassifier(LogisticRegression(), **arguments), case.X, case.y),
            case.X,
            case.y,
            case.held_out,
        )
    )


@pytest.mark.parametrize(
    "model",
    [
        MultiOutputClassifier(RandomForestClassifier(4)),
        ClassifierChain(RandomForestClassifier(4, random_state=0), order=[1, 0]),
        ClassifierChain(LogisticRegression(), chain_method="predict_proba"),
        OneVsRestClassifier(LogisticRegression()),
        KNeighborsClassifier(),
        MLPClassifier((5,), max_iter=30, random_state=0),
        RidgeClassifier(),
    ],
    ids=str,
)
def test_several_labels_at_once_are_columns_of_indices(model, agrees):
    case = plain("MultiOutputClassifier")
    agrees(Case("labels", fit(model, case.X, case.y), case.X, case.y, case.held_out))


@pytest.mark.parametrize(
    "transformer",
    [
        MinMaxScaler(),
        PowerTransformer(),
        QuantileTransformer(n_quantiles=40),
        QuantileTransformer(n_quantiles=40, output_distribution="normal"),
        make_pipeline(StandardScaler(), MinMaxScaler()),
    ],
    ids=str,
)
def test_a_transformed_target_is_transformed_back(transformer, agrees):
    agrees(plain("TransformedTargetRegressor", regressor=Ridge(), transformer=transformer))


def test_a_function_of_the_target_is_inverted(agrees):
    case = plain("PoissonRegressor")
    model = plain("TransformedTargetRegressor").model.set_params(transformer=None, func=np.log1p, inverse_func=np.expm1)
    agrees(Case("function", fit(model, case.X, case.y), case.X, case.y, case.held_out))


@pytest.mark.parametrize("bounds", ["clip", "nan"])
@pytest.mark.parametrize("increasing", [True, False])
def test_an_isotonic_regression_respects_its_bounds(bounds, increasing, agrees):
    agrees(plain("IsotonicRegression", out_of_bounds=bounds, increasing=increasing))


@pytest.mark.parametrize("strategy", ["mean", "median"])
def test_a_dummy_of_two_targets_is_constant(strategy, agrees):
    case = plain("CCA")
    agrees(Case("dummy", fit(DummyRegressor(strategy=strategy), case.X, case.y), case.X, case.y, case.held_out))


@pytest.mark.parametrize("strategy", ["uniform", "stratified"])
def test_a_random_dummy_is_refused_by_name(strategy):
    model = plain("DummyClassifier", strategy=strategy).model
    with pytest.raises(NotConvertible, match=f"`DummyClassifier` with strategy='{strategy}' answers at random: use"):
        emitter().predict(model, Tensor(Graph(), "numbers", "float64"))


def test_a_subclass_of_an_estimator_is_refused():
    class Own(LogisticRegression):
        def predict(self, x):
            return super().predict(x) * 0

    case = plain("LogisticRegression")
    with pytest.raises(NotConvertible, match="`Own` has no predict that Serval can write as ONNX"):
        emitter().predict(fit(Own(), case.X, case.y), Tensor(Graph(), "numbers", "float64"))
