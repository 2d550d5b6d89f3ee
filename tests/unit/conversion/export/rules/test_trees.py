"""Trees decide as scikit-learn's do on, below and above every threshold."""

import numpy as np
import pytest
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from support.estimators import Case, fit


def data(seed: int = 0, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(200, 4)) + offset
    return x, x[:, 0] * 2 - x[:, 1] + random.normal(size=200) / 4


def classes(y: np.ndarray, count: int) -> np.ndarray:
    return np.searchsorted(np.quantile(y, np.linspace(0, 1, count + 1)[1:-1]), y)


def around(thresholds: list[tuple[int, float]], base: np.ndarray) -> np.ndarray:
    """Rows on each threshold and one float32 and one float64 step beside it."""
    rows = []
    for feature, threshold in thresholds:
        near = np.float32(threshold)
        beside = [np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
        for value in (threshold, np.nextafter(threshold, -np.inf), np.nextafter(threshold, np.inf), near, *beside):
            row = base[len(rows) % len(base)].copy()
            row[feature] = value
            rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("offset", [0.0, 10_000.0])
@pytest.mark.parametrize("kind", [RandomForestClassifier, GradientBoostingClassifier])
def test_a_forest_agrees_one_step_from_every_threshold(kind, offset, agrees):
    x, y = data(offset=offset)
    model = fit(kind(n_estimators=5, random_state=0), x, classes(y, 3))
    trees = [tree.tree_ for tree in np.ravel(model.estimators_)]
    splits = [(int(f), float(t)) for tree in trees for f, t in zip(tree.feature, tree.threshold, strict=True) if f >= 0]
    agrees(Case("forest", model, x, y, around(splits, x)))


@pytest.mark.parametrize("offset", [0.0, 10_000.0])
def test_histogram_boosting_agrees_one_step_from_every_threshold(offset, agrees):
    x, y = data(offset=offset)
    model = fit(HistGradientBoostingRegressor(max_iter=5), x, y)
    nodes = np.concatenate([predictor.nodes for stage in model._predictors for predictor in stage])
    splits = [(int(node["feature_idx"]), float(node["num_threshold"])) for node in nodes if not node["is_leaf"]]
    agrees(Case("histogram", model, x, y, around(splits, x)))


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(max_depth=4),
        DecisionTreeClassifier(max_leaf_nodes=2),
        RandomForestClassifier(6, random_state=0),
        HistGradientBoostingClassifier(max_iter=5),
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [2, 4])
def test_missing_values_take_the_fitted_branch(model, count, agrees):
    x, y = data()
    x = np.where(np.random.default_rng(1).random(x.shape) < 0.15, np.nan, x)
    agrees(Case("missing", fit(model, x, classes(y, count)), x, y, x[::-1]))


@pytest.mark.parametrize("count", [2, 3])
def test_known_unknown_and_missing_categories_take_the_fitted_branch(count, agrees):
    x, y = data()
    x[:, 0] = np.random.default_rng(2).integers(0, 40, len(x))
    x[::9, 0] = np.nan
    y = classes(np.sin(x[:, 0] * 7) + y / 9, count) if count == 2 else classes(y, count)
    model = fit(HistGradientBoostingClassifier(max_iter=6, categorical_features=[0], min_samples_leaf=3), x, y)
    rows = x.copy()
    rows[:60, 0] = np.arange(60)
    agrees(Case("categories", model, x, y, rows))


@pytest.mark.parametrize(
    "model",
    [
        GradientBoostingClassifier(init=LogisticRegression(), n_estimators=4),
        GradientBoostingClassifier(init="zero", n_estimators=4),
        AdaBoostClassifier(LogisticRegression(), n_estimators=4),
        AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=4),
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [2, 4])
def test_a_boosted_classifier_agrees_for_every_initial_estimator(model, count, agrees):
    x, y = data()
    agrees(Case("boosted", fit(model, x, classes(y, count)), x, y, x * 3))


def test_exponential_loss_doubles_the_score(agrees):
    x, y = data()
    agrees(
        Case(
            "boosted",
            fit(GradientBoostingClassifier(loss="exponential", n_estimators=4), x, classes(y, 2)),
            x,
            y,
            x * 3,
        )
    )


@pytest.mark.parametrize(
    "model",
    [
        GradientBoostingRegressor(loss="quantile", n_estimators=4),
        GradientBoostingRegressor(init=DecisionTreeRegressor(max_depth=2), n_estimators=4),
        AdaBoostRegressor(LinearRegression(), n_estimators=4),
        AdaBoostRegressor(loss="square", n_estimators=4),
        HistGradientBoostingRegressor(loss="poisson", max_iter=4),
        HistGradientBoostingRegressor(loss="gamma", max_iter=4),
        ExtraTreesRegressor(6, criterion="absolute_error"),
        DecisionTreeRegressor(max_leaf_nodes=2),
    ],
    ids=str,
)
def test_a_regressor_of_trees_agrees(model, agrees):
    x, y = data()
    agrees(Case("trees", fit(model, x, np.exp(y / 3)), x, y, x * 3))


def test_a_tree_of_one_leaf_answers_its_value(agrees):
    x, _ = data()
    agrees(Case("leaf", fit(DecisionTreeRegressor(), x, np.full(200, 7.25)), x, x[:, 0], x))


@pytest.mark.parametrize(
    "model", [RandomForestRegressor(5), RandomForestClassifier(5), DecisionTreeClassifier(max_depth=3)], ids=str
)
def test_several_targets_are_columns(model, agrees):
    x, y = data()
    targets = np.stack([classes(y, 2), classes(x[:, 2], 3)], axis=1)
    agrees(Case("targets", fit(model, x, targets), x, targets, x * 2))
