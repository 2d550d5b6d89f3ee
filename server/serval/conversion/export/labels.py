"""The labels of a fitted classifier and the categories of its columns, as a signature holds them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from serval.conversion.messages import MAX_CATEGORIES, MAX_LABELS
from serval.conversion.plain_text import plain, why_not_served
from serval.conversion.refusals import of_models
from serval.conversion.signature import Column, Label


def labels_of(estimator: Any, targets: int, is_multi: bool) -> tuple[tuple[Label, ...], ...]:
    classes = estimator.classes_
    if not is_multi:
        return (_labels(classes),)
    if isinstance(classes, list):
        return tuple(_labels(part) for part in classes)
    return ((0, 1),) * targets


def _labels(classes: Any) -> tuple[Label, ...]:
    if len(classes) > MAX_LABELS:
        raise of_models.TOO_MANY_LABELS(count=len(classes), limit=MAX_LABELS)
    return tuple(label_of(value, "A class label") for value in np.asarray(classes).tolist())


def label_of(value: Any, what: str) -> Label:
    """A label or category as JSON has it; `what` begins the sentence about one that JSON cannot express.

    Raises NotConvertible.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool | int | float):
        if (isinstance(value, int) and not -(2**63) <= value < 2**63) or not math.isfinite(value):
            raise of_models.NUMBER_NOT_IN_JSON(what=what, value=plain(str(value), 60))
        return value
    if not isinstance(value, str):
        name = plain(type(value).__name__, 60)
        raise of_models.LABEL_NOT_IN_JSON(what=what, type=name, value=plain(shown(value), 60))
    if problem := why_not_served(value):
        raise of_models.TEXT_NOT_SERVED(what=what, value=plain(value, 40), problem=problem)
    return value


def shown(value: Any) -> str:
    """The text of an object of any class, which may have none."""
    try:
        return str(value)
    except (MemoryError, PermissionError):
        raise
    except Exception:  # noqa: BLE001  a class answers what it likes
        return "without a text of its own"


def check_categories(name: str, categories: list[Any], dtype: str | None) -> None:
    """Raises NotConvertible, with the column's name, for categories that no request can express."""
    if dtype is not None and dtype.startswith("datetime64"):
        raise of_models.TIMESTAMPS_OUT_OF_REACH(column=plain(name, 100))
    if dtype is not None and dtype.startswith("timedelta64"):
        raise of_models.CATEGORIES_OF_DURATIONS(column=plain(name, 100), dtype=dtype)
    what = _category_of(name)
    for value in categories:
        label_of(value, what)
        if isinstance(value, int) and float(value) != value:
            raise of_models.NUMBER_NOT_IN_JSON(what=what, value=value)


def categories_of(name: str, known: list[Any]) -> tuple[Label, ...]:
    """The categories of the column with this name, each once. Raises NotConvertible."""
    return tuple(dict.fromkeys(label_of(value, _category_of(name)) for value in known))


def _category_of(name: str) -> str:
    return f"A category of column `{plain(name, 100)}`"


def check_count(columns: tuple[Column, ...]) -> None:
    """Raises NotConvertible for more categories than a signature holds."""
    count = sum(len(column.categories or ()) for column in columns)
    if count > MAX_CATEGORIES:
        most = max(columns, key=lambda column: len(column.categories or ()))
        raise of_models.TOO_MANY_CATEGORIES(count=count, limit=MAX_CATEGORIES, column=plain(most.name, 100))
