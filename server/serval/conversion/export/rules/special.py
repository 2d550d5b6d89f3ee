"""Functions that ONNX Runtime lacks in float64: the error function, the normal quantile, interpolation."""

import numpy as np

from serval.conversion.export.tensor import Array, Tensor

ERF_NEAR = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
ERF_MIDDLE = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e0,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0,
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)
"""W. J. Cody, Rational Chebyshev approximations for the error function, 1969: numerators and denominators, highest
power first."""

NORMAL_CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
NORMAL_TAIL = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
NORMAL_FAR = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)
"""M. J. Wichura, Algorithm AS 241: the percentage points of the normal distribution, 1988: highest power first."""


def polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    first, *others = coefficients
    result = x * first
    for coefficient in others[:-1]:
        result = (result + coefficient) * x
    return result + others[-1]


def ratio(x: Tensor, both: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    return polynomial(x, both[0]) / polynomial(x, both[1])


def erf(x: Tensor) -> Tensor:
    """The error function to about 1e-16; beyond 6 it is 1."""
    size = x.abs().minimum(6.0)
    near = x * ratio(x.square().minimum(0.25), ERF_NEAR)
    far = x.sign() * (1.0 - (-size.square()).exp() * ratio(size, ERF_MIDDLE))
    return (size <= 0.46875).choose(near, far)


def normal_quantile(p: Tensor) -> Tensor:
    """The inverse of the normal distribution function, to about 1e-15 for p in (0, 1)."""
    q = p - 0.5
    centre = q * ratio(0.180625 - q.square().minimum(0.180625), NORMAL_CENTRE)
    depth = (-p.minimum(1.0 - p).log()).sqrt()
    tail = q.sign() * (depth <= 5.0).choose(ratio(depth - 1.6, NORMAL_TAIL), ratio(depth - 5.0, NORMAL_FAR))
    return (q.abs() <= 0.425).choose(centre, tail)


def interpolate(x: Tensor, knots: Array, values: Array) -> Tensor:
    """Linear interpolation of `x` `[rows]` between rising knots; beyond them, the value at the nearest. Source:
    `numpy.interp`."""
    knots, values = np.asarray(knots, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(knots) == 1:
        return x * 0.0 + float(values[0])
    inside = x.clip(float(knots[0]), float(knots[-1]))
    below = (inside.as_column() >= np.append(knots[1:-1], np.inf)).count()
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where(np.diff(knots) > 0, np.diff(values) / np.diff(knots), 0.0)
    between = (inside - below.look_up(knots[:-1])) * below.look_up(slopes) + below.look_up(values[:-1])
    return (x < float(knots[0])).choose(float(values[0]), (x >= float(knots[-1])).choose(float(values[-1]), between))


def normal_distribution(x: Tensor) -> Tensor:
    """The normal distribution function, to about 1e-16 absolutely."""
    return (erf(x / np.sqrt(2.0)) + 1.0) * 0.5


# Below: what `scipy.special` names; relatively exact in the tails too.

ERF_FAR = (
    (
        1.63153871373020978498e-2,
        3.05326634961232344035e-1,
        3.60344899949804439429e-1,
        1.25781726111229246204e-1,
        1.60837851487422766278e-2,
        6.58749161529837803157e-4,
    ),
    (
        1.0,
        2.56852019228982242072e0,
        1.87295284992346047209e0,
        5.27905102951428412248e-1,
        6.05183413124413191178e-2,
        2.33520497626869185443e-3,
    ),
)
"""Cody's third interval, for `1 / x^2` with x above 4."""


def scaled_tail(size: Tensor) -> Tensor:
    """`exp(x^2) erfc(x)` for x of at least 0.46875. Source: Cody 1969."""
    middle = ratio(size.clip(0.46875, 4.0), ERF_MIDDLE)
    far = size.clip(4.0, 1e150)
    inverse = 1.0 / far.square()
    tail = (1.0 / float(np.sqrt(np.pi)) - inverse * ratio(inverse, ERF_FAR)) / far
    return (size <= 4.0).choose(middle, tail)


def gauss(size: Tensor) -> Tensor:
    """`exp(-x^2)` without the error of the square: its first digits apart from its last. Source: Cody 1969."""
    head = (size.minimum(40.0) * 16.0).op("Floor") / 16.0
    rest = (size.minimum(40.0) - head) * (size.minimum(40.0) + head)
    return (-head.square()).exp() * (-rest).exp()


def erfc(x: Tensor) -> Tensor:
    """The complementary error function, relatively to about 1e-15."""
    size = x.abs()
    tail = gauss(size) * scaled_tail(size)
    return (size <= 0.46875).choose(1.0 - erf(x), (x < 0.0).choose(2.0 - tail, tail))


def ndtr(x: Tensor) -> Tensor:
    return erfc(x * -float(np.sqrt(0.5))) * 0.5


def log_ndtr(x: Tensor) -> Tensor:
    """The logarithm of the normal distribution function, far below zero too."""
    z = x * float(np.sqrt(0.5))
    depth = (-z).maximum(0.46875)
    low = (scaled_tail(depth) * 0.5).log() - depth.square()
    return (x < -1.0).choose(low, log_of_complement(erfc(z) * 0.5))


def log_of_complement(p: Tensor) -> Tensor:
    """`log(1 - p)` without loss for small p."""
    above = 1.0 - p
    rest = 1.0 - above
    return rest.equals(0.0).choose(-p, -p * (above.log() / -rest.equals(0.0).choose(1.0, rest)))


def ndtri(p: Tensor) -> Tensor:
    """The normal quantile on all of [0, 1]."""
    inner = normal_quantile(((p > 0.0) & (p < 1.0)).choose(p, 0.5))
    ends = p.equals(0.0).choose(-np.inf, p.equals(1.0).choose(np.inf, np.nan * p))
    return ((p > 0.0) & (p < 1.0)).choose(inner, ends)


def erfinv(x: Tensor) -> Tensor:
    """Relatively exact near zero too, where the normal quantile's centre is a polynomial in x."""
    q = x * 0.5
    centre = q * ratio(0.180625 - q.square().minimum(0.180625), NORMAL_CENTRE)
    return (q.abs() <= 0.425).choose(centre, x.sign() * -ndtri((1.0 - x.abs()) * 0.5)) * float(np.sqrt(0.5))


def erfcinv(x: Tensor) -> Tensor:
    return ndtri(x * 0.5) * -float(np.sqrt(0.5))
