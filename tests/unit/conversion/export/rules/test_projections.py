"""Projections before a predictor make the columns that scikit-learn makes."""

import numpy as np
import pytest
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA, FactorAnalysis, FastICA, IncrementalPCA, TruncatedSVD
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from support.estimators import fit

X = np.random.default_rng(0).normal(size=(80, 4)) * [1.0, 10.0, 0.1, 1.0] + [0.0, 100.0, 0.0, -5.0]
Y = (X[:, 0] > 0).astype(int)

PROJECTIONS = [
    PCA(2, whiten=True),
    IncrementalPCA(2),
    TruncatedSVD(2, random_state=0),
    FactorAnalysis(2, random_state=0),
    FastICA(2, random_state=0),
    FastICA(2, whiten="arbitrary-variance", random_state=0),
    NeighborhoodComponentsAnalysis(2, random_state=0),
    GaussianRandomProjection(3, random_state=0),
    SparseRandomProjection(3, random_state=0),
    SparseRandomProjection(3, dense_output=True, random_state=0),
    Nystroem(n_components=6, random_state=0),
    Nystroem("poly", degree=2, coef0=1.0, n_components=6, random_state=0),
    RBFSampler(n_components=6, random_state=0),
    KMeans(3, random_state=0, n_init=1),
    MiniBatchKMeans(3, random_state=0, n_init=1),
]


@pytest.mark.parametrize("projection", PROJECTIONS, ids=str)
def test_a_projection_has_the_columns_of_the_original(projection, transforms_alike):
    transforms_alike(fit(projection, X[:60], Y[:60]), X[60:])
