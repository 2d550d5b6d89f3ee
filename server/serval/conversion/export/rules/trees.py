"""Decision trees and what is grown from them: features as scikit-learn rounds them, sums as it adds them up."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import ensemble
from sklearn import tree as single

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import matrix
from serval.conversion.export.rules.linear import labels_of_scores, two
from serval.conversion.export.rules.memberships import goes_right, with_memberships
from serval.conversion.export.rules.tree_sums import Nodes, sums
from serval.conversion.export.tensor import Array, Tensor, stack, total


def float32_features(emit: Emitter, x: Tensor) -> Tensor:
    """The features as scikit-learn's trees compare them: rounded to float32."""
    return x.cast("float32") if emit.has_narrow_trees else x.rounded_to_float32()


def nodes_of(fitted: Any, value: Array) -> Nodes:
    """The nodes of scikit-learn's `Tree` with the values `[nodes, values]` they hold."""
    return Nodes(
        feature=fitted.feature,
        threshold=fitted.threshold,
        missing_left=fitted.missing_go_to_left,
        left=fitted.children_left,
        right=fitted.children_right,
        is_leaf=fitted.children_left == -1,
        value=value,
    )


def means(emit: Emitter, model: Any, x: Tensor, value: Callable[[Any], Array]) -> Tensor:
    """`[rows, values]`: the mean over the trees of a forest, or of the one tree, of the values of each row's leaf."""
    trees = [member.tree_ for member in getattr(model, "estimators_", [model])]
    nodes = [nodes_of(tree, value(tree)) for tree in trees]
    return sums(nodes, [0] * len(nodes), float32_features(emit, x)) / float(len(nodes))


def tree_values(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    values = means(emit, model, x, lambda tree: tree.value[:, :, 0])
    return values.ravel() if model.n_outputs_ == 1 else values


def tree_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    if model.n_outputs_ > 1:
        return shares(emit, model, x).columns(np.concatenate(places(model)))
    if len(model.classes_) == 2:
        return two(means(emit, model, x, lambda tree: tree.value[:, 0, 1:]).ravel())
    return means(emit, model, x, lambda tree: tree.value[:, 0, :])


def tree_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    if model.n_outputs_ == 1:
        return emit.predict_proba(model, x).argmax()
    return shares(emit, model, x).reshape(-1, model.n_outputs_, max(model.n_classes_)).argmax(axis=2)


def shares(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    """`[rows, targets * most classes]`: zero for a class that a target does not have."""
    tables: Tensor = emit.once(
        "shares", model, x, lambda: means(emit, model, x, lambda tree: tree.value.reshape(tree.node_count, -1))
    )
    return tables


def places(model: Any) -> list[Array]:
    """The columns of each target's classes among the shares."""
    most = max(model.n_classes_)
    return [target * most + np.arange(count) for target, count in enumerate(model.n_classes_)]


def boosted(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    """`[rows]`, or `[rows, classes]` for more than two classes. Source: `BaseGradientBoosting._raw_predict`."""
    stages = [
        [nodes_of(grown.tree_, grown.tree_.value[:, 0] * model.learning_rate) for grown in stage]
        for stage in model.estimators_
    ]
    raw = summed_stages(stages, float32_features(emit, x))
    if model.init_ != "zero":
        raw = raw + initial(emit, model, x.rounded_to_float32())
    return raw.ravel() if len(stages[0]) == 1 else raw


def summed_stages(stages: list[list[Nodes]], x: Tensor) -> Tensor:
    """`[rows, trees of a stage]`: each row's leaves, added up over the stages."""
    return sums(
        [tree for stage in stages for tree in stage], [target for stage in stages for target in range(len(stage))], x
    )


def initial(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    """`[rows, targets]`. Source: `_init_raw_predictions`."""
    if not hasattr(model, "classes_"):
        return emit.predict(model.init_, x).as_column()
    smallest = float(np.finfo(np.float64).eps)
    proba = emit.predict_proba(model.init_, x).clip(smallest, 1 - smallest)
    link = type(model._loss.link).__name__
    if link == "MultinomialLogit":
        logarithms = proba.log()
        return logarithms - logarithms.row_sums(len(model.classes_)) / float(len(model.classes_))
    positive = proba.columns([1])
    odds = (positive / (1.0 - positive)).log()
    return odds * 0.5 if link == "HalfLogitLink" else odds


def boosted_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    raw = emit.decision_function(model, x)
    if len(model.classes_) > 2:
        return raw.softmax()
    return two((raw * 2.0 if type(model._loss.link).__name__ == "HalfLogitLink" else raw).sigmoid())


def boosted_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    raw = emit.decision_function(model, x)
    return raw.argmax() if len(model.classes_) > 2 else (raw >= 0.0).cast("int64")


def histogram_nodes(predictor: Any, known: tuple[Array, Array]) -> Nodes:
    """The nodes of a `TreePredictor` over raw values; its thresholds are compared in float64.

    `known`: of each categorical feature the set of its categories, and of each feature its index among those.
    """
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    categorical = np.flatnonzero(~is_leaf & nodes["is_categorical"].astype(bool)).tolist()
    sets, index_of = known
    return Nodes(
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        missing_left=nodes["missing_go_to_left"],
        left=nodes["left"],
        right=nodes["right"],
        is_leaf=is_leaf,
        value=nodes["value"].reshape(-1, 1),
        members={
            node: goes_right(
                predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]],
                sets[index_of[nodes["feature_idx"][node]]],
                is_missing_left=bool(nodes["missing_go_to_left"][node]),
            )
            for node in categorical
        },
    )


def histogram_boosted(emit: Emitter, model: Any, x: Any) -> Tensor:
    """`[rows]`, or `[rows, classes]` for more than two classes. Source: `BaseHistGradientBoosting._raw_predict`."""
    values = matrix(x) if model._preprocessor is None else matrix(emit.transform(model._preprocessor, x))
    known = model._bin_mapper.make_known_categories_bitsets()
    stages = [[histogram_nodes(predictor, known) for predictor in stage] for stage in model._predictors]
    raw = summed_stages(*with_memberships(stages, values, model._n_features))
    raw = raw + np.asarray(model._baseline_prediction, dtype=np.float64).reshape(1, -1)
    return raw.ravel() if len(stages[0]) == 1 else raw


def histogram_values(emit: Emitter, model: Any, x: Any) -> Tensor:
    raw = histogram_boosted(emit, model, x)
    return raw.exp() if type(model._loss.link).__name__ == "LogLink" else raw


def adaptive_scores(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `AdaBoostClassifier.decision_function`."""
    count = len(model.classes_)
    weights = model.estimator_weights_
    votes = []
    for member, weight in zip(model.estimators_, weights, strict=False):
        chosen = class_votes(emit, model, member, x)
        votes.append(chosen * float(weight + weight / (count - 1)) - float(weight / (count - 1)))
    raw = total(votes) / float(weights.sum())
    return (raw @ np.array([[-1.0], [1.0]])).ravel() if count == 2 else raw


def class_votes(emit: Emitter, model: Any, member: Any, x: Tensor) -> Tensor:
    """`[rows, classes]`: 1 where the member chooses the class; a member may have seen fewer classes."""
    chosen = emit.predict(member, x).look_up(np.searchsorted(model.classes_, member.classes_))
    return chosen.one_hot(len(model.classes_))


def adaptive_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    scores = emit.decision_function(model, x)
    count = len(model.classes_)
    return (stack([-scores, scores]) / 2.0 if count == 2 else scores / float(count - 1)).softmax()


def adaptive_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    return labels_of_scores(emit.decision_function(model, x), len(model.classes_))


def weighted_median(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `AdaBoostRegressor._get_median_predict`."""
    values = stack(emit.predict(member, x) for member in model.estimators_)
    count = values.constant([len(model.estimators_)])
    ordered, order = values.ops("TopK", count, dtypes=("float64", "int64"), axis=1, largest=0)
    mass = order.look_up(model.estimator_weights_[: len(model.estimators_)]).op("CumSum", values.constant(1))
    is_above = mass >= mass.columns([-1]) * 0.5
    return ordered.op("GatherElements", is_above.cast("int64").argmax(keep=True), axis=1).ravel()


CLASSIFYING = (
    single.DecisionTreeClassifier,
    single.ExtraTreeClassifier,
    ensemble.RandomForestClassifier,
    ensemble.ExtraTreesClassifier,
)
PREDICTING = (
    single.DecisionTreeRegressor,
    single.ExtraTreeRegressor,
    ensemble.RandomForestRegressor,
    ensemble.ExtraTreesRegressor,
)

FAMILY = Family(
    predict={
        **dict.fromkeys(CLASSIFYING, tree_labels),
        **dict.fromkeys(PREDICTING, tree_values),
        ensemble.GradientBoostingClassifier: boosted_labels,
        ensemble.GradientBoostingRegressor: boosted,
        ensemble.HistGradientBoostingClassifier: boosted_labels,
        ensemble.HistGradientBoostingRegressor: histogram_values,
        ensemble.AdaBoostClassifier: adaptive_labels,
        ensemble.AdaBoostRegressor: weighted_median,
    },
    predict_proba={
        **dict.fromkeys(CLASSIFYING, tree_proba),
        ensemble.GradientBoostingClassifier: boosted_proba,
        ensemble.HistGradientBoostingClassifier: boosted_proba,
        ensemble.AdaBoostClassifier: adaptive_proba,
    },
    decision_function={
        ensemble.GradientBoostingClassifier: boosted,
        ensemble.HistGradientBoostingClassifier: histogram_boosted,
        ensemble.AdaBoostClassifier: adaptive_scores,
    },
    tables=frozenset({ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor}),
)
