"""B-spline features, as the polynomials that they are between knots."""

from math import factorial
from typing import Any

import numpy as np
from sklearn import preprocessing

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.tensor import Array, Tensor, concat
from serval.conversion.refusals import of_steps


def splines(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `SplineTransformer.transform`."""
    if model.extrapolation not in {"constant", "continue", "error"}:
        raise of_steps.SPLINE_ENDS.of(model, extrapolation=repr(model.extrapolation))
    return concat(one_column(model, spline, x, index) for index, spline in enumerate(model.bsplines_))


def one_column(model: Any, spline: Any, features: Tensor, index: int) -> Tensor:
    """Find the piece between knots, look its coefficients up, and sum the powers of the distance to its left knot."""
    knots = np.unique(spline.t[spline.k : len(spline.t) - spline.k])
    if len(knots) < 2:
        raise of_steps.SPLINE_OF_ONE_VALUE.of(model, column=index)
    x = features.column(index)
    x.as_column().note(knots)
    inside = x.clip(float(knots[0]), float(knots[-1])) if model.extrapolation == "constant" else x
    piece = (inside.as_column() >= np.append(knots[1:-1], np.inf)).count()
    distance = (inside - piece.look_up(knots[:-1])).as_column()
    width = spline.c.shape[1] - (0 if model.include_bias else 1)
    first, *others = coefficients(spline, knots)[:, :, :width]
    result = piece.look_up(first)
    for power in others:
        result = result * distance + piece.look_up(power)
    return result


def coefficients(spline: Any, knots: Array) -> Array:
    """`[degree + 1, pieces, splines]`, the highest power first, around the left knot of each piece: Taylor's
    formula."""
    return np.stack([spline(knots[:-1], nu=power) / factorial(power) for power in range(spline.k, -1, -1)])


FAMILY = Family(transform={preprocessing.SplineTransformer: splines})
