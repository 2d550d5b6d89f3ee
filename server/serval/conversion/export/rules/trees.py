"""Decision trees and what is grown from them: features as scikit-learn rounds them, sums in float64 or, where that is enough, float32."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from sklearn import ensemble
from sklearn import tree as single

from serval.conversion.export.emitter import Emitter, Family, refuse
from serval.conversion.export.graph import Array, Tensor, matrix, stack, total
from serval.conversion.export.rules.linear import labels_of_scores, two


@dataclass(frozen=True)
class Nodes:
    """One tree: a row goes left where its feature is at most the threshold or, at a node in `members`, one of the
    categories that it lists.

    `value`: what a node holds, `[nodes, values]`.
    """

    feature: Array
    threshold: Array
    missing_left: Array
    left: Array
    right: Array
    is_leaf: Array
    value: Array
    members: dict[int, list[float]] = field(default_factory=dict)


@dataclass
class Branches:
    """The branches and leaves of all trees, in the layout of ONNX's TreeEnsembleRegressor."""

    trees: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    missing_true: list[int] = field(default_factory=list)
    true: list[int] = field(default_factory=list)
    false: list[int] = field(default_factory=list)

    def add(
        self,
        tree: int,
        node: int,
        mode: str,
        *,
        feature: int = 0,
        threshold: float = 0.0,
        missing: bool = False,
        to: tuple[int, int] = (0, 0),
    ) -> None:
        self.trees.append(tree)
        self.nodes.append(node)
        self.modes.append(mode)
        self.features.append(feature)
        self.thresholds.append(threshold)
        self.missing_true.append(int(missing))
        self.true.append(to[0])
        self.false.append(to[1])

    def add_tree(self, tree: int, nodes: Nodes) -> None:
        spare = len(nodes.is_leaf)
        for node, is_leaf in enumerate(nodes.is_leaf.tolist()):
            if is_leaf:
                self.add(tree, node, "LEAF")
                continue
            sides = int(nodes.left[node]), int(nodes.right[node])
            given: dict[str, Any] = {"feature": int(nodes.feature[node]), "missing": bool(nodes.missing_left[node])}
            if node not in nodes.members:
                self.add(tree, node, "BRANCH_LEQ", threshold=float(nodes.threshold[node]), to=sides, **given)
            else:
                spare = self.add_choice(tree, node, nodes.members[node], sides, given, spare)

    def add_choice(
        self, tree: int, node: int, members: list[float], sides: tuple[int, int], given: dict[str, Any], spare: int
    ) -> int:
        """A split by categories as a chain of questions, the further ones numbered from `spare`; returns the next free
        number."""
        questions = [node, *range(spare, spare + len(members) - 1)]
        for question, member, following in zip(questions, members, [*questions[1:], sides[1]], strict=True):
            self.add(tree, question, "BRANCH_EQ", threshold=member, to=(sides[0], following), **given)
        return spare + len(members) - 1


@dataclass
class Leaves:
    """What the leaves of all trees are worth, in the same layout."""

    trees: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add_tree(self, tree: int, is_leaf: Array, target: int, values: Array) -> None:
        """`values` `[nodes, values]`: those of the leaves count for `target` and the targets after it."""
        nodes = np.flatnonzero(is_leaf)
        for value in range(values.shape[1]):
            self.trees += [tree] * len(nodes)
            self.nodes += nodes.tolist()
            self.targets += [target + value] * len(nodes)
            self.weights += values[nodes, value].tolist()


def seen(emit: Emitter, x: Tensor) -> Tensor:
    """The features as scikit-learn's trees see them: rounded to float32."""
    return x.cast("float32") if emit.has_narrow_trees else x.rounded_to_float32()


def sums(trees: list[Nodes], targets: list[int], x: Tensor) -> Tensor:
    """`[rows, targets]` in float64: what each row finds in its leaves, added up; a tree's first value counts for its
    target, and so on."""
    note_thresholds(trees, x)
    width = max(target + of.value.shape[1] for of, target in zip(trees, targets, strict=True))
    return narrow_sums(trees, targets, width, x) if x.dtype == "float32" else wide_sums(trees, targets, width, x)


def note_thresholds(trees: list[Nodes], x: Tensor) -> None:
    if not x.origins:
        return
    for of in trees:
        for node in np.flatnonzero(~of.is_leaf).tolist():
            for edge in of.members.get(node, [float(of.threshold[node])]):
                x.note_one(x.origins[of.feature[node]], edge)


def narrow_sums(trees: list[Nodes], targets: list[int], width: int, x: Tensor) -> Tensor:
    """In float32. A threshold is rounded down: for a float32 feature that comparison says the same."""
    branches, leaves = Branches(), Leaves()
    for tree, (of, target) in enumerate(zip(trees, targets, strict=True)):
        branches.add_tree(tree, replace(of, threshold=rounded_down(of.threshold)))
        leaves.add_tree(tree, of.is_leaf, target, of.value)
    return emitted(branches, leaves, width, x).cast("float64")


def rounded_down(values: Array) -> Array:
    with np.errstate(over="ignore"):
        narrow = np.asarray(values).astype(np.float32)
    return np.where(narrow > values, np.nextafter(narrow, np.float32(-np.inf)), narrow)


def wide_sums(trees: list[Nodes], targets: list[int], width: int, x: Tensor) -> Tensor:
    """Exactly: ONNX Runtime compares with and adds up in float64, but answers in float32.

    So each value is split into a multiple of a power of two, so coarse that float32 holds any sum of them exactly, and
    a small rest:
    two sums, put together in float64.
    """
    unit = coarse_unit(trees)
    branches, leaves = Branches(), Leaves()
    for tree, (of, target) in enumerate(zip(trees, targets, strict=True)):
        branches.add_tree(tree, of)
        whole = np.round(of.value / unit)
        leaves.add_tree(tree, of.is_leaf, target, whole)
        leaves.add_tree(tree, of.is_leaf, target + width, of.value - whole * unit)
    found = emitted(branches, leaves, 2 * width, x).cast("float64")
    return found.columns(np.arange(width)) * unit + found.columns(np.arange(width, 2 * width))


def coarse_unit(trees: list[Nodes]) -> float:
    """The power of two of which float32 can count every sum over the trees: fewer than 2**24."""
    largest = sum(float(np.abs(of.value).max()) for of in trees)
    return float(2.0 ** (np.ceil(np.log2(largest)) - 23)) if largest > 0 else 1.0


def emitted(branches: Branches, leaves: Leaves, targets: int, x: Tensor) -> Tensor:
    """The node, float32 `[rows, targets]`."""
    return x.graph.op(
        "TreeEnsembleRegressor",
        x,
        dtype="float32",
        domain="ai.onnx.ml",
        n_targets=targets,
        nodes_treeids=branches.trees,
        nodes_nodeids=branches.nodes,
        nodes_featureids=branches.features,
        nodes_modes=branches.modes,
        nodes_missing_value_tracks_true=branches.missing_true,
        nodes_truenodeids=branches.true,
        nodes_falsenodeids=branches.false,
        target_treeids=leaves.trees,
        target_nodeids=leaves.nodes,
        target_ids=leaves.targets,
        **wide_or_narrow("nodes_values", branches.thresholds, x.dtype),
        **wide_or_narrow("target_weights", leaves.weights, x.dtype),
    )


def wide_or_narrow(name: str, values: list[float], dtype: str) -> dict[str, Any]:
    if dtype == "float32":
        return {name: values}
    array = np.array(values, dtype=np.float64)
    return {f"{name}_as_tensor": helper.make_tensor(name, TensorProto.DOUBLE, array.shape, array.tobytes(), raw=True)}


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
    return sums(nodes, [0] * len(nodes), seen(emit, x)) / float(len(nodes))


def tree_values(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    values = means(emit, model, x, lambda tree: tree.value[:, :, 0])
    return values.ravel() if model.n_outputs_ == 1 else values


def tree_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    if model.n_outputs_ > 1:
        raise refuse(
            model, "with several targets has no single table of probabilities", "ask for its predictions alone"
        )
    if len(model.classes_) == 2:
        return two(means(emit, model, x, lambda tree: tree.value[:, 0, 1:]).ravel())
    return means(emit, model, x, lambda tree: tree.value[:, 0, :])


def tree_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    if model.n_outputs_ == 1:
        return emit.predict_proba(model, x).argmax()
    most = max(model.n_classes_)
    shares = means(emit, model, x, lambda tree: tree.value.reshape(tree.node_count, -1))
    return shares.reshape(-1, model.n_outputs_, most).argmax(axis=2)


def boosted(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    """`[rows]`, or `[rows, classes]` for more than two classes. Source: `BaseGradientBoosting._raw_predict`."""
    stages = [
        [nodes_of(grown.tree_, grown.tree_.value[:, 0] * model.learning_rate) for grown in stage]
        for stage in model.estimators_
    ]
    raw = summed_stages(stages, seen(emit, x))
    if model.init_ != "zero":
        raw = raw + initial(emit, model, x.rounded_to_float32())
    return raw.ravel() if len(stages[0]) == 1 else raw


def summed_stages(stages: list[list[Nodes]], x: Tensor) -> Tensor:
    """`[rows, trees of a stage]`: what each row finds, added up over the stages."""
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


def histogram_nodes(predictor: Any) -> Nodes:
    """The nodes of a `TreePredictor` over raw values; its thresholds are compared in float64."""
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    categorical = np.flatnonzero(~is_leaf & nodes["is_categorical"].astype(bool)).tolist()
    return Nodes(
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        missing_left=nodes["missing_go_to_left"],
        left=nodes["left"],
        right=nodes["right"],
        is_leaf=is_leaf,
        value=nodes["value"].reshape(-1, 1),
        members={node: categories(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]) for node in categorical},
    )


def categories(bitset: Array) -> list[float]:
    return [float(bit) for bit in range(256) if bitset[bit // 32] >> (bit % 32) & 1]


def histogram_boosted(emit: Emitter, model: Any, x: Any) -> Tensor:
    """`[rows]`, or `[rows, classes]` for more than two classes. Source: `BaseHistGradientBoosting._raw_predict`."""
    values = matrix(x) if model._preprocessor is None else matrix(emit.transform(model._preprocessor, x))
    stages = [[histogram_nodes(predictor) for predictor in stage] for stage in model._predictors]
    raw = summed_stages(stages, values) + np.asarray(model._baseline_prediction, dtype=np.float64).reshape(1, -1)
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
    count = values.graph.constant([len(model.estimators_)])
    ordered, order = values.graph.ops("TopK", values, count, dtypes=("float64", "int64"), axis=1, largest=0)
    mass = order.look_up(model.estimator_weights_[: len(model.estimators_)]).op("CumSum", values.graph.constant(1))
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
