"""Nearest neighbours by every common metric and weight."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from serval.conversion.export.graph import Graph
from serval.conversion.export.predictors import emitter
from serval.conversion.export.tensor import Tensor
from serval.errors import NotConvertible
from support.estimators import Case, fit, plain

METRICS = [{"p": 1}, {"p": 2}, {"p": 3}, {"metric": "chebyshev"}, {"metric": "cosine"}, {"algorithm": "brute"}]


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("arguments", METRICS, ids=str)
def test_a_classifier_agrees(weights, arguments, agrees_on_unseen_rows):
    agrees_on_unseen_rows(plain("KNeighborsClassifier", weights=weights, **arguments))


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_a_regressor_of_two_targets_agrees(weights, agrees):
    case = plain("LinearRegression")
    targets = np.stack([case.y, case.y**2], axis=1)
    agrees(Case("targets", fit(KNeighborsRegressor(weights=weights), case.X, targets), case.X, targets, case.held_out))


@pytest.mark.parametrize("neighbours", [1, 3, 5, 15])
@pytest.mark.parametrize("offset", [0.0, 10_000.0])
def test_equal_distances_on_iris_are_broken_like_the_original(neighbours, offset, agrees):
    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(150)
    x, y = x[order] + offset, y[order]
    agrees(Case("iris", fit(KNeighborsClassifier(neighbours), x[:100], y[:100]), x[:100], y[:100], x))


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_a_row_without_neighbours_gets_the_outlier_label(weights, agrees):
    agrees(plain("RadiusNeighborsClassifier", radius=8.0, outlier_label=1, weights=weights))


def test_a_row_without_neighbours_has_no_value(agrees):
    agrees(plain("RadiusNeighborsRegressor", radius=8.0))


@pytest.mark.parametrize("name", ["LabelPropagation", "LabelSpreading"])
@pytest.mark.parametrize("arguments", [{"kernel": "knn"}, {"gamma": 0.1}], ids=str)
def test_labels_propagate_like_the_original(name, arguments, agrees):
    agrees(plain(name, **arguments))


def test_a_metric_function_is_refused_by_name():
    case = plain("KNeighborsClassifier", metric=lambda a, b: abs(a - b).sum())
    with pytest.raises(NotConvertible, match=r"`KNeighborsClassifier` has a metric of its own"):
        emitter().predict(case.model, Tensor(Graph(), "numbers", "float64"))
