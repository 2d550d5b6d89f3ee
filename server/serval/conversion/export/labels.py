"""The labels of a fitted classifier and the categories of its columns, as a signature holds them."""

from __future__ import annotations

from typing import Any

import numpy as np

from serval.conversion.plain_text import plain, why_not_served
from serval.conversion.signature import Label
from serval.errors import NotConvertible


def labels_of(estimator: Any, targets: int, is_multi: bool) -> tuple[tuple[Label, ...], ...]:
    classes = estimator.classes_
    if not is_multi:
        return (_labels(classes),)
    if isinstance(classes, list):
        return tuple(_labels(part) for part in classes)
    return ((0, 1),) * targets


def _labels(classes: Any) -> tuple[Label, ...]:
    return tuple(label_of(value, "A class label") for value in np.asarray(classes).tolist())


def label_of(value: Any, what: str) -> Label:
    """A label or category as JSON has it; `what` begins the sentence about one that JSON cannot express.

    Raises NotConvertible.
    """
    if isinstance(value, bool | int | float):
        return value
    if not isinstance(value, str):
        raise NotConvertible(
            f"{what} is a `{type(value).__name__}` ({plain(str(value), 60)}), which JSON cannot express: make it a"
            " string or a number in the training data, for example with `.astype(str)`, and fit again."
        )
    if problem := why_not_served(value):
        raise NotConvertible(f"{what} ({plain(value, 40)}) {problem}: shorten or replace it, and fit again.")
    return value


def check_categories(name: str, categories: list[Any], dtype: str | None) -> None:
    """Raises NotConvertible, with the column's name, for categories that no request can express."""
    if dtype is not None and dtype.startswith(("datetime64", "timedelta64")):
        raise NotConvertible(
            f"The categories of column `{plain(name, 100)}` are of the dtype `{dtype}`, which Serval does not read from"
            " requests: make them strings in the training data (`.astype(str)`), and fit again."
        )
    for value in categories:
        label_of(value, f"A category of column `{plain(name, 100)}`")
