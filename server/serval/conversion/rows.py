"""Rows as a graph takes them, and answers for them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Rows:
    """`numbers`: float64 `[rows, n]`, NaN is missing; `strings`: object `[rows, m]`."""

    numbers: npt.NDArray[np.float64]
    strings: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, indices: Any) -> "Rows":
        return Rows(self.numbers[indices], self.strings[indices])


@dataclass(frozen=True)
class Answers:
    """The answers of an estimator or a graph for rows.

    `labels`: int64 `[rows, targets]`, or `[rows, 0]` of a regressor; `scores`: float64, probabilities
    `[rows, classes]`, of several targets side by side, or values `[rows, targets]`, or `[rows, 0]`; `margins`: float64,
    as many as labels, by how much each leads before the next (infinite where unknown); `is_answered`: bool `[rows]`.
    """

    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    margins: npt.NDArray[np.float64]
    is_answered: npt.NDArray[np.bool_]


def joined(first: Answers, second: Answers) -> Answers:
    """The answers for the rows of both."""
    return Answers(
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.margins, second.margins]),
        np.concatenate([first.is_answered, second.is_answered]),
    )
