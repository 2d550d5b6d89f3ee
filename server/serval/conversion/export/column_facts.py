"""What the parts of a fitted estimator know of each input column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from serval.conversion.export.emitter import TEXT
from serval.conversion.export.rules.encoding import is_missing

IMPUTERS = {"SimpleImputer", "KNNImputer", "IterativeImputer"}
COLUMN_KEEPERS = {
    "StandardScaler",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
    "SimpleImputer",
    "PowerTransformer",
    "QuantileTransformer",
}


@dataclass
class ColumnFacts:
    """What the parts of an estimator know of one input column."""

    known: list[Any] = field(default_factory=list)
    """Categories that an encoder was fitted with."""
    dtype: str | None = None
    is_text: bool = False
    marker: Literal["nan", "none"] | None = None


def observe(step: Any, indices: list[int | None], facts: list[ColumnFacts]) -> list[int | None]:
    """Record what a step knows of the input columns at `indices`; return which input columns its outputs still are."""
    kind = type(step).__name__
    if step is None or isinstance(step, str):
        return indices if step is None or step == "passthrough" else []
    if hasattr(step, "steps"):
        for _, inner in step.steps:
            indices = observe(inner, indices, facts)
        return indices
    if kind == "ColumnTransformer":
        return _observe_columns(step, indices, facts)
    if kind == "FeatureUnion":
        return [index for _, inner in step.transformer_list for index in observe(inner, indices, facts)]
    if hasattr(step, "categories_"):
        _observe_categories(step.categories_, indices, facts)
        return [None]
    if hasattr(step, "n_categories_") and hasattr(step, "category_count_"):
        _observe_categories([np.arange(count) for count in step.n_categories_], indices, facts)
    if kind in TEXT:
        for index in indices:
            _mark_text(index, facts)
        return [None]
    if kind in IMPUTERS:
        _observe_imputer(step, indices, facts)
    if kind in COLUMN_KEEPERS or (kind == "FunctionTransformer" and step.func is None):
        return indices
    for inner in inner_estimators(step):
        observe(inner, indices, facts)
    return [None]


def _mark_text(index: int | None, facts: list[ColumnFacts]) -> None:
    if index is not None:
        facts[index].is_text = True


def _observe_columns(step: Any, indices: list[int | None], facts: list[ColumnFacts]) -> list[int | None]:
    out: list[int | None] = []
    for name, inner, _ in step.transformers_:
        columns = step._transformer_to_input_indices[name]
        out += observe(inner, [indices[column] if column < len(indices) else None for column in columns], facts)
    return out


def inner_estimators(step: Any) -> list[Any]:
    """The fitted estimators that take the same columns as the estimator that holds them."""
    members = [
        getattr(step, name)
        for name in ("best_estimator_", "regressor_", "estimator_", "_preprocessor")
        if hasattr(step, name)
    ]
    calibrated = [part.estimator for part in getattr(step, "calibrated_classifiers_", [])]
    several = [] if hasattr(step, "tree_") else _flattened(getattr(step, "estimators_", []))
    return [
        inner for inner in [*members, *calibrated, *several[:50]] if inner is not None and not hasattr(inner, "tree_")
    ]


def _flattened(members: Any) -> list[Any]:
    """Estimators in lists or arrays of any depth; a pipeline is one of them, though it is a sequence too."""
    if not isinstance(members, list | tuple | np.ndarray):
        return [members]
    return [estimator for member in members for estimator in _flattened(member)]


def _observe_categories(categories: list[Any], indices: list[int | None], facts: list[ColumnFacts]) -> None:
    for index, values in zip(indices, categories, strict=False):
        if index is not None:
            facts[index].known += [value for value in values.tolist() if not is_missing(value)]
            facts[index].dtype = str(values.dtype)
            _note_marker(facts[index], values.tolist())


def _observe_imputer(step: Any, indices: list[int | None], facts: list[ColumnFacts]) -> None:
    for index, value in zip(indices, getattr(step, "statistics_", []), strict=False):
        if index is not None:
            facts[index].is_text |= isinstance(value, str)
            facts[index].marker = "none" if step.missing_values is None else facts[index].marker


def _note_marker(fact: ColumnFacts, values: list[Any]) -> None:
    if any(value is None for value in values) and not any(
        isinstance(value, float) and is_missing(value) for value in values
    ):
        fact.marker = "none"
