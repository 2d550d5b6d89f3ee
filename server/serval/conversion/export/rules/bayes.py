"""Naive Bayes, discriminants and centroids: a score per class, the softmax of it, the best of it."""

from typing import Any

import numpy as np
from sklearn import discriminant_analysis, naive_bayes, neighbors

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.rules.distances import distances
from serval.conversion.export.tensor import Tensor, concat, floats, total


def gaussian(_: Emitter, model: Any, x: Tensor) -> Tensor:
    by_class = []
    for prior, mean, variance in zip(floats(model.class_prior_), floats(model.theta_), floats(model.var_), strict=True):
        constant = np.log(prior) - 0.5 * np.sum(np.log(2.0 * np.pi * variance))
        by_class.append(constant - ((x - mean).square() / variance).row_sums(len(mean)) * 0.5)
    return concat(by_class)


def multinomial(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return x @ floats(model.feature_log_prob_).T + floats(model.class_log_prior_)


def complement(_: Emitter, model: Any, x: Tensor) -> Tensor:
    result = x @ floats(model.feature_log_prob_).T
    return result + floats(model.class_log_prior_) if len(model.classes_) == 1 else result


def bernoulli(_: Emitter, model: Any, x: Tensor) -> Tensor:
    present = x if model.binarize is None else (x > float(model.binarize)).cast("float64")
    logs = floats(model.feature_log_prob_)
    absent = np.log(1 - np.exp(logs))
    return present @ floats(logs - absent).T + floats(model.class_log_prior_ + absent.sum(axis=1))


def categorical(_: Emitter, model: Any, x: Tensor) -> Tensor:
    codes = x.cast("int64")
    tables = [floats(logs).T for logs in model.feature_log_prob_]
    log_likelihood = total(
        codes.column(i).op("Clip", 0, len(table) - 1).look_up(table) for i, table in enumerate(tables)
    )
    return log_likelihood + floats(model.class_log_prior_)


def quadratic(_: Emitter, model: Any, x: Tensor) -> Tensor:
    by_class = []
    for mean, rotation, scale, prior in zip(
        model.means_, model.rotations_, model.scalings_, model.priors_, strict=True
    ):
        spread = ((x - floats(mean)) @ (floats(rotation) * floats(scale) ** -0.5)).square().row_sums(len(scale))
        by_class.append((spread + float(np.sum(np.log(scale)))) * -0.5 + float(np.log(prior)))
    return concat(by_class)


def centroid(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `NearestCentroid._decision_function`."""
    deviation = floats(model.within_class_std_dev_)
    scale = np.where(deviation != 0, deviation, 1.0)
    return (
        2.0 * np.log(floats(model.class_prior_))
        - distances(x / scale, floats(model.centroids_) / scale, model.metric).square()
    )


SCORES = {
    naive_bayes.GaussianNB: gaussian,
    naive_bayes.MultinomialNB: multinomial,
    naive_bayes.ComplementNB: complement,
    naive_bayes.BernoulliNB: bernoulli,
    naive_bayes.CategoricalNB: categorical,
    discriminant_analysis.QuadraticDiscriminantAnalysis: quadratic,
    neighbors.NearestCentroid: centroid,
}


def proba(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    return SCORES[type(model)](emit, model, x).softmax()


def labels(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    return SCORES[type(model)](emit, model, x).argmax()


def nearest(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    if np.isclose(model.class_prior_, 1 / len(model.classes_)).all():
        return distances(x, model.centroids_, model.metric).argmin()
    return labels(emit, model, x)


def decision(emit: Emitter, model: Any, x: Tensor) -> Tensor:
    result = SCORES[type(model)](emit, model, x)
    return result.column(1) - result.column(0) if len(model.classes_) == 2 else result


FAMILY = Family(
    predict={**dict.fromkeys(SCORES, labels), neighbors.NearestCentroid: nearest},
    predict_proba=dict.fromkeys(SCORES, proba),
    decision_function={
        discriminant_analysis.QuadraticDiscriminantAnalysis: decision,
        neighbors.NearestCentroid: decision,
    },
)
