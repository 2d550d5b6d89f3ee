"""The labels of a fitted classifier, as a signature holds them."""

from __future__ import annotations

from typing import Any

import numpy as np

from serval.conversion.plain_text import is_plain
from serval.conversion.signature import Label
from serval.errors import NotConvertible

MAX_LABEL_CHARACTERS = 200


def labels_of(estimator: Any, targets: int, is_multi: bool) -> tuple[tuple[Label, ...], ...]:
    classes = estimator.classes_
    if not is_multi:
        return (tuple(label_of(value) for value in np.asarray(classes).tolist()),)
    if isinstance(classes, list):
        return tuple(tuple(label_of(value) for value in np.asarray(part).tolist()) for part in classes)
    return ((0, 1),) * targets


def label_of(value: Any) -> Label:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) and len(value) <= MAX_LABEL_CHARACTERS and is_plain(value):
        return value
    raise NotConvertible(
        f"A label of type `{type(value).__name__}` cannot be served: "
        f"labels are plain strings of up to {MAX_LABEL_CHARACTERS} characters, numbers or booleans."
    )
