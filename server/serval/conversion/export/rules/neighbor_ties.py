"""Which of equally distant neighbours count: those that scikit-learn's heap keeps, in the order of its tree."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from serval.conversion.export.loop import Inside, any_row, repeated
from serval.conversion.export.rules.distances import largest, reduced_distances
from serval.conversion.export.tensor import Array, Tensor, concat, floats, total

LATE = 1e18
"""A place in the order of visits behind all others."""


@dataclass(frozen=True)
class Visits:
    """Float64 `[rows, points]`, or `[1, points]`, in which order scikit-learn comes to the points.

    `places`: of each point; `begins`: of the first point of its leaf; `floors`: the least distance that a point of its
    leaf may have, by which a leaf is left out. None where none is left out but for points that are too far themselves.
    """

    places: Tensor
    begins: Tensor | None = None
    floors: Tensor | None = None


def visits(model: Any, x: Tensor, points: int) -> Visits:
    """The order in which scikit-learn visits the points.

    Brute force goes by index. A tree is walked depth first, the nearer child before the other, each leaf in the order
    of its points. Source: `_query_single_depthfirst` in `sklearn/neighbors/_binary_tree.pxi.tp`.
    """
    if model._fit_method == "brute":
        return Visits(x.constant(np.arange(points, dtype=np.float64)[None]))
    _, order, nodes, bounds = (np.asarray(part) for part in model._tree.get_arrays())
    sizes = (nodes["idx_end"] - nodes["idx_start"]).astype(np.float64)
    starts = x.full([0.0])
    leaf_starts, leaves, level = [], [], [0]
    nearest = nearest_of_nodes(model, x, nodes, bounds)
    while level:
        inner = [place for place, node in enumerate(level) if not nodes["is_leaf"][node]]
        outer = [place for place, node in enumerate(level) if nodes["is_leaf"][node]]
        if outer:
            leaf_starts.append(starts.columns(outer))
            leaves += [level[place] for place in outer]
        if not inner:
            break
        left = np.array([2 * level[place] + 1 for place in inner])
        is_left_first = nearest.columns(left) <= nearest.columns(left + 1)
        begin = starts.columns(inner)
        starts = concat(
            [
                begin + is_left_first.choose(0.0, x.constant(sizes[left + 1][None])),
                begin + is_left_first.choose(x.constant(sizes[left][None]), 0.0),
            ]
        )
        level = [*left.tolist(), *(left + 1).tolist()]
    owner, place = np.empty(points, dtype=np.int64), np.empty(points)
    for index, node in enumerate(leaves):
        members = order[nodes["idx_start"][node] : nodes["idx_end"][node]]
        owner[members], place[members] = index, np.arange(len(members))
    begins = concat(leaf_starts).columns(owner)
    if model._fit_method == "kd_tree":
        return Visits(begins + place[None])
    return Visits(begins + place[None], begins, nearest.columns(np.array(leaves)[owner]))


def nearest_of_nodes(model: Any, x: Tensor, nodes: Array, bounds: Array) -> Tensor:
    """`[rows, nodes]`: the least reduced distance that a point of each node may have. Source: `min_rdist` of both
    trees."""
    metric, power = metric_of(model)
    if model._fit_method == "ball_tree":
        centres = reduced_distances(x, bounds[0], metric, power)
        distance = centres.sqrt() if metric == "euclidean" else centres
        if metric == "minkowski":
            distance = centres ** x.constant(np.full((1, len(nodes)), 1.0 / power))
        beyond: Tensor = (distance - floats(nodes["radius"])).maximum(0.0)
        if metric == "minkowski":
            return beyond.op("Pow", np.full((1, len(nodes)), power))
        return beyond.square() if metric == "euclidean" else beyond
    gaps = []
    for feature in range(bounds.shape[2]):
        below = bounds[0, :, feature][None] - x.columns([feature])
        above = x.columns([feature]) - bounds[1, :, feature][None]
        gaps.append(((below + below.abs()) + (above + above.abs())) * 0.5)
    if metric == "chebyshev":
        return largest(gaps)
    if metric == "minkowski":
        return total(gap ** x.constant(np.full((1, len(nodes)), power)) for gap in gaps)
    return total(gap if metric == "manhattan" else gap.square() for gap in gaps)


def metric_of(model: Any) -> tuple[str, float]:
    """The name and the exponent of the metric that a fitted model measures by."""
    name = model.effective_metric_
    if not isinstance(name, str):
        return "other", 2.0
    name = {"l2": "euclidean", "l1": "manhattan", "cityblock": "manhattan", "infinity": "chebyshev"}.get(name, name)
    return name, float((model.effective_metric_params_ or {}).get("p", model.p))


def heap_choice(distances: Tensor, order: Visits, is_tied: Tensor, count: int, points: int) -> tuple[Tensor, Tensor]:
    """Distances and indices `[rows, count]` of the points that stay in a heap of `count` to which all are pushed in the
    order of visits; of no use where a row is not tied.

    Source: `sklearn/utils/_heap.pyx`: a point is pushed if it is nearer than the root, which it replaces, and sinks
    while a child is farther, on the way of the farther children, the left one of equals. Each round pushes the next
    point of each row that is near enough.
    """
    heap = np.arange(count)
    parent = np.maximum((heap - 1) // 2, 0)
    is_left = (heap % 2 == 1) | (heap == 0)
    sibling = np.where(is_left, heap + 1, heap - 1)
    sibling = np.where((heap == 0) | (sibling >= count), heap, sibling)
    left, right = (np.where(2 * heap + side < count, 2 * heap + side, 0) for side in (1, 2))

    def push(inside: Inside, values: Tensor, indices: Tensor, last: Tensor) -> tuple[Tensor, list[Tensor]]:
        far, place, root = inside(distances), inside(order.places), values.columns([0])
        is_next = (root > far) & (last < place)
        if order.begins is not None and order.floors is not None:
            is_next = is_next & ((root >= inside(order.floors)) | (last >= inside(order.begins)))
        waiting = is_next.choose(place, LATE)
        first = waiting.op("ReduceMin", waiting.constant([1]), keepdims=1)
        point = waiting.op("ArgMin", dtype="int64", axis=1, keepdims=1)
        is_pushed = first < LATE
        value = far.op("GatherElements", point, axis=1)
        beside = values.columns(sibling)
        is_chosen = (values > beside) | ((values >= beside) & values.constant(is_left[None]))
        is_on_way = is_chosen
        for _ in range(max(0, int(count).bit_length() - 1)):
            is_on_way = is_chosen & is_on_way.columns(parent)
        sinks = is_on_way & (values > value) & is_pushed & values.constant((heap > 0)[None])
        is_free = sinks | (is_pushed & values.constant((heap == 0)[None]))
        from_left, from_right = sinks.columns(left), sinks.columns(right)

        def moved(held: Tensor, new: Tensor) -> Tensor:
            rest = from_right.choose(held.columns(right), is_free.choose(new, held))
            return from_left.choose(held.columns(left), rest)

        return any_row(is_pushed), [moved(values, value), moved(indices, point), first]

    start = is_tied.as_column().choose(-1.0, is_tied.as_column().cast("float64").full([LATE]))
    grid, single = start.full(heap), start.full(np.zeros(1, dtype=np.int64))
    values, indices, _ = repeated(
        points + 1,
        any_row(is_tied),
        [
            (start.full(np.full(count, np.inf)), grid),
            (start.full(np.zeros(count, dtype=np.int64)), grid),
            (start, single),
        ],
        push,
    )
    ordered, ranks = values.ops("TopK", values.constant([count]), dtypes=("float64", "int64"), axis=1, largest=0)
    return ordered, indices.op("GatherElements", ranks, axis=1)
