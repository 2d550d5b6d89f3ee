"""Distances and kernels between rows and the points that a model stores, without loops or a cube of differences."""

from typing import Any

import numpy as np
from sklearn.metrics._pairwise_distances_reduction._base import _sqeuclidean_row_norms64

from serval.conversion.export.tensor import Array, Tensor, floats, total
from serval.conversion.refusals import of_steps

FEATURES_ONE_BY_ONE = 48
"""Up to so many features, differences are taken feature by feature, in scikit-learn's order; above, by centred
products."""


def squared_distances(x: Tensor, points: Array) -> Tensor:
    """`[rows, points]` of squared Euclidean distances.

    Up to `FEATURES_ONE_BY_ONE` features the sum is that of scikit-learn's trees and of scipy, to the last bit. Above,
    products of rows and points that are first centred, so that a large common offset costs no digits.
    """
    points = floats(points)
    if points.shape[1] <= FEATURES_ONE_BY_ONE:
        return total((x.columns([i]) - points[:, i]).square() for i in range(points.shape[1]))
    centre = points.mean(axis=0)
    rows, shifted = x - centre, points - centre
    squares: Tensor = rows.square().row_sums(points.shape[1]) + (shifted**2).sum(axis=1) - (rows * 2.0) @ shifted.T
    return squares.maximum(0.0)


def expanded_distances(x: Tensor, points: Array) -> Tensor:
    """The same by the binomial formula, with the rounding, and so the order of near equals, of scikit-learn's brute
    force."""
    points = floats(points)
    lengths = np.asarray(_sqeuclidean_row_norms64(np.ascontiguousarray(points), 1))
    own = (x.reshape(0, 1, points.shape[1]) @ x.reshape(0, points.shape[1], 1)).reshape(0, 1)
    return ((own + (x * -2.0) @ points.T) + lengths).maximum(0.0)


def absolute_differences(x: Tensor, points: Array) -> list[Tensor]:
    return [(x.columns([i]) - points[:, i]).abs() for i in range(points.shape[1])]


def largest(tensors: list[Tensor]) -> Tensor:
    """The largest of each element."""
    first, *others = tensors
    return first.op("Max", *others) if others else first


def reduced_distances(x: Tensor, points: Array, metric: str, p: float = 2.0) -> Tensor:
    """`[rows, points]` of what scikit-learn's trees rank by: distances before their root, to the last bit."""
    if metric in {"euclidean", "sqeuclidean"}:
        return total((x.columns([i]) - points[:, i]).square() for i in range(points.shape[1]))
    differences = absolute_differences(x, floats(points))
    if metric == "minkowski":
        exponents = x.constant(np.full((1, len(points)), float(p)))  # one exponent alone is computed by products
        return total(difference**exponents for difference in differences)
    if metric == "chebyshev":
        return largest(differences)
    return total(differences)


def distances(x: Tensor, points: Array, metric: str, p: float = 2.0) -> Tensor:
    """`[rows, points]` in scikit-learn's metric of this name."""
    points = np.asarray(points, dtype=np.float64)
    if metric == "minkowski":
        metric = {1.0: "manhattan", 2.0: "euclidean", np.inf: "chebyshev"}.get(float(p), "minkowski")
    if metric in {"euclidean", "l2"}:
        return squared_distances(x, points).sqrt()
    if metric == "sqeuclidean":
        return squared_distances(x, points)
    if metric in {"manhattan", "cityblock", "l1"}:
        return total(absolute_differences(x, points))
    if metric in {"chebyshev", "infinity"}:
        return largest(absolute_differences(x, points))
    if metric == "minkowski":
        return total(difference ** float(p) for difference in absolute_differences(x, points)) ** (1.0 / float(p))
    if metric == "cosine":
        return (1.0 - unit_rows(x, points.shape[1]) @ unit(points).T).maximum(0.0)
    raise of_steps.METRIC_NAME.of(None, metric=repr(metric))


def unit(points: Array) -> Array:
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.where(length == 0, 1.0, length)


def unit_rows(x: Tensor, width: int) -> Tensor:
    length = x.square().row_sums(width).sqrt()
    return x / length.equals(0.0).choose(1.0, length)


def kernel(
    x: Tensor, points: Array, name: Any, *, gamma: float | None = None, degree: float = 3, coef0: float = 1
) -> Tensor:
    """`[rows, points]` of `sklearn.metrics.pairwise` kernels."""
    points = np.asarray(points, dtype=np.float64)
    width = 1.0 / points.shape[1] if gamma is None else float(gamma)
    if name == "linear":
        return x @ points.T
    if name in {"poly", "polynomial"}:
        return ((x @ points.T) * width + float(coef0)) ** float(degree)
    if name == "sigmoid":
        return ((x @ points.T) * width + float(coef0)).tanh()
    if name == "rbf":
        return (squared_distances(x, points) * -width).exp()
    if name == "laplacian":
        return (total(absolute_differences(x, points)) * -width).exp()
    if name == "cosine":
        return unit_rows(x, points.shape[1]) @ unit(points).T
    raise of_steps.KERNEL_NAME.of(None, kernel=repr(name))
