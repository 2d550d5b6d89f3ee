"""Estimators that answer as older versions of scikit-learn did."""

from typing import Any

import numpy as np

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.rules.bayes import nearest
from serval.conversion.export.rules.linear import labels, scores, two
from serval.conversion.export.rules.trees import (
    adaptive_labels,
    adaptive_proba,
    boosted,
    boosted_labels,
    boosted_proba,
    class_votes,
)
from serval.conversion.export.tensor import Tensor, total
from serval.conversion.old_versions import estimators

SMALLEST = float(np.finfo(np.float64).eps)


def logistic(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    result = emit.decision_function(model, x)
    if len(model.classes_) == 2:
        return two((result if model.is_one_vs_rest else result * 2.0).sigmoid())
    return result.sigmoid().normalised(len(model.classes_)) if model.is_one_vs_rest else result.softmax()


def adaptive_scores(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    if model.is_real:
        votes = [real_votes(emit.predict_proba(member, x), len(model.classes_)) for member in model.estimators_]
    else:
        members = zip(model.estimators_, model.estimator_weights_.tolist(), strict=False)
        votes = [class_votes(emit, model, member, x) * weight for member, weight in members]
    raw = total(votes) / float(model.estimator_weights_.sum())
    return (raw @ np.array([[-1.0], [1.0]])).ravel() if len(model.classes_) == 2 else raw


def real_votes(proba: Tensor, classes: int) -> Tensor:
    logarithms = proba.cast("float64").clip(SMALLEST, 1.0).log()
    return (logarithms - logarithms.row_sums(classes) / float(classes)) * float(classes - 1)


def uncentred(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    logarithms = emit.predict_proba(model.init_, x.rounded_to_float32()).log()
    return boosted(emit, model, x) + logarithms.row_sums(len(model.classes_)) / float(len(model.classes_))


def bounded(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    return emit.predict_proba(model.estimator, x).clip(estimators.FLOAT32_EPS, 1.0 - estimators.FLOAT32_EPS)


LOGISTIC = (estimators.LogisticRegression, estimators.LogisticRegressionCV)
FAMILY = Family(
    predict={
        **dict.fromkeys(LOGISTIC, labels),
        estimators.AdaBoostClassifier: adaptive_labels,
        estimators.GradientBoostingClassifier: boosted_labels,
        estimators.NearestCentroid: nearest,
    },
    predict_proba={
        **dict.fromkeys(LOGISTIC, logistic),
        estimators.AdaBoostClassifier: adaptive_proba,
        estimators.GradientBoostingClassifier: boosted_proba,
        estimators.BoundedClassifier: bounded,
    },
    decision_function={
        **dict.fromkeys(LOGISTIC, scores),
        estimators.AdaBoostClassifier: adaptive_scores,
        estimators.GradientBoostingClassifier: uncentred,
    },
)
