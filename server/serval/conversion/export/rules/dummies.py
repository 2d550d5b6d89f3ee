"""Baselines that answer alike for every row."""

from typing import Any

import numpy as np
from sklearn import dummy

from serval.conversion.export.emitter import Emitter, Family, refuse
from serval.conversion.export.features import Features, matrix
from serval.conversion.export.tensor import Tensor


def prior(_: Emitter, model: Any, x: Features) -> Tensor:
    if model._strategy in {"stratified", "uniform"}:
        raise refuse(
            model,
            f"with strategy={model._strategy!r} answers at random",
            "use strategy='prior', 'most_frequent' or 'constant'",
        )
    shares = np.asarray(model.class_prior_, dtype=np.float64)
    chosen = {"prior": shares, "most_frequent": np.eye(len(shares))[shares.argmax()]}
    if model._strategy == "constant":
        chosen["constant"] = (model.classes_ == np.asarray(model.constant).ravel()[0]).astype(np.float64)
    return matrix(x).full(chosen[model._strategy])


def prior_labels(emit: Emitter, model: Any, x: Features) -> Tensor:
    if model.n_outputs_ > 1:
        raise refuse(model, "has several targets", "use one DummyClassifier for each target")
    return emit.predict_proba(model, x).argmax()


def constant_values(_: Emitter, model: Any, x: Features) -> Tensor:
    values = matrix(x).full(np.asarray(model.constant_, dtype=np.float64).ravel())
    return values.ravel() if model.n_outputs_ == 1 else values


FAMILY = Family(
    predict={dummy.DummyClassifier: prior_labels, dummy.DummyRegressor: constant_values},
    predict_proba={dummy.DummyClassifier: prior},
    tables=frozenset({dummy.DummyClassifier, dummy.DummyRegressor}),
)
