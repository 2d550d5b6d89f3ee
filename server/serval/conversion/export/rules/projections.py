"""Transformers that project rows onto axes, landmarks or centres."""

from typing import Any

import numpy as np
from sklearn import cluster, decomposition, kernel_approximation, neighbors, random_projection

from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.rules.distances import kernel, squared_distances
from serval.conversion.export.tensor import Array, Tensor, floats
from serval.conversion.refusals import of_steps


def projected(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `_BasePCA._transform`."""
    axes = floats(model.components_).T
    out = x @ axes - floats(model.mean_).reshape(1, -1) @ axes
    if not model.whiten:
        return out
    scale = np.sqrt(floats(model.explained_variance_))
    floor: Array = np.maximum(scale, np.finfo(scale.dtype).eps)
    return out / floor


def reduced(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return x @ floats(model.components_).T


def independent(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return (x - floats(model.mean_) if model.whiten else x) @ floats(model.components_).T


def factors(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `FactorAnalysis.transform`."""
    weighted = floats(model.components_) / floats(model.noise_variance_)
    covariance = np.linalg.inv(np.eye(len(weighted)) + weighted @ floats(model.components_).T)
    return ((x - floats(model.mean_)) @ weighted.T) @ covariance


def fourier(_: Emitter, model: Any, x: Tensor) -> Tensor:
    angles = x @ floats(model.random_weights_) + floats(model.random_offset_)
    return angles.op("Cos") * float(np.sqrt(2.0 / model.random_weights_.shape[1]))


def landmarks(_: Emitter, model: Any, x: Tensor) -> Tensor:
    """Source: `Nystroem.transform`."""
    if callable(model.kernel) or model.kernel_params:
        raise of_steps.OWN_KERNEL.of(model)
    parameters = {name: value for name in ("degree", "coef0") if (value := getattr(model, name)) is not None}
    return (
        kernel(x, floats(model.components_), model.kernel, gamma=model.gamma, **parameters)
        @ floats(model.normalization_).T
    )


def from_centres(_: Emitter, model: Any, x: Tensor) -> Tensor:
    return squared_distances(x, floats(model.cluster_centers_)).sqrt()


PCA = (decomposition.PCA, decomposition.IncrementalPCA)
PRODUCTS = (
    decomposition.TruncatedSVD,
    neighbors.NeighborhoodComponentsAnalysis,
    random_projection.GaussianRandomProjection,
    random_projection.SparseRandomProjection,
)

FAMILY = Family(
    transform={
        **dict.fromkeys(PCA, projected),
        **dict.fromkeys(PRODUCTS, reduced),
        decomposition.FactorAnalysis: factors,
        decomposition.FastICA: independent,
        kernel_approximation.Nystroem: landmarks,
        kernel_approximation.RBFSampler: fourier,
        cluster.KMeans: from_centres,
        cluster.MiniBatchKMeans: from_centres,
    }
)
