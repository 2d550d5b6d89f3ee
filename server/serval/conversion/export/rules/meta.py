"""Estimators made of other estimators: bags, votes, stacks, chains, calibration, thresholds and searches."""

from typing import Any

import numpy as np
from sklearn import (
    calibration,
    compose,
    dummy,
    ensemble,
    feature_selection,
    isotonic,
    model_selection,
    multiclass,
    multioutput,
    neural_network,
    semi_supervised,
)
from sklearn.base import is_classifier, is_regressor

from serval.conversion.export.emitter import Emitter, Family, refuse
from serval.conversion.export.graph import Array, Features, Tensor, concat, floats, matrix, stack, total
from serval.conversion.export.rules.kernels import votes_of_pairs
from serval.conversion.export.rules.linear import two
from serval.conversion.export.rules.special import interpolate

SCORES = ("decision_function", "predict_proba")


def positions(among: Any, of: Any) -> Array:
    """Where each of the classes `of` a member stands among the classes of the whole."""
    return np.array([list(among).index(label) for label in of], dtype=np.int64)


def spread(proba: Tensor, among: Any, of: Any) -> Tensor:
    """The probabilities of a member that knows only some classes, with zeros for the others."""
    where = positions(among, of)
    if len(where) == len(among):
        return proba
    return proba @ np.eye(len(among))[where]


def positive_class(emit: Emitter, member: Any, x: Features) -> Tensor:
    """`[rows]`. Source: `sklearn.multiclass._predict_binary`."""
    if is_regressor(member):
        return emit.predict(member, x)
    if hasattr(member, "decision_function"):
        return emit.decision_function(member, x).ravel()
    return emit.predict_proba(member, x).column(1)


def positive_threshold(member: Any) -> float:
    return 0.0 if hasattr(member, "decision_function") and is_classifier(member) else 0.5


# Bags, votes and stacks


def bagged_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `sklearn.ensemble._bagging._parallel_predict_proba`; members know classes by their index."""
    count = len(model.classes_)
    parts = []
    for member, features in zip(model.estimators_, model.estimators_features_, strict=True):
        seen = x.columns(features)
        if hasattr(member, "predict_proba"):
            parts.append(spread(emit.predict_proba(member, seen), range(count), member.classes_))
        else:
            parts.append(emit.predict(member, seen).look_up(np.asarray(member.classes_, dtype=np.int64)).one_hot(count))
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
        if method == "predict_proba" and len(model.classes_) == 2:
            answer = answer.columns([1])
        parts.append(answer.as_column() if is_flat(member, method) else answer)
    return concat([*parts, matrix(x)] if model.passthrough else parts)


def is_flat(member: Any, method: str) -> bool:
    """Whether scikit-learn answers `[rows]` rather than `[rows, something]`."""
    return method == "predict" or (method == "decision_function" and len(member.classes_) == 2)


def stacked(emit: Emitter, model: Any, x: Features) -> Tensor:
    return emit.predict(model.final_estimator_, stacked_features(emit, model, x))


def stacked_proba(emit: Emitter, model: Any, x: Features) -> Tensor:
    return emit.predict_proba(model.final_estimator_, stacked_features(emit, model, x))


def stacked_scores(emit: Emitter, model: Any, x: Features) -> Tensor:
    return emit.decision_function(model.final_estimator_, stacked_features(emit, model, x))


# One against the rest, one against one, codes


def rest_scores(emit: Emitter, model: Any, x: Features) -> Tensor:
    if len(model.estimators_) == 1:
        return emit.decision_function(model.estimators_[0], x)
    return stack(emit.decision_function(member, x).ravel() for member in model.estimators_)


def rest_proba(emit: Emitter, model: Any, x: Features) -> Tensor:
    positive = stack(emit.predict_proba(member, x).column(1) for member in model.estimators_)
    if len(model.estimators_) == 1:
        return two(positive.ravel())
    if model.multilabel_:
        return positive
    whole = positive.row_sums(len(model.estimators_))
    return positive / whole.equals(0.0).choose(1.0, whole)


def rest_labels(emit: Emitter, model: Any, x: Features) -> Tensor:
    scores = stack(positive_class(emit, member, x) for member in model.estimators_)
    if model.label_binarizer_.y_type_ == "multiclass":
        return scores.argmax()
    chosen = (scores > positive_threshold(model.estimators_[0])).cast("int64")
    return chosen if model.multilabel_ else chosen.ravel()


def pair_scores(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    parts = (
        [x] * len(model.estimators_)
        if model.pairwise_indices_ is None
        else [x.columns(of) for of in model.pairwise_indices_]
    )
    members = list(zip(model.estimators_, parts, strict=True))
    wins = stack(emit.predict(member, seen).cast("float64") for member, seen in members)
    scores = votes_of_pairs(
        wins, stack(positive_class(emit, member, seen) for member, seen in members), len(model.classes_)
    )
    return scores.column(1) if len(model.classes_) == 2 else scores


def pair_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    scores = emit.decision_function(model, x)
    if len(model.classes_) == 2:
        return (scores > positive_threshold(model.estimators_[0])).cast("int64")
    return scores.argmax()


def coded_labels(emit: Emitter, model: Any, x: Features) -> Tensor:
    """The class with the nearest code, without the common square of the answers, as `pairwise_distances_argmin` ranks
    them."""
    answers = stack(positive_class(emit, member, x) for member in model.estimators_)
    codes = floats(model.code_book_)
    lengths: Array = np.sum(codes**2, axis=1)
    return ((answers * -2.0) @ codes.T + lengths).argmin()


def constant_answer(_: Emitter, model: Any, x: Features) -> Tensor:
    return matrix(x).full(np.asarray(model.y_, dtype=np.float64)).ravel()


def constant_label(_: Emitter, model: Any, x: Features) -> Tensor:
    return matrix(x).full(np.asarray(model.y_, dtype=np.int64)).ravel()


def constant_proba(_: Emitter, model: Any, x: Features) -> Tensor:
    value = float(np.asarray(model.y_).ravel()[0])
    return matrix(x).full([1.0 - value, value])


# Several targets


def several(emit: Emitter, model: Any, x: Features) -> Tensor:
    return stack(emit.predict(member, x) for member in model.estimators_)


def chained(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `_BaseChain._get_predictions`: what earlier members answer are features of the later ones."""
    method = getattr(model, "chain_method_", "predict")
    methods = (method,) if isinstance(method, str) else tuple(method)
    features, answers = x, []
    for member in model.estimators_:
        answers.append(emit.predict(member, features))
        given, used = emit.respond(member, features, methods)
        if used == "predict_proba":
            given = given.column(1)
        elif used == "predict" and is_classifier(member):
            given = given.look_up(np.asarray(member.classes_, dtype=np.float64))
        features = concat([features, given.as_column()])
    return stack(answers[position] for position in np.argsort(model.order_))


# Calibration and thresholds


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
        raise refuse(
            model,
            "guesses from the rows whether scores are probabilities",
            "calibrate with method='sigmoid' or 'isotonic'",
        )
    signed = stack([-scores, scores]) if len(part.classes) == 2 and method == "decision_function" else scores
    logits = (scores + 1e-12).log() if method == "predict_proba" else signed
    return at_most_one((logits * float(part.calibrators[0].beta_)).softmax())


def is_logit(member: Any) -> bool:
    """Scores of linear models and support vectors are no probabilities: their rows do not sum to one."""
    return hasattr(member, "coef_") or hasattr(member, "support_vectors_")


def at_most_one(proba: Tensor) -> Tensor:
    is_above = (proba > 1.0) & (proba <= 1.0 + 1e-5)
    return is_above.choose(1.0, proba)


def platt(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return (-(x * float(model.a_) + float(model.b_))).sigmoid()


def monotone(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """Beyond the fitted range: the nearest value, or NaN where scikit-learn says NaN or refuses."""
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
    """The index of the positive class and the score from which on it is chosen."""
    tuned = hasattr(model, "best_threshold_")
    label = model._curve_scorer._get_pos_label() if tuned else model.pos_label
    positive = 1 if label is None else int(np.flatnonzero(model.classes_ == label)[0])
    if tuned:
        return positive, float(model.best_threshold_)
    if model.threshold == "auto":
        return positive, 0.5 if used == "predict_proba" else 0.0
    return positive, float(model.threshold)


def inner(name: str, verb: str) -> Any:
    """The rule of an estimator that hands a verb to the member in this attribute."""

    def emitted(emit: Emitter, model: Any, x: Features) -> Any:
        return getattr(emit, verb)(getattr(model, name, None) or model.estimator, x)

    return emitted


def transformed_target(emit: Emitter, model: Any, x: Features) -> Tensor:
    raw = emit.predict(model.regressor_, x)
    back = emit.inverse_transform(
        model.transformer_, raw.reshape(0, -1) if model._training_dim > 1 else raw.as_column()
    )
    return back.ravel() if model._training_dim == 1 else back


# Networks and constants

ACTIVATIONS = {
    "identity": lambda x: x,
    "relu": lambda x: x.maximum(0.0),
    "tanh": lambda x: x.tanh(),
    "logistic": lambda x: x.sigmoid(),
    "softmax": lambda x: x.softmax(),
}


def network(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """`[rows, outputs]`"""
    values = x
    for depth, (weights, biases) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), start=1):
        name = model.activation if depth < len(model.coefs_) else model.out_activation_
        values = ACTIVATIONS[name](
            values @ np.asarray(weights, dtype=np.float64) + np.asarray(biases, dtype=np.float64)
        )
    return values


def network_values(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    values = network(emit, model, x)
    return values.ravel() if model.n_outputs_ == 1 else values


def network_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    values = network(emit, model, x)
    return two(values.ravel()) if model.n_outputs_ == 1 else values


def network_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    values = network(emit, model, x)
    if model.n_outputs_ == 1 or model._label_binarizer.y_type_.startswith("multilabel"):
        chosen = (values > 0.5).cast("int64")
        return chosen.ravel() if model.n_outputs_ == 1 else chosen
    return values.argmax()


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


SEARCHES = (model_selection.GridSearchCV, model_selection.RandomizedSearchCV)
THRESHOLDS = (model_selection.FixedThresholdClassifier, model_selection.TunedThresholdClassifierCV)
ELIMINATIONS = (feature_selection.RFE, feature_selection.RFECV)


def selected(verb: str) -> Any:
    def emitted(emit: Emitter, model: Any, x: Tensor) -> Any:
        return getattr(emit, verb)(model.estimator_, x.columns(np.flatnonzero(model.support_)))

    return emitted


FAMILY = Family(
    predict={
        ensemble.BaggingClassifier: most_probable,
        ensemble.BaggingRegressor: bagged_values,
        ensemble.VotingClassifier: voted_labels,
        ensemble.VotingRegressor: voted_values,
        ensemble.StackingClassifier: stacked,
        ensemble.StackingRegressor: stacked,
        multiclass.OneVsRestClassifier: rest_labels,
        multiclass.OneVsOneClassifier: pair_labels,
        multiclass.OutputCodeClassifier: coded_labels,
        multiclass._ConstantPredictor: constant_label,
        multioutput.MultiOutputClassifier: several,
        multioutput.MultiOutputRegressor: several,
        multioutput.ClassifierChain: chained,
        multioutput.RegressorChain: chained,
        calibration.CalibratedClassifierCV: most_probable,
        calibration._SigmoidCalibration: platt,
        isotonic.IsotonicRegression: monotone,
        semi_supervised.SelfTrainingClassifier: inner("estimator_", "predict"),
        compose.TransformedTargetRegressor: transformed_target,
        neural_network.MLPClassifier: network_labels,
        neural_network.MLPRegressor: network_values,
        dummy.DummyClassifier: prior_labels,
        dummy.DummyRegressor: constant_values,
        **dict.fromkeys(SEARCHES, inner("best_estimator_", "predict")),
        **dict.fromkeys(THRESHOLDS, threshold_labels),
        **dict.fromkeys(ELIMINATIONS, selected("predict")),
    },
    predict_proba={
        ensemble.BaggingClassifier: bagged_proba,
        ensemble.VotingClassifier: voted_proba,
        ensemble.StackingClassifier: stacked_proba,
        multiclass.OneVsRestClassifier: rest_proba,
        multiclass._ConstantPredictor: constant_proba,
        calibration.CalibratedClassifierCV: calibrated_proba,
        semi_supervised.SelfTrainingClassifier: inner("estimator_", "predict_proba"),
        neural_network.MLPClassifier: network_proba,
        dummy.DummyClassifier: prior,
        **dict.fromkeys(SEARCHES, inner("best_estimator_", "predict_proba")),
        **dict.fromkeys(THRESHOLDS, inner("estimator_", "predict_proba")),
        **dict.fromkeys(ELIMINATIONS, selected("predict_proba")),
    },
    decision_function={
        ensemble.StackingClassifier: stacked_scores,
        multiclass.OneVsRestClassifier: rest_scores,
        multiclass.OneVsOneClassifier: pair_scores,
        multiclass._ConstantPredictor: constant_answer,
        semi_supervised.SelfTrainingClassifier: inner("estimator_", "decision_function"),
        **dict.fromkeys(SEARCHES, inner("best_estimator_", "decision_function")),
        **dict.fromkeys(THRESHOLDS, inner("estimator_", "decision_function")),
        **dict.fromkeys(ELIMINATIONS, selected("decision_function")),
    },
    transform={isotonic.IsotonicRegression: monotone},
    tables=frozenset(
        {
            ensemble.VotingClassifier,
            ensemble.VotingRegressor,
            ensemble.StackingClassifier,
            ensemble.StackingRegressor,
            multiclass.OneVsRestClassifier,
            multiclass.OutputCodeClassifier,
            multiclass._ConstantPredictor,
            multioutput.MultiOutputClassifier,
            multioutput.MultiOutputRegressor,
            calibration.CalibratedClassifierCV,
            semi_supervised.SelfTrainingClassifier,
            compose.TransformedTargetRegressor,
            dummy.DummyClassifier,
            dummy.DummyRegressor,
            *SEARCHES,
            *THRESHOLDS,
        }
    ),
)
