"""Rows that fitted estimators store in the space of their input: training rows, support vectors, centres."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MAX_POINTS = 40
ATTRIBUTES = (
    *("_fit_X", "support_vectors_", "X_train_", "X_fit_", "X_", "theta_", "means_", "centroids_", "mean_", "center_"),
    *("statistics_", "data_min_", "data_max_", "quantiles_"),
)


def points_of(estimator: Any, width: int) -> Array:
    """Some of the rows, `[rows, width]`."""
    if type(estimator).__name__ == "PowerTransformer" and estimator.standardize:
        return _usual_values(estimator, width)
    stored = [
        np.asarray(value)
        for name in ATTRIBUTES
        if isinstance(value := getattr(estimator, name, None), np.ndarray | list)
    ]
    tables = [np.atleast_2d(values) for values in stored if values.dtype.kind in "fiu"]
    matching = [_some(values) for values in tables if width and values.shape[1:] == (width,)]
    if not matching:
        return np.zeros((0, width))
    return np.concatenate([values[np.isfinite(values).all(axis=1)] for values in matching]).astype(np.float64)


def centers_of(transformer: Any) -> Array:
    """For each column a number in the middle of those that a scaler or an imputer was fitted on; empty if it kept
    none."""
    for name in ("center_", "mean_", "statistics_"):
        values = np.asarray(getattr(transformer, name, None))
        if hasattr(transformer, "transform") and values.ndim == 1 and values.dtype.kind in "fiu":
            return values.astype(np.float64)
    low, high = (np.asarray(getattr(transformer, f"data_{end}_", None)) for end in ("min", "max"))
    is_known = low.ndim == high.ndim == 1 and low.dtype.kind in "fiu"
    return np.asarray((low + high) / 2.0, dtype=np.float64) if is_known else np.zeros(0)


def _some(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    indices = np.linspace(0, len(values) - 1, min(len(values), MAX_POINTS)).astype(int)
    return np.asarray(values[indices])


def _usual_values(transformer: Any, width: int) -> Array:
    """Values that become -2, -1.5, ..., 2 in standardised columns."""
    if len(transformer.lambdas_) != width:
        return np.zeros((0, width))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        steps = np.repeat(np.linspace(-2.0, 2.0, 9)[:, None], width, axis=1)
        values = np.asarray(transformer.inverse_transform(steps), dtype=np.float64)
    return values[np.isfinite(values).all(axis=1)]
