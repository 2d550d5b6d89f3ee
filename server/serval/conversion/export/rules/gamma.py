"""The gamma function and its relatives in float64, by Stirling's series of a larger argument."""

import numpy as np

from serval.conversion.export.rules.special import polynomial
from serval.conversion.export.tensor import Tensor, total

TINY = float(np.finfo(np.float64).tiny)
SHIFT = 10
"""Arguments are raised by this much to where the series is exact."""
LOG_SERIES = (
    -174611.0 / 125400.0,
    43867.0 / 244188.0,
    -3617.0 / 122400.0,
    1.0 / 156.0,
    -691.0 / 360360.0,
    1.0 / 1188.0,
    -1.0 / 1680.0,
    1.0 / 1260.0,
    -1.0 / 360.0,
    1.0 / 12.0,
)
"""Of `log(gamma(x))` in `1 / x^2`, times `1 / x`: highest power first."""
DERIVED_SERIES = tuple(-(19.0 - 2.0 * index) * value for index, value in enumerate(LOG_SERIES))
"""Its derivative, times `1 / x^2`."""


def gammaln(x: Tensor) -> Tensor:
    """`log(abs(gamma(x)))`."""
    size = x.abs().maximum(TINY)
    reflected = float(np.log(np.pi)) - whole_turn(x).log() - size.log() - positive_gammaln(size)
    above = positive_gammaln(x.maximum(TINY))
    is_pole = ((x <= 0.0) & x.op("Floor").equals(x)) | x.equals(np.inf) | (x.abs() < TINY)
    return x.is_nan().choose(x, is_pole.choose(np.inf, (x > 0.0).choose(above, reflected)))


def whole_turn(x: Tensor) -> Tensor:
    """`abs(sin(pi x))` by the distance to the nearest whole number, so that large numbers lose nothing."""
    return ((x - x.op("Round")) * np.pi).op("Sin").abs()


def positive_gammaln(x: Tensor) -> Tensor:
    is_small = x < float(SHIFT)
    near = x.minimum(float(SHIFT))
    product = near
    for step in range(1, SHIFT):
        product = product * (near + float(step))
    raised = is_small.choose(near + float(SHIFT), x)
    inverse = 1.0 / raised
    series = inverse * polynomial(inverse.square(), LOG_SERIES)
    large = (raised - 0.5) * raised.log() - raised + 0.5 * float(np.log(2.0 * np.pi)) + series
    return is_small.choose(large - product.log(), large)


def gamma(x: Tensor) -> Tensor:
    """Negative between an odd number below zero and the even one above it; no number at whole ones."""
    is_odd = x.op("Floor").op("Mod", 2.0, fmod=1).abs().equals(1.0)
    is_pole = (x < 0.0) & x.op("Floor").equals(x)
    size = gammaln(x).exp()
    signed = ((x < 0.0) & is_odd).choose(-size, size)
    return is_pole.choose(np.nan, x.equals(0.0).choose(1.0 / x, signed))


def digamma(x: Tensor) -> Tensor:
    """The derivative of `log(gamma(x))`."""
    angle = (x - x.op("Round")) * np.pi
    reflected = positive_digamma((1.0 - x).maximum(1e-300)) - np.pi * (angle.op("Cos") / angle.op("Sin"))
    is_pole = (x < 0.0) & x.op("Floor").equals(x)
    below = is_pole.choose(np.nan, x.equals(0.0).choose(-(1.0 / x), reflected))
    return x.is_nan().choose(x, (x > 0.0).choose(positive_digamma(x.maximum(5e-324)), below))


def positive_digamma(x: Tensor) -> Tensor:
    is_small = x < float(SHIFT)
    near = x.minimum(float(SHIFT))
    lowered = total(1.0 / (near + float(step)) for step in range(SHIFT))
    raised = is_small.choose(near + float(SHIFT), x)
    inverse = 1.0 / raised
    series = inverse.square() * polynomial(inverse.square(), DERIVED_SERIES)
    large = raised.log() - inverse * 0.5 + series
    return is_small.choose(large - lowered, large)
