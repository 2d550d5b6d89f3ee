"""Functions of NumPy and SciPy inside a `FunctionTransformer`, by what they are, not by their names."""

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from scipy import special as scipy_special
from sklearn import preprocessing
from sklearn.utils import check_array

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, Table
from serval.conversion.export.rules import elementary
from serval.conversion.export.rules.elementwise import BINARY, COPIES, ELEMENTWISE, ROUNDINGS, One
from serval.conversion.export.tensor import Array, Tensor
from serval.conversion.refusals import of_steps


def is_elementwise(function: Any) -> bool:
    """Whether each column of what this function returns depends on the same column alone."""
    function = function.func if isinstance(function, partial) else function
    with contextlib.suppress(TypeError):
        return function in ELEMENTWISE or function in {*COPIES, *ROUNDINGS, np.clip, np.nan_to_num, *BINARY}
    return False


def applied(model: Any, function: Any, arguments: Mapping[str, Any] | None, x: Features) -> Features:
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
        raise of_steps.FUNCTION.of(model, what=what, function=name)
    if not isinstance(x, Tensor) or x.dtype == "string":
        raise of_steps.FUNCTION_OF_TEXT.of(model, function=name)
    try:
        return rule(x, arguments)
    except ArgumentError as error:
        raise of_steps.ARGUMENT.of(model, function=name, argument=error) from error
    except RowsTogetherError as error:
        raise of_steps.ROWS_TOGETHER.of(model, function=name) from error


class ArgumentError(Exception):
    """An argument of a function that has no exact counterpart."""


class RowsTogetherError(Exception):
    """A function whose answer for a row depends on the other rows."""


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
        raise RowsTogetherError
    return x.softmax()


def log_softmax(x: Tensor, arguments: dict[str, Any]) -> Tensor:
    if taken(arguments, "axis") not in {1, -1}:
        raise RowsTogetherError
    return x.op("LogSoftmax", axis=-1)


OTHERS: dict[Any, Rule] = {
    np.clip: clipped,
    np.nan_to_num: without_missing,
    **dict.fromkeys(ROUNDINGS, rounded),
    scipy_special.softmax: softmax,
    scipy_special.log_softmax: log_softmax,
}
"""Functions that take arguments."""


def function(_: Emitter, model: Any, x: Features) -> Features:
    return applied(model, model.func, model.kw_args, numeric(x))


def function_back(_: Emitter, model: Any, x: Features) -> Features:
    return applied(model, model.inverse_func, model.inv_kw_args, numeric(x))


def numeric(x: Features) -> Features:
    """A matrix where all columns are numbers."""
    return x.matrix() if isinstance(x, Table) and x.is_numeric else x


FAMILY = Family(
    transform={preprocessing.FunctionTransformer: function},
    inverse_transform={preprocessing.FunctionTransformer: function_back},
    tables=frozenset({preprocessing.FunctionTransformer}),
)
