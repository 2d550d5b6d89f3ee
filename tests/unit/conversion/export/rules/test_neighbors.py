"""Nearest neighbours by every common metric and weight."""

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_iris
from sklearn.impute import KNNImputer
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from serval.conversion.export.columns import infer
from serval.conversion.export.graph import Graph
from serval.conversion.export.predictors import emitter
from serval.conversion.export.rules.neighbors import nearest
from serval.conversion.export.tensor import Tensor, model_of
from serval.conversion.from_sklearn import convert
from serval.errors import NotConvertible
from support.estimators import Case, fit, plain


def session(content):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


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


TREES = ["kd_tree", "ball_tree", "brute"]
TIED_METRICS = [{"p": 2}, {"p": 1}, {"metric": "chebyshev"}, {"p": 3}]


def grids(seed):
    """Training rows of which many are equally far from each other: whole numbers, tenths or scaled iris."""
    random = np.random.default_rng(seed)
    shape = (int(random.integers(20, 200)), int(random.integers(1, 8)))
    whole = random.integers(0, int(random.integers(2, 12)), shape).astype(np.float64)
    iris = load_iris().data[:, : 1 + seed % 4]
    return [whole, whole / 10, iris, StandardScaler().fit_transform(iris)][seed % 4], random


def neighbours_found(model, rows):
    graph = Graph()
    x = Tensor.input(graph, "numbers", "float64", range(rows.shape[1]))
    distance, order = nearest(model, x, model.n_neighbors)
    shapes = {"distance": [None, None], "order": [None, None]}
    content = model_of(graph, {"distance": distance, "order": order}, shapes).SerializeToString()
    return session(content).run(["distance", "order"], {"numbers": rows})


@pytest.mark.parametrize("algorithm", TREES)
def test_among_equally_distant_points_the_choice_is_the_original_one(algorithm):
    for seed in range(12):
        x, random = grids(seed)
        model = KNeighborsRegressor(
            int(random.integers(1, 16)),
            algorithm=algorithm,
            leaf_size=int(random.choice([1, 3, 30, 100])),
            **TIED_METRICS[seed % 4 if seed % 3 else 0],
        ).fit(x, np.arange(len(x)))
        rows = np.concatenate([x, random.integers(-1, 8, (20, x.shape[1])).astype(np.float64)])
        with threadpool_limits(1):
            expected, points = model.kneighbors(rows)
        distance, order = neighbours_found(model, rows)
        np.testing.assert_array_equal(np.sort(order), np.sort(points), err_msg=f"seed {seed}")
        np.testing.assert_allclose(distance, expected, atol=1e-12)


@pytest.mark.parametrize("arguments", [{"metric": "sqeuclidean"}, {"metric": "l2", "algorithm": "brute"}], ids=str)
def test_other_names_of_the_euclidean_metric_break_ties_like_the_original(arguments):
    for seed in range(4):
        x, _ = grids(seed)
        model = KNeighborsRegressor(5, **arguments).fit(x, np.arange(len(x)))
        with threadpool_limits(1):
            expected, points = model.kneighbors(x)
        distance, order = neighbours_found(model, x)
        np.testing.assert_array_equal(np.sort(order), np.sort(points), err_msg=f"seed {seed}")
        np.testing.assert_allclose(distance, expected, atol=1e-12)


@pytest.mark.parametrize("metric", ["manhattan", "chebyshev"])
def test_a_point_so_near_that_its_weight_is_infinite_counts_alone(metric, agrees):
    x, _ = grids(0)
    x = x[:, :3]
    model = fit(KNeighborsRegressor(3, metric=metric, weights="distance", algorithm="brute"), x, x.sum(axis=1))
    near = x.copy()
    near[near == 0] = 5e-324
    agrees(Case("near", model, x, x.sum(axis=1), near))


CONTINUOUS = np.random.default_rng(6).normal(size=(150, 4))
WITH_GAPS = np.where(np.random.default_rng(7).random((150, 4)) < 0.1, np.nan, CONTINUOUS)


@pytest.mark.parametrize("decimals", [0, 1])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_an_imputer_that_chooses_among_tied_rows_is_refused_whatever_follows(decimals, weights):
    rounded = WITH_GAPS.round(decimals)
    imputer = KNNImputer(n_neighbors=3, weights=weights)
    model = make_pipeline(imputer, DecisionTreeClassifier(max_depth=2)).fit(rounded, CONTINUOUS[:, 0] > 0)
    with pytest.raises(NotConvertible, match="equally distant rows"):
        convert(model)


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (make_pipeline(KNNImputer(n_neighbors=3), DecisionTreeClassifier(max_depth=4)), WITH_GAPS),
        (
            make_pipeline(StandardScaler(), KNNImputer(n_neighbors=2, weights="distance"), LinearRegression()),
            WITH_GAPS * 100 + 1e3,
        ),
        (KNeighborsClassifier(metric="cosine"), CONTINUOUS),
    ],
    ids=["imputer", "scaled imputer", "cosine"],
)
def test_rows_that_are_not_tied_are_chosen_among_whatever_the_processor(model, x):
    convert(model.fit(x, (CONTINUOUS[:, 0] > 0).astype(int)))


def test_a_row_alone_finds_the_same_neighbours_as_among_many():
    x, _ = grids(4)
    model = KNeighborsRegressor(7).fit(x, np.arange(len(x)))
    together = neighbours_found(model, x)
    alone = [neighbours_found(model, x[index : index + 1]) for index in range(0, len(x), 29)]
    for part in (0, 1):
        assert np.array_equal(together[part][::29], np.concatenate([found[part] for found in alone]))


WHOLE = np.random.default_rng(2).integers(0, 10, (200, 6)).astype(np.float64)
TIED = {
    "classifier": (KNeighborsClassifier(), WHOLE, (WHOLE.sum(axis=1) > 27).astype(int)),
    "classifier by distance": (KNeighborsClassifier(4, weights="distance"), WHOLE, WHOLE[:, 0].astype(int) % 3),
    "classifier of two targets": (KNeighborsClassifier(3), WHOLE, WHOLE[:, :2].astype(int) % 3),
    "regressor": (KNeighborsRegressor(algorithm="ball_tree"), WHOLE, WHOLE.sum(axis=1)),
    "regressor of two targets": (KNeighborsRegressor(2, weights="distance"), WHOLE, WHOLE[:, :2]),
    "brute force": (KNeighborsRegressor(algorithm="brute"), WHOLE / 10, WHOLE.sum(axis=1)),
    "iris": (KNeighborsClassifier(), *load_iris(return_X_y=True)),
    "scaled iris": (make_pipeline(StandardScaler(), KNeighborsRegressor()), *load_iris(return_X_y=True)),
    "propagated labels": (LabelSpreading(kernel="knn", n_neighbors=5), WHOLE, WHOLE[:, 0].astype(int) % 3 - 1),
}


@pytest.mark.parametrize("name", TIED)
def test_a_model_of_tied_rows_answers_its_own_rows_like_the_original(name, agrees):
    model, x, y = TIED[name]
    agrees(Case(name, fit(model, x, y), x, y, x))


def test_a_radius_model_takes_the_rows_that_it_was_fitted_on():
    x = np.random.default_rng(3).normal(size=(80, 2)) * [1.0, 300.0]
    for model in (RadiusNeighborsClassifier(2.0), make_pipeline(StandardScaler(), RadiusNeighborsClassifier(0.5))):
        signature, *_ = infer(model.fit(x, (x[:, 0] > 0).astype(int)), None, (), is_text=False)
        for index, column in enumerate(signature.columns):
            assert column.maximum is None or column.minimum <= x[:, index].min() <= x[:, index].max() <= column.maximum


def test_a_metric_function_is_refused_by_name():
    case = plain("KNeighborsClassifier", metric=lambda a, b: abs(a - b).sum())
    with pytest.raises(NotConvertible, match=r"`KNeighborsClassifier` has a metric of its own"):
        emitter().predict(case.model, Tensor(Graph(), "numbers", "float64"))
