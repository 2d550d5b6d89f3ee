"""Golden requests: rows with the answers expected, kept with a version and asked again before it goes live."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
import numpy as np

from serval.conversion.expected import Answer, Expected, Probabilities, as_number, compared_rows, problems
from serval.conversion.reporting import row_cells
from serval.conversion.rows import Answers, Rows
from serval.conversion.samples import Row, fitting, rows_of
from serval.conversion.signature import Label, Signature

MAX_BYTES = 4 << 20
"""Of all golden requests of a version as JSON; those beyond it are left out."""
MAX_PASSES = 5


class GoldenRequest(msgspec.Struct, frozen=True):
    """A row, by column name or by position, and the answer expected."""

    input: Row
    prediction: Answer
    probabilities: Probabilities | None = None
    """In the order of the classes, or by label."""


class Golden(msgspec.Struct, frozen=True):
    """The golden requests of a version, at least one, and the scikit-learn that computed their answers (None: nobody
    says)."""

    scikit_learn: str | None
    requests: Annotated[list[GoldenRequest], msgspec.Meta(min_length=1)]

    def rows(self, signature: Signature) -> Rows:
        """The rows as the graph takes them."""
        sample = [request.input for request in self.requests]
        return rows_of(signature, fitting(sample, signature.columns, is_text=False))

    @property
    def expected(self) -> Expected:
        given = [request.probabilities for request in self.requests]
        known = [values for values in given if values is not None]
        return Expected([request.prediction for request in self.requests], known or None, self.scikit_learn)


class GoldenResult(msgspec.Struct, frozen=True):
    """Golden requests that were asked, how many got the answer expected, and the worst of the others."""

    rows: int
    agreeing: int
    worst: GoldenRequest | None
    problem: str | None
    """How its answer differs; null: all agree."""


def golden_of(signature: Signature, rows: Rows, converted: Answers, expected: Expected) -> Golden | None:
    """The first rows, which are the sample's, whose converted answers are those expected; None if none are.

    Rows that agree only by an excuse (a tie, a jump, an infinite number) are left out: nothing shows the excuse later.
    """
    found = _within_bytes(
        (index, request)
        for index in range(compared_rows(expected, converted))
        if (request := _request(signature, rows, expected, index)) is not None
    )
    kept, requests = list(found), list(found.values())
    for _ in range(MAX_PASSES):
        if not requests:
            return None
        golden = Golden(expected.scikit_learn, requests)
        wrong = differing(signature, golden, _taken(converted, kept))
        if not wrong:
            return golden
        kept = [index for place, index in enumerate(kept) if place not in wrong]
        requests = [request for place, request in enumerate(requests) if place not in wrong]
    return None


def compare_golden(signature: Signature, golden: Golden, converted: Answers) -> GoldenResult:
    """Compare the answers for the rows of golden requests with those expected."""
    wrong = differing(signature, golden, converted)
    if not wrong:
        return GoldenResult(len(golden.requests), len(golden.requests), None, None)
    worst = max(wrong, key=lambda index: _severity(signature, golden.requests[index], converted, index))
    count = len(golden.requests)
    return GoldenResult(count, count - len(wrong), golden.requests[worst], wrong[worst])


def differing(signature: Signature, golden: Golden, converted: Answers) -> dict[int, str]:
    """For each golden request that gets another answer how it differs: labels must be equal, probabilities and values
    within the tolerances of expected answers, without ties and jumps."""
    expected = golden.expected
    count = len(golden.requests)
    is_regressor = signature.kind == "regressor"
    scores = [np.ravel(answer) for answer in expected.answers] if is_regressor else converted.scores
    sizes = Answers(
        labels=converted.labels,
        scores=np.asarray(scores, dtype=np.float64),
        margins=np.full((count, signature.label_width), np.inf),
        is_answered=np.ones(count, dtype=bool),
    )
    return problems(signature, sizes, converted, expected)


def _request(signature: Signature, rows: Rows, expected: Expected, index: int) -> GoldenRequest | None:
    """None for a row or an answer that JSON does not hold as it is."""
    answer = _as_numbers(expected.answers[index]) if signature.kind == "regressor" else expected.answers[index]
    if answer is None or np.size(answer) != signature.targets or np.isinf(rows.numbers[index]).any():
        return None
    row = signature.request_row(row_cells(signature, rows, index))
    probabilities = None if expected.probabilities is None else expected.probabilities[index]
    return GoldenRequest(row, answer, probabilities)


def _as_numbers(answer: Answer) -> Answer | None:
    """The values of a regressor, which are text in CSV; None where they are no finite numbers."""
    numbers = [as_number(target) for target in (answer if isinstance(answer, list) else [answer])]
    finite: list[Label] = [number for number in numbers if number is not None and math.isfinite(number)]
    if len(finite) < len(numbers):
        return None
    return finite if isinstance(answer, list) else finite[0]


def _within_bytes(requests: Iterable[tuple[int, GoldenRequest]]) -> dict[int, GoldenRequest]:
    """The first requests, by index, as many as are kept."""
    kept: dict[int, GoldenRequest] = {}
    left = MAX_BYTES
    for index, request in requests:
        left -= len(msgspec.json.encode(request))
        if left < 0:
            break
        kept[index] = request
    return kept


def _taken(answers: Answers, indices: list[int]) -> Answers:
    return Answers(
        answers.labels[indices], answers.scores[indices], answers.margins[indices], answers.is_answered[indices]
    )


def _severity(signature: Signature, request: GoldenRequest, converted: Answers, index: int) -> float:
    """How far an answer is from the one expected: for a regressor relative to its size; another label is the worst."""
    got = converted.scores[index]
    wanted: Any
    if signature.kind == "regressor":
        wanted = np.ravel(request.prediction).astype(np.float64)
        gap = np.abs(got - wanted) / np.maximum(np.abs(wanted), np.finfo(np.float64).tiny)
    else:
        tables: Any = request.probabilities if signature.is_multi_target else [request.probabilities]
        if not isinstance(tables, list) or not all(isinstance(table, list) for table in tables):
            return np.inf
        wanted = np.concatenate(tables)
        if wanted.shape != got.shape:
            return np.inf
        gap = np.abs(got - wanted)
    return float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0))
