"""Elementary functions in float64 that ONNX Runtime lacks, made of those that it has.

They are exact to a few units in the last place, also near zero and far from it.
"""

import numpy as np

from serval.conversion.export.rules.special import ratio
from serval.conversion.export.tensor import Tensor

LN2 = float(np.log(2.0))

# Exponentials and logarithms


def log1p(x: Tensor) -> Tensor:
    """Without loss near zero: `x * log(u) / (u - 1)` with `u = 1 + x`. Source: Goldberg 1991, theorem 4."""
    above = x + 1.0
    rest = above - 1.0
    is_plain = rest.equals(0.0) | rest.equals(np.inf)
    precise = x * (above.log() / is_plain.choose(1.0, rest))
    return rest.equals(0.0).choose(x, rest.equals(np.inf).choose(above.log(), precise))


def expm1(x: Tensor) -> Tensor:
    """Without loss near zero: `2 sinh(x / 2) exp(x / 2)` as `tanh(x / 2) * (exp(x) + 1)`."""
    small = (x * 0.5).tanh() * (x.exp() + 1.0)
    return (x.abs() < 1.0).choose(small, x.exp() - 1.0)


def power_of(base: float, x: Tensor) -> Tensor:
    return x.like(base) ** x


def exact_log(x: Tensor, base: float) -> Tensor:
    """The logarithm to a base, without error at its whole powers."""
    plain = x.log() / float(np.log(base))
    whole = plain.op("Round")
    return power_of(base, whole).equals(x).choose(whole, plain)


def cbrt(x: Tensor) -> Tensor:
    """With one step of Newton's method, so that cubes of whole numbers have whole roots."""
    root = x.abs() ** (1.0 / 3.0)
    is_plain = root.equals(0.0) | (root >= 1e300) | root.is_nan()
    safe = is_plain.choose(1.0, root)
    better = safe - (safe - x.abs() / safe.square()) * (1.0 / 3.0)
    return x.sign() * is_plain.choose(root, better)


# Hyperbolic functions


def sinh(x: Tensor) -> Tensor:
    size = x.abs()
    part = expm1(size.minimum(22.0))
    half = (size * 0.5).exp()
    return x.sign() * (size < 22.0).choose((part + part / (part + 1.0)) * 0.5, (half * 0.5) * half)


def cosh(x: Tensor) -> Tensor:
    half = (x.abs() * 0.5).exp()
    return (half * 0.5) * half + 0.5 / half / half


def arcsinh(x: Tensor) -> Tensor:
    size = x.abs()
    near = size.minimum(1e8)
    square = near.square()
    small = log1p(near + square / ((square + 1.0).sqrt() + 1.0))
    return x.sign() * (size < 1e8).choose(small, size.log() + LN2)


def arccosh(x: Tensor) -> Tensor:
    above = x - 1.0
    near = above.minimum(1e8)
    inner = (above < 1e8).choose(log1p(near + (near * (near + 2.0)).sqrt()), x.log() + LN2)
    return (x < 1.0).choose(np.nan, inner)


def arctanh(x: Tensor) -> Tensor:
    size = x.abs()
    return x.sign() * log1p(size * 2.0 / (1.0 - size)) * 0.5


# Trigonometric functions

ARCTAN = (
    (
        -8.750608600031904122785e-1,
        -1.615753718733365076637e1,
        -7.500855792314704667340e1,
        -1.228866684490136173410e2,
        -6.485021904942025371773e1,
    ),
    (
        1.0,
        2.485846490142306297962e1,
        1.650270098316988542046e2,
        4.328810604912902668951e2,
        4.853903996359136964868e2,
        1.945506571482613964425e2,
    ),
)
"""S. L. Moshier, Cephes: `x + x^3 P(x^2) / Q(x^2)` up to 0.66; numerator and denominator, highest power first."""


def arctan(x: Tensor) -> Tensor:
    size = x.abs()
    is_far, is_middle = size > 2.414213562373095, size > 0.66
    middle = (size.minimum(4.0) - 1.0) / (size + 1.0)
    part = is_far.choose(-(1.0 / size.maximum(1.0)), is_middle.choose(middle, size.minimum(1.0)))
    square = part.square()
    angle = part + part * (square * ratio(square, ARCTAN))
    return x.sign() * (angle + is_far.choose(np.pi / 2, is_middle.cast("float64") * (np.pi / 4)))


def arcsin(x: Tensor) -> Tensor:
    size = x.abs()
    near = size.minimum(0.5)
    small = arctan(near / ((1.0 - near) * (near + 1.0)).sqrt())
    return x.sign() * (size <= 0.5).choose(small, np.pi / 2 - half_arccos(size) * 2.0)


def arccos(x: Tensor) -> Tensor:
    size = x.abs()
    small = np.pi / 2 - arcsin(x.clip(-0.5, 0.5))
    large = half_arccos(size) * 2.0
    return (size <= 0.5).choose(small, (x < 0.0).choose(np.pi - large, large))


def half_arccos(size: Tensor) -> Tensor:
    """Half the angle of a cosine from 0.5 to 1; NaN above."""
    half = (1.0 - size) * 0.5
    return arctan((half / (1.0 - half)).sqrt())


def tan(x: Tensor) -> Tensor:
    return x.op("Sin") / x.op("Cos")


def sinc(x: Tensor) -> Tensor:
    """Source: `numpy.sinc`."""
    angle = x.equals(0.0).choose(1e-20, x) * np.pi
    return angle.op("Sin") / angle


# Whole numbers, signs, kinds of numbers


def trunc(x: Tensor) -> Tensor:
    return (x < 0.0).choose(x.op("Ceil"), x.op("Floor"))


def rounded(x: Tensor, decimals: int) -> Tensor:
    """Source: `numpy.round`."""
    if decimals == 0:
        return x.op("Round")
    factor = 10.0 ** abs(decimals)
    return (x * factor).op("Round") / factor if decimals > 0 else (x / factor).op("Round") * factor


def is_infinite(x: Tensor) -> Tensor:
    return x.abs().equals(np.inf)


def is_finite(x: Tensor) -> Tensor:
    return x.abs() < np.inf


def sign_bit(x: Tensor) -> Tensor:
    return (x < 0.0) | (x.equals(0.0) & (1.0 / x < 0.0))


def spacing(x: Tensor) -> Tensor:
    """The distance to the next float64 away from zero."""
    size = x.abs()
    safe = (size < 2.0**-1022).choose(2.0**-1022, is_infinite(x).choose(1.0, size))
    guess = power_of(2.0, (safe.log() / LN2).op("Round").clip(-1022.0, 1023.0))
    lower = (guess > safe).choose(guess * 0.5, guess)
    power = (lower * 2.0 <= safe).choose(lower * 2.0, lower)
    step = (size < 2.0**-1022).choose(2.0**-1074, power * 2.0**-52)
    return (is_infinite(x) | x.is_nan()).choose(np.nan, (x < 0.0).choose(-step, step))
