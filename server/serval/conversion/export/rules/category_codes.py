"""The category of each value by its code, the index among the stored categories; and values that are no category."""

from typing import Any

import numpy as np

from serval.conversion.export.features import TableColumn
from serval.conversion.export.tensor import Array, Tensor
from serval.conversion.export.timestamp_columns import NOT_A_TIME, Moments, graph_numbers, moments, unknown_moment
from serval.conversion.refusals import of_steps
from serval.conversion.signature import MISSING_STRING, Column

UNKNOWN_CATEGORY = "\x1a never seen"


def codes(model: Any, index: int, column: TableColumn, categories: Array) -> Tensor:
    """`[rows]`: the index of each value among the stored categories, and one past the last for any other."""
    value = column.values()
    if found := moments(categories):
        return timestamp_codes(model, index, value, found)
    known = categories.tolist()
    missing_code = code_of_null(known, next(iter(value.nulls()), None))
    if value.dtype == "string":
        return text_codes(model, index, value, known, missing_code)
    if any(isinstance(value, str) for value in known):
        raise of_steps.TEXT_OF_NUMBERS.of(model, column=index)
    return number_codes(value, known, missing_code)


def code_of_null(known: list[Any], null: str | None) -> int:
    """The code of null among categories of which one may be None and another NaN; one past the last for none.

    `null`: which of them it stands for; None where that is not known.
    """
    matching = [
        code
        for code, key in enumerate(known)
        if is_missing(key) and (null is None or (key is None) == (null == "none"))
    ]
    return matching[-1] if matching else len(known)


def number_codes(value: Tensor, known: list[Any], missing_code: int) -> Tensor:
    keys = np.array([np.nan if is_missing(key) else float(key) for key in known])
    order = np.argsort(keys)[: int((~np.isnan(keys)).sum())]
    unknown = len(known)
    if not len(order):
        return value.is_nan().choose(value.constant(missing_code), value.constant(unknown))
    value.note(keys[order])
    place = last_at_most(value, keys[order])
    code = place.look_up(keys[order]).equals(value).choose(place.look_up(order), unknown)
    return value.is_nan().choose(missing_code, code)


def timestamp_codes(model: Any, index: int, value: Tensor, found: Moments) -> Tensor:
    if value.dtype == "string":
        raise of_steps.TEXT_OF_TIMESTAMPS.of(model, column=index)
    keys = [None if key is None else float(graph_numbers(key, found.dtype)) for key in found.keys]
    code = number_codes(value, keys, len(keys))
    missing = [code for code, key in enumerate(keys) if key is None] if found.finds_missing else []
    # Not compared by `equals`: no row has to be asked around the number that stands for a missing value.
    return value.op("Equal", NOT_A_TIME, dtype="bool").choose(missing[-1], code) if missing else code


def last_at_most(value: Tensor, keys: Array) -> Tensor:
    """Int64 `[rows]`: the index of the last of the rising keys that is at most the value, by bisection; 0 where there
    is none."""
    length = 1 << max(1, len(keys) - 1).bit_length()
    padded = np.append(keys, np.full(length - len(keys), np.inf))
    place = (value >= padded[length // 2]).cast("int64") * (length // 2)
    step = length // 4
    while step:
        ahead = place + step
        place = (value >= ahead.look_up(padded)).choose(ahead, place)
        step //= 2
    last: Tensor = place.minimum(len(keys) - 1)
    return last


def text_codes(model: Any, index: int, value: Tensor, known: list[Any], missing_code: int) -> Tensor:
    if not all(isinstance(key, str) or is_missing(key) for key in known):
        raise of_steps.MIXED_CATEGORIES.of(model, column=index)
    codes = {key: code for code, key in enumerate(known) if not is_missing(key)} | {MISSING_STRING: missing_code}
    return value.op(
        "LabelEncoder",
        dtype="int64",
        domain="ai.onnx.ml",
        keys_strings=[key.encode() for key in codes],
        values_int64s=list(codes.values()),
        default_int64=len(known),
    )


def unknown_category(column: Column, known: list[Any]) -> Any:
    """A value of an input column that is none of its categories."""
    if column.kind == "string":
        return UNKNOWN_CATEGORY
    if column.kind == "timestamp":
        return unknown_moment(column.dtype, known)
    return float(max(known)) + 1.5


def unknown_value(known: list[Any]) -> Any:
    if any(isinstance(value, str) for value in known):
        return UNKNOWN_CATEGORY
    return float(np.nextafter(max((float(value) for value in known if not is_missing(value)), default=0.0), np.inf))


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value)) or type(value).__name__ == "NAType"
