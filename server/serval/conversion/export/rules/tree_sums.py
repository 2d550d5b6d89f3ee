"""Decision trees in the layout of ONNX: sums of leaves in float64 or, where that is enough, float32."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from serval.conversion.export.blocks import has_indicators
from serval.conversion.export.tensor import Array, Tensor


@dataclass(frozen=True)
class Nodes:
    """One tree: a row goes left where its feature is at most the threshold.

    `value`: what a node holds, `[nodes, values]`. `members`: the nodes that split by a set of categories instead, with
    who goes right; they have to be replaced before the tree is written.
    """

    feature: Array
    threshold: Array
    missing_left: Array
    left: Array
    right: Array
    is_leaf: Array
    value: Array
    members: dict[int, Array] = field(default_factory=dict)


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
        for node, is_leaf in enumerate(nodes.is_leaf.tolist()):
            if is_leaf:
                self.add(tree, node, "LEAF")
                continue
            self.add(
                tree,
                node,
                "BRANCH_LEQ",
                feature=int(nodes.feature[node]),
                threshold=float(nodes.threshold[node]),
                missing=bool(nodes.missing_left[node]),
                to=(int(nodes.left[node]), int(nodes.right[node])),
            )


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


def sums(trees: list[Nodes], targets: list[int], x: Tensor) -> Tensor:
    """`[rows, targets]` in float64: the sum of each row's leaves; a tree's first value counts for its
    target, the next for the target after it."""
    trees, x = with_used_columns(trees, x)
    note_thresholds(trees, x)
    width = max(target + nodes.value.shape[1] for nodes, target in zip(trees, targets, strict=True))
    return narrow_sums(trees, targets, width, x) if x.dtype == "float32" else wide_sums(trees, targets, width, x)


def with_used_columns(trees: list[Nodes], x: Tensor) -> tuple[list[Nodes], Tensor]:
    """The trees over only those features that they compare, where the others are indicators of many categories."""
    if not has_indicators(x.blocks):
        return trees, x
    used = np.unique(np.concatenate([[0], *(nodes.feature[~nodes.is_leaf] for nodes in trees)]))
    moved = [
        replace(nodes, feature=np.where(nodes.is_leaf, 0, np.searchsorted(used, nodes.feature))) for nodes in trees
    ]
    return moved, x.columns(used)


def note_thresholds(trees: list[Nodes], x: Tensor) -> None:
    if not x.origins:
        return
    for nodes in trees:
        for node in np.flatnonzero(~nodes.is_leaf).tolist():
            x.note_one(x.origins[nodes.feature[node]], float(nodes.threshold[node]))


def narrow_sums(trees: list[Nodes], targets: list[int], width: int, x: Tensor) -> Tensor:
    """In float32. A threshold is rounded down: for a float32 feature that comparison gives the same result."""
    branches, leaves = Branches(), Leaves()
    for tree, (nodes, target) in enumerate(zip(trees, targets, strict=True)):
        branches.add_tree(tree, replace(nodes, threshold=rounded_down(nodes.threshold)))
        leaves.add_tree(tree, nodes.is_leaf, target, nodes.value)
    return emitted(branches, leaves, width, x).cast("float64")


def rounded_down(values: Array) -> Array:
    with np.errstate(over="ignore"):
        narrow = np.asarray(values).astype(np.float32)
    return np.where(narrow > values, np.nextafter(narrow, np.float32(-np.inf)), narrow)


def wide_sums(trees: list[Nodes], targets: list[int], width: int, x: Tensor) -> Tensor:
    """Exactly: ONNX Runtime compares with and adds up in float64, but answers in float32.

    So each value is split into a multiple of a power of two, so coarse that float32 holds any sum of them exactly, and
    a small rest: two sums, put together in float64.
    """
    unit = coarse_unit(trees)
    branches, leaves = Branches(), Leaves()
    for tree, (nodes, target) in enumerate(zip(trees, targets, strict=True)):
        branches.add_tree(tree, nodes)
        whole = np.round(nodes.value / unit)
        leaves.add_tree(tree, nodes.is_leaf, target, whole)
        leaves.add_tree(tree, nodes.is_leaf, target + width, nodes.value - whole * unit)
    both = emitted(branches, leaves, 2 * width, x).cast("float64")
    return both.columns(np.arange(width)) * unit + both.columns(np.arange(width, 2 * width))


def coarse_unit(trees: list[Nodes]) -> float:
    """The power of two of which float32 can count every sum over the trees: fewer than 2**24."""
    largest = sum(float(np.abs(nodes.value).max()) for nodes in trees)
    return float(2.0 ** (np.ceil(np.log2(largest)) - 23)) if largest > 0 else 1.0


def emitted(branches: Branches, leaves: Leaves, targets: int, x: Tensor) -> Tensor:
    """The node, float32 `[rows, targets]`."""
    return x.op(
        "TreeEnsembleRegressor",
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
