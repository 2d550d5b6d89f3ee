"""Functions of NumPy and SciPy, against themselves."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import special
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from serval.conversion.export.predictors import emitter
from serval.conversion.export.rules.functions import ELEMENTWISE, name_of
from serval.conversion.from_sklearn import convert
from serval.errors import NotConvertible
from support.estimators import Case

IRIS, SPECIES = load_iris(return_X_y=True)
RANDOM = np.random.default_rng(0)
SIGNS = RANDOM.choice([-1.0, 1.0], 400)
EVERYWHERE = np.concatenate(
    [
        10.0 ** RANDOM.uniform(-12, 3, 400) * SIGNS,
        10.0 ** RANDOM.uniform(-300, 300, 400) * SIGNS,
        RANDOM.uniform(-4, 4, 400),
        RANDOM.uniform(0, 1, 400),
        1 - 10.0 ** RANDOM.uniform(-15, -1, 100),
        np.arange(-20, 21) / 2,
        10.0 ** np.arange(-20, 23),
        2.0 ** np.arange(-60, 60),
        np.arange(50) ** 3.0,
        [np.nan, np.inf, -np.inf, 0.0, -0.0, 720.0, -720.0, 0.46875, 709.0, 1e300, -1e300],
    ]
)
PERIODIC = {np.sin, np.cos, np.tan, np.sinc, special.cosm1}
"""Near their zeros, these are precise in absolute terms alone."""


@pytest.mark.parametrize("function", ELEMENTWISE, ids=name_of)
def test_a_function_of_one_number_is_precise_everywhere(function, evaluate):
    found = evaluate(lambda x: ELEMENTWISE[function](x).cast("float64"), EVERYWHERE[:, None])[:, 0]
    with np.errstate(all="ignore"):
        expected = function(EVERYWHERE).astype(np.float64)
    is_far = function is special.gammaln
    rounding = 1e-9 if function is special.cosm1 else 1e-12
    usual = np.where(np.isneginf(EVERYWHERE), expected, found) if is_far else found
    np.testing.assert_allclose(usual, expected, rtol=rounding, atol=1e-14 if is_far or function in PERIODIC else 1e-300)


def test_every_ufunc_of_one_real_number_is_known():
    ufuncs = {each for each in vars(np).values() if isinstance(each, np.ufunc) and (each.nin, each.nout) == (1, 1)}
    takes_floats = {each for each in ufuncs if "d->d" in each.types or "d->?" in each.types}
    assert takes_floats - set(ELEMENTWISE) == set()


ARGUMENTS: list[tuple[Any, dict[str, Any]]] = [
    (np.clip, {"a_min": 1, "a_max": [4.0, 3.0, 4.0, 2.0]}),
    (np.clip, {"min": 1}),
    (np.clip, {"a_min": None, "a_max": 2.5}),
    (np.nan_to_num, {"nan": -1.0, "posinf": 3.0, "copy": True}),
    (np.nan_to_num, {}),
    (np.round, {"decimals": 1}),
    (np.around, {"decimals": -1}),
    (np.log1p, {"dtype": np.float32}),
    (np.asarray, {"dtype": np.float32}),
    (np.asarray, {}),
    (special.softmax, {"axis": 1}),
    (special.log_softmax, {"axis": -1}),
    (partial(np.maximum, 2.0), {}),
    (partial(np.power, 2.0), {}),
    (partial(np.divide, 1.0), {}),
    (partial(np.logaddexp, 0.0), {}),
    (partial(np.greater, 3.0), {}),
    (partial(np.clip, a_min=1.0), {"a_max": 3.0}),
    (partial(partial(np.clip, a_min=1.0), a_max=3.0), {}),
]


@pytest.mark.parametrize(("function", "arguments"), ARGUMENTS, ids=range(len(ARGUMENTS)))
def test_arguments_of_a_function_are_kept(function, arguments, transforms_alike):
    model = FunctionTransformer(function, kw_args=arguments).fit(IRIS)
    rows = IRIS.copy()
    if function is np.nan_to_num:
        rows[0] = [np.nan, np.inf, -np.inf, 0.0]
    transforms_alike(model, rows)


@pytest.mark.parametrize(
    ("function", "back"),
    [
        (np.arcsinh, np.sinh),
        (np.log1p, np.expm1),
        (np.log2, np.exp2),
        (np.reciprocal, np.reciprocal),
        (np.log10, special.exp10),
        (special.log1p, special.expm1),
        (np.deg2rad, np.rad2deg),
        (np.arctan, np.tan),
        (None, np.fabs),
    ],
    ids=lambda function: getattr(function, "__name__", "none"),
)
def test_a_function_turns_predictions_back(function, back, agrees):
    x, y = load_diabetes(return_X_y=True)
    model = TransformedTargetRegressor(Ridge(), func=function or np.positive, inverse_func=back, check_inverse=False)
    agrees(Case("target", model.fit(x[:200], y[:200]), x[:200], y[:200], x[200:]))


def test_arguments_of_an_inverse_function_are_kept(agrees):
    x, y = load_diabetes(return_X_y=True)
    clip = FunctionTransformer(np.log1p, np.clip, inv_kw_args={"a_min": 4.9, "a_max": 5.2}, check_inverse=False)
    model = TransformedTargetRegressor(Ridge(), transformer=clip, check_inverse=False).fit(x[:200], y[:200])
    agrees(Case("target", model, x[:200], y[:200], x[200:]))


def test_functions_of_both_libraries_convert_side_by_side():
    functions = [np.arcsinh, np.exp2, np.sinh, np.rint, np.fabs, np.deg2rad, np.nan_to_num, special.expit, special.erf]
    parts = [(f"f{index}", FunctionTransformer(each), [index % 4]) for index, each in enumerate(functions)]
    clip = ("clip", FunctionTransformer(np.clip, kw_args={"a_min": 1, "a_max": 5}), [0])
    convert(make_pipeline(ColumnTransformer([*parts, clip]), LinearRegression()).fit(IRIS, SPECIES))


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (special.j0, {}, r"calls the function `scipy\.special\.j0`, which Serval cannot write as ONNX"),
    (np.cumsum, {"axis": 1}, r"calls the Python function `numpy\.cumsum`"),
    (np.log, {"where": False}, r"calls `numpy\.log` with the argument `where=False`"),
    (special.softmax, {}, r"calls `scipy\.special\.softmax` without `axis=1`, so that each answer"),
    (np.asarray, {"dtype": int}, r"calls `numpy\.asarray` with `dtype=int64`"),
    (lambda x: x, {}, r"calls the Python function `.*<lambda>`"),
    (partial(np.add, np.ones((2, 2))), {}, r"calls `numpy\.add` with its first argument, which is neither a number"),
]


@pytest.mark.parametrize(("function", "arguments", "message"), REFUSED, ids=range(len(REFUSED)))
def test_a_function_without_an_exact_counterpart_is_refused_by_name_and_step(function, arguments, message, evaluate):
    inner = FunctionTransformer(function, kw_args=arguments)
    model = make_pipeline(FunctionTransformer(np.abs), inner)
    where = r"`FunctionTransformer` \(pipeline step 2, `functiontransformer-2`\) "
    with pytest.raises(NotConvertible, match=where + message + ".*: (leave this step out|give it `kw_args)"):
        evaluate(lambda x: emitter().transform(model, x), IRIS)


def test_the_way_out_of_a_refused_function_works():
    whole = make_pipeline(FunctionTransformer(special.j0), LinearRegression()).fit(IRIS, SPECIES)
    with pytest.raises(NotConvertible, match="leave this step out, fit the others on columns"):
        convert(whole)
    convert(whole[1:].fit(special.j0(IRIS), SPECIES))
