"""Support vectors, kernel ridge and Gaussian processes."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern, RationalQuadratic, WhiteKernel

from serval.conversion.export.graph import Graph
from serval.conversion.export.predictors import emitter
from serval.conversion.export.tensor import Tensor
from serval.errors import NotConvertible
from support.estimators import Case, fit, plain


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "arguments",
    [
        {"probability": True},
        {"kernel": "poly", "break_ties": True},
        {"kernel": "sigmoid"},
        {"kernel": "linear", "decision_function_shape": "ovo"},
    ],
    ids=str,
)
def test_a_support_vector_classifier_agrees(classes, arguments, agrees):
    agrees(plain("SVC", classes=classes, **arguments))


def test_coupled_probabilities_of_many_classes_agree(agrees):
    agrees(plain("NuSVC", classes=5, nu=0.2, probability=True))


@pytest.mark.parametrize("name", ["SVR", "NuSVR", "KernelRidge"])
@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid"])
def test_a_kernel_regressor_agrees(name, kernel, agrees):
    agrees(plain(name, kernel=kernel))


@pytest.mark.parametrize(
    "kernel",
    [
        ConstantKernel(2.0) * RBF([1.0, 2.0, 1.0, 9.0, 1.0]) + WhiteKernel(),
        Matern(nu=0.5) + WhiteKernel(),
        Matern(nu=1.5) + WhiteKernel(),
        Matern(nu=2.5) + WhiteKernel(),
        RationalQuadratic() + WhiteKernel(),
        DotProduct() ** 2 + WhiteKernel(),
    ],
    ids=str,
)
def test_a_gaussian_process_agrees_for_each_kernel(kernel, agrees):
    agrees(plain("GaussianProcessRegressor", kernel=kernel, normalize_y=True, optimizer=None))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("mode", ["one_vs_rest", "one_vs_one"])
def test_a_gaussian_process_classifies_like_the_original(classes, mode, agrees):
    case = plain("LogisticRegression", classes=classes)
    model = fit(GaussianProcessClassifier(1.0 * RBF(2.0), multi_class=mode, optimizer=None), case.X[:60], case.y[:60])
    agrees(Case("process", model, case.X, case.y, case.held_out))


def test_a_kernel_function_is_refused_by_name():
    case = plain("SVC", kernel=lambda a, b: a @ b.T)
    with pytest.raises(NotConvertible, match=r"`SVC` has a kernel of its own: use linear"):
        emitter().predict(case.model, Tensor(Graph(), "numbers", "float64"))


def test_a_gaussian_process_far_from_its_points_answers_its_mean(agrees):
    case = plain("GaussianProcessRegressor")
    model = fit(GaussianProcessRegressor(RBF(1.0), alpha=0.1, optimizer=None, normalize_y=True), case.X, case.y)
    agrees(Case("process", model, case.X, case.y, np.full((3, 5), 1e6)))
