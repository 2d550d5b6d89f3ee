"""Compares the answers of the converted graph with the original's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from serval.conversion.report import Parity
from serval.conversion.rows import Answers
from serval.conversion.signature import Signature

Numbers = npt.NDArray[np.float64]
TIE = 1e-9
TOLERANCE = 1e-5
LARGEST = 1e100
"""Stands for a difference that cannot be measured, such as that between a number and NaN; sums of it stay finite."""
SMALLEST_SHARE = 1e-3
"""A value much smaller than usual is measured against this share of the usual size."""


def compare(
    signature: Signature,
    original: Answers,
    converted: Answers,
    strictness: float = 1.0,
    is_beside_jump: npt.NDArray[np.bool_] | None = None,
) -> Parity:
    """Compare answers for the same rows; rows that the original refused are left out.

    Labels must be equal wherever the original's margin exceeds 1e-9, probabilities within `1e-5 * strictness`,
    a regressor's values within that relative to the original's value. `is_beside_jump`, `[rows]`: rows whose converted
    answer the original gives within four float64 steps; they are counted and not compared.
    """
    is_beside_jump = np.zeros(len(original.is_answered), dtype=bool) if is_beside_jump is None else is_beside_jump
    jumps = int((original.is_answered & is_beside_jump).sum())
    answered = original.is_answered & ~is_beside_jump
    refused = int((~original.is_answered).sum())
    if not answered.any():
        return Parity(
            0,
            refused,
            0,
            0,
            0.0,
            0.0,
            None,
            "the original refused every row that Serval tried: send a `sample` of rows that it takes",
        )
    if not converted.is_answered[answered].all():
        return Parity(
            int(answered.sum()), refused, 0, 0, 0.0, 0.0, None, "the converted model does not answer every row"
        )
    differences = _differences(signature, original.scores, converted.scores)
    is_tie = (original.margins <= TIE).any(axis=1) & answered
    is_label_right = _are_labels_right(original, converted)
    is_equal = are_equal(signature, original, converted, strictness)
    counted = answered & ~is_tie
    severity = np.where(answered, np.where(is_label_right, differences, np.inf), -1.0)
    worst = int(severity.argmax())
    compared = differences[answered]
    return Parity(
        rows=int(answered.sum()),
        refused=refused,
        ties=int(is_tie.sum()),
        agreeing=int((is_equal & counted).sum()),
        largest_difference=float(compared.max()),
        mean_difference=float(compared.mean()),
        worst=worst,
        reason=_reason(signature, answered, is_label_right, is_equal, differences, TOLERANCE * strictness),
        jumps=jumps,
    )


def are_equal(
    signature: Signature, original: Answers, converted: Answers, strictness: float = 1.0
) -> npt.NDArray[np.bool_]:
    """For each row whether the answers are equal within the tolerance; labels of a tie may differ."""
    is_label_right = _are_labels_right(original, converted)
    differences = _differences(signature, original.scores, converted.scores)
    return np.asarray(is_label_right & (differences <= TOLERANCE * strictness) & converted.is_answered)


def _are_labels_right(original: Answers, converted: Answers) -> npt.NDArray[np.bool_]:
    """For each row whether the label of every target is the original's, but for those that are tied."""
    return np.asarray(((original.labels == converted.labels) | (original.margins <= TIE)).all(axis=1))


def _differences(signature: Signature, original: Numbers, converted: Numbers) -> Numbers:
    """For each row the largest difference of its scores: absolute for probabilities, relative for values."""
    if not original.shape[1]:
        return np.zeros(len(original))
    with np.errstate(all="ignore"):
        gap = np.abs(original - converted)
        if signature.kind == "regressor":
            gap = gap / np.maximum(np.abs(original), smallest_sizes(original))
    is_same = (original == converted) | (np.isnan(original) & np.isnan(converted))
    gap = np.where(is_same, 0.0, np.where(np.isnan(gap), LARGEST, np.minimum(gap, LARGEST)))
    return np.asarray(gap.max(axis=1))


def smallest_sizes(values: Numbers) -> Numbers:
    """For each target the size below which a value counts as nothing."""
    sizes = np.where(np.isfinite(values), np.abs(values), np.nan)
    with np.errstate(all="ignore"):
        usual = np.array(
            [np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else 0.0 for column in sizes.T]
        )
    return np.maximum(SMALLEST_SHARE * usual, np.finfo(np.float64).tiny)


def _reason(
    signature: Signature, answered: Any, is_label_right: Any, is_equal: Any, differences: Numbers, tolerance: float
) -> str | None:
    if is_equal[answered].all():
        return None
    rows = int(answered.sum())
    wrong = int((~is_label_right & answered).sum())
    if wrong:
        return f"{wrong} of {rows} rows get another label"
    far = int((~is_equal & answered).sum())
    limit = f"{tolerance:.0e}".replace("e-0", "e-")
    problem = (
        f"values are off by more than {limit} of their size"
        if signature.kind == "regressor"
        else f"probabilities are off by more than {limit}"
    )
    return f"on {far} of {rows} rows the {problem} (largest difference {differences[answered].max():.2g})"
