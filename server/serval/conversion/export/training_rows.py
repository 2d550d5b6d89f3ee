"""The rows that a model was fitted on, where it keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serval.conversion.rows import Rows
from serval.conversion.signature import Signature

Numbers = npt.NDArray[np.float64]
MAX_ROWS = 1200
ATTRIBUTES = ("_fit_X", "support_vectors_", "X_train_", "X_fit_", "X_", "X_thresholds_", "centroids_", "means_")
DIGITS = (15, 12, 8, 6)


def training_rows(estimator: Any, signature: Signature, limit: int | None = MAX_ROWS) -> Rows:
    """Up to `limit` rows that the last step keeps, taken back through the inverses of the steps before it.

    None where a column is a string or unused, or a step has no inverse.
    """
    none = Rows(
        np.zeros((0, sum(column.is_number for column in signature.columns))),
        np.empty((0, sum(column.kind == "string" for column in signature.columns)), dtype=object),
    )
    chain, last = _parts(estimator)
    kept = _kept(last)
    if kept is None or none.numbers.shape[1] != len(signature.columns):
        return none
    if limit is not None:
        kept = kept[np.linspace(0, len(kept) - 1, min(len(kept), limit)).astype(int)]
    try:
        points = _taken_back(chain, kept)
    except (MemoryError, PermissionError):
        raise
    except Exception:  # noqa: BLE001  an inverse refuses by raising what it likes
        return none
    if points.ndim != 2 or points.shape[1] != len(signature.columns) or not np.isfinite(points).all():
        return none
    return Rows(points, np.empty((len(points), 0), dtype=object))


def _parts(estimator: Any) -> tuple[list[Any], Any]:
    """The transformers and the last step of a pipeline, also of one that a search has found."""
    if hasattr(estimator, "best_estimator_"):
        return _parts(estimator.best_estimator_)
    if not hasattr(estimator, "steps"):
        return [], estimator
    chain = [step for _, step in estimator.steps[:-1] if step is not None and not isinstance(step, str)]
    inner, last = _parts(estimator.steps[-1][1])
    return [*chain, *inner], last


def _kept(step: Any) -> Numbers | None:
    for name in ATTRIBUTES:
        values = getattr(step, name, None)
        if isinstance(values, np.ndarray) and values.dtype.kind in "fiub" and values.ndim in {1, 2} and values.size:
            return np.asarray(values.astype(np.float64).reshape(len(values), -1))
    return None


def _taken_back(chain: Sequence[Any], kept: Numbers) -> Numbers:
    points = kept
    for step in reversed(chain):
        points = np.asarray(step.inverse_transform(points), dtype=np.float64)
    if not chain or points.shape != kept.shape:
        return points
    return _exact(chain, points, kept)


def _exact(chain: Sequence[Any], points: Numbers, kept: Numbers) -> Numbers:
    """Inverses round: for each number the decimal or the neighbouring float that becomes exactly what was kept."""
    best, is_found = points, np.zeros(points.shape, dtype=bool)
    for candidate in _candidates(points):
        reached = candidate
        for step in chain:
            reached = np.asarray(step.transform(reached), dtype=np.float64)
        is_better = (reached == kept) & ~is_found
        best, is_found = np.where(is_better, candidate, best), is_found | is_better
    return best


def _candidates(points: Numbers) -> list[Numbers]:
    with np.errstate(all="ignore"):
        sizes = np.floor(np.log10(np.maximum(np.abs(points), 1e-300)))
    decimals = [_rounded(points, np.clip(digits - 1 - sizes, -300, 300)) for digits in DIGITS]
    steps = [points]
    for direction in (-np.inf, np.inf):
        moved = points
        for _ in range(3):
            moved = np.nextafter(moved, direction)
            steps.append(moved)
    return [*decimals, *steps]


def _rounded(points: Numbers, decimals: Numbers) -> Numbers:
    """Each number as the nearest decimal with so many places."""
    text = [
        f"{value:.{max(0, int(places))}f}" if np.isfinite(value) else str(value)
        for value, places in zip(points.ravel().tolist(), decimals.ravel().tolist(), strict=True)
    ]
    return np.array(text, dtype=np.float64).reshape(points.shape)
