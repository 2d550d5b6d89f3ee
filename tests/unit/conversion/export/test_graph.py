"""Tensor expressions mean what numpy means by them."""

import numpy as np
import pytest

X = np.array([[1.0, -2.0, 3.0], [0.0, 5.0, -1.0]])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (lambda x: 2.0 * x - x / 4.0 + 1.0, 2.0 * X - X / 4.0 + 1.0),
        (lambda x: 1.0 - x, 1.0 - X),
        (lambda x: 2.0 / (x + 10.0), 2.0 / (X + 10.0)),
        (lambda x: np.ones(3) - x, np.ones(3) - X),
        (lambda x: x @ np.arange(6.0).reshape(3, 2), X @ np.arange(6.0).reshape(3, 2)),
        (lambda x: (x.abs() + 1.0) ** 1.5, (np.abs(X) + 1.0) ** 1.5),
        (lambda x: x.columns([2, 0]), X[:, [2, 0]]),
        (lambda x: (x > 0.0).choose(x, 0.0), np.where(X > 0, X, 0)),
        (lambda x: x.full([4.0, 5.0]), np.array([[4.0, 5.0], [4.0, 5.0]])),
        (lambda x: x.argmax().one_hot(3), np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])),
    ],
)
def test_an_expression_has_the_values_of_numpy(expression, expected, evaluate):
    np.testing.assert_array_equal(evaluate(expression, X), expected)


def test_rows_of_zeros_are_normalised_to_uniform(evaluate):
    found = evaluate(lambda x: x.normalised(2), np.array([[1.0, 3.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(found, [[0.25, 0.75], [0.5, 0.5]])


def test_argmax_returns_the_first_of_equal_values(evaluate):
    assert evaluate(lambda x: x.argmax(), np.array([[1.0, 2.0, 2.0]])).tolist() == [1]


def test_rounding_to_float32_stays_in_float64(evaluate):
    found = evaluate(lambda x: x.rounded_to_float32(), np.array([[0.1]]))
    assert found.dtype == np.float64
    assert found[0, 0] == np.float32(0.1)
