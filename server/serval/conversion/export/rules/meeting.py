"""Computed numbers that meet the categories of an encoder although they were rounded otherwise on the way."""

from collections.abc import Sequence

import numpy as np

from serval.conversion.export.features import Features
from serval.conversion.export.tensor import Array, Tensor, concat

UNITS = 64
"""Units in the last place of the largest category: by how much logarithms, powers and products may differ."""


def met(x: Features, categories: Sequence[Array]) -> Features:
    """The features, with every number that is a category but for its last bits replaced by the category.

    Inputs, and what was only scaled and shifted, stay as they are: there each bit is scikit-learn's.
    """
    if not isinstance(x, Tensor) or x.dtype == "string" or (x.origins and all(x.origins)):
        return x
    return concat(met_column(x.columns([index]), known) for index, known in enumerate(categories))


def met_column(value: Tensor, known: Array) -> Tensor:
    """`[rows, 1]`"""
    if known.dtype.kind not in "fiu":
        return value
    keys = np.unique(known[np.isfinite(known)]).astype(np.float64)
    if not keys.size:
        return value
    room = UNITS * float(np.finfo(np.float64).eps) * float(np.abs(keys).max())
    edges = np.append((keys[:-1] + keys[1:]) / 2, np.inf)
    nearest = (value >= edges).count().look_up(keys).as_column()
    return ((value - nearest).abs() <= room).choose(nearest, value)
