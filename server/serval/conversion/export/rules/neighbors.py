"""Nearest neighbours: all distances at once, then the nearest few, or all within the radius."""

from typing import Any

import numpy as np
from sklearn import neighbors, semi_supervised

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.rules.distances import (
    distances,
    expanded_distances,
    kernel,
    reduced_distances,
    squared_distances,
)
from serval.conversion.export.rules.neighbor_ties import heap_choice, metric_of, visits
from serval.conversion.export.rules.partitions import refuse_tied
from serval.conversion.export.tensor import Array, Tensor, concat, floats, stack
from serval.conversion.refusals import of_steps

REDUCED = {"euclidean", "manhattan", "chebyshev", "minkowski"}
EXPANDED = ("euclidean", "sqeuclidean")
"""Metrics that scikit-learn's brute force takes by products, and not where they are called `l2`."""
WIDEST = 250
"""Features that are added one by one, as a chain of nodes."""
WITHOUT_INVERSE = 2.0**-1024
"""The largest distance whose inverse is infinite: scikit-learn takes it for zero."""


def points_of(model: Any) -> Array:
    return floats(model._fit_X)


def ranking(model: Any, x: Tensor) -> tuple[Tensor, bool]:
    """`[rows, points]` of distances or their squares, which rank alike, and whether they are squares."""
    metric = model.effective_metric_ if isinstance(model.effective_metric_, str) else model.metric
    options = {name: value for name, value in (model.effective_metric_params_ or {}).items() if value is not None}
    if callable(metric) or set(options) - {"p"}:
        raise of_steps.OWN_METRIC.of(model)
    if metric in EXPANDED and model._fit_method == "brute":
        return expanded_distances(x, points_of(model)), metric == "euclidean"
    if metric == "euclidean":
        return squared_distances(x, points_of(model)), True
    return distances(x, points_of(model), metric, options.get("p", model.p)), False


def nearest(model: Any, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The distances and the indices of the nearest points, `[rows, count]` each; of equals, those that scikit-learn
    takes."""
    refuse_tied(model)
    points = len(points_of(model))
    metric, power = metric_of(model)
    is_expanded = model.effective_metric_ in EXPANDED and model._fit_method == "brute"
    is_in_heap = metric in REDUCED or is_expanded
    if is_in_heap and not is_expanded and points_of(model).shape[1] <= WIDEST:
        ranked = reduced_distances(x, points_of(model), metric, power)
    else:
        ranked, are_squares = ranking(model, x)
        metric = "euclidean" if are_squares else "other"
    best, order = ranked.ops(
        "TopK", x.constant([min(count + 1, points)]), dtypes=("float64", "int64"), axis=1, largest=0
    )
    if points > count:
        is_tied = best.column(count - 1).equals(best.column(count))
        best, order = best.columns(np.arange(count)), order.columns(np.arange(count))
        if is_in_heap:
            kept, chosen = heap_choice(ranked, visits(model, x, points), is_tied, count, points)
            best = is_tied.as_column().choose(kept, best)
            order = is_tied.as_column().choose(chosen, order)
    if metric == "minkowski":
        return best ** x.constant(np.full((1, count), 1.0 / power)), order
    return (best.sqrt() if metric == "euclidean" else best), order


def inverse(distance: Tensor) -> Tensor:
    """Weights `1 / distance`; in a row that has a distance of zero, those count and no other."""
    is_zero = distance <= WITHOUT_INVERSE
    has_zero = is_zero.cast("float64").max(keep=True) > 0.0
    return has_zero.choose(is_zero.cast("float64"), 1.0 / is_zero.choose(1.0, distance))


def weights_of(model: Any, distance: Tensor) -> Tensor | None:
    if model.weights in {None, "uniform"}:
        return None
    if model.weights == "distance":
        return inverse(distance)
    raise of_steps.OWN_WEIGHTS.of(model)


def neighbour_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    votes = neighbour_votes(emit, model, x)
    return concat(part / part.row_sums(count) for part, (_, count) in zip(votes, class_codes(model), strict=True))


def class_codes(model: Any) -> list[tuple[Array, int]]:
    """For each target the class of every point, by its index, and the number of classes."""
    codes = np.asarray(model._y, dtype=np.int64)
    if not model.outputs_2d_:
        return [(codes.ravel(), len(model.classes_))]
    return [(codes[:, target], len(classes)) for target, classes in enumerate(model.classes_)]


def neighbour_votes(emit: Emitter, model: Any, x: Tensor) -> list[Tensor]:
    """For each target `[rows, classes]`: the weights of the neighbours of each class."""

    def write() -> list[Tensor]:
        distance, order = nearest(model, x, model.n_neighbors)
        weights = weights_of(model, distance)
        return [
            pooled(order.look_up(np.eye(count)[codes]), weights, model.n_neighbors)
            for codes, count in class_codes(model)
        ]

    votes: list[Tensor] = emit.once("votes", model, x, write)
    return votes


def pooled(values: Tensor, weights: Tensor | None, count: int) -> Tensor:
    """`[rows, targets]`: the sums, weighted or not, over the neighbours of `[rows, neighbours, targets]`."""
    turned = values.transpose(0, 2, 1)
    return (turned if weights is None else turned * weights.reshape(0, 1, -1)).row_sums(count).reshape(0, -1)


def neighbour_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    return labels_of_votes(model, neighbour_votes(emit, model, x))


def labels_of_votes(model: Any, votes: list[Tensor]) -> Tensor:
    chosen = [part.argmax() for part in votes]
    return stack(chosen) if model.outputs_2d_ else chosen[0]


def neighbour_values(_: Emitter, model: Any, x: Tensor) -> Tensor:
    distance, order = nearest(model, x, model.n_neighbors)
    held = floats(model._y)
    values = order.look_up(held.reshape(len(held), -1))
    weights = weights_of(model, distance)
    whole = float(model.n_neighbors) if weights is None else weights.row_sums(model.n_neighbors)
    result = pooled(values, weights, model.n_neighbors) / whole
    return result if held.ndim > 1 else result.ravel()


def within(model: Any, x: Tensor) -> Tensor:
    """`[rows, points]`: the weight of each point within the radius, 0 for the others."""
    ranked, are_squares = ranking(model, x)
    inside = ranked <= float(model.radius**2 if are_squares else model.radius)
    if weights_of(model, ranked) is None:
        return inside.cast("float64")
    distance = ranked.sqrt() if are_squares else ranked
    is_zero = distance.equals(0.0)
    has_zero = is_zero.cast("float64").max(keep=True) > 0.0
    return has_zero.choose(is_zero.cast("float64"), inside.choose(1.0 / is_zero.choose(1.0, distance), 0.0))


def radius_values(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """No neighbour at all is `NaN`, as in scikit-learn."""
    weights = within(model, x)
    held = floats(model._y)
    result = (weights @ held.reshape(len(held), -1)) / weights.row_sums(len(held))
    return result if held.ndim > 1 else result.ravel()


def radius_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    return concat(radius_tables(emit, model, x))


def radius_tables(emit: Emitter, model: Any, x: Tensor) -> list[Tensor]:
    """For each target `[rows, classes]`. Without a neighbour: the outlier's class if it has one, zeros if it is no
    class, `NaN` where scikit-learn refuses to answer."""

    def write() -> list[Tensor]:
        weights = within(model, x)
        outliers: list[Any] = outlier_tables(model) or [None] * len(class_codes(model))
        return [
            radius_table(weights @ np.eye(count)[codes], count, outlier)
            for (codes, count), outlier in zip(class_codes(model), outliers, strict=True)
        ]

    tables: list[Tensor] = emit.once("tables", model, x, write)
    return tables


def radius_table(votes: Tensor, count: int, outlier: Array | None) -> Tensor:
    whole = votes.row_sums(count)
    if outlier is None:
        return votes / whole
    is_alone = whole.equals(0.0)
    return is_alone.choose(outlier[None], votes / is_alone.choose(1.0, whole))


def outlier_tables(model: Any) -> list[Array] | None:
    """For each target the probabilities `[classes]` of a row without a neighbour; None where scikit-learn refuses."""
    if model.outlier_label_ is None:
        return None
    classes = model.classes_ if model.outputs_2d_ else [model.classes_]
    labels = zip(classes, model.outlier_label_, strict=True)
    return [np.asarray(known == label, dtype=np.float64) for known, label in labels]


def radius_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    if not all(table.any() for table in outlier_tables(model) or []):
        raise of_steps.OUTLIER_LABEL.of(model)
    return labels_of_votes(model, radius_tables(emit, model, x))


def propagated_proba(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `BaseLabelPropagation.predict_proba`."""
    if model.kernel == "knn":
        order = nearest(model.nn_fit, x, model.n_neighbors)[1]
        sums = pooled(order.look_up(floats(model.label_distributions_)), None, model.n_neighbors)
    elif model.kernel == "rbf":
        sums = kernel(x, model.X_, "rbf", gamma=model.gamma) @ floats(model.label_distributions_)
    else:
        raise of_steps.PROPAGATION_KERNEL.of(model)
    return sums / sums.row_sums(len(model.classes_))


def most_probable(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    return emit.predict_proba(model, x).argmax()


PROPAGATING = (semi_supervised.LabelPropagation, semi_supervised.LabelSpreading)

FAMILY = Family(
    predict={
        neighbors.KNeighborsClassifier: neighbour_labels,
        neighbors.KNeighborsRegressor: neighbour_values,
        neighbors.RadiusNeighborsClassifier: radius_labels,
        neighbors.RadiusNeighborsRegressor: radius_values,
        **dict.fromkeys(PROPAGATING, most_probable),
    },
    predict_proba={
        neighbors.KNeighborsClassifier: neighbour_proba,
        neighbors.RadiusNeighborsClassifier: radius_proba,
        **dict.fromkeys(PROPAGATING, propagated_proba),
    },
)
