"""What the server and its confined children say to each other, and how their words are checked."""

from __future__ import annotations

import math
from typing import Annotated, Any, Protocol

import msgspec
import numpy as np

from serval.conversion.export.hints import Hints
from serval.conversion.plain_text import is_plain
from serval.conversion.report import FormTried
from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import MISSING_STRING, Column, Label, Signature
from serval.errors import NotConvertible

MAX_COLUMNS = MAX_LABELS = 10_000
MAX_TARGETS = 1000
MAX_TEXT = 200
MAX_ROWS = 5000
SAMPLE_ROWS = 300
Text = Annotated[str, msgspec.Meta(max_length=2000)]
Name = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Cell = bool | int | float | str | None
Sample = list[list[Cell] | dict[str, Cell]]


class Engine(Protocol):
    """What runs a graph: the data plane, or ONNX Runtime by itself."""

    def run(self, onnx: bytes, signature: Signature, rows: Rows) -> Answers: ...


class InspectRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit_bytes: int


class Inspection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in a file."""

    format: Name
    compression: Name | None
    estimator: Name
    kind: Name | None
    """`classifier` or `regressor`; None where it is neither, which `problem` explains."""
    steps: Annotated[list[Name], msgspec.Meta(max_length=100)]
    scikit_learn_saved_with: Name | None
    scikit_learn_verified_with: Name
    columns: Annotated[list[Name], msgspec.Meta(max_length=MAX_COLUMNS)]
    labels: Annotated[list[Label], msgspec.Meta(max_length=MAX_LABELS)]
    notes: Annotated[list[Text], msgspec.Meta(max_length=20)]
    problem: Text | None


class ConvertRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit_bytes: int
    columns: list[str] | None
    sample: Sample
    is_text: bool
    """The sample's cells are text (CSV): to be read by what their column is."""


class Conversion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    onnx: bytes
    signature: Signature
    hints: Hints
    form: Name
    tried: Annotated[list[FormTried], msgspec.Meta(max_length=10)]
    estimator: Name
    scikit_learn_saved_with: Name | None
    scikit_learn_verified_with: Name
    notes: Annotated[list[Text], msgspec.Meta(max_length=20)]


class Tensors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows: `numbers` float64 `[rows, n]`, row-major, little-endian; `strings` `rows * m`."""

    rows: Annotated[int, msgspec.Meta(ge=0, le=MAX_ROWS)]
    numbers: bytes
    strings: list[str]


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answers: `labels` int64 `[rows, targets]`, `scores` and `margins` float64, `answered` one byte a row;
    little-endian."""

    labels: bytes
    scores: bytes
    margins: bytes
    answered: bytes


class EngineRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    onnx: bytes
    signature: Signature
    hints: Hints
    sample: Sample
    is_text: bool


class EngineResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rows: Tensors
    answers: Told


class ReferenceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit_bytes: int
    signature: Signature
    rows: Tensors


def encode(content: Any) -> bytes:
    return msgspec.msgpack.encode(content)


def packed_rows(rows: Rows) -> Tensors:
    return Tensors(len(rows), rows.numbers.astype("<f8").tobytes(), [str(cell) for cell in rows.strings.ravel()])


def rows_in(tensors: Tensors, signature: Signature) -> Rows:
    """Rows with the widths of the signature. Raises ValueError where the sizes do not fit."""
    texts = sum(column.kind == "string" for column in signature.columns)
    numbers = np.frombuffer(tensors.numbers, dtype="<f8").reshape(tensors.rows, len(signature.columns) - texts).copy()
    strings = np.empty(tensors.rows * texts, dtype=object)
    strings[:] = tensors.strings
    return Rows(numbers, strings.reshape(tensors.rows, texts))


def packed_answers(answers: Answers) -> Told:
    return Told(
        answers.labels.astype("<i8").tobytes(),
        answers.scores.astype("<f8").tobytes(),
        answers.margins.astype("<f8").tobytes(),
        answers.is_answered.tobytes(),
    )


def answers_in(told: Told, signature: Signature, rows: int) -> Answers:
    """Answers with the widths of the signature. Raises ValueError where the sizes do not fit."""
    is_classifier = signature.kind == "classifier"
    width = (len(signature.labels[0]) if signature.has_probabilities else 0) if is_classifier else signature.targets
    return Answers(
        np.frombuffer(told.labels, dtype="<i8").reshape(rows, signature.targets if is_classifier else 0),
        np.frombuffer(told.scores, dtype="<f8").reshape(rows, width),
        np.frombuffer(told.margins, dtype="<f8").reshape(rows),
        np.frombuffer(told.answered, dtype=np.bool_).reshape(rows),
    )


def check_signature(signature: Signature) -> None:
    """Bound everything that a child may write into a signature. Raises NotConvertible."""
    for is_right, what in (
        (1 <= len(signature.columns) <= MAX_COLUMNS, "the number of columns"),
        (len({column.name for column in signature.columns}) == len(signature.columns), "two columns of one name"),
        (all(_is_column_right(column) for column in signature.columns), "a column"),
        (
            1 <= signature.targets <= MAX_TARGETS and (signature.is_multi_target or signature.targets == 1),
            "the number of targets",
        ),
        (_are_labels_right(signature), "the labels"),
        (
            not signature.has_probabilities or (signature.kind == "classifier" and not signature.is_multi_target),
            "the probabilities",
        ),
    ):
        if not is_right:
            raise NotConvertible(f"The converted model's signature is out of bounds: {what}.")


def _is_column_right(column: Column) -> bool:
    is_text_right = (
        _is_label_right(column.name) and column.name != "" and _is_label_right(column.dtype) and len(column.dtype) <= 40
    )
    bounds = [value for value in (column.minimum, column.maximum) if value is not None]
    categories = column.categories or ()
    return (
        is_text_right
        and all(map(math.isfinite, bounds))
        and len(categories) <= MAX_LABELS
        and all(map(_is_label_right, categories))
    )


def _are_labels_right(signature: Signature) -> bool:
    count = sum(map(len, signature.labels))
    if signature.kind == "regressor":
        return count == 0
    is_complete = len(signature.labels) == signature.targets and all(signature.labels)
    return (
        is_complete
        and count <= MAX_LABELS
        and all(_is_label_right(label) for labels in signature.labels for label in labels)
    )


def _is_label_right(label: Label) -> bool:
    if isinstance(label, str):
        return len(label) <= MAX_TEXT and is_plain(label) and MISSING_STRING not in label
    return not isinstance(label, float) or math.isfinite(label)
