"""Linear models, discriminants and naive Bayes in their less usual forms."""

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LinearRegression, Ridge

from support.estimators import Case, fit, plain


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("SGDClassifier", {"loss": "log_loss"}),
        ("SGDClassifier", {"loss": "modified_huber"}),
        ("LinearDiscriminantAnalysis", {"solver": "lsqr", "shrinkage": "auto"}),
        ("LinearDiscriminantAnalysis", {"solver": "eigen"}),
        ("QuadraticDiscriminantAnalysis", {"reg_param": 0.1}),
        ("NearestCentroid", {"metric": "manhattan"}),
        ("NearestCentroid", {"priors": "empirical", "shrink_threshold": 0.1}),
        ("BernoulliNB", {"binarize": 0.5}),
        ("LinearSVC", {}),
        ("LogisticRegression", {"fit_intercept": False}),
    ],
    ids=str,
)
def test_a_classifier_agrees(name, arguments, classes, agrees):
    agrees(plain(name, classes=classes, **arguments))


@pytest.mark.parametrize("power", [0, 1, 1.5, 2])
def test_a_generalised_linear_model_applies_its_link_function(power, agrees):
    agrees(plain("TweedieRegressor", power=power))


@pytest.mark.parametrize("name", ["SGDClassifier", "SGDRegressor", "LogisticRegression"])
def test_sparse_coefficients_equal_dense_ones(name, agrees):
    case = plain(name)
    agrees(Case("sparse", case.model.sparsify(), case.X, case.y, case.held_out))


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(), PLSRegression()], ids=str)
def test_one_target_fitted_as_a_column_has_the_shape_of_scikit_learn(model, agrees):
    case = plain("Ridge")
    agrees(Case("column", fit(model, case.X, case.y[:, None]), case.X, case.y, case.held_out))


def test_a_model_fitted_in_float32_computes_in_float64(agrees):
    case = plain("Ridge")
    model = fit(Ridge(), case.X.astype(np.float32), case.y.astype(np.float32))
    agrees(Case("float32", model, case.X, case.y, case.held_out + 10_000.0))
