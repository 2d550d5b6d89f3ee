"""A model that was fitted on a sparse multi-label target answers as if it had been fitted on the same array."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from support.served import Served

X = np.random.default_rng(0).normal(size=(80, 4))
Y = (X[:, :3] + X[:, [3]] / 2 > 0.2).astype(int)

MODELS = [
    OneVsRestClassifier(LogisticRegression()),
    OneVsRestClassifier(LinearSVC()),
    OneVsRestClassifier(RandomForestClassifier(4, random_state=0)),
    make_pipeline(StandardScaler(), OneVsRestClassifier(GaussianNB())),
    KNeighborsClassifier(),
    KNeighborsClassifier(3, weights="distance"),
    make_pipeline(StandardScaler(), KNeighborsClassifier(4)),
    MLPClassifier(hidden_layer_sizes=(4,), max_iter=20, random_state=0),
    RidgeClassifier(),
]


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csr_array], ids=["matrix", "array"])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_sparse_target_is_answered_like_a_dense_one(model: Any, form: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = copy.deepcopy(model).fit(X, Y).predict(X)
        served = Served(copy.deepcopy(model).fit(X, form(Y)))
        np.testing.assert_array_equal(served.predict(X.tolist()), expected)
    assert served.signature.is_multi_target


def test_nearest_neighbours_inside_a_search_are_found() -> None:
    model = make_pipeline(StandardScaler(), KNeighborsClassifier())
    search = GridSearchCV(model, {"kneighborsclassifier__n_neighbors": [3]}, cv=2, scoring=lambda *_: 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        served = Served(search.fit(X, sparse.csr_matrix(Y)).best_estimator_)
        expected = model.set_params(kneighborsclassifier__n_neighbors=3).fit(X, Y).predict(X)
    np.testing.assert_array_equal(served.predict(X.tolist()), expected)


def test_a_label_that_no_row_has_stays() -> None:
    target = np.c_[Y, np.zeros(len(Y), dtype=int)]
    served = Served(KNeighborsClassifier().fit(X, sparse.csr_matrix(target)))
    assert served.signature.labels == ((0, 1), (0, 1), (0, 1), (0,))
    np.testing.assert_array_equal(served.predict(X.tolist()), KNeighborsClassifier().fit(X, target).predict(X))
