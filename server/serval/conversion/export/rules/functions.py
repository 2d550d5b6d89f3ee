"""Functions of NumPy and SciPy inside a `FunctionTransformer`, by what they are, not by their names."""

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from scipy import special as scipy_special
from sklearn import preprocessing
from sklearn.utils import check_array

from serval.conversion.export.emitter import Emitter, Family, refuse
from serval.conversion.export.features import Features, matrix
from serval.conversion.export.rules import elementary, gamma, special
from serval.conversion.export.tensor import Array, Tensor

One = Callable[[Tensor], Tensor]
INSTEAD = "leave this step out, fit the others on columns to which it was applied already, and send those"


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


def is_elementwise(function: Any) -> bool:
    """Whether each column of what this function returns depends on the same column alone."""
    function = function.func if isinstance(function, partial) else function
    with contextlib.suppress(TypeError):
        return function in ELEMENTWISE or function in {*COPIES, *ROUNDINGS, np.clip, np.nan_to_num, *BINARY}
    return False


def applied(emit: Emitter, model: Any, function: Any, arguments: Mapping[str, Any] | None, x: Features) -> Features:
    """The features after this function. Raises NotConvertible for one that has no exact counterpart."""
    if function is None:
        return x
    first: tuple[Any, ...] = ()
    arguments = dict(arguments or {})
    while isinstance(function, partial):
        first, arguments, function = (*function.args, *first), {**function.keywords, **arguments}, function.func
    if function is check_array:  # how histogram boosting passes its numbers on
        return x
    name = name_of(function)
    rule = rule_of(function, first)
    if rule is None:
        what = "the Python function" if not isinstance(function, np.ufunc) else "the function"
        raise refuse(model, f"{emit.place()}calls {what} `{name}`, which Serval cannot write as ONNX", INSTEAD)
    if not isinstance(x, Tensor) or x.dtype == "string":
        raise refuse(model, f"{emit.place()}applies `{name}` to a string column", INSTEAD)
    try:
        return rule(x, arguments)
    except ArgumentError as error:
        raise refuse(model, f"{emit.place()}calls `{name}` with {error}", INSTEAD) from error


class ArgumentError(Exception):
    """An argument of a function that has no exact counterpart."""


Rule = Callable[[Tensor, dict[str, Any]], Tensor]


def name_of(function: Any) -> str:
    """The function's public name with its module."""
    name = getattr(function, "__name__", type(function).__name__)
    for library, content in (("numpy", np), ("scipy.special", scipy_special)):
        if getattr(content, name, None) is function:
            return f"{library}.{name}"
    module = getattr(function, "__module__", None)
    return name if module in {None, "__main__", "numpy"} else f"{module}.{name}"


def rule_of(function: Any, first: tuple[Any, ...]) -> Rule | None:
    """How to write this function, whose first arguments are given."""
    try:
        if first:
            return with_first(BINARY[function], first[0]) if len(first) == 1 and function in BINARY else None
        if function in ELEMENTWISE:
            return without_arguments(ELEMENTWISE[function])
        if function in COPIES:
            return copied
        return OTHERS.get(function)
    except TypeError:  # an object that cannot be looked up
        return None


def without_arguments(one: One) -> Rule:
    def rule(x: Tensor, arguments: dict[str, Any]) -> Tensor:
        return as_dtype(one(x), taken(arguments, "dtype"))

    return rule


def with_first(two: Callable[[Tensor, Tensor], Tensor], first: Any) -> Rule:
    def rule(x: Tensor, arguments: dict[str, Any]) -> Tensor:
        return as_dtype(two(x.like(numbers(first, "its first argument")), x), taken(arguments, "dtype"))

    return rule


HARMLESS = {
    "casting": None,
    "copy": None,
    "order": None,
    "subok": None,
    "ndmin": (0, 1, 2),
    "where": (True,),
    "out": (None,),
    "keepdims": (True,),
}
"""Arguments that change no value, with the values for which that holds; None: all."""


def taken(arguments: dict[str, Any], *names: str) -> Any:
    """The value of the first of these names; all other arguments must be without effect. Raises ArgumentError."""
    for name, value in arguments.items():
        if name not in names and not (
            name in HARMLESS and (HARMLESS[name] is None or any(value is each for each in HARMLESS[name] or ()))
        ):
            raise ArgumentError(f"the argument `{name}={value!r}`"[:100])
    return next((arguments[name] for name in names if name in arguments), None)


def as_dtype(y: Tensor, dtype: Any) -> Tensor:
    y = y.cast("float64")
    if dtype is None or np.dtype(dtype) == np.float64:
        return y
    if np.dtype(dtype) == np.float32:
        return y.rounded_to_float32()
    raise ArgumentError(f"`dtype={np.dtype(dtype)}`")


def numbers(value: Any, what: str) -> Array:
    """A number, or one for each column. Raises ArgumentError."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.ndim > 1:
        raise ArgumentError(f"{what}, which is neither a number nor one for each column")
    return array.astype(np.float64)


def copied(x: Tensor, arguments: dict[str, Any]) -> Tensor:
    dtype = taken(arguments, "dtype")
    return as_dtype(x, None if dtype in {float, None} else dtype)


def clipped(x: Tensor, arguments: dict[str, Any]) -> Tensor:
    taken(arguments, "a_min", "a_max", "min", "max", "dtype")
    low, high = (arguments.get(f"a_{end}", arguments.get(end)) for end in ("min", "max"))
    out = x
    if low is not None:
        out = (x < numbers(low, "`a_min`")).choose(x.like(numbers(low, "`a_min`")), out)
    if high is not None:
        upper = numbers(high, "`a_max`")
        out = (out > upper).choose(x.like(upper), out)
    return as_dtype(out, arguments.get("dtype"))


def without_missing(x: Tensor, arguments: dict[str, Any]) -> Tensor:
    """Source: `numpy.nan_to_num`."""
    taken(arguments, "nan", "posinf", "neginf")
    limits = np.finfo(np.float64)
    highest = limits.max if arguments.get("posinf") is None else arguments["posinf"]
    lowest = limits.min if arguments.get("neginf") is None else arguments["neginf"]
    finite = x.equals(np.inf).choose(float(highest), x.equals(-np.inf).choose(float(lowest), x))
    return x.is_nan().choose(x.like(numbers(arguments.get("nan", 0.0), "`nan`")), finite)


def rounded(x: Tensor, arguments: dict[str, Any]) -> Tensor:
    decimals = taken(arguments, "decimals")
    return elementary.rounded(x, 0 if decimals is None else int(decimals))


def softmax(x: Tensor, arguments: dict[str, Any]) -> Tensor:
    if taken(arguments, "axis") not in {1, -1}:
        raise ArgumentError("no `axis=1`, so each answer would depend on the other rows")
    return x.softmax()


def log_softmax(x: Tensor, arguments: dict[str, Any]) -> Tensor:
    if taken(arguments, "axis") not in {1, -1}:
        raise ArgumentError("no `axis=1`, so each answer would depend on the other rows")
    return x.op("LogSoftmax", axis=-1)


OTHERS: dict[Any, Rule] = {
    np.clip: clipped,
    np.nan_to_num: without_missing,
    **dict.fromkeys(ROUNDINGS, rounded),
    scipy_special.softmax: softmax,
    scipy_special.log_softmax: log_softmax,
}
"""Functions that take arguments."""


def function(emit: Emitter, model: Any, x: Features) -> Features:
    return applied(emit, model, model.func, model.kw_args, numeric(x))


def function_back(emit: Emitter, model: Any, x: Features) -> Features:
    return applied(emit, model, model.inverse_func, model.inv_kw_args, numeric(x))


def numeric(x: Features) -> Features:
    """A matrix where all columns are numbers."""
    return x if isinstance(x, Tensor) or x.has_strings else matrix(x)


FAMILY = Family(
    transform={preprocessing.FunctionTransformer: function},
    inverse_transform={preprocessing.FunctionTransformer: function_back},
    tables=frozenset({preprocessing.FunctionTransformer}),
)
