"""Imputers: what replaces a missing value."""

from typing import Any

import numpy as np
from sklearn import impute

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, as_table, join, select
from serval.conversion.export.rules.neighbors import inverse, pooled
from serval.conversion.export.rules.partitions import refuse_tied_imputer
from serval.conversion.export.tensor import Array, Tensor, concat, floats
from serval.conversion.refusals import of_steps
from serval.conversion.signature import MISSING_STRING

FAR = 1e300
"""Stands for the distance of rows that have no column in common."""


def imputed(_: Emitter, model: Any, x: Features) -> Features:
    filled = np.asarray(model.statistics_, dtype=object)
    is_empty = np.array([isinstance(value, float) and np.isnan(value) for value in filled])
    if model.keep_empty_features:
        filled, is_empty = np.where(is_empty, 0.0, filled), np.zeros(len(filled), dtype=bool)
    indices = np.flatnonzero(~is_empty).tolist()
    parts: list[tuple[Features, int]] = [(fill(model, select(x, indices), filled[indices]), len(indices))]
    if model.add_indicator and len(model.indicator_.features_):
        parts.append((indicated(_, model.indicator_, x), len(model.indicator_.features_)))
    return join(parts) if len(parts) > 1 else parts[0][0]


def fill(model: Any, x: Features, values: Array) -> Features:
    """The features with `values`, one for each column, where one is missing."""
    if isinstance(x, Tensor):
        known = np.asarray(values, dtype=object if x.dtype == "string" else np.float64)
        return is_missing(model, x).choose(x.like(known[None]), x).with_origins(x.origins)
    filled = [fill(model, column.values().as_column(), values[i : i + 1]) for i, column in enumerate(x.columns)]
    return join([(column, 1) for column in filled])


def is_missing(model: Any, x: Tensor) -> Tensor:
    """Bool `[rows, columns]`: which values the imputer's marker is."""
    marker = model.missing_values
    is_string = x.dtype == "string"
    if isinstance(marker, str) if is_string else is_number(marker):
        return x.equals(marker if is_string else float(marker))
    is_null = x.equals(MISSING_STRING) if is_string else x.is_nan()
    takes = np.array([takes_null(model, null) for null in x.nulls()] or [takes_null(model, None)])
    return is_null if takes.all() else is_null & is_null.constant(takes[None])


def is_number(marker: Any) -> bool:
    return isinstance(marker, int | float | np.number) and not np.isnan(marker)


def takes_null(model: Any, null: str | None) -> bool:
    """Whether null is the imputer's marker, which may be None, NaN, `pandas.NA` (for any of them) or a value.

    `null`: what null stands for in the column; None where that is not known.
    """
    marker = model.missing_values
    if marker is None:
        return null != "nan"
    if isinstance(marker, float | np.floating) and np.isnan(marker):
        return null != "none" or getattr(model, "strategy", None) in {"mean", "median"}
    return type(marker).__name__ == "NAType"


def indicated(_: Emitter, model: Any, x: Features) -> Tensor:
    columns = as_table(x, model._n_features).columns
    return concat(
        [
            is_missing(model, columns[i].values().as_column()).cast("float64")
            for i in np.asarray(model.features_).tolist()
        ]
    )


# By neighbours


def by_neighbours(_: Emitter, model: Any, x: Tensor) -> Features:
    """A missing value becomes the mean of the nearest training rows that have it. Source: `KNNImputer.transform`."""
    if not (isinstance(model.missing_values, float) and np.isnan(model.missing_values)) or model.weights not in {
        "uniform",
        "distance",
    }:
        raise of_steps.IMPUTER_MARKER.of(model)
    if model.metric != "nan_euclidean":
        raise of_steps.IMPUTER_METRIC.of(model)
    refuse_tied_imputer(model)
    squares = common_distances(x, model._fit_X, model._mask_fit_X)
    indices = range(len(model._valid_mask)) if model.keep_empty_features else np.flatnonzero(model._valid_mask).tolist()
    filled = [filled_column(model, squares, x.columns([i]), i) for i in indices]
    has_indicators = model.add_indicator and len(model.indicator_.features_)
    return concat([*filled, indicated(_, model.indicator_, x)] if has_indicators else filled)


def common_distances(x: Tensor, points: Array, is_missing_point: Array) -> Tensor:
    """`nan_euclidean_distances(squared=True)`, `[rows, points]`: over the columns that both have, scaled up to all."""
    present_points, is_present = np.where(is_missing_point, 0.0, points), floats(~is_missing_point)
    value, present = x.is_nan().choose(0.0, x), (~x.is_nan()).cast("float64")
    total = (
        value.square() @ is_present.T + present @ (present_points**2).T + value @ (present_points * -2.0).T
    ).maximum(0.0)
    common = present @ is_present.T
    return common.equals(0.0).choose(FAR, (total * float(points.shape[1])) / common.maximum(1.0))


def filled_column(model: Any, squares: Tensor, value: Tensor, column: int) -> Tensor:
    """`[rows, 1]`: one column, filled; the mean of the column where no training row has anything in common."""
    if not model._valid_mask[column]:
        return value.full([0.0])
    donors = np.flatnonzero(~model._mask_fit_X[:, column])
    donor_values, count = floats(model._fit_X[donors, column]), min(model.n_neighbors, len(donors))
    nearest, order = squares.columns(donors).ops(
        "TopK", squares.constant([count]), dtypes=("float64", "int64"), axis=1, largest=0
    )
    weights = donors_weights(nearest) if model.weights == "distance" else None
    weight_sum = float(count) if weights is None else weights.row_sums(count)
    mean = pooled(order.look_up(donor_values[:, None]), weights, count) / weight_sum
    return value.is_nan().choose((nearest.columns([0]) >= FAR).choose(float(donor_values.mean()), mean), value)


def donors_weights(nearest: Tensor) -> Tensor:
    return (nearest >= FAR).choose(0.0, inverse(nearest.sqrt()))


FAMILY = Family(
    transform={impute.SimpleImputer: imputed, impute.MissingIndicator: indicated, impute.KNNImputer: by_neighbours},
    tables=frozenset({impute.SimpleImputer, impute.MissingIndicator}),
)
