"""Values that a step compares with values that it stored: they meet although another step rounded one of them."""

import numpy as np

from serval.conversion.export.tensor import Array, Tensor, floats

UNITS = 16
"""Units in the last place of the largest stored value: what logarithms, exponentials and products may differ by."""


def rounding_of(x: Tensor, stored: Array) -> float:
    """How far from a stored value `x` may be and still be that value, as scikit-learn computes it.

    Nothing where `x` is an input, or one that was scaled and shifted: there every bit is scikit-learn's.
    """
    if x.origins and all(x.origins):
        return 0.0
    finite = floats(stored)[np.isfinite(floats(stored))]
    return float(UNITS * np.finfo(np.float64).eps * np.abs(finite).max()) if finite.size else 0.0
