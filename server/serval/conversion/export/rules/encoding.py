"""Encoders of categories: find the category of each value, then look up what the fitted encoder itself makes of it."""

import warnings
from typing import Any

import numpy as np
from sklearn import preprocessing

from serval.conversion.export.emitter import Emitter, Family, refuse
from serval.conversion.export.graph import Array, Features, Slot, Tensor, as_table, concat
from serval.conversion.signature import MISSING_STRING

NEVER_SEEN = "\x1a never seen"


def encoded(_: Emitter, model: Any, x: Features) -> Tensor:
    columns = as_table(x, len(model.categories_)).slots
    return concat(
        codes(model, slot, model.categories_[index]).look_up(rows(model, index)) for index, slot in enumerate(columns)
    )


def codes(model: Any, slot: Slot, kept: Array) -> Tensor:
    """`[rows]`: the place of each value among the categories kept, and one past the last for any other."""
    known = kept.tolist()
    if slot.source.dtype == "string":
        return text_codes(model, slot, known)
    if any(isinstance(value, str) for value in known):
        raise refuse(model, "knows strings, but is given numbers", "fit and predict with the same kinds of columns")
    value = slot.column().as_column()
    places = [value.equals(np.array([np.nan if is_missing(key) else float(key) for key in known]))]
    if any(is_missing(key) for key in known):
        is_marker = np.array([is_missing(key) for key in known])
        places = [places[0] | (value.is_nan() & value.graph.constant(is_marker))]
    found = places[0].cast("float64")
    return (found.max() > 0.0).choose(found.argmax(), len(known))


def text_codes(model: Any, slot: Slot, known: list[Any]) -> Tensor:
    if not all(isinstance(value, str) or is_missing(value) for value in known):
        raise refuse(model, "knows numbers and strings in one column", "make the column all strings and fit again")
    keys = [MISSING_STRING if is_missing(value) else value for value in known]
    return slot.column().op(
        "LabelEncoder",
        dtype="int64",
        domain="ai.onnx.ml",
        keys_strings=[key.encode() for key in keys],
        values_int64s=list(range(len(keys))),
        default_int64=len(keys),
    )


def rows(model: Any, column: int) -> Array:
    """`[categories + 1, width]`: what the encoder makes of each category of a column; last, of one never seen, NaN if
    refused."""
    known = model.categories_[column].tolist()
    block = asked(model, column, known)
    try:
        never_seen = asked(model, column, [unseen(known)])
    except ValueError:
        never_seen = np.full((1, block.shape[1]), np.nan)
    return np.concatenate([block, never_seen])


def asked(model: Any, column: int, values: list[Any]) -> Array:
    """The fitted encoder's own columns for these values of one column."""
    probe = np.empty((len(values), len(model.categories_)), dtype=object)
    for index, kept in enumerate(model.categories_):
        probe[:, index] = values if index == column else kept.tolist()[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = model.transform(probe)
    dense = np.asarray(out.toarray() if hasattr(out, "toarray") else out, dtype=np.float64)
    widths = getattr(model, "_n_features_outs", None) or [dense.shape[1] // len(model.categories_)] * len(
        model.categories_
    )
    start = sum(widths[:column])
    return dense[:, start : start + widths[column]]


def unseen(known: list[Any]) -> Any:
    if any(isinstance(value, str) for value in known):
        return NEVER_SEEN
    return max((float(value) for value in known if not is_missing(value)), default=0.0) + 1.5


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


ENCODERS = (preprocessing.OneHotEncoder, preprocessing.OrdinalEncoder, preprocessing.TargetEncoder)

FAMILY = Family(transform=dict.fromkeys(ENCODERS, encoded), tables=frozenset(ENCODERS))
