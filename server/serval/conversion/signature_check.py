"""The bounds of a signature that a confined process made."""

import math

from serval.conversion import timestamps
from serval.conversion.messages import MAX_CATEGORIES, MAX_COLUMNS, MAX_LABELS, MAX_TARGETS
from serval.conversion.plain_text import is_plain, why_not_served
from serval.conversion.refusals import of_models
from serval.conversion.signature import Column, Label, Signature


def check_signature(signature: Signature) -> None:
    """Bound all that a confined process may write into a signature. Raises NotConvertible."""
    for is_valid, part in (
        (1 <= len(signature.columns) <= MAX_COLUMNS, "the number of columns"),
        (len({column.name for column in signature.columns}) == len(signature.columns), "two columns with one name"),
        (all(_is_valid_column(column) for column in signature.columns), "a column"),
        (
            sum(len(column.categories or ()) for column in signature.columns) <= MAX_CATEGORIES,
            f"more than {MAX_CATEGORIES} categories",
        ),
        (
            1 <= signature.targets <= MAX_TARGETS and (signature.is_multi_target or signature.targets == 1),
            "the number of targets",
        ),
        (_are_valid_labels(signature), "the labels"),
        (not signature.has_probabilities or signature.kind == "classifier", "the probabilities"),
    ):
        if not is_valid:
            raise of_models.OUT_OF_BOUNDS(part=part)


def _is_valid_column(column: Column) -> bool:
    is_text_valid = (
        _is_valid_label(column.name) and column.name != "" and is_plain(column.dtype) and len(column.dtype) <= 40
    )
    bounds = [value for value in (column.minimum, column.maximum) if value is not None]
    categories = column.categories or ()
    if column.kind == "timestamp" and not _are_timestamps(column):
        return False
    return is_text_valid and all(map(math.isfinite, bounds)) and all(map(_is_valid_label, categories))


def _are_timestamps(column: Column) -> bool:
    try:
        return column.dtype in timestamps.DTYPES and len(column.category_numbers) == len(column.categories or ())
    except (timestamps.NotATimestampError, ValueError):
        return False


def _are_valid_labels(signature: Signature) -> bool:
    count = sum(map(len, signature.labels))
    if signature.kind == "regressor":
        return count == 0
    is_complete = len(signature.labels) == signature.targets and all(signature.labels)
    return (
        is_complete
        and count <= MAX_LABELS
        and all(_is_valid_label(label) for labels in signature.labels for label in labels)
    )


def _is_valid_label(label: Label) -> bool:
    if isinstance(label, str):
        return why_not_served(label) is None
    return not isinstance(label, float) or math.isfinite(label)
