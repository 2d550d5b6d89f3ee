"""Functions of NumPy and SciPy that a graph computes number by number, by what they are, not by their names."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special as scipy_special

from serval.conversion.export.rules import elementary, gamma, special
from serval.conversion.export.tensor import Tensor

One = Callable[[Tensor], Tensor]


def logit(x: Tensor) -> Tensor:
    centred = (x - 0.5) * 2.0
    near = elementary.log1p(centred.clip(-0.5, 0.5)) - elementary.log1p(-centred.clip(-0.5, 0.5))
    return (centred.abs() < 0.4).choose(near, (x / (1.0 - x)).log())


def log_expit(x: Tensor) -> Tensor:
    return x.minimum(0.0) - elementary.log1p((-x.abs()).exp())


def softplus(x: Tensor) -> Tensor:
    return x.maximum(0.0) + elementary.log1p((-x.abs()).exp())


def exprel(x: Tensor) -> Tensor:
    is_near = x.abs() < 1e-16
    safe = (is_near | x.equals(np.inf)).choose(1.0, x)
    return is_near.choose(1.0, x.equals(np.inf).choose(x, elementary.expm1(safe) / safe))


def entr(x: Tensor) -> Tensor:
    return (x < 0.0).choose(-np.inf, x.equals(0.0).choose(0.0, -x * x.log()))


def in_degrees(function: One) -> One:
    """Zero where scipy gives up."""
    return lambda x: (x.abs() > 1e14).choose(0.0, function(x.op("Mod", 360.0, fmod=1) * (np.pi / 180.0)))


def signed(x: Tensor) -> Tensor:
    return x.is_nan().choose(x, x.sign())


def cosm1(x: Tensor) -> Tensor:
    return (x * 0.5).op("Sin").square() * -2.0


ELEMENTWISE: dict[Any, One] = {
    np.absolute: lambda x: x.abs(),
    np.fabs: lambda x: x.abs(),
    np.arccos: elementary.arccos,
    np.arccosh: elementary.arccosh,
    np.arcsin: elementary.arcsin,
    np.arcsinh: elementary.arcsinh,
    np.arctan: elementary.arctan,
    np.arctanh: elementary.arctanh,
    np.cbrt: elementary.cbrt,
    np.ceil: lambda x: x.op("Ceil"),
    np.conjugate: lambda x: x,
    np.cos: lambda x: x.op("Cos"),
    np.cosh: elementary.cosh,
    np.deg2rad: lambda x: x * (np.pi / 180.0),
    np.radians: lambda x: x * (np.pi / 180.0),
    np.rad2deg: lambda x: x * (180.0 / np.pi),
    np.degrees: lambda x: x * (180.0 / np.pi),
    np.exp: lambda x: x.exp(),
    np.exp2: lambda x: elementary.power_of(2.0, x),
    np.expm1: elementary.expm1,
    np.fix: elementary.trunc,
    np.floor: lambda x: x.op("Floor"),
    np.isfinite: elementary.is_finite,
    np.isinf: elementary.is_infinite,
    np.isnan: lambda x: x.is_nan(),
    np.isneginf: lambda x: x.equals(-np.inf),
    np.isposinf: lambda x: x.equals(np.inf),
    np.log: lambda x: x.log(),
    np.log10: lambda x: elementary.exact_log(x, 10.0),
    np.log1p: elementary.log1p,
    np.log2: lambda x: elementary.exact_log(x, 2.0),
    np.logical_not: lambda x: x.equals(0.0),
    np.negative: lambda x: -x,
    np.positive: lambda x: x,
    np.real: lambda x: x,
    np.reciprocal: lambda x: 1.0 / x,
    np.rint: lambda x: x.op("Round"),
    np.sign: signed,
    np.signbit: elementary.sign_bit,
    np.sin: lambda x: x.op("Sin"),
    np.sinc: elementary.sinc,
    np.sinh: elementary.sinh,
    np.spacing: elementary.spacing,
    np.sqrt: lambda x: x.sqrt(),
    np.square: lambda x: x.square(),
    np.tan: elementary.tan,
    np.tanh: lambda x: x.tanh(),
    np.trunc: elementary.trunc,
    scipy_special.cbrt: elementary.cbrt,
    scipy_special.cosdg: in_degrees(lambda x: x.op("Cos")),
    scipy_special.cosm1: cosm1,
    scipy_special.digamma: gamma.digamma,
    scipy_special.entr: entr,
    scipy_special.erf: special.erf,
    scipy_special.erfc: special.erfc,
    scipy_special.erfcinv: special.erfcinv,
    scipy_special.erfinv: special.erfinv,
    scipy_special.exp10: lambda x: elementary.power_of(10.0, x),
    scipy_special.exp2: lambda x: elementary.power_of(2.0, x),
    scipy_special.expit: lambda x: x.sigmoid(),
    scipy_special.expm1: elementary.expm1,
    scipy_special.exprel: exprel,
    scipy_special.gamma: gamma.gamma,
    scipy_special.gammaln: gamma.gammaln,
    scipy_special.log1p: elementary.log1p,
    scipy_special.log_expit: log_expit,
    scipy_special.log_ndtr: special.log_ndtr,
    scipy_special.logit: logit,
    scipy_special.ndtr: special.ndtr,
    scipy_special.ndtri: special.ndtri,
    scipy_special.psi: gamma.digamma,
    scipy_special.round: lambda x: x.op("Round"),
    scipy_special.sindg: in_degrees(lambda x: x.op("Sin")),
}
"""Functions of one number."""
COPIES = (np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray, np.copy, np.atleast_2d)
ROUNDINGS = (np.round, np.around)
BINARY: dict[Any, Callable[[Tensor, Tensor], Tensor]] = {
    np.add: lambda a, b: a + b,
    np.subtract: lambda a, b: a - b,
    np.multiply: lambda a, b: a * b,
    np.divide: lambda a, b: a / b,
    np.power: lambda a, b: a**b,
    np.float_power: lambda a, b: a**b,
    np.maximum: lambda a, b: a.maximum(b),
    np.minimum: lambda a, b: a.minimum(b),
    np.greater: lambda a, b: a > b,
    np.greater_equal: lambda a, b: a >= b,
    np.less: lambda a, b: a < b,
    np.less_equal: lambda a, b: a <= b,
    np.equal: lambda a, b: a.equals(b),
    np.not_equal: lambda a, b: ~a.equals(b),
    np.logaddexp: lambda a, b: b + softplus(a - b),
}
"""Functions of two numbers, of which a `functools.partial` has set the first."""
