"""Estimators that answer as older versions of scikit-learn did, where the present class answers otherwise.

They bear the names of the classes that they replace, which are what a user knows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn import ensemble, linear_model, neighbors
from sklearn.base import BaseEstimator, ClassifierMixin

FLOAT32_EPS = float(np.finfo(np.float32).eps)


class _MultiClass:
    """The probabilities of a logistic regression by `multi_class` and `solver`, before 1.8."""

    is_one_vs_rest: bool
    """Whether each class has a sigmoid of its own. If not, two classes share a softmax over -score and score."""

    def predict_proba(self: Any, x: Any) -> Any:
        if self.is_one_vs_rest:
            return self._predict_proba_lr(x)
        scores = self.decision_function(x)
        return softmax(np.c_[-scores, scores] if scores.ndim == 1 else scores, axis=1)


class LogisticRegression(_MultiClass, linear_model.LogisticRegression):  # type: ignore[misc]
    """Before 1.8."""


class LogisticRegressionCV(_MultiClass, linear_model.LogisticRegressionCV):  # type: ignore[misc]
    """Before 1.8."""


class AdaBoostClassifier(ensemble.AdaBoostClassifier):  # type: ignore[misc]
    """With `algorithm="SAMME.R"` (before 1.6), or with the votes of `SAMME` before 1.3."""

    is_real: bool
    """Whether members vote by their probabilities (`SAMME.R`). If not, they vote by 1 and 0, instead of 1 and
    -1 / (classes - 1)."""

    def decision_function(self, x: Any) -> Any:
        x = self._check_X(x)
        if self.is_real:
            votes = sum(real_votes(member.predict_proba(x)) for member in self.estimators_)
        else:
            weighted = zip(self.estimators_, self.estimator_weights_, strict=False)
            votes = sum((member.predict(x) == self.classes_[:, np.newaxis]).T * weight for member, weight in weighted)
        votes = votes / self.estimator_weights_.sum()
        return votes[:, 1] - votes[:, 0] if self.n_classes_ == 2 else votes


def real_votes(proba: Any) -> Any:
    """`[rows, classes]`: what a member of `SAMME.R` adds to the scores."""
    classes = proba.shape[1]
    logarithms = np.log(np.clip(proba, np.finfo(proba.dtype).eps, None))
    return (classes - 1) * (logarithms - logarithms.sum(axis=1, keepdims=True) / classes)


class GradientBoostingClassifier(ensemble.GradientBoostingClassifier):  # type: ignore[misc]
    """For three classes or more, before 1.4: the initial scores are logarithms that are not centred."""

    def _raw_predict_init(self, x: Any) -> Any:
        raw = super()._raw_predict_init(x)
        return raw + np.log(self.init_.predict_proba(x)).mean(axis=1, keepdims=True)


class BoundedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The initial estimator of a gradient boosting before 1.8, whose probabilities keep a distance from 0 and 1."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self.classes_ = estimator.classes_

    def predict_proba(self, x: Any) -> Any:
        return np.clip(self.estimator.predict_proba(x), FLOAT32_EPS, 1 - FLOAT32_EPS, dtype=np.float64)


class NearestCentroid(neighbors.NearestCentroid):  # type: ignore[misc]
    """Before 1.6: it knows the nearest centroid, and neither scores nor probabilities."""

    @property
    def decision_function(self) -> Any:
        raise AttributeError("decision_function came with scikit-learn 1.6")

    @property
    def predict_proba(self) -> Any:
        raise AttributeError("predict_proba came with scikit-learn 1.6")
