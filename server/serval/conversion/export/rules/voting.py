"""Bags, votes and stacks of estimators."""

from typing import Any

import numpy as np
from sklearn import ensemble
from sklearn.base import is_classifier

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, matrix
from serval.conversion.export.probability_tables import innermost
from serval.conversion.export.rules.member_classes import spread
from serval.conversion.export.tensor import Array, Tensor, concat, total


def bagged_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `sklearn.ensemble._bagging._parallel_predict_proba`; members know classes by their index."""
    count = len(model.classes_)
    parts = []
    for member, features in zip(model.estimators_, model.estimators_features_, strict=True):
        columns = x.columns(features)
        if hasattr(member, "predict_proba"):
            parts.append(spread(emit.predict_proba(member, columns), range(count), member.classes_))
        else:
            parts.append(
                emit.predict(member, columns).look_up(np.asarray(member.classes_, dtype=np.int64)).one_hot(count)
            )
    return total(parts) / float(len(parts))


def bagged_values(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    members = zip(model.estimators_, model.estimators_features_, strict=True)
    return total(emit.predict(member, x.columns(features)) for member, features in members) / float(
        len(model.estimators_)
    )


def most_probable(emit: Emitter, model: Any, x: Features) -> Tensor:
    return emit.predict_proba(model, x).argmax()


def shares(model: Any) -> Array:
    weights = model._weights_not_none
    return np.ones(len(model.estimators_)) if weights is None else np.asarray(weights, dtype=np.float64)


def voted_proba(emit: Emitter, model: Any, x: Features) -> Tensor:
    weights = shares(model)
    parts = (
        emit.predict_proba(member, x) * float(weight) for member, weight in zip(model.estimators_, weights, strict=True)
    )
    return total(parts) / float(weights.sum())


def voted_labels(emit: Emitter, model: Any, x: Features) -> Tensor:
    if model.voting == "soft":
        return most_probable(emit, model, x)
    weights = shares(model)
    count = len(model.classes_)
    parts = [
        emit.predict(member, x).look_up(np.asarray(member.classes_, dtype=np.int64)).one_hot(count) * float(weight)
        for member, weight in zip(model.estimators_, weights, strict=True)
    ]
    return total(parts).argmax()


def voted_values(emit: Emitter, model: Any, x: Features) -> Tensor:
    weights = shares(model)
    parts = (emit.predict(member, x) * float(weight) for member, weight in zip(model.estimators_, weights, strict=True))
    return total(parts) / float(weights.sum())


def stacked_features(emit: Emitter, model: Any, x: Features) -> Tensor:
    """What the first layer answers, side by side. Source: `_BaseStacking._concatenate_predictions`."""
    parts = []
    methods = [method for method in model.stack_method_ if method is not None]
    for member, method in zip(model.estimators_, methods, strict=True):
        answer = emit.respond(member, x, (method,))[0]
        if method == "predict" and is_classifier(member):
            answer = answer.look_up(np.asarray(member.classes_, dtype=np.float64))
        if method == "predict_proba" and isinstance(model.classes_, list):
            answer = answer.columns(kept_probabilities(model, member))
        elif method == "predict_proba" and len(model.classes_) == 2:
            answer = answer.columns([1])
        parts.append(answer.as_column() if is_flat(member, method) else answer)
    return concat([*parts, matrix(x)] if model.passthrough else parts)


def kept_probabilities(model: Any, member: Any) -> list[int]:
    """Which columns of its tables, side by side, scikit-learn takes of a member of a stack of several targets: without
    the first class of each; and of a member with one table for all, of two targets the second alone."""
    classes = getattr(member, "classes_", None)
    counts = [len(known) for known in classes] if isinstance(classes, list) else [2] * len(model.classes_)
    starts = np.cumsum([0, *counts[:-1]]).tolist()
    kept = [start + place for start, count in zip(starts, counts, strict=True) for place in range(1, count)]
    is_one_table = not isinstance(classes, list) or type(innermost(member)).__name__ == "ClassifierChain"
    return kept[1:] if is_one_table and len(model.classes_) == 2 else kept


def is_flat(member: Any, method: str) -> bool:
    """Whether scikit-learn answers `[rows]` rather than `[rows, something]`."""
    return method == "predict" or (method == "decision_function" and len(member.classes_) == 2)


def stacked(emit: Emitter, model: Any, x: Features) -> Tensor:
    return emit.predict(model.final_estimator_, stacked_features(emit, model, x))


def stacked_proba(emit: Emitter, model: Any, x: Features) -> Tensor:
    return emit.predict_proba(model.final_estimator_, stacked_features(emit, model, x))


def stacked_scores(emit: Emitter, model: Any, x: Features) -> Tensor:
    return emit.decision_function(model.final_estimator_, stacked_features(emit, model, x))


TABLES = (
    ensemble.VotingClassifier,
    ensemble.VotingRegressor,
    ensemble.StackingClassifier,
    ensemble.StackingRegressor,
)

FAMILY = Family(
    predict={
        ensemble.BaggingClassifier: most_probable,
        ensemble.BaggingRegressor: bagged_values,
        ensemble.VotingClassifier: voted_labels,
        ensemble.VotingRegressor: voted_values,
        ensemble.StackingClassifier: stacked,
        ensemble.StackingRegressor: stacked,
    },
    predict_proba={
        ensemble.BaggingClassifier: bagged_proba,
        ensemble.VotingClassifier: voted_proba,
        ensemble.StackingClassifier: stacked_proba,
    },
    decision_function={ensemble.StackingClassifier: stacked_scores},
    tables=frozenset(TABLES),
)
