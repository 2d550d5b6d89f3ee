"""Columns of timestamps that only numeric steps read: what shows them, and the unit in which these steps counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serval.conversion.export.timestamp_columns import NOT_A_TIME
from serval.conversion.timestamps import NotATimestampError, read

Numbers = npt.NDArray[np.float64]
MAX_TREES = 10
YEAR = 31_556_952.0
FIRST, LAST = 1.0, 130.0
"""Years after 1970. Units differ by a thousand, so that counts of them tell which they are."""
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""Of each unit so many are a second."""
BY_COLUMN = (
    *("mean_", "center_", "data_min_", "data_max_", "max_abs_", "quantiles_", "statistics_"),
    *("_fit_X", "support_vectors_", "X_train_", "X_fit_", "theta_", "means_", "centroids_"),
)


def unit_of(values: Sequence[float]) -> str | None:
    """The unit that these moments of the years 1971 to 2100 are counts of; None where they are none, or of several."""
    known = np.array([value for value in values if np.isfinite(value) and value != NOT_A_TIME])
    years = {unit: known / (per_second * YEAR) for unit, per_second in UNITS.items()}
    fitting = [unit for unit, each in years.items() if known.size and ((each >= FIRST) & (each <= LAST)).all()]
    return fitting[0] if fitting else None


def held(step: Any) -> list[tuple[int, Numbers]]:
    """Values that a fitted numeric step keeps of its input, each with the position of its column."""
    if hasattr(step, "bin_edges_"):
        return [(position, np.asarray(edges, dtype=np.float64)) for position, edges in enumerate(step.bin_edges_)]
    if trees := [part.tree_ for part in [step, *_members(step)] if hasattr(part, "tree_")]:
        return [
            (position, tree.threshold[tree.feature == position])
            for tree in trees[:MAX_TREES]
            for position in np.unique(tree.feature[tree.feature >= 0]).tolist()
        ]
    if hasattr(step, "_bin_mapper"):
        return [(position, np.asarray(edges)) for position, edges in enumerate(step._bin_mapper.bin_thresholds_)]
    found = []
    for name in BY_COLUMN:
        values = getattr(step, name, None)
        if isinstance(values, np.ndarray) and values.dtype.kind in "fM" and values.ndim in {1, 2}:
            counts = values.astype(np.int64) if values.dtype.kind == "M" else values
            found += list(enumerate(np.atleast_2d(counts.astype(np.float64)).T))
    return found


def _members(step: Any) -> list[Any]:
    members = getattr(step, "estimators_", ())
    if isinstance(members, np.ndarray):
        return list(members.ravel())
    return list(members) if isinstance(members, list | tuple) else []


def selected_as_datetimes(transformer: Any) -> list[int]:
    """The input columns that a column transformer chose because they held datetimes, by `make_column_selector`."""
    return [
        int(index)
        for name, _, selector in transformer.transformers
        if _asks_for_datetimes(getattr(selector, "dtype_include", None))
        for index in transformer._transformer_to_input_indices[name]
    ]


def _asks_for_datetimes(include: Any) -> bool:
    kinds = include if isinstance(include, list | tuple) else [include]
    return bool(kinds) and all(_is_datetime(kind) for kind in kinds)


def _is_datetime(kind: Any) -> bool:
    if isinstance(kind, str):
        return kind.lower().startswith("datetime")
    return kind is np.datetime64 or getattr(kind, "kind", None) == "M"


def are_texts_of_moments(cells: Sequence[Any]) -> bool:
    """Whether there are such cells, and nothing else."""
    try:
        return bool(cells) and all(isinstance(cell, str) and read(cell, "datetime64[us]") is not None for cell in cells)
    except NotATimestampError:
        return False
