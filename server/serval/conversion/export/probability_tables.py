"""The probabilities of a fitted classifier, in whatever shape `predict_proba` returns them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.float64]
UNANSWERED = (NotImplementedError, ValueError, TypeError, AttributeError, IndexError)
"""What the methods of an estimator raise that predicts, but has no scores or probabilities."""


def probability_tables(estimator: Any, given: Any, *, is_multi_target: bool) -> list[Table]:
    """For each target its probabilities, `[rows, classes]`. Raises any error that `predict_proba` raises.

    scikit-learn answers for several targets with a list of such tables, or with one table `[rows, targets]` of the
    probabilities of the second of two labels: chains, networks and one-vs-rest. A stack of several targets has those
    of the first label.
    """
    answered = estimator.predict_proba(given)
    if isinstance(answered, list):
        return [np.asarray(table, dtype=np.float64) for table in answered]
    table = np.asarray(answered, dtype=np.float64)
    if not is_multi_target:
        return [table]
    order = -1 if type(innermost(estimator)).__name__ == "StackingClassifier" else 1
    return [np.stack([1.0 - column, column][::order], axis=1) for column in table.T]


def tables_if_any(estimator: Any, given: Any, *, is_multi_target: bool) -> list[Table] | None:
    """The same; None where the estimator has no probabilities, also because its arguments do not allow them."""
    try:
        return probability_tables(estimator, given, is_multi_target=is_multi_target)
    except UNANSWERED:
        return None


def innermost(estimator: Any) -> Any:
    """The estimator that answers for a pipeline or a search."""
    while True:
        if hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator
