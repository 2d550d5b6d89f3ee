"""The classes of a member of an ensemble among those of the whole."""

from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor

from serval.conversion.export.emitter import Emitter
from serval.conversion.export.features import Features
from serval.conversion.export.tensor import Array, Tensor, concat


def positions(among: Any, of: Any) -> Array:
    """Where each of the classes `of` a member stands among the classes of the whole."""
    return np.array([list(among).index(label) for label in of], dtype=np.int64)


def spread(proba: Tensor, among: Any, of: Any) -> Tensor:
    """The probabilities of a member that knows only some classes, with zeros for the others."""
    where = positions(among, of)
    if len(where) == len(among):
        return proba
    return proba @ np.eye(len(among))[where]


def side_by_side(positive: Tensor) -> Tensor:
    """`[rows, 2 * targets]`: both probabilities of each target, of `[rows, targets]`, those of its second label."""
    return concat([part.reshape(0, -1, 1) for part in (1.0 - positive, positive)], axis=2).reshape(0, -1)


def positive_class(emit: Emitter, member: Any, x: Features) -> Tensor:
    """`[rows]`. Source: `sklearn.multiclass._predict_binary`."""
    if is_regressor(member):
        return emit.predict(member, x)
    if hasattr(member, "decision_function"):
        return emit.decision_function(member, x).ravel()
    return emit.predict_proba(member, x).column(1)


def positive_threshold(member: Any) -> float:
    return 0.0 if hasattr(member, "decision_function") and is_classifier(member) else 0.5
