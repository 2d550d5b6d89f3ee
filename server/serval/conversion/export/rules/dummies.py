"""Baselines that answer alike for every row."""

from typing import Any

import numpy as np
from sklearn import dummy

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, matrix
from serval.conversion.export.tensor import Array, Tensor
from serval.conversion.refusals import of_steps


def prior(_: Emitter, model: Any, x: Features) -> Tensor:
    if model._strategy in {"stratified", "uniform"}:
        raise of_steps.RANDOM_ANSWERS.of(model, strategy=repr(model._strategy))
    return matrix(x).full(np.concatenate(chosen(model)))


def chosen(model: Any) -> list[Array]:
    """The probabilities of each target, which are those of every row."""
    is_one = model.n_outputs_ == 1
    shares = [np.asarray(part, dtype=np.float64) for part in ([model.class_prior_] if is_one else model.class_prior_)]
    if model._strategy == "prior":
        return shares
    if model._strategy == "most_frequent":
        return [np.eye(len(part))[part.argmax()] for part in shares]
    classes = [model.classes_] if is_one else model.classes_
    constants = np.asarray(model.constant, dtype=object).ravel()
    return [(known == constant).astype(np.float64) for known, constant in zip(classes, constants, strict=True)]


def prior_labels(emit: Emitter, model: Any, x: Features) -> Tensor:
    if model.n_outputs_ == 1:
        return emit.predict_proba(model, x).argmax()
    emit.predict_proba(model, x)
    return matrix(x).full(np.array([table.argmax() for table in chosen(model)], dtype=np.int64))


def constant_values(_: Emitter, model: Any, x: Features) -> Tensor:
    values = matrix(x).full(np.asarray(model.constant_, dtype=np.float64).ravel())
    return values.ravel() if model.n_outputs_ == 1 else values


FAMILY = Family(
    predict={dummy.DummyClassifier: prior_labels, dummy.DummyRegressor: constant_values},
    predict_proba={dummy.DummyClassifier: prior},
    tables=frozenset({dummy.DummyClassifier, dummy.DummyRegressor}),
)
