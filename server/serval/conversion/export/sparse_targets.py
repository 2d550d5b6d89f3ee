"""Nearest neighbours that were fitted on a sparse multi-label target, which scikit-learn stores unread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

NEIGHBORS = {"KNeighborsClassifier", "RadiusNeighborsClassifier"}


def read_sparse_targets(estimator: Any) -> None:
    """Let every such estimator, also a nested one, be as if it had been fitted on the same target as an array.

    `fit` takes each sparse column for one label, and keeps it among the `classes_`: there are the labels of the rows.
    """
    for part in _parts(estimator):
        classes = getattr(part, "classes_", None)
        if type(part).__name__ not in NEIGHBORS or not isinstance(classes, list):
            continue
        if all(len(known) == 1 and sparse.issparse(known[0]) for known in classes):
            read = [np.unique(known[0].toarray().ravel(), return_inverse=True) for known in classes]
            part.classes_ = [labels for labels, _ in read]
            part._y = np.stack([codes for _, codes in read], axis=1).astype(np.intp)


def _parts(estimator: Any, depth: int = 0) -> Iterator[Any]:
    yield estimator
    if depth < 20:
        inner = [step for _, step in getattr(estimator, "steps", None) or [] if not isinstance(step, str)]
        inner += [getattr(estimator, name, None) for name in ("best_estimator_", "estimator_", "estimator")]
        for part in inner:
            if part is not None:
                yield from _parts(part, depth + 1)
