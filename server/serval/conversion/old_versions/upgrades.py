"""Gives a fitted object of an older scikit-learn the state that lets the present one evaluate it the old way."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_array

from serval.conversion.old_versions import estimators
from serval.conversion.old_versions.names import RemainderColumns

Version = tuple[int, int]
Upgrade = Callable[[Any, Version], None]


def new_parameters(model: Any, _: Version) -> None:
    """Arguments of the constructor that the object's version did not know."""
    for name, parameter in inspect.signature(type(model).__init__).parameters.items():
        if parameter.default is not parameter.empty and name not in vars(model):
            setattr(model, name, parameter.default)


def base_estimators(model: Any, _: Version) -> None:
    for present, old in (("estimator", "base_estimator"), ("estimator_", "base_estimator_")):
        if not isinstance(vars(model).get(old, ""), str) and vars(model).get(present) is None:
            setattr(model, present, vars(model)[old])


def calibrated_members(model: Any, version: Version) -> None:
    for member in getattr(model, "calibrated_classifiers_", []):
        base_estimators(member, version)


def multi_class(model: Any, version: Version) -> None:
    """Source: `LogisticRegression.predict_proba` of 1.0 to 1.7."""
    kind = vars(model).get("multi_class")
    if kind is None or not hasattr(model, "classes_"):
        return
    is_binary = len(model.classes_) <= 2
    separate = ("liblinear", "newton-cholesky") if version < (1, 6) else ("liblinear",)
    is_one_vs_rest = kind in {"ovr", "warn"} or (
        kind in {"auto", "deprecated"} and (is_binary or model.solver in separate)
    )
    if is_one_vs_rest != is_binary:
        model.__class__ = getattr(estimators, type(model).__name__)
        model.is_one_vs_rest = is_one_vs_rest


def penalties(model: Any, _: Version) -> None:
    """`SelectFromModel` reads `l1_ratio` now, and read `penalty`."""
    model.l1_ratio = 1.0 if model.penalty == "l1" else 0.0
    if hasattr(model, "l1_ratio_"):
        model.l1_ratio_ = np.full(np.shape(model.l1_ratio_), model.l1_ratio)


def counted_leaves(model: Any, _: Version) -> None:
    """Source: `DecisionTreeClassifier.predict_proba` of 1.0 to 1.3."""
    if hasattr(model, "tree_"):
        value = model.tree_.value
        sums = value.sum(axis=2, keepdims=True)
        value /= np.where(sums == 0.0, 1.0, sums)


def no_missing_values(model: Any, _: Version) -> None:
    """Every check of its inputs reads this tag."""
    model.__sklearn_tags__ = functools.partial(_tags_without_missing, model)
    for tree in getattr(model, "estimators_", []):
        tree.__sklearn_tags__ = functools.partial(_tags_without_missing, tree)


def _tags_without_missing(model: Any) -> Any:
    tags = type(model).__sklearn_tags__(model)
    tags.input_tags.allow_nan = False
    return tags


def no_missing_values_if_monotonic(model: Any, version: Version) -> None:
    if vars(model).get("monotonic_cst") is not None:
        no_missing_values(model, version)


def boosted_votes(model: Any, version: Version) -> None:
    """Source: `AdaBoostClassifier.decision_function` of 1.0 to 1.5."""
    is_real = vars(model).get("algorithm") == "SAMME.R"
    if hasattr(model, "estimators_") and (is_real or version < (1, 3)):
        model.__class__ = estimators.AdaBoostClassifier
        model.is_real = is_real


LOSSES = {
    **dict.fromkeys(("squared_loss", "least_squares", "ls"), "squared_error"),
    **dict.fromkeys(("lad", "least_absolute_deviation"), "absolute_error"),
    **dict.fromkeys(("log", "deviance", "auto", "binary_crossentropy", "categorical_crossentropy"), "log_loss"),
}


def renamed_loss(model: Any, _: Version) -> None:
    model.loss = LOSSES.get(model.loss, model.loss)


def boosted_losses(model: Any, version: Version) -> None:
    """Source: `_gb_losses` of 1.0 to 1.3."""
    renamed_loss(model, version)
    if hasattr(model, "estimators_"):
        model.n_trees_per_iteration_ = model.estimators_.shape[1]
        model._loss = model._get_loss(sample_weight=None)
        if model.n_trees_per_iteration_ > 1 and model.init_ != "zero":
            model.__class__ = estimators.GradientBoostingClassifier


def bounded_init(model: Any, _: Version) -> None:
    """Source: `_init_raw_predictions` of 1.0 to 1.7."""
    if hasattr(model, "estimators_") and model.init_ != "zero":
        model.init_ = estimators.BoundedClassifier(model.init_)


def histogram_losses(model: Any, version: Version) -> None:
    renamed_loss(model, version)
    if hasattr(model, "_predictors"):
        model._loss = model._get_loss(sample_weight=None)
        model._baseline_prediction = np.reshape(model._baseline_prediction, (1, -1))


def histogram_preprocessor(model: Any, _: Version) -> None:
    """Before 1.4, categories had to be numbers, and no preprocessor made them so."""
    if hasattr(model, "_predictors"):
        model._preprocessor = vars(model).get("_preprocessor")
        model._is_categorical_remapped = vars(model).get("_is_categorical_remapped", model.is_categorical_)


def renamed_check(model: Any, _: Version) -> None:
    """A function that histogram boosting of 1.4 and 1.5 kept with a keyword that 1.6 renamed."""
    function = model.func
    if isinstance(function, functools.partial) and function.func is check_array:
        keywords = {
            "ensure_all_finite" if name == "force_all_finite" else name: value
            for name, value in function.keywords.items()
        }
        model.func = functools.partial(check_array, *function.args, **keywords)


def generalised_loss(model: Any, _: Version) -> None:
    if hasattr(model, "coef_"):
        model._base_loss = model._get_loss()


def scaled_coefficients(model: Any, version: Version) -> None:
    """Source: `_PLS.predict` of 1.0 to 1.4: features divided by their scale meet coefficients of that scale."""
    if not hasattr(model, "_x_std"):
        return
    if version < (1, 3):
        coefficients = model._coef_ if hasattr(model, "_coef_") else vars(model)["coef_"].T
        model.coef_, model._predict_1d = coefficients, False
        model.intercept_ = getattr(model, "intercept_", model._y_mean)
    model.coef_ = model.coef_ / model._x_std


def imputed_type(model: Any, _: Version) -> None:
    """Before 1.8, what is filled in was the type of the statistics."""
    if hasattr(model, "statistics_"):
        model._fill_dtype = vars(model).get("_fill_dtype", model.statistics_.dtype)
        model._fit_dtype = vars(model).get("_fit_dtype", model.statistics_.dtype)


def known_neighbours(model: Any, _: Version) -> None:
    if hasattr(model, "_mask_fit_X"):
        model._valid_mask = ~np.all(model._mask_fit_X, axis=0)


def empty_features(model: Any, _: Version) -> None:
    if hasattr(model, "initial_imputer_"):
        model._is_empty_feature = np.isnan(model.initial_imputer_.statistics_)


def no_infrequent_categories(model: Any, _: Version) -> None:
    model._infrequent_enabled = vars(model).get("_infrequent_enabled", False)
    model._missing_indices = vars(model).get("_missing_indices", {})
    if hasattr(model, "drop_idx_"):
        model._drop_idx_after_grouping = vars(model).get("_drop_idx_after_grouping", model.drop_idx_)
        model._n_features_outs = model._compute_n_features_outs()


def tolerant_edges(model: Any, _: Version) -> None:
    """Source: `KBinsDiscretizer.transform` of 1.0: a value belongs to the next bin from a little below its edge."""
    if hasattr(model, "bin_edges_"):
        model.bin_edges_ = np.array([*map(_first_values, model.bin_edges_), None], dtype=object)[:-1]


def _first_values(edges: Any) -> Any:
    """For each edge, the least number of which 1.0 says that it reaches the edge."""

    def reaches(value: Any) -> Any:
        return value + (1e-8 + 1e-5 * np.abs(value)) >= edges

    low, high = edges - (1e-7 + 1e-4 * np.abs(edges)), edges.copy()
    for _ in range(80):
        middle = low + (high - low) / 2
        low, high = np.where(reaches(middle), low, middle), np.where(reaches(middle), middle, high)
    return high


def passed_through(model: Any, _: Version) -> None:
    """Source: `ColumnTransformer._iter` of 1.0 to 1.3: what the word `passthrough` stood for."""
    if hasattr(model, "transformers_"):
        model.transformers_ = [
            (name, _identity() if isinstance(part, str) and part == "passthrough" else part, _plain_columns(columns))
            for name, part, columns in model.transformers_
        ]


def _identity() -> FunctionTransformer:
    return FunctionTransformer(accept_sparse=True, check_inverse=False)


def _plain_columns(columns: Any) -> Any:
    return list(columns) if isinstance(columns, RemainderColumns) else columns


def nearest_centroid(model: Any, _: Version) -> None:
    if hasattr(model, "classes_"):
        model.class_prior_ = np.full(len(model.classes_), 1 / len(model.classes_))
        model.__class__ = estimators.NearestCentroid


def binarized_classes(model: Any, _: Version) -> None:
    if hasattr(model, "_label_binarizer"):
        model.classes_ = model._label_binarizer.classes_


def stacked_labels(model: Any, _: Version) -> None:
    if "_le" in vars(model):
        model._label_encoder = vars(model)["_le"]
