"""Encoders of categories: find the category of each value, then look up its encoding by the fitted encoder."""

import copy
import warnings
from typing import Any

import numpy as np
from sklearn import preprocessing

from serval.conversion.export.blocks import indicator
from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, TableColumn, as_table
from serval.conversion.export.rules.meeting import met
from serval.conversion.export.tensor import Array, Tensor, concat
from serval.conversion.export.timestamp_columns import (
    NOT_A_TIME,
    Moments,
    graph_numbers,
    moments,
    probe_cells,
    unknown_moment,
)
from serval.conversion.refusals import of_steps
from serval.conversion.signature import MISSING_STRING, Column

UNKNOWN_CATEGORY = "\x1a never seen"


def encoded(_: Emitter, model: Any, x: Features) -> Tensor:
    columns = as_table(met(x, model.categories_), len(model.categories_)).columns
    found = [
        codes(model, index, column, known)
        for index, (column, known) in enumerate(zip(columns, model.categories_, strict=True))
    ]
    if isinstance(model, preprocessing.OneHotEncoder):
        every = transformed(sparse_one(model)).tocsr()
        return concat(indicated(model, index, code, every) for index, code in enumerate(found))
    return concat(code.look_up(table) for code, table in zip(found, tables(model), strict=True))


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


def indicated(model: Any, column: int, code: Tensor, every: Any) -> Tensor:
    """`[rows, width]`: one column of a `OneHotEncoder`, by the code of its category; NaN for one that it refuses.

    `every`: what the encoder makes of all categories, sparse.
    """
    widths, count, most = model._n_features_outs, len(model.categories_[column]), max(map(len, model.categories_))
    is_strict = every.shape[0] == most
    table = every[:, sum(widths[:column]) : sum(widths[: column + 1])]
    chosen = table[:count] if is_strict else table[[*range(count), most]]
    places = np.full(count + 1, widths[column])
    places[-1] += int(is_strict)
    places[: chosen.shape[0]][np.diff(chosen.indptr) > 0] = chosen.indices
    is_whole = np.array_equal(places, np.arange(count + 1))
    return indicator(code if is_whole else code.look_up(places), widths[column])


def sparse_one(model: Any) -> Any:
    """The encoder, with sparse output of numbers; a discretizer of timestamps asks its own for timestamps."""
    one = copy.copy(model)
    one.sparse_output, one.dtype = True, np.float64
    vars(one).pop("_sklearn_output_config", None)
    return one


def tables(model: Any) -> list[Array]:
    """For each column `[categories + 1, width]`: the encoding of each category; last, of an unknown one, NaN if the
    encoder refuses it."""
    block = np.asarray(transformed(model), dtype=np.float64)
    width = block.shape[1] // len(model.categories_)
    most = max(map(len, model.categories_))
    unknown = block[most:] if len(block) > most else np.full((1, block.shape[1]), np.nan)
    both = [np.concatenate([block[: len(known)], unknown]) for known in model.categories_]
    return [table[:, column * width : (column + 1) * width] for column, table in enumerate(both)]


def transformed(model: Any) -> Any:
    """What the fitted encoder makes of a table with each category of each column in a row of its own, shorter columns
    filled up with their first; last, of a row of unknown values, left out if the encoder refuses them."""
    most = max(map(len, model.categories_))
    probe: Any = np.empty((most + 1, len(model.categories_)), dtype=object)
    found = [moments(categories) for categories in model.categories_]
    for column, categories in enumerate(model.categories_):
        known = categories.tolist()
        if found[column] is None:
            probe[:, column] = [*known, *[known[0]] * (most - len(known)), unknown_value(known)]
    if any(found):
        probe = framed(model, probe, found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return model.transform(probe)
        except ValueError:
            return model.transform(probe[:most])


def framed(model: Any, probe: Array, found: list[Moments | None]) -> Any:
    """The table as a frame, with the columns of timestamps that an array cannot hold beside others."""
    import pandas as pd

    names = getattr(model, "feature_names_in_", range(probe.shape[1]))
    columns = [
        pd.Series(probe[:, index], dtype=object) if each is None else probe_cells(each, len(probe))
        for index, each in enumerate(found)
    ]
    return pd.DataFrame(dict(zip(names, columns, strict=True)))


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


ENCODERS = (preprocessing.OneHotEncoder, preprocessing.OrdinalEncoder, preprocessing.TargetEncoder)

FAMILY = Family(transform=dict.fromkeys(ENCODERS, encoded), tables=frozenset(ENCODERS))
