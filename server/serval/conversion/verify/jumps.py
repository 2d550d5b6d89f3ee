"""What is right beside a jump: whatever the original answers within four float64 steps of the row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import Signature
from serval.conversion.verify.verify import are_equal

SEED = 20_240_302
STEPS = 4
MAX_JUMPS = 200
"""More rows beside jumps are differences of another kind."""
MAX_COLUMNS = 4
JOINT = 36
"""Moves of all columns at once; among them each column is moved by each number of steps equally often."""


@dataclass(frozen=True)
class Questions:
    """Rows within four float64 steps of those that differ; `owners`, `[rows]`: the index of the row that each is
    beside."""

    rows: Rows
    owners: npt.NDArray[np.int64]


def questions(
    signature: Signature, rows: Rows, original: Answers, converted: Answers, strictness: float = 1.0
) -> Questions:
    """The rows to ask the original: none if no row differs, or so many that it cannot be for jumps."""
    differs = original.is_answered & ~are_equal(signature, original, converted, strictness)
    wrong = np.flatnonzero(differs)
    if wrong.size > MAX_JUMPS or not rows.numbers.shape[1]:
        wrong = wrong[:0]
    moves = _moves(max(1, rows.numbers.shape[1]))
    owners = np.repeat(wrong, len(moves))
    if not wrong.size:
        return Questions(rows.take(owners), owners)
    # float64 holds a timestamp exactly, and its count of a unit but for nanoseconds: nothing excuses another answer.
    is_moved = [
        column.kind != "timestamp" or column.dtype.startswith("datetime64[ns")
        for column in signature.columns
        if column.is_number
    ]
    numbers = np.where(is_moved, _moved(rows.numbers[wrong], moves), rows.numbers[owners])
    return Questions(Rows(numbers, rows.strings[owners]), owners)


def excused(
    signature: Signature, asked: Questions, answers: Answers, converted: Answers, strictness: float = 1.0
) -> npt.NDArray[np.bool_]:
    """`[rows of converted]`: whether the original, asked beside the row, gives the row's converted answer."""
    owners = asked.owners
    given = Answers(
        converted.labels[owners], converted.scores[owners], converted.margins[owners], converted.is_answered[owners]
    )
    is_same = answers.is_answered & are_equal(signature, answers, given, strictness)
    is_excused = np.zeros(len(converted.is_answered), dtype=bool)
    is_excused[owners[is_same]] = True
    return is_excused


def _moves(width: int) -> npt.NDArray[np.int64]:
    """`[moves, width]` of float64 steps: one column at a time by 1 to 4 each way, and all at once."""
    rng = np.random.default_rng(SEED)
    single = []
    for column in rng.permutation(width)[:MAX_COLUMNS]:
        for steps in (*range(-STEPS, 0), *range(1, STEPS + 1)):
            move = np.zeros(width, dtype=np.int64)
            move[column] = steps
            single.append(move)
    each = np.resize(np.arange(-STEPS, STEPS + 1), JOINT)
    joint = np.stack([rng.permutation(each) for _ in range(width)], axis=1)
    return np.concatenate([np.array(single), joint])


def _moved(numbers: npt.NDArray[np.float64], moves: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """`[rows * moves, width]`"""
    out = np.repeat(numbers, len(moves), axis=0)
    left = np.tile(moves, (len(numbers), 1))
    for _ in range(STEPS):
        out = np.where(left > 0, np.nextafter(out, np.inf), np.where(left < 0, np.nextafter(out, -np.inf), out))
        left = left - np.sign(left)
    return out
