"""Columns of the training data that no part of a fitted estimator reads."""

from typing import Any

from serval.conversion.export.column_facts import inner_estimators


def unused_columns(estimator: Any, width: int) -> frozenset[int]:
    """The indices, of `width` input columns, that column transformers drop or do not select before anything else looks
    at them; scikit-learn neither checks nor reads these."""
    if estimator is None or estimator == "passthrough":
        return frozenset()
    if hasattr(estimator, "steps"):
        steps = [step for _, step in estimator.steps if step is not None and not isinstance(step, str)]
        return unused_columns(steps[0], width) if steps else frozenset()
    if hasattr(estimator, "transformer_list"):
        return _unused_by_all([step for _, step in estimator.transformer_list], width)
    if hasattr(estimator, "transformers_") and hasattr(estimator, "_transformer_to_input_indices"):
        return frozenset(range(width)) - _selected(estimator)
    if hasattr(estimator, "n_features_in_") and not inner_estimators(estimator):
        return frozenset()
    return _unused_by_all(inner_estimators(estimator), width)


def _unused_by_all(parts: list[Any], width: int) -> frozenset[int]:
    """Parts that are handed the same columns."""
    parts = [part for part in parts if not (isinstance(part, str) and part == "drop")]
    unused = [unused_columns(part, width) for part in parts]
    return frozenset.intersection(*unused) if unused else frozenset()


def _selected(transformer: Any) -> set[int]:
    selected: set[int] = set()
    for name, step, _ in transformer.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        columns = list(transformer._transformer_to_input_indices[name])
        inner = unused_columns(step, len(columns))
        selected |= {int(column) for position, column in enumerate(columns) if position not in inner}
    return selected
