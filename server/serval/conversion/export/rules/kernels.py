"""Support vectors, kernel ridge and Gaussian processes: a kernel against the stored points, then one product."""

from itertools import combinations
from typing import Any

import numpy as np
from sklearn import gaussian_process, kernel_ridge, svm
from sklearn.gaussian_process import _gpc, kernels

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.rules.distances import distances, kernel, squared_distances
from serval.conversion.export.rules.linear import two
from serval.conversion.export.rules.special import erf
from serval.conversion.export.tensor import Array, Tensor, floats, total
from serval.conversion.refusals import of_steps


def similarity(model: Any, x: Tensor) -> Tensor:
    """`[rows, support vectors]`"""
    if callable(model.kernel) or model.kernel == "precomputed":
        raise of_steps.OWN_SVM_KERNEL.of(model)
    return kernel(
        x, floats(model.support_vectors_), model.kernel, gamma=model._gamma, degree=model.degree, coef0=model.coef0
    )


def support_values(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return (similarity(model, x) @ floats(model._dual_coef_).T + floats(model._intercept_)).ravel()


def pair_scores(model: Any, x: Tensor) -> Tensor:
    """`[rows, pairs of classes]`: libsvm's decision value for the first class of each pair against the second."""
    values = similarity(model, x)
    coefficients = floats(model._dual_coef_)
    ends = np.cumsum(model._n_support)
    of = [slice(end - count, end) for end, count in zip(ends, model._n_support, strict=True)]
    pairs = list(combinations(range(len(of)), 2))
    columns = np.zeros((coefficients.shape[1], len(pairs)))
    for pair, (first, second) in enumerate(pairs):
        columns[of[first], pair] = coefficients[second - 1, of[first]]
        columns[of[second], pair] = coefficients[first, of[second]]
    return values @ columns + floats(model._intercept_)


def vote_matrix(classes: int) -> tuple[Array, Array]:
    """For each pair of classes, which is its first and which its second: two `[pairs, classes]`."""
    pairs = list(combinations(range(classes), 2))
    return np.eye(classes)[[first for first, _ in pairs]], np.eye(classes)[[second for _, second in pairs]]


def votes_of_pairs(second_wins: Tensor, confidences: Tensor, classes: int) -> Tensor:
    """`[rows, classes]`. Source: `sklearn.utils.multiclass._ovr_decision_function`."""
    first, second = vote_matrix(classes)
    votes = second_wins @ second + (1.0 - second_wins) @ first
    confidence = confidences @ (second - first)
    return votes + confidence / ((confidence.abs() + 1.0) * 3.0)


def support_scores(_: Emitter, model: Any, x: Tensor) -> Tensor:
    pairs = pair_scores(model, x)
    if len(model.classes_) == 2:
        return -pairs.ravel()
    if model.decision_function_shape == "ovo":
        return pairs
    return votes_of_pairs((pairs < 0.0).cast("float64"), -pairs, len(model.classes_))


def support_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    if model.break_ties and model.decision_function_shape == "ovr" and len(model.classes_) > 2:
        return emit.decision_function(model, x).argmax()
    wins = (pair_scores(model, x) > 0.0).cast("float64")
    first, second = vote_matrix(len(model.classes_))
    return (wins @ first + (1.0 - wins) @ second).argmax()


def support_proba(__: Emitter, model: Any, x: Tensor) -> Tensor:
    """Platt's probabilities of each pair, coupled by iteration: left to ONNX Runtime's copy of libsvm's, with the
    scores as features."""
    pairs = pair_scores(model, x)
    classes = len(model.classes_)
    names = list(combinations(range(classes), 2))
    vectors = np.eye(len(names))
    coefficients = np.zeros((classes - 1, len(names)))
    for pair, (_, second) in enumerate(names):
        coefficients[second - 1, pair] = 1.0
    _, proba = pairs.cast("float32").ops(
        "SVMClassifier",
        dtypes=("int64", "float32"),
        domain="ai.onnx.ml",
        classlabels_ints=list(range(classes)),
        kernel_type="LINEAR",
        kernel_params=[0.0, 0.0, 0.0],
        support_vectors=vectors.ravel().tolist(),
        vectors_per_class=[classes - 1 - first for first in range(classes)],
        coefficients=coefficients.ravel().tolist(),
        rho=[0.0] * len(names),
        prob_a=np.asarray(model._probA).tolist(),
        prob_b=np.asarray(model._probB).tolist(),
    )
    return proba.cast("float64")


def ridge(_: Emitter, model: Any, x: Tensor) -> Tensor:
    if callable(model.kernel) or model.kernel_params:
        raise of_steps.OWN_KERNEL.of(model)
    similar = kernel(x, floats(model.X_fit_), model.kernel, gamma=model.gamma, degree=model.degree, coef0=model.coef0)
    return similar @ floats(model.dual_coef_)


def covariance(model: Any, fitted: Any, x: Tensor, points: Array) -> Tensor:
    """`[rows, points]` of a Gaussian process' kernel."""
    rule = COVARIANCES.get(type(fitted))
    if rule is None:
        raise of_steps.PROCESS_KERNEL.of(model, kernel=type(fitted).__name__)
    result: Tensor = rule(model, fitted, x, floats(points))
    return result


def scaled(fitted: Any, x: Tensor, points: Array) -> tuple[Tensor, Array]:
    return x / floats(fitted.length_scale), points / floats(fitted.length_scale)


def matern(model: Any, fitted: Any, x: Tensor, points: Array) -> Tensor:
    distance = distances(*scaled(fitted, x, points), "euclidean")
    if fitted.nu == 0.5:
        return (-distance).exp()
    if fitted.nu == 1.5:
        k = distance * float(np.sqrt(3))
        return (k + 1.0) * (-k).exp()
    if fitted.nu == 2.5:
        k = distance * float(np.sqrt(5))
        return (k + 1.0 + k.square() / 3.0) * (-k).exp()
    if fitted.nu == np.inf:
        return (distance.square() / -2.0).exp()
    raise of_steps.MATERN.of(model, nu=fitted.nu)


def periodic(_: Any, fitted: Any, x: Tensor, points: Array) -> Tensor:
    angle = distances(x, points, "euclidean") * float(np.pi / fitted.periodicity)
    return ((angle.op("Sin") / float(fitted.length_scale)).square() * -2.0).exp()


def rational(_: Any, fitted: Any, x: Tensor, points: Array) -> Tensor:
    return (squared_distances(x, points) / float(2 * fitted.alpha * fitted.length_scale**2) + 1.0) ** -float(
        fitted.alpha
    )


COVARIANCES: dict[type, Any] = {
    kernels.Sum: lambda model, fitted, x, points: (
        covariance(model, fitted.k1, x, points) + covariance(model, fitted.k2, x, points)
    ),
    kernels.Product: lambda model, fitted, x, points: (
        covariance(model, fitted.k1, x, points) * covariance(model, fitted.k2, x, points)
    ),
    kernels.Exponentiation: lambda model, fitted, x, points: (
        covariance(model, fitted.kernel, x, points) ** float(fitted.exponent)
    ),
    kernels.ConstantKernel: lambda _, fitted, x, points: x.full(np.full(len(points), fitted.constant_value)),
    kernels.WhiteKernel: lambda _, __, x, points: x.full(np.zeros(len(points))),
    kernels.RBF: lambda _, fitted, x, points: (squared_distances(*scaled(fitted, x, points)) * -0.5).exp(),
    kernels.Matern: matern,
    kernels.ExpSineSquared: periodic,
    kernels.RationalQuadratic: rational,
    kernels.DotProduct: lambda _, fitted, x, points: x @ points.T + float(fitted.sigma_0**2),
}


def variance(model: Any, fitted: Any, x: Tensor) -> Tensor:
    """`[rows, 1]`: the kernel of each row with itself."""
    if isinstance(fitted, kernels.Sum):
        return variance(model, fitted.k1, x) + variance(model, fitted.k2, x)
    if isinstance(fitted, kernels.Product):
        return variance(model, fitted.k1, x) * variance(model, fitted.k2, x)
    if isinstance(fitted, kernels.Exponentiation):
        return variance(model, fitted.kernel, x) ** float(fitted.exponent)
    if isinstance(fitted, kernels.DotProduct):
        return x.square().row_sums(model.X_train_.shape[1]) + float(fitted.sigma_0**2)
    return x.full([float(fitted.diag(np.zeros((1, 1)))[0])])


def process(_: Emitter, model: Any, x: Tensor) -> Tensor:
    weights = floats(model.alpha_)
    values = (covariance(model, model.kernel_, x, model.X_train_) @ weights) * floats(model._y_train_std) + floats(
        model._y_train_mean
    )
    return values.ravel() if weights.ndim == 1 or weights.shape[1] == 1 else values


def latent_mean(model: Any, x: Tensor) -> Tensor:
    return covariance(model, model.kernel_, x, model.X_train_) @ floats(model.y_train_ - model.pi_)


def laplace_labels(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return (latent_mean(model, x) > 0.0).cast("int64")


def laplace_proba(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `_BinaryGaussianProcessClassifierLaplace.predict_proba`."""
    similar = covariance(model, model.kernel_, x, model.X_train_)
    mean = similar @ floats(model.y_train_ - model.pi_)[:, None]
    solved = similar @ np.linalg.solve(model.L_, np.diag(model.W_sr_)).T
    spread = variance(model, model.kernel_, x) - solved.square().row_sums(len(model.X_train_))
    alpha = 0.5 / spread
    parts = []
    for weight, steepness in zip(_gpc.COEFS.ravel(), _gpc.LAMBDAS.ravel(), strict=True):
        inner = (mean * float(steepness)) * (alpha / (alpha + float(steepness**2))).sqrt()
        parts.append((np.pi / alpha).sqrt() * erf(inner) / ((spread * (2 * np.pi)).sqrt() * 2.0) * float(weight))
    return two((total(parts) + 0.5 * float(_gpc.COEFS.sum())).ravel())


def process_labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    return emit.predict(model.base_estimator_, x)


def process_proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    return emit.predict_proba(model.base_estimator_, x)


FAMILY = Family(
    predict={
        svm.SVC: support_labels,
        svm.NuSVC: support_labels,
        svm.SVR: support_values,
        svm.NuSVR: support_values,
        kernel_ridge.KernelRidge: ridge,
        gaussian_process.GaussianProcessRegressor: process,
        gaussian_process.GaussianProcessClassifier: process_labels,
        _gpc._BinaryGaussianProcessClassifierLaplace: laplace_labels,
    },
    predict_proba={
        svm.SVC: support_proba,
        svm.NuSVC: support_proba,
        gaussian_process.GaussianProcessClassifier: process_proba,
        _gpc._BinaryGaussianProcessClassifierLaplace: laplace_proba,
    },
    decision_function={svm.SVC: support_scores, svm.NuSVC: support_scores},
)
