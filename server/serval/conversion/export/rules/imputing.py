"""Imputers: what stands in the place of a missing value."""

from typing import Any

import numpy as np
from sklearn import impute

from serval.conversion.export.emitter import Emitter, Family, refuse
from serval.conversion.export.graph import Array, Features, Tensor, as_table, concat, floats, join, select
from serval.conversion.export.rules.neighbors import inverse, pooled
from serval.conversion.signature import MISSING_STRING

FAR = 1e300
"""Stands for the distance of rows that have no column in common."""


def imputed(_: Emitter, model: Any, x: Features) -> Features:
    filled = np.asarray(model.statistics_, dtype=object)
    is_empty = np.array([isinstance(value, float) and np.isnan(value) for value in filled])
    if model.keep_empty_features:
        filled, is_empty = np.where(is_empty, 0.0, filled), np.zeros(len(filled), dtype=bool)
    kept = np.flatnonzero(~is_empty).tolist()
    parts: list[tuple[Features, int]] = [(fill(model, select(x, kept), filled[kept]), len(kept))]
    if model.add_indicator:
        parts.append((indicated(_, model.indicator_, x), len(model.indicator_.features_)))
    return join(parts) if len(parts) > 1 else parts[0][0]


def fill(model: Any, x: Features, values: Array) -> Features:
    """The features with `values`, one for each column, where one is missing."""
    if isinstance(x, Tensor):
        known = np.asarray(values, dtype=object if x.dtype == "string" else np.float64)
        return is_missing(model, x).choose(x._like(known[None]), x)
    columns = [fill(model, slot.column().as_column(), values[i : i + 1]) for i, slot in enumerate(x.slots)]
    return join([(column, 1) for column in columns])


def is_missing(model: Any, x: Tensor) -> Tensor:
    marker = model.missing_values
    if x.dtype == "string":
        return x.equals(marker if isinstance(marker, str) else MISSING_STRING)
    if marker is None or np.isnan(marker):
        return x.is_nan()
    return x.equals(float(marker))


def indicated(_: Emitter, model: Any, x: Features) -> Tensor:
    slots = as_table(x, model._n_features).slots
    return concat(
        [is_missing(model, slots[i].column().as_column()).cast("float64") for i in np.asarray(model.features_).tolist()]
    )


# By neighbours


def by_neighbours(_: Emitter, model: Any, x: Tensor) -> Features:
    """A missing value becomes the mean of the nearest training rows that have it. Source: `KNNImputer.transform`."""
    if not (isinstance(model.missing_values, float) and np.isnan(model.missing_values)) or model.weights not in {
        "uniform",
        "distance",
    }:
        raise refuse(
            model, "has another marker than NaN or weights by a function", "use NaN, and `uniform` or `distance`"
        )
    if model.metric != "nan_euclidean":
        raise refuse(model, "has a metric of its own", "use `nan_euclidean`")
    squares = common_distances(x, model._fit_X, model._mask_fit_X)
    kept = range(len(model._valid_mask)) if model.keep_empty_features else np.flatnonzero(model._valid_mask).tolist()
    filled = [one_filled(model, squares, x.columns([i]), i) for i in kept]
    return concat([*filled, indicated(_, model.indicator_, x)] if model.add_indicator else filled)


def common_distances(x: Tensor, points: Array, is_gone: Array) -> Tensor:
    """`nan_euclidean_distances(squared=True)`, `[rows, points]`: over the columns that both have, scaled up to all."""
    there, is_there = np.where(is_gone, 0.0, points), floats(~is_gone)
    value, present = x.is_nan().choose(0.0, x), (~x.is_nan()).cast("float64")
    total = (value.square() @ is_there.T + present @ (there**2).T + value @ (there * -2.0).T).maximum(0.0)
    common = present @ is_there.T
    return common.equals(0.0).choose(FAR, (total * float(points.shape[1])) / common.maximum(1.0))


def one_filled(model: Any, squares: Tensor, value: Tensor, column: int) -> Tensor:
    """`[rows, 1]`: one column, filled; the mean of the column where no training row has anything in common."""
    if not model._valid_mask[column]:
        return value.full([0.0])
    donors = np.flatnonzero(~model._mask_fit_X[:, column])
    held, count = floats(model._fit_X[donors, column]), min(model.n_neighbors, len(donors))
    nearest, order = squares.graph.ops(
        "TopK", squares.columns(donors), squares.graph.constant([count]), dtypes=("float64", "int64"), axis=1, largest=0
    )
    weights = donors_weights(nearest) if model.weights == "distance" else None
    whole = float(count) if weights is None else weights.row_sums(count)
    mean = pooled(order.look_up(held[:, None]), weights, count) / whole
    return value.is_nan().choose((nearest.columns([0]) >= FAR).choose(float(held.mean()), mean), value)


def donors_weights(nearest: Tensor) -> Tensor:
    return (nearest >= FAR).choose(0.0, inverse(nearest.sqrt()))


FAMILY = Family(
    transform={impute.SimpleImputer: imputed, impute.MissingIndicator: indicated, impute.KNNImputer: by_neighbours},
    tables=frozenset({impute.SimpleImputer, impute.MissingIndicator}),
)
