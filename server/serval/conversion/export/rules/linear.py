"""Linear and generalised linear models: one product, then the link or the sign."""

from typing import Any

from sklearn import cross_decomposition, discriminant_analysis, linear_model, svm

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.tensor import Tensor, floats, stack
from serval.conversion.refusals import of_steps

REGRESSORS = (
    linear_model.ARDRegression,
    linear_model.BayesianRidge,
    linear_model.ElasticNet,
    linear_model.ElasticNetCV,
    linear_model.HuberRegressor,
    linear_model.Lars,
    linear_model.LarsCV,
    linear_model.Lasso,
    linear_model.LassoCV,
    linear_model.LassoLars,
    linear_model.LassoLarsCV,
    linear_model.LassoLarsIC,
    linear_model.LinearRegression,
    linear_model.MultiTaskElasticNet,
    linear_model.MultiTaskElasticNetCV,
    linear_model.MultiTaskLasso,
    linear_model.MultiTaskLassoCV,
    linear_model.OrthogonalMatchingPursuit,
    linear_model.OrthogonalMatchingPursuitCV,
    linear_model.PassiveAggressiveRegressor,
    linear_model.QuantileRegressor,
    linear_model.Ridge,
    linear_model.RidgeCV,
    linear_model.SGDRegressor,
    linear_model.TheilSenRegressor,
    svm.LinearSVR,
)
GENERALISED = (linear_model.GammaRegressor, linear_model.PoissonRegressor, linear_model.TweedieRegressor)
LATENT = (cross_decomposition.CCA, cross_decomposition.PLSCanonical, cross_decomposition.PLSRegression)
CLASSIFIERS = (
    discriminant_analysis.LinearDiscriminantAnalysis,
    linear_model.LogisticRegression,
    linear_model.LogisticRegressionCV,
    linear_model.PassiveAggressiveClassifier,
    linear_model.Perceptron,
    linear_model.RidgeClassifier,
    linear_model.RidgeClassifierCV,
    linear_model.SGDClassifier,
    svm.LinearSVC,
)


def product(model: Any, x: Tensor) -> Tensor:
    """`[rows]` of a vector of coefficients, `[rows, targets]` of a matrix."""
    result = x @ floats(model.coef_).T
    intercept = floats(model.intercept_)
    return result + (intercept.reshape(()) if floats(model.coef_).ndim == 1 else intercept)


def linear(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return product(model, x)


def generalised(_: Emitter, model: Any, x: Tensor) -> Tensor:
    raw = product(model, x)
    return raw if type(model._base_loss.link).__name__ == "IdentityLink" else raw.exp()


def latent(_: Emitter, model: Any, x: Tensor) -> Tensor:
    values = (x - floats(model._x_mean)) @ floats(model.coef_).T + floats(model.intercept_)
    return values.ravel() if model._predict_1d else values


def scores(_: Emitter, model: Any, x: Tensor) -> Tensor:
    result = product(model, x)
    return result.ravel() if floats(model.coef_).shape[0] == 1 else result


def labels_of_scores(result: Tensor, classes: int) -> Tensor:
    """`[rows]` of scores for two classes, `[rows, classes]` for more."""
    return (result > 0.0).cast("int64") if classes == 2 else result.argmax()


def labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    result = emit.decision_function(model, x)
    if str(getattr(getattr(model, "_label_binarizer", None), "y_type_", "")).startswith("multilabel"):
        return (result > 0.0).cast("int64")
    return labels_of_scores(result, len(model.classes_))


def two(positive: Tensor) -> Tensor:
    return stack([1.0 - positive, positive])


def logistic(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    result = emit.decision_function(model, x)
    return two(result.sigmoid()) if len(model.classes_) == 2 else result.softmax()


def one_versus_rest(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `SGDClassifier.predict_proba` for `log_loss` and `modified_huber`."""
    result = emit.decision_function(model, x)
    positive = result.sigmoid() if model.loss == "log_loss" else (result.clip(-1.0, 1.0) + 1.0) / 2.0
    return two(positive) if len(model.classes_) == 2 else positive.normalised(len(model.classes_))


def consensus(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    return emit.predict(model.estimator_, x)


def pls_transform(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return ((x - floats(model._x_mean)) / floats(model._x_std)) @ floats(model.x_rotations_)


def discriminant_transform(_: Emitter, model: Any, x: Tensor) -> Tensor:
    if model.solver == "lsqr":
        raise of_steps.NO_RULE.of(model, method="transform")
    shifted = x - floats(model.xbar_) if model.solver == "svd" else x
    return shifted @ floats(model.scalings_)[:, : model._max_components]


FAMILY = Family(
    predict={
        **dict.fromkeys(REGRESSORS, linear),
        **dict.fromkeys(GENERALISED, generalised),
        **dict.fromkeys(LATENT, latent),
        **dict.fromkeys(CLASSIFIERS, labels),
        linear_model.RANSACRegressor: consensus,
    },
    decision_function=dict.fromkeys(CLASSIFIERS, scores),
    predict_proba={
        discriminant_analysis.LinearDiscriminantAnalysis: logistic,
        linear_model.LogisticRegression: logistic,
        linear_model.LogisticRegressionCV: logistic,
        linear_model.SGDClassifier: one_versus_rest,
    },
    transform={
        **dict.fromkeys(LATENT, pls_transform),
        discriminant_analysis.LinearDiscriminantAnalysis: discriminant_transform,
    },
)
