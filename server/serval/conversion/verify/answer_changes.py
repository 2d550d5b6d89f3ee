"""Rows between which the original's answer changes, found by halving: it takes no knowledge of the original."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from serval.conversion.export.original import answers_of
from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import Signature
from serval.conversion.verify.bisection import narrowed

SEED = 20_240_301
PAIRS = 24
MOSTLY = 0.95
"""The share of rows that an original must answer to be asked so often: a refused row costs a call of its own."""
ANOTHER_LABEL = 1e6
"""A change of the label counts more than any of the scores."""


def rows_at_changes(estimator: Any, signature: Signature, rows: Rows, answers: Answers) -> Rows:
    """The rows on both sides of changes on the way between pairs of rows: half of the pairs differ in all columns,
    half in one. Between the categories of a column there is nothing to ask."""
    columns = [column for column in signature.columns if column.is_number]
    numbers = np.flatnonzero(
        [column.kind in {"number", "timestamp"} and column.categories is None for column in columns]
    )
    known = np.flatnonzero(answers.is_answered & np.isfinite(rows.numbers).all(axis=1))
    if not numbers.size or known.size < 2 or answers.is_answered.mean() < MOSTLY:
        return rows.take(slice(0, 0))
    rng = np.random.default_rng(SEED)
    first = rows.take(rng.choice(known, PAIRS))
    others = rows.numbers[rng.choice(known, PAIRS)]
    ends = first.numbers.copy()
    ends[: PAIRS // 2, numbers] = others[: PAIRS // 2, numbers]
    single = rng.choice(numbers, PAIRS - PAIRS // 2)
    ends[np.arange(PAIRS // 2, PAIRS), single] = others[np.arange(PAIRS // 2, PAIRS), single]

    def locate(points: Rows, count: int) -> npt.NDArray[np.int64]:
        changes = _changes(answers_of(estimator, signature, points), count)
        return np.asarray(changes.argmax(axis=1), dtype=np.int64)

    low, high = narrowed(first, Rows(ends, first.strings), locate)
    return Rows(np.concatenate([low.numbers, high.numbers]), np.concatenate([low.strings, high.strings]))


def _changes(answers: Answers, count: int) -> npt.NDArray[np.float64]:
    """`[pairs, count - 1]`: how much the answer changes from one point to the next; nothing where one is refused."""
    pairs = len(answers.is_answered) // count
    labels = (
        answers.labels.reshape(pairs, count, -1) if answers.labels.size else np.zeros((pairs, count, 0), dtype=np.int64)
    )
    scores = answers.scores.reshape(pairs, count, -1) if answers.scores.size else np.zeros((pairs, count, 0))
    with np.errstate(all="ignore"):
        moved = np.abs(np.diff(scores, axis=1)).sum(axis=2)
    other = (np.diff(labels, axis=1) != 0).any(axis=2)
    is_answered = answers.is_answered.reshape(-1, count)
    changes = np.nan_to_num(moved, nan=0.0, posinf=ANOTHER_LABEL) + other * ANOTHER_LABEL
    return np.where(is_answered[:, 1:] & is_answered[:, :-1], changes, 0.0)
