"""Calibrated probabilities, isotonic regression and tuned thresholds."""

from typing import Any

import numpy as np
from sklearn import calibration, isotonic, model_selection

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features
from serval.conversion.export.rules.linear import two
from serval.conversion.export.rules.member_classes import spread
from serval.conversion.export.rules.special import interpolate
from serval.conversion.export.rules.wrappers import member
from serval.conversion.export.tensor import Tensor, stack, total
from serval.conversion.refusals import of_steps

SCORES = ("decision_function", "predict_proba")


def most_probable(emit: Emitter, model: Any, x: Features) -> Tensor:
    return emit.predict_proba(model, x).argmax()


def calibrated_proba(emit: Emitter, model: Any, x: Features) -> Tensor:
    parts = [one_calibrated(emit, model, part, x) for part in model.calibrated_classifiers_]
    return total(parts) / float(len(parts))


def one_calibrated(emit: Emitter, model: Any, part: Any, x: Features) -> Tensor:
    """Source: `_CalibratedClassifier.predict_proba`."""
    scores, method = emit.respond(part.estimator, x, SCORES)
    is_binary = len(part.estimator.classes_) == 2
    if part.method == "temperature":
        return scaled_by_temperature(model, part, scores, method)
    if is_binary:
        scores = (scores.column(1) if method == "predict_proba" else scores).as_column()
    calibrated = stack(emit.predict(calibrator, scores.column(i)) for i, calibrator in enumerate(part.calibrators))
    if len(part.classes) == 2:
        return at_most_one(two(calibrated.ravel()))
    return at_most_one(spread(calibrated, part.classes, part.estimator.classes_).normalised(len(part.classes)))


def scaled_by_temperature(model: Any, part: Any, scores: Tensor, method: str) -> Tensor:
    if method == "decision_function" and len(part.classes) > 2 and not is_logit(part.estimator):
        raise of_steps.TEMPERATURE.of(model)
    signed = stack([-scores, scores]) if len(part.classes) == 2 and method == "decision_function" else scores
    logits = (scores + 1e-12).log() if method == "predict_proba" else signed
    return at_most_one((logits * float(part.calibrators[0].beta_)).softmax())


def is_logit(member: Any) -> bool:
    """Scores of linear models and support vectors are not probabilities: their rows do not sum to one."""
    return hasattr(member, "coef_") or hasattr(member, "support_vectors_")


def at_most_one(proba: Tensor) -> Tensor:
    is_above = (proba > 1.0) & (proba <= 1.0 + 1e-5)
    return is_above.choose(1.0, proba)


def platt(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return (-(x * float(model.a_) + float(model.b_))).sigmoid()


def monotone(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """Beyond the fitted range: the nearest value, or NaN if scikit-learn returns NaN or refuses."""
    values = x.ravel()
    inside = interpolate(values, model.X_thresholds_, model.y_thresholds_)
    if model.out_of_bounds == "clip":
        return inside
    low, high = float(model.X_thresholds_[0]), float(model.X_thresholds_[-1])
    return ((values >= low) & (values <= high)).choose(inside, float("nan"))


def threshold_labels(emit: Emitter, model: Any, x: Features) -> Tensor:
    member = getattr(model, "estimator_", model.estimator)
    method = model._get_response_method()
    scores, used = emit.respond(member, x, (method,) if isinstance(method, str) else tuple(method))
    positive, limit = positive_and_limit(model, used)
    if used == "predict_proba":
        scores = scores.column(positive)
    elif positive == 0:
        scores = -scores
    chosen = (scores >= limit).cast("int64")
    return chosen if positive == 1 else 1 - chosen


def positive_and_limit(model: Any, used: str) -> tuple[int, float]:
    """The index of the positive class and the score from which it is chosen."""
    tuned = hasattr(model, "best_threshold_")
    label = model._curve_scorer._get_pos_label() if tuned else model.pos_label
    positive = 1 if label is None else int(np.flatnonzero(model.classes_ == label)[0])
    if tuned:
        return positive, float(model.best_threshold_)
    if model.threshold == "auto":
        return positive, 0.5 if used == "predict_proba" else 0.0
    return positive, float(model.threshold)


THRESHOLDS = (model_selection.FixedThresholdClassifier, model_selection.TunedThresholdClassifierCV)

FAMILY = Family(
    predict={
        calibration.CalibratedClassifierCV: most_probable,
        calibration._SigmoidCalibration: platt,
        isotonic.IsotonicRegression: monotone,
        **dict.fromkeys(THRESHOLDS, threshold_labels),
    },
    predict_proba={
        calibration.CalibratedClassifierCV: calibrated_proba,
        **dict.fromkeys(THRESHOLDS, member("estimator_", "predict_proba")),
    },
    decision_function=dict.fromkeys(THRESHOLDS, member("estimator_", "decision_function")),
    transform={isotonic.IsotonicRegression: monotone},
    tables=frozenset({calibration.CalibratedClassifierCV, *THRESHOLDS}),
)
