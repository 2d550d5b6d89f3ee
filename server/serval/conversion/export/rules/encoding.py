"""Encoders of categories: find the category of each value, then look up its encoding by the fitted encoder."""

import copy
import warnings
from typing import Any

import numpy as np
from sklearn import preprocessing

from serval.conversion.export.blocks import indicator
from serval.conversion.export.emitter import Emitter, Family
from serval.conversion.export.features import Features, as_table
from serval.conversion.export.rules.category_codes import codes, unknown_value
from serval.conversion.export.rules.meeting import met
from serval.conversion.export.tensor import Array, Tensor, concat
from serval.conversion.export.timestamp_columns import Moments, moments, probe_cells


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


ENCODERS = (preprocessing.OneHotEncoder, preprocessing.OrdinalEncoder, preprocessing.TargetEncoder)

FAMILY = Family(transform=dict.fromkeys(ENCODERS, encoded), tables=frozenset(ENCODERS))
