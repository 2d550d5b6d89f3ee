"""Baselines that answer alike for every row."""

from typing import Any

import numpy as np
from sklearn import dummy

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, matrix
from serval.conversion.export.tensor import Tensor
from serval.conversion.refusals import of_steps


def prior(_: Emitter, model: Any, x: Features) -> Tensor:
    if model._strategy in {"stratified", "uniform"}:
        raise of_steps.RANDOM_ANSWERS.of(model, strategy=repr(model._strategy))
    shares = np.asarray(model.class_prior_, dtype=np.float64)
    chosen = {"prior": shares, "most_frequent": np.eye(len(shares))[shares.argmax()]}
    if model._strategy == "constant":
        chosen["constant"] = (model.classes_ == np.asarray(model.constant).ravel()[0]).astype(np.float64)
    return matrix(x).full(chosen[model._strategy])


def prior_labels(emit: Emitter, model: Any, x: Features) -> Tensor:
    if model.n_outputs_ > 1:
        raise of_steps.DUMMY_TARGETS.of(model)
    return emit.predict_proba(model, x).argmax()


def constant_values(_: Emitter, model: Any, x: Features) -> Tensor:
    values = matrix(x).full(np.asarray(model.constant_, dtype=np.float64).ravel())
    return values.ravel() if model.n_outputs_ == 1 else values


FAMILY = Family(
    predict={dummy.DummyClassifier: prior_labels, dummy.DummyRegressor: constant_values},
    predict_proba={dummy.DummyClassifier: prior},
    tables=frozenset({dummy.DummyClassifier, dummy.DummyRegressor}),
)
