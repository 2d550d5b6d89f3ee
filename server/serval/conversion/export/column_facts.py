"""What the parts of a fitted estimator know of each input column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from serval.conversion.export import timestamp_units
from serval.conversion.export.descents import (
    Descent,
    Descents,
    at,
    in_column_transformer,
    in_pipeline,
    origins_of,
    parts_of_union,
)
from serval.conversion.export.emitter import TEXT
from serval.conversion.export.rules.category_codes import is_missing
from serval.conversion.export.stored_rows import centers_of
from serval.conversion.export.timestamp_columns import moments
from serval.conversion.refusals import of_steps
from serval.conversion.refusals.kind import Refused
from serval.conversion.refusals.places import guarded

MAX_EXAMPLES = 1000
IMPUTERS = {"SimpleImputer", "KNNImputer", "IterativeImputer"}


@dataclass
class ColumnFacts:
    """What the parts of an estimator know of one input column."""

    known: list[Any] = field(default_factory=list)
    """Categories that an encoder was fitted with, as the input column has them; timestamps in microseconds."""
    examples: list[float] = field(default_factory=list)
    """Some of the values that an encoder behind other steps takes."""
    replaced: list[Any] = field(default_factory=list)
    """Values that an imputer takes for missing and replaces, before an encoder sees them."""
    centers: list[float] = field(default_factory=list)
    """Means, medians or middles of the column's values that a scaler or an imputer kept."""
    dtype: str | None = None
    is_text: bool = False
    is_timestamp: bool = False
    is_datetime: bool = False
    """A step shows that the column held datetimes, which others read as numbers."""
    held: list[float] = field(default_factory=list)
    """Some of the values that numeric steps keep of the column."""
    marker: Literal["nan", "none", "nat"] | None = None
    """`none` where a part knows None and not NaN; None where nothing shows which of the two the frame held."""


def observe(step: Any, inputs: Descents, facts: list[ColumnFacts]) -> None:
    """Record what a step and those inside it know of the input columns that its own columns descend from.

    Raises Refused.
    """
    if step is None or isinstance(step, str):
        return
    with guarded(step):
        _observe_itself(step, inputs, facts)
        parts = _parts(step, inputs)
    for inner, columns in parts:
        observe(inner, columns, facts)


def _parts(step: Any, inputs: Descents) -> list[tuple[Any, Descents]]:
    """The fitted estimators inside a step, each with its columns."""
    kind = type(step).__name__
    if hasattr(step, "steps"):
        return in_pipeline([inner for _, inner in step.steps], inputs, None)
    if kind == "ColumnTransformer":
        return [(inner, columns) for inner, columns, _ in in_column_transformer(step, inputs)]
    if kind == "FeatureUnion":
        return [(inner, inputs) for inner in parts_of_union(step)]
    if kind in {"RFE", "RFECV"}:
        inputs = [at(inputs, position) for position in np.flatnonzero(step.support_).tolist()]
    return [(inner, inputs) for inner in inner_estimators(step)]


def _observe_itself(step: Any, inputs: Descents, facts: list[ColumnFacts]) -> None:
    kind = type(step).__name__
    _observe_numbers(step, inputs, facts)
    if hasattr(step, "categories_"):
        _observe_encoder(step, inputs, facts)
    elif hasattr(step, "n_categories_") and hasattr(step, "category_count_"):
        _observe_categories([np.arange(count) for count in step.n_categories_], inputs, facts)
    elif kind in TEXT:
        for column in inputs:
            if column.is_input and column.column is not None:
                facts[column.column].is_text = True
    elif kind in IMPUTERS or kind == "MissingIndicator":
        _observe_imputer(step, inputs, facts)
    for descent, center in zip(inputs, centers_of(step), strict=False):
        if descent.is_input and descent.column is not None and np.isfinite(center):
            facts[descent.column].centers.append(float(center))


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


def _observe_numbers(step: Any, inputs: Descents, facts: list[ColumnFacts]) -> None:
    for position, values in timestamp_units.held(step):
        descent = at(inputs, position)
        if descent.is_input and descent.column is not None:
            facts[descent.column].held += values[:MAX_EXAMPLES].tolist()
    datetimes = timestamp_units.selected_as_datetimes(step) if hasattr(step, "transformers_") else []
    if getattr(getattr(step, "_encoder", None), "dtype", None) is not None:
        datetimes = list(range(len(inputs))) if np.dtype(step._encoder.dtype).kind == "M" else []
    for position in datetimes:
        descent = at(inputs, position)
        if descent.is_input and descent.column is not None:
            facts[descent.column].is_datetime = True


def _observe_encoder(step: Any, inputs: Descents, facts: list[ColumnFacts]) -> None:
    """Raises Refused for an encoder that refuses unknown values where other steps decide what it is given."""
    _observe_categories(step.categories_, inputs, facts)
    is_strict = getattr(step, "handle_unknown", None) == "error"
    for position, (descent, values) in enumerate(zip(inputs, step.categories_, strict=False)):
        if not descent.is_input and values.dtype.kind in "fiub":
            is_told = _observe_changed(descent, values.astype(np.float64), facts)
            if is_strict and not is_told:
                raise _refuse_computed(step, position)


def _observe_changed(descent: Descent, values: Any, facts: list[ColumnFacts]) -> bool:
    """Categories behind other steps, as the values of the input column that become them.

    Return whether a value without a category is either impossible, or seen from the input column alone.
    """
    if descent.values is not None:
        return bool(np.isin(descent.values, values, assume_unique=False).all() or np.isnan(descent.values).any())
    if descent.column is None:
        return False
    finite = np.sort(values[np.isfinite(values)])
    origins = [origin for origin in origins_of(descent, finite[:MAX_EXAMPLES]) if origin is not None]
    fact = facts[descent.column]
    fact.examples += origins
    if not descent.is_injective or len(origins) < len(finite):
        return False
    fact.known += origins
    fact.dtype = "float64"
    return True


def _refuse_computed(step: Any, position: int) -> Refused:
    name = type(step).__name__
    argument = (
        "handle_unknown='ignore'" if name == "OneHotEncoder" else "handle_unknown='use_encoded_value', unknown_value=-1"
    )
    return of_steps.STRICT_ENCODER.of(step, column=position, argument=argument)


def _observe_categories(categories: list[Any], inputs: Descents, facts: list[ColumnFacts]) -> None:
    for descent, values in zip(inputs, categories, strict=False):
        if descent.is_input and descent.column is not None:
            fact = facts[descent.column]
            if found := moments(values):
                fact.known += found.present
                fact.dtype, fact.is_timestamp, fact.marker = found.dtype, True, found.marker
                continue
            fact.known += [
                value.item() if isinstance(value, np.generic) else value
                for value in values.tolist()
                if not is_missing(value)
            ]
            fact.dtype = str(values.dtype)
            _note_marker(fact, values.tolist())


def _observe_imputer(step: Any, inputs: Descents, facts: list[ColumnFacts]) -> None:
    """What an imputer or an indicator of missing values shows."""
    marker = step.missing_values.item() if isinstance(step.missing_values, np.generic) else step.missing_values
    statistics = getattr(step, "statistics_", [None] * len(inputs))
    for descent, value in zip(inputs, statistics, strict=False):
        if descent.is_input and descent.column is not None:
            fact = facts[descent.column]
            fact.is_text |= isinstance(value, str)
            if marker is None:
                fact.marker = "none"
            elif not is_missing(marker) and type(step).__name__ in IMPUTERS:
                fact.replaced.append(marker)


def _note_marker(fact: ColumnFacts, values: list[Any]) -> None:
    if any(value is None for value in values) and not any(
        isinstance(value, float) and is_missing(value) for value in values
    ):
        fact.marker = "none"
