"""The quantile transformer: both interpolations between stored quantiles, which are training values."""

from fractions import Fraction
from typing import Any

import numpy as np
from scipy import stats

from serval.conversion.export.emitter import Emitter
from serval.conversion.export.rules.snapping import rounding_of
from serval.conversion.export.rules.special import interpolate, normal_distribution, normal_quantile
from serval.conversion.export.tensor import Array, Tensor, stack

TINY = 1e-7
"""`BOUNDS_THRESHOLD` of scikit-learn's quantile transformer."""


def quantile(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return stack(one_quantile(model, x.column(i), model.quantiles_[:, i]) for i in range(model.quantiles_.shape[1]))


def one_quantile(model: Any, x: Tensor, knots: Array) -> Tensor:
    """Source: `QuantileTransformer._transform_col`: the mean of the interpolations from the left and from the right."""
    is_uniform = model.output_distribution == "uniform"
    lowest_at, highest_at = reaches_of(knots, model.references_, rounding_of(x, knots))
    reached = (x.as_column() >= lowest_at).count()
    passed = (x.as_column() > highest_at).count()
    at_knot = (reached - 1).maximum(0).look_up(shares_at(knots, model.references_, has_bounds=is_uniform))
    between = shares_between(x, reached, knots, model.references_)
    beyond = passed.equals(len(knots)).choose(float(model.references_[-1]), between)
    around = reached.equals(0).choose(float(model.references_[0]), beyond)
    inner = (reached > passed).choose(at_knot, around)
    if is_uniform:
        return x.is_nan().choose(x, inner)
    bounded = (x - TINY < float(knots[0])).choose(0.0, (x + TINY > float(knots[-1])).choose(1.0, inner))
    lowest, highest = (float(stats.norm.ppf(share)) for share in (TINY - np.spacing(1), 1 - (TINY - np.spacing(1))))
    return x.is_nan().choose(x, normal_quantile(bounded.clip(TINY / 2, 1 - TINY / 2)).clip(lowest, highest))


def shares_between(x: Tensor, reached: Tensor, knots: Array, shares: Array) -> Tensor:
    """`[rows]`: the mean of both interpolations between the two knots around; `reached`: how many are not above."""
    if len(knots) == 1:
        return x * 0.0 + float(shares[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where(np.diff(knots) > 0, np.diff(shares) / np.diff(knots), 0.0)
    below = (reached - 1).maximum(0).minimum(len(knots) - 2)
    inside, slope = x.clip(float(knots[0]), float(knots[-1])), below.look_up(slopes)
    rising = (inside - below.look_up(knots[:-1])) * slope + below.look_up(shares[:-1])
    falling = below.look_up(shares[1:]) - (below.look_up(knots[1:]) - inside) * slope
    return (rising + falling) * 0.5


def shares_at(knots: Array, shares: Array, *, has_bounds: bool) -> Array:
    """For each knot what a value on it becomes: of several equal knots the middle."""
    values, owners = np.unique(knots, return_inverse=True)
    firsts = np.searchsorted(knots, values, side="left")
    lasts = np.searchsorted(knots, values, side="right") - 1
    middles = (shares[firsts] + shares[lasts]) * 0.5
    if has_bounds:
        middles[-1], middles[0] = 1.0, 0.0
    return np.asarray(middles[owners])


def reaches_of(knots: Array, shares: Array, room: float) -> tuple[Array, Array]:
    """For each knot the lowest and the highest value that counts as on it: `room` to each side, shared where another
    knot is as near."""
    values, owners = np.unique(knots, return_inverse=True)
    is_rounded = np.array([is_rounded_quantile(shares[owners == index], len(shares)) for index in range(len(values))])
    lowest, highest = values - room, values + room
    for index in np.flatnonzero(np.diff(values) < 2 * room).tolist():
        left, right = values[index], values[index + 1]
        part = 0.25 if is_rounded[index] < 0 else 0.75 if is_rounded[index + 1] > 0 else 0.5
        highest[index] = lowest[index + 1] = left + (right - left) * part
    return lowest[owners], highest[owners]


def is_rounded_quantile(shares: Array, count: int) -> int:
    """Whether a quantile may lie beside the training value that it should be, below it (-1) or above it (1), because
    its share was rounded to that side in `QuantileTransformer._dense_fit`; else 0."""
    errors = [
        float(Fraction(share * 100 / 100) - Fraction(round(share * (count - 1)), count - 1))
        for share in shares.tolist()
    ]
    return -1 if max(errors) < 0 else 1 if min(errors) > 0 else 0


def quantile_back(_: Emitter, model: Any, x: Tensor) -> Tensor:
    columns = []
    for i in range(model.quantiles_.shape[1]):
        knots = model.quantiles_[:, i]
        values = x.column(i)
        is_normal = model.output_distribution == "normal"
        share = normal_distribution(values) if is_normal else values
        inner = interpolate(share, model.references_, knots)
        edge = TINY if is_normal else 0.0
        lowest = share - edge < 0.0 if is_normal else share.equals(0.0)
        highest = share + edge > 1.0 if is_normal else share.equals(1.0)
        columns.append(lowest.choose(float(knots[0]), highest.choose(float(knots[-1]), inner)))
    return stack(columns)
