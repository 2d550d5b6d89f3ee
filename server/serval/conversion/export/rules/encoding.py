"""Encoders of categories: find the category of each value, then look up its encoding by the fitted encoder."""

import warnings
from typing import Any

import numpy as np
from sklearn import preprocessing

from serval.conversion.export.emitter import Emitter, Family, refuse
from serval.conversion.export.features import Features, TableColumn, as_table
from serval.conversion.export.tensor import Array, Tensor, concat
from serval.conversion.signature import MISSING_STRING

UNKNOWN_CATEGORY = "\x1a never seen"


def encoded(_: Emitter, model: Any, x: Features) -> Tensor:
    columns = as_table(x, len(model.categories_)).columns
    return concat(
        codes(model, column, model.categories_[index]).look_up(rows(model, index))
        for index, column in enumerate(columns)
    )


def codes(model: Any, column: TableColumn, categories: Array) -> Tensor:
    """`[rows]`: the index of each value among the stored categories, and one past the last for any other."""
    known = categories.tolist()
    if column.tensor.dtype == "string":
        return text_codes(model, column, known)
    if any(isinstance(value, str) for value in known):
        raise refuse(model, "knows strings, but is given numbers", "fit and predict with the same kinds of columns")
    value = column.values().as_column()
    is_key = value.equals(np.array([np.nan if is_missing(key) else float(key) for key in known]))
    if any(is_missing(key) for key in known):
        is_marker = np.array([is_missing(key) for key in known])
        is_key = is_key | (value.is_nan() & value.constant(is_marker))
    matches = is_key.cast("float64")
    return (matches.max() > 0.0).choose(matches.argmax(), len(known))


def text_codes(model: Any, column: TableColumn, known: list[Any]) -> Tensor:
    if not all(isinstance(value, str) or is_missing(value) for value in known):
        raise refuse(model, "knows numbers and strings in one column", "make the column all strings and fit again")
    keys = [MISSING_STRING if is_missing(value) else value for value in known]
    return column.values().op(
        "LabelEncoder",
        dtype="int64",
        domain="ai.onnx.ml",
        keys_strings=[key.encode() for key in keys],
        values_int64s=list(range(len(keys))),
        default_int64=len(keys),
    )


def rows(model: Any, column: int) -> Array:
    """`[categories + 1, width]`: the encoding of each category of a column; last, of an unknown one, NaN if the encoder
    refuses it."""
    known = model.categories_[column].tolist()
    block = transformed(model, column, known)
    try:
        unknown = transformed(model, column, [unknown_value(known)])
    except ValueError:
        unknown = np.full((1, block.shape[1]), np.nan)
    return np.concatenate([block, unknown])


def transformed(model: Any, column: int, values: list[Any]) -> Array:
    """The fitted encoder's own columns for these values of one column."""
    probe = np.empty((len(values), len(model.categories_)), dtype=object)
    for index, categories in enumerate(model.categories_):
        probe[:, index] = values if index == column else categories.tolist()[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = model.transform(probe)
    dense = np.asarray(out.toarray() if hasattr(out, "toarray") else out, dtype=np.float64)
    widths = getattr(model, "_n_features_outs", None) or [dense.shape[1] // len(model.categories_)] * len(
        model.categories_
    )
    start = sum(widths[:column])
    return dense[:, start : start + widths[column]]


def unknown_value(known: list[Any]) -> Any:
    if any(isinstance(value, str) for value in known):
        return UNKNOWN_CATEGORY
    return max((float(value) for value in known if not is_missing(value)), default=0.0) + 1.5


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


ENCODERS = (preprocessing.OneHotEncoder, preprocessing.OrdinalEncoder, preprocessing.TargetEncoder)

FAMILY = Family(transform=dict.fromkeys(ENCODERS, encoded), tables=frozenset(ENCODERS))
