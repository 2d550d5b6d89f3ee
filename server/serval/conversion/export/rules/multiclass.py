"""Several classes or several targets by one estimator each: one-vs-rest, one-vs-one, output codes, chains."""

from typing import Any

import numpy as np
from sklearn import multiclass, multioutput
from sklearn.base import is_classifier

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, matrix
from serval.conversion.export.rules.kernels import votes_of_pairs
from serval.conversion.export.rules.linear import two
from serval.conversion.export.rules.member_classes import positive_class, positive_threshold, side_by_side
from serval.conversion.export.tensor import Array, Tensor, concat, floats, stack


def one_vs_rest_scores(emit: Emitter, model: Any, x: Features) -> Tensor:
    if len(model.estimators_) == 1:
        return emit.decision_function(model.estimators_[0], x)
    return stack(emit.decision_function(member, x).ravel() for member in model.estimators_)


def one_vs_rest_proba(emit: Emitter, model: Any, x: Features) -> Tensor:
    positive = stack(emit.predict_proba(member, x).column(1) for member in model.estimators_)
    if len(model.estimators_) == 1:
        return two(positive.ravel())
    if model.multilabel_:
        return side_by_side(positive)
    sums = positive.row_sums(len(model.estimators_))
    return positive / sums.equals(0.0).choose(1.0, sums)


def one_vs_rest_labels(emit: Emitter, model: Any, x: Features) -> Tensor:
    scores = stack(positive_class(emit, member, x) for member in model.estimators_)
    if model.label_binarizer_.y_type_ == "multiclass":
        return scores.argmax()
    chosen = (scores > positive_threshold(model.estimators_[0])).cast("int64")
    return chosen if model.multilabel_ else chosen.ravel()


def one_vs_one_scores(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    parts = (
        [x] * len(model.estimators_)
        if model.pairwise_indices_ is None
        else [x.columns(of) for of in model.pairwise_indices_]
    )
    members = list(zip(model.estimators_, parts, strict=True))
    votes = stack(emit.predict(member, columns).cast("float64") for member, columns in members)
    scores = votes_of_pairs(
        votes, stack(positive_class(emit, member, columns) for member, columns in members), len(model.classes_)
    )
    return scores.column(1) if len(model.classes_) == 2 else scores


def one_vs_one_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
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


def every_target(emit: Emitter, model: Any, x: Features) -> Tensor:
    return stack(emit.predict(member, x) for member in model.estimators_)


def every_proba(emit: Emitter, model: Any, x: Features) -> Tensor:
    return concat(emit.predict_proba(member, x) for member in model.estimators_)


def chained(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    features = emit.once("links", model, x, lambda: links(emit, model, x))
    answers = [emit.predict(member, given) for member, given in zip(model.estimators_, features, strict=True)]
    return stack(answers[position] for position in np.argsort(model.order_))


def chained_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    features = emit.once("links", model, x, lambda: links(emit, model, x))
    tables = [emit.predict_proba(member, given) for member, given in zip(model.estimators_, features, strict=True)]
    return side_by_side(stack(tables[position].column(1) for position in np.argsort(model.order_)))


def links(emit: Emitter, model: Any, x: Tensor) -> list[Tensor]:
    """The features of each member: what earlier ones answer are features of the later ones. Source:
    `_BaseChain._get_predictions`."""
    method = getattr(model, "chain_method_", "predict")
    methods = (method,) if isinstance(method, str) else tuple(method)
    features = [x]
    for member in model.estimators_[:-1]:
        response, method_used = emit.respond(member, features[-1], methods)
        if method_used == "predict_proba":
            response = response.column(1)
        elif method_used == "predict" and is_classifier(member):
            response = response.look_up(np.asarray(member.classes_, dtype=np.float64))
        features.append(concat([features[-1], response.as_column()]))
    return features


TABLES = (
    multiclass.OneVsRestClassifier,
    multiclass.OutputCodeClassifier,
    multiclass._ConstantPredictor,
    multioutput.MultiOutputClassifier,
    multioutput.MultiOutputRegressor,
)

FAMILY = Family(
    predict={
        multiclass.OneVsRestClassifier: one_vs_rest_labels,
        multiclass.OneVsOneClassifier: one_vs_one_labels,
        multiclass.OutputCodeClassifier: coded_labels,
        multiclass._ConstantPredictor: constant_label,
        multioutput.MultiOutputClassifier: every_target,
        multioutput.MultiOutputRegressor: every_target,
        multioutput.ClassifierChain: chained,
        multioutput.RegressorChain: chained,
    },
    predict_proba={
        multiclass.OneVsRestClassifier: one_vs_rest_proba,
        multiclass._ConstantPredictor: constant_proba,
        multioutput.MultiOutputClassifier: every_proba,
        multioutput.ClassifierChain: chained_proba,
    },
    decision_function={
        multiclass.OneVsRestClassifier: one_vs_rest_scores,
        multiclass.OneVsOneClassifier: one_vs_one_scores,
        multiclass._ConstantPredictor: constant_answer,
    },
    tables=frozenset(TABLES),
)
