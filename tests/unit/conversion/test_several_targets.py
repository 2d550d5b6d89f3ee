"""Classifiers of several targets: the probabilities of each are scikit-learn's, or there are none and it is known."""

import json
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from serval.commands.expected_answers import expected_answer, with_answers
from serval.conversion.export.original import answers_of
from serval.conversion.from_sklearn import Converted, convert
from serval.conversion.rows import Answers, Rows
from serval.conversion.verify import onnxruntime_engine
from serval.conversion.verify.verify import compare

RANDOM = np.random.default_rng(0)
SPECIES = load_iris().target
X = load_iris().data + RANDOM.normal(scale=0.01, size=(150, 4))
LONG = (X[:, 0] > 6).astype(int)
ASKED = np.concatenate([X, X.mean(axis=0) + RANDOM.normal(scale=2.0, size=(300, 4))])

TAGS = np.stack([SPECIES > 0, SPECIES > 1, LONG], axis=1).astype(int)
TWO_TAGS = TAGS[:, :2]
NUMBERS = np.stack([SPECIES * 10, LONG * 3], axis=1)
WORDS = np.stack([np.array(["c", "a", "b"])[SPECIES], np.array(["no", "yes"])[LONG]], axis=1)


def logistic() -> LogisticRegression:
    return LogisticRegression(max_iter=500)


def forest(**changes: Any) -> RandomForestClassifier:
    return RandomForestClassifier(5, random_state=0, **changes)


def network() -> MLPClassifier:
    return MLPClassifier((5,), max_iter=50, random_state=0)


def search(estimator: Any, **values: Any) -> GridSearchCV:
    return GridSearchCV(estimator, values, cv=2, scoring=lambda *_: 0.0)


def stack(*members: Any, final: Any) -> StackingClassifier:
    return StackingClassifier([(f"m{place}", member) for place, member in enumerate(members)], final, cv=2)


MODELS: dict[str, tuple[Any, np.ndarray]] = {
    "multi-output logistic": (MultiOutputClassifier(logistic()), WORDS),
    "multi-output forest": (MultiOutputClassifier(forest()), NUMBERS),
    "multi-output pipeline": (MultiOutputClassifier(make_pipeline(StandardScaler(), GaussianNB())), WORDS),
    "multi-output of one target": (MultiOutputClassifier(logistic()), WORDS[:, :1]),
    "chain": (ClassifierChain(logistic(), order=[2, 0, 1]), TAGS),
    "chain of probabilities": (
        ClassifierChain(GaussianNB(), chain_method="predict_proba", order="random", random_state=1),
        TAGS,
    ),
    "chain of numbers": (ClassifierChain(GaussianNB()), np.stack([(SPECIES > 0) * 7, LONG * 3], axis=1)),
    "tree": (DecisionTreeClassifier(max_depth=4), WORDS),
    "extra tree": (ExtraTreeClassifier(max_depth=4, random_state=0), NUMBERS),
    "forest": (forest(), WORDS),
    "forest of tags": (forest(max_depth=3), TAGS),
    "extra trees": (ExtraTreesClassifier(5, random_state=0), NUMBERS),
    "neighbours": (KNeighborsClassifier(4), WORDS),
    "neighbours by distance": (KNeighborsClassifier(4, weights="distance"), NUMBERS),
    "radius": (RadiusNeighborsClassifier(1.0, outlier_label="most_frequent"), WORDS),
    "radius by distance": (RadiusNeighborsClassifier(2.0, weights="distance", outlier_label=[10, 3]), NUMBERS),
    "network": (network(), TAGS),
    "one-vs-rest": (OneVsRestClassifier(logistic()), TAGS),
    "one-vs-rest with constant tags": (
        OneVsRestClassifier(logistic()),
        np.concatenate([TAGS, np.ones((150, 1), dtype=int), np.zeros((150, 1), dtype=int)], axis=1),
    ),
    "dummy": (DummyClassifier(), WORDS),
    "dummy of the most frequent": (DummyClassifier(strategy="most_frequent"), NUMBERS),
    "dummy of constants": (DummyClassifier(strategy="constant", constant=["b", "yes"]), WORDS),
    "pipeline": (make_pipeline(StandardScaler(), forest()), WORDS),
    "search": (
        search(make_pipeline(StandardScaler(), KNeighborsClassifier()), kneighborsclassifier__n_neighbors=[3]),
        WORDS,
    ),
    "search of a chain": (search(ClassifierChain(GaussianNB()), order=[[1, 0]]), TWO_TAGS),
    "stack": (stack(network(), forest(), final=forest()), TAGS),
    "stack of two targets": (
        stack(network(), KNeighborsClassifier(), OneVsRestClassifier(logistic()), final=KNeighborsClassifier()),
        TWO_TAGS,
    ),
}

WITHOUT: dict[str, tuple[Any, np.ndarray]] = {
    "multi-output ridge": (MultiOutputClassifier(RidgeClassifier()), WORDS),
    "ridge": (RidgeClassifier(), TAGS),
    "one-vs-rest of margins": (OneVsRestClassifier(LinearSVC()), TAGS),
    "chain of three labels": (ClassifierChain(GaussianNB()), NUMBERS),
    "chain of three labels with scores": (ClassifierChain(logistic()), NUMBERS),
    "stack on a network": (stack(KNeighborsClassifier(), DecisionTreeClassifier(), final=network()), TAGS),
}


def converted(model: Any, targets: np.ndarray) -> Converted:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert(model.fit(X, targets))


def graph_answers(found: Converted) -> Answers:
    return onnxruntime_engine.run(found.onnx, found.signature, rows(ASKED))


def rows(table: np.ndarray) -> Rows:
    return Rows(table, np.empty((len(table), 0), dtype=object))


def tables_of(model: Any, given: np.ndarray, count: int) -> np.ndarray:
    """The tables side by side, of every shape in which scikit-learn answers."""
    answered = model.predict_proba(given)
    if isinstance(answered, list):
        return np.concatenate(answered, axis=1)
    assert answered.shape == (len(given), count)
    parts = (answered, 1 - answered) if isinstance(model, StackingClassifier) else (1 - answered, answered)
    return np.stack(parts, axis=2).reshape(len(given), -1)


@pytest.mark.parametrize("name", MODELS)
def test_each_target_has_the_probabilities_and_the_label_of_scikit_learn(name: str) -> None:
    model, targets = MODELS[name]
    found = converted(model, targets)
    signature = found.signature
    assert (signature.has_probabilities, signature.is_multi_target) == (True, True)
    answers = graph_answers(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, chances = model.predict(ASKED), tables_of(model, ASKED, targets.shape[1])
        original = answers_of(model, signature, rows(ASKED))
    assert answers.scores.shape == (len(ASKED), sum(map(len, signature.labels)))
    np.testing.assert_allclose(answers.scores, chances, rtol=0, atol=1e-6)
    for target, labels in enumerate(signature.labels):
        np.testing.assert_array_equal(np.array(labels)[answers.labels[:, target]], expected[:, target])
    parity = compare(signature, original, answers)
    assert (parity.reason, parity.rows, parity.refused) == (None, len(ASKED), 0)


@pytest.mark.parametrize("name", WITHOUT)
def test_without_probabilities_for_every_class_the_labels_are_answered_alone(name: str) -> None:
    model, targets = WITHOUT[name]
    found = converted(model, targets)
    assert (found.signature.has_probabilities, found.signature.score_width) == (False, 0)
    answers = graph_answers(found)
    predicted = model.predict(ASKED)
    for target, labels in enumerate(found.signature.labels):
        np.testing.assert_array_equal(np.array(labels)[answers.labels[:, target]], predicted[:, target])
    parity = compare(found.signature, answers_of(model, found.signature, rows(ASKED)), answers)
    assert (parity.reason, parity.refused) == (None, 0)


@pytest.mark.parametrize("target", range(3))
def test_a_wrong_probability_of_any_target_fails_verification(target: int) -> None:
    model, targets = MODELS["one-vs-rest"]
    found = converted(model, targets)
    answers = graph_answers(found)
    answers.scores[7, 2 * target] += 1e-4
    parity = compare(found.signature, answers_of(model, found.signature, rows(ASKED)), answers)
    assert parity.reason is not None
    assert parity.reason.startswith(f"on 1 of {len(ASKED)} rows the probabilities are off")
    assert parity.worst == 7


def test_a_tie_of_one_target_excuses_no_other() -> None:
    """Every row ties in the first target, whose classes are equally frequent."""
    model, targets = MODELS["dummy"]
    found = converted(model, targets)
    answers, original = graph_answers(found), answers_of(model, found.signature, rows(ASKED))
    for target, reason in ((0, None), (1, f"1 of {len(ASKED)} rows get another label")):
        labels = answers.labels.copy()
        labels[3, target] = 1 - labels[3, target]
        moved = Answers(labels, answers.scores, answers.margins, answers.is_answered)
        assert compare(found.signature, original, moved).reason == reason


def test_a_tag_that_every_row_has_is_no_tie() -> None:
    model, targets = MODELS["one-vs-rest with constant tags"]
    found = converted(model, targets)
    parity = compare(found.signature, answers_of(model, found.signature, rows(ASKED)), graph_answers(found))
    assert (parity.ties, parity.agreeing) == (0, len(ASKED))


@pytest.mark.parametrize("name", ["multi-output logistic", "network", "chain", "forest of tags", "search"])
def test_what_a_push_expects_is_a_table_for_each_target(name: str) -> None:
    import pandas as pd

    model, targets = MODELS[name]
    signature = converted(model, targets).signature
    original = answers_of(model, signature, rows(X))
    told = json.loads(with_answers(model, pd.DataFrame(X), None).text)
    for index in range(len(X)):
        expected = expected_answer(signature, original, index)
        assert told[index]["prediction"] == expected["prediction"]
        assert [len(table) for table in told[index]["probabilities"]] == list(map(len, signature.labels))
        for given, table in zip(told[index]["probabilities"], expected["probabilities"], strict=True):
            np.testing.assert_allclose(given, table, rtol=0, atol=1e-12)
