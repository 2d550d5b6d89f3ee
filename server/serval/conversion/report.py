"""What a conversion reports: the form chosen, and how accurate it is."""

from typing import Any

import msgspec


class Reason(msgspec.Struct):
    """Why a version failed, or waits for its owner."""

    code: str
    message: str


class FormTried(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One form of the graph that the converter made; `reason`: why it was not chosen, None for the one that was."""

    name: str
    reason: str | None


class WorstRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The row with the largest difference, and both answers."""

    row: list[Any]
    """By column, in their order; null is a missing value."""
    original: list[float | None]
    converted: list[float | None]
    difference: float


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How two sets of answers for the same rows compare."""

    rows: int
    """Rows that were compared."""
    refused: int
    """Rows that the original itself refused; they are left out."""
    ties: int
    """Rows whose best two classes are within 1e-9; their labels are not compared."""
    agreeing: int
    """Rows that agree, of those that are no ties."""
    largest_difference: float
    """Of probabilities absolute, of values relative."""
    mean_difference: float
    worst: int | None
    """The index of the worst row."""
    reason: str | None
    """Why the answers do not agree; None if they do."""
    jumps: int = 0
    """Rows beside a jump of the original: it gives the converted answer within four float64 steps of the row."""

    @property
    def agreement(self) -> float:
        counted = self.rows - self.ties
        return self.agreeing / counted if counted else 1.0


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stored with a version, shown by the API and the command line."""

    form: str
    """What the graph computes in: `float32`, `mixed` or `float64`."""
    forms_tried: list[FormTried]
    rows: int
    rows_refused_by_original: int
    ties: int
    agreement: float
    largest_difference: float
    mean_difference: float
    worst_row: WorstRow | None
    estimator: str
    scikit_learn_saved_with: str | None
    """The version that saved the file, where the file says it."""
    scikit_learn_verified_with: str
    expected_rows: int
    """Rows of the sample that came with the answer expected."""
    expected_agreement: float | None
    hold_reason: str | None
    """Why the version must not go live by itself; None if it may."""
    notes: list[str]
    seconds: float
    golden_requests: int = 0
    """Rows of the sample that are kept with the answers expected, and asked again at each promotion."""
    rows_beside_jumps: int = 0
    """Rows beside a jump, such as a threshold, where the original gives the service's answer within four float64
    steps."""
