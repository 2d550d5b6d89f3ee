"""Rows at which the steps of a fitted estimator receive the values that they hold, through all steps before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.utils import _safe_indexing

from serval.conversion.export.column_facts import inner_estimators
from serval.conversion.export.original import inputs
from serval.conversion.rows import Rows
from serval.conversion.signature import Signature
from serval.conversion.verify.bisection import beyond, narrowed

Numbers = npt.NDArray[np.float64]
Reach = Callable[[Rows], Any]
"""The features that a step receives for rows of the model."""
MAX_STEPS = 12
MAX_VALUES = 200
START_ROWS = 400
FAR_STEPS = 100_000
"""Float64 steps that no rounding makes."""
BY_COLUMN = ("quantiles_", "X_thresholds_", "statistics_", "center_", "mean_", "_fit_X", "support_vectors_", "X_")


@dataclass(frozen=True)
class Step:
    """A fitted estimator inside another, and what it receives."""

    estimator: Any
    reach: Reach
    depth: int
    """How many steps lie before it."""


def steps_of(estimator: Any, reach: Reach, depth: int = 0) -> Iterator[Step]:
    """The estimator's steps and members, each with what it receives."""
    if estimator is None or isinstance(estimator, str):
        return
    if hasattr(estimator, "steps"):
        for _, step in estimator.steps:
            yield from steps_of(step, reach, depth)
            if step is not None and hasattr(step, "transform"):
                reach, depth = _after(step, reach), depth + 1
        return
    if hasattr(estimator, "transformers_"):
        for name, inner, _ in estimator.transformers_:
            yield from steps_of(inner, _of_columns(reach, estimator._transformer_to_input_indices[name]), depth)
        return
    if hasattr(estimator, "transformer_list"):
        for _, inner in estimator.transformer_list:
            yield from steps_of(inner, reach, depth)
        return
    yield Step(estimator, reach, depth)
    for inner in inner_estimators(estimator)[:3]:
        yield from steps_of(inner, reach, depth)


def _after(step: Any, reach: Reach) -> Reach:
    return lambda rows: step.transform(reach(rows))


def _of_columns(reach: Reach, indices: Any) -> Reach:
    return lambda rows: _safe_indexing(reach(rows), list(indices), axis=1)


def rows_at_stored_values(estimator: Any, signature: Signature, start: Rows) -> Rows:
    """For each value that a step behind others holds, the two rows between which the step's feature passes it, and rows
    two and a hundred thousand float64 steps further to each side.

    `start`: rows that the model takes. Steps that take their input from the model's columns directly are left to
    the hints.
    """
    found: list[Rows] = []
    start = start.take(slice(0, START_ROWS))
    behind = [step for step in steps_of(estimator, lambda rows: inputs(estimator, signature, rows)) if step.depth]
    behind = [step for step in behind if held_values(step.estimator)][:MAX_STEPS]
    for step in behind:
        try:
            found += _at_values(step, start, MAX_VALUES // len(behind))
        except (MemoryError, PermissionError):
            raise
        except Exception:  # noqa: BLE001, S112  a step refuses rows by raising what it likes; there are other rows
            continue
    return _stacked(found, start)


def held_values(step: Any) -> list[Numbers]:
    """For each column of a step's input the values that it compares with or looks up."""
    if hasattr(step, "bin_edges_"):
        return [np.asarray(edges, dtype=np.float64) for edges in step.bin_edges_]
    if hasattr(step, "categories_"):
        return [
            np.asarray(values, dtype=np.float64) if values.dtype.kind in "fiu" else np.zeros(0)
            for values in step.categories_
        ]
    if hasattr(step, "threshold") and isinstance(step.threshold, int | float) and hasattr(step, "n_features_in_"):
        return [np.array([float(step.threshold)])] * step.n_features_in_
    for name in BY_COLUMN:
        values = getattr(step, name, None)
        if isinstance(values, np.ndarray) and values.dtype.kind in "fiu" and values.ndim in {1, 2} and values.size:
            table = values.astype(np.float64)
            if name == "X_thresholds_":
                return [table]
            return list(np.atleast_2d(table).T)
    return []


def _at_values(step: Step, start: Rows, limit: int) -> list[Rows]:
    received = _table(step.reach(start))
    columns = held_values(step.estimator)
    if received.shape[1] != len(columns):
        return []
    each = max(2, limit // len(columns))
    targets = [
        (column, value) for column, values in enumerate(columns) for value in _spread(values[np.isfinite(values)], each)
    ]
    pairs = [(column, value, *_sides(received[:, column], value)) for column, value in targets]
    pairs = [pair for pair in pairs if pair[2] is not None and pair[3] is not None][:limit]
    if not pairs:
        return []
    which = np.array([column for column, *_ in pairs])
    wanted = np.array([value for _, value, *_ in pairs])
    first, second = (start.take(np.array([pair[side] for pair in pairs])) for side in (2, 3))

    def locate(rows: Rows, points: int) -> npt.NDArray[np.int64]:
        features = _table(step.reach(rows)).reshape(len(pairs), points, -1)
        has_passed = features[np.arange(len(pairs)), :, which] >= wanted[:, None]
        has_passed[:, 0], has_passed[:, -1] = False, True
        return np.asarray(has_passed.argmax(axis=1) - 1, dtype=np.int64)

    low, high = narrowed(first, second, locate)
    return [low, high, *beyond(low, high, 2), *beyond(low, high, FAR_STEPS)]


def _sides(values: Numbers, wanted: float) -> tuple[int | None, int | None]:
    """The rows with the nearest value below and the nearest at or above."""
    below, above = np.flatnonzero(values < wanted), np.flatnonzero(values >= wanted)
    return (
        int(below[values[below].argmax()]) if below.size else None,
        int(above[values[above].argmin()]) if above.size else None,
    )


def _table(features: Any) -> Numbers:
    plain = features.toarray() if sparse.issparse(features) else np.asarray(features)
    return np.asarray(plain, dtype=np.float64).reshape(len(plain), -1)


def _spread(values: Numbers, limit: int) -> list[float]:
    """At most `limit` of the values: those held more than once, at which a step may jump, before the others."""
    ordered, counts = np.unique(values, return_counts=True)
    several = ordered[counts > 1]
    single = ordered[counts == 1]
    chosen = (
        several[np.linspace(0, len(several) - 1, min(limit // 2, len(several))).astype(int)]
        if several.size
        else several
    )
    rest = max(0, limit - len(chosen))
    others = single[np.linspace(0, len(single) - 1, min(rest, len(single))).astype(int)] if single.size else single
    return [float(value) for value in np.concatenate([chosen, others])]


def _stacked(parts: list[Rows], like: Rows) -> Rows:
    parts = [like.take(slice(0, 0)), *parts]
    return Rows(np.concatenate([part.numbers for part in parts]), np.concatenate([part.strings for part in parts]))
