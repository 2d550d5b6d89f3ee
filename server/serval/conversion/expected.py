"""Answers that came with an upload, computed where the model was saved, and what they prove."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from serval.conversion.messages import SAMPLE_ROWS
from serval.conversion.plain_text import plain
from serval.conversion.rows import Answers
from serval.conversion.signature import Label, Signature, label_text
from serval.conversion.verify.verify import TIE, TOLERANCE, smallest_sizes

Answer = Label | list[Label]
Probabilities = list[float | list[float] | dict[str, float]] | dict[str, float]
"""Of a row: a table, in the order of the classes or by label; of several targets a list of these, or of numbers that
are each the probability of the second of two labels."""


class Expected(msgspec.Struct, frozen=True):
    """For each row of a sample the answer expected.

    `answers`: a label or value, for several targets a list. `probabilities`: of each row. `scikit_learn`: the
    version that computed them, None if nobody says.
    """

    answers: list[Answer]
    probabilities: list[Probabilities] | None = None
    scikit_learn: str | None = None


class Comparison(msgspec.Struct, frozen=True):
    """Rows that were compared, how many agree, and the index of the first that does not, with how its answer differs
    (None: all agree)."""

    rows: int
    agreeing: int
    first: int | None
    problem: str | None
    is_complete: bool
    """All that the model answers was expected: probabilities too, where it has them."""

    @property
    def agreement(self) -> float:
        return self.agreeing / self.rows


def minor(version: str) -> tuple[str, ...]:
    """`1.3.2` as (1, 3): versions of scikit-learn that differ only in the last number answer alike."""
    return tuple(version.split(".")[:2])


def compared(
    signature: Signature,
    original: Answers,
    converted: Answers,
    expected: Expected,
    is_beside_jump: npt.NDArray[np.bool_] | None,
) -> Comparison:
    """Compare the converted answers for the first rows, which are the sample's, with those expected.

    Labels must be equal but in ties, probabilities within 1e-5, values within that relative to their size, all that but
    beside jumps (`is_beside_jump`, `[rows]`).
    """
    found = problems(signature, original, converted, expected, is_beside_jump)
    count = compared_rows(expected, converted)
    first = next(iter(found), None)
    return Comparison(
        rows=count,
        agreeing=count - len(found),
        first=first,
        problem=None if first is None else found[first],
        is_complete=not signature.has_probabilities or expected.probabilities is not None,
    )


def compared_rows(expected: Expected, converted: Answers) -> int:
    """How many of the first rows are compared."""
    return min(len(expected.answers), len(converted.is_answered), SAMPLE_ROWS)


def problems(
    signature: Signature,
    original: Answers,
    converted: Answers,
    expected: Expected,
    is_beside_jump: npt.NDArray[np.bool_] | None = None,
) -> dict[int, str]:
    """For each row that does not agree how its answer differs; see `compared`."""
    count = compared_rows(expected, converted)
    is_excused = np.zeros(count, dtype=bool) if is_beside_jump is None else is_beside_jump
    return {
        index: problem
        for index in range(count)
        if not is_excused[index] and (problem := _problem(signature, index, original, converted, expected)) is not None
    }


def _problem(signature: Signature, index: int, original: Answers, converted: Answers, expected: Expected) -> str | None:
    """How the answer for a row differs from the one expected."""
    answer = expected.answers[index]
    targets = answer if isinstance(answer, list) else [answer]
    if len(targets) != signature.targets:
        return f"expected {as_text(answer)}, but the model has {signature.targets} targets"
    if signature.kind == "regressor":
        values, wanted = converted.scores[index], [as_number(target) for target in targets]
        is_near = None not in wanted and np.allclose(
            values,
            np.asarray(wanted, dtype=np.float64),
            rtol=TOLERANCE,
            atol=TOLERANCE * smallest_sizes(original.scores),
        )
        return None if is_near else f"expected {as_text(targets)}, got {as_text(values.tolist())}"
    if (problem := _probability_problem(signature, index, converted, expected)) is not None:
        return problem
    predicted = signature.predicted(converted.labels[index].tolist())
    is_tied = (original.margins[index] <= TIE).tolist()
    if all(tied or is_same(label, target) for label, target, tied in zip(predicted, targets, is_tied, strict=True)):
        return None
    return f"expected {as_text(targets)}, got {as_text(predicted)}"


def _probability_problem(signature: Signature, index: int, converted: Answers, expected: Expected) -> str | None:
    if expected.probabilities is None or not signature.has_probabilities:
        return None
    given = expected.probabilities[index]
    tables = signature.tables(converted.scores[index].tolist())
    wanted = [given] if not signature.is_multi_target else given
    if not isinstance(wanted, list) or len(wanted) != len(tables):
        return f"expected probabilities for each of {len(tables)} targets, got {as_text(given)}"
    problems = map(_table_problem, signature.labels, tables, wanted)
    return next((problem for problem in problems if problem is not None), None)


def _table_problem(labels: tuple[Label, ...], got: list[float], given: Any) -> str | None:
    """How the probabilities of one target differ from those expected."""
    wanted: list[Any]
    if isinstance(given, dict):
        wanted = [given.get(label_text(label)) for label in labels]
    elif isinstance(given, list):
        wanted = given
    else:
        wanted = [1.0 - given, given]
    is_complete = len(wanted) == len(labels) and all(isinstance(value, int | float) for value in wanted)
    if not is_complete or (isinstance(given, dict) and len(given) != len(labels)):
        return f"expected a probability for each of {as_text(list(labels))}, got {as_text(given)}"
    if np.allclose(got, wanted, rtol=0.0, atol=TOLERANCE, equal_nan=True):
        return None
    return f"expected the probabilities {as_text(wanted)}, got {as_text(got)}"


def is_same(label: Label, expected: Label) -> bool:
    """Equal labels; from CSV every label may be text."""
    if isinstance(expected, str) and not isinstance(label, str):
        return str(label).lower() == expected.lower() or (
            isinstance(label, int | float) and as_number(expected) == float(label)
        )
    return isinstance(label, str) == isinstance(expected, str) and label == expected


def as_number(value: Label) -> float | None:
    """A number, from CSV as text; None for other text."""
    try:
        return float(value)
    except ValueError:
        return None


def as_text(value: Any) -> str:
    """The value as JSON, cut to about 300 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return plain(text if len(text) <= 300 else text[:300] + " ...", 310)
