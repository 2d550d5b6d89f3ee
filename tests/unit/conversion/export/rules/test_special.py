"""Functions that ONNX Runtime lacks in float64, against scipy and numpy."""

import numpy as np
import pytest
from scipy import special, stats

from serval.conversion.export.rules.elementary import expm1, log1p
from serval.conversion.export.rules.special import erf, interpolate, normal_distribution, normal_quantile


@pytest.mark.parametrize(
    ("ours", "theirs", "x"),
    [
        (erf, special.erf, np.linspace(-8, 8, 2001)),
        (normal_quantile, stats.norm.ppf, np.concatenate([np.linspace(1e-6, 1 - 1e-6, 2001), [1e-7, 1e-12, 1e-100]])),
        (log1p, np.log1p, np.concatenate([np.logspace(-300, 300, 400), -np.logspace(-300, -1, 100), [0.0]])),
        (expm1, np.expm1, np.concatenate([np.linspace(-700, 700, 400), np.logspace(-300, -1, 100), [0.0]])),
        (lambda x: x.sigmoid(), special.expit, np.linspace(-700, 40, 500)),
    ],
)
def test_a_special_function_is_precise_to_the_last_digits(ours, theirs, x, evaluate):
    np.testing.assert_allclose(evaluate(ours, x[:, None])[:, 0], theirs(x), rtol=1e-13, atol=1e-300)


def test_the_normal_distribution_is_precise_in_absolute_terms(evaluate):
    x = np.linspace(-9, 9, 2001)
    np.testing.assert_allclose(evaluate(normal_distribution, x[:, None])[:, 0], stats.norm.cdf(x), rtol=0, atol=3e-16)


@pytest.mark.parametrize("knots", [[0.0, 1.0, 3.0], [0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0], [5.0], [1.0, 1.0]])
def test_interpolation_equals_numpy_at_repeated_knots(knots, evaluate):
    values = np.arange(len(knots)) ** 2.0
    x = np.concatenate([np.linspace(-1, 6, 57), knots])
    found = evaluate(lambda t: interpolate(t.ravel(), np.array(knots), values), x[:, None])
    np.testing.assert_allclose(found, np.interp(x, knots, values), rtol=1e-14)
