"""What the server and its confined processes send each other."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec
import numpy as np

from serval.conversion.hints import Hints
from serval.conversion.report import FormTried
from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import MAX_TEXT, Label, Signature

MAX_COLUMNS = MAX_LABELS = 10_000
MAX_CATEGORIES = 1_000_000
"""Of all columns together."""
MAX_TARGETS = 1000
MAX_NAME = 200
MAX_ROWS = 20_000
SAMPLE_ROWS = 300
Text = Annotated[str, msgspec.Meta(max_length=2000)]
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
Cell = bool | int | float | str | None
Sample = list[list[Cell] | dict[str, Cell]]


class Engine(Protocol):
    """Runs a graph: the data plane, or ONNX Runtime alone."""

    def run(self, onnx: bytes, signature: Signature, rows: Rows) -> Answers: ...


class InspectRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit_bytes: int


class Inspection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in a file."""

    format: Name
    compression: Name | None
    estimator: Name
    kind: Name | None
    """`classifier` or `regressor`; None if it is neither, which `problem` explains."""
    steps: Annotated[list[Name], msgspec.Meta(max_length=100)]
    scikit_learn_saved_with: Name | None
    scikit_learn_verified_with: Name
    columns: Annotated[list[Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]], msgspec.Meta(max_length=MAX_COLUMNS)]
    labels: Annotated[list[Label], msgspec.Meta(max_length=MAX_LABELS)]
    notes: Annotated[list[Text], msgspec.Meta(max_length=20)]
    problem: Text | None


class ConvertRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit_bytes: int
    columns: list[str] | None
    sample: Sample
    is_text: bool
    """The sample's cells are text (CSV); how to read them depends on their column."""


class PackedRows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows: `numbers` float64 `[rows, n]`, row-major, little-endian; `strings` `rows * m`."""

    rows: Annotated[int, msgspec.Meta(ge=0, le=MAX_ROWS)]
    numbers: bytes
    strings: list[str]


class Conversion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    onnx: bytes
    signature: Signature
    hints: Hints
    rows: PackedRows
    """Rows to verify on beside those that the server chooses; it adds them, and leaves out none of its own."""
    form: Name
    tried: Annotated[list[FormTried], msgspec.Meta(max_length=10)]
    estimator: Name
    scikit_learn_saved_with: Name | None
    scikit_learn_verified_with: Name
    is_evaluated_as_saved: bool
    """Whether the version that saved it is this one, or is known to evaluate its estimators as this one does here."""
    notes: Annotated[list[Text], msgspec.Meta(max_length=20)]


class PackedAnswers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answers: `labels` int64 `[rows, targets]`, `scores` and `margins` float64, `answered` one byte per row;
    little-endian."""

    labels: bytes
    scores: bytes
    margins: bytes
    answered: bytes


class EngineRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    onnx: bytes
    signature: Signature
    hints: Hints
    extra: PackedRows
    sample: Sample
    is_text: bool


class EngineResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rows: PackedRows
    answers: PackedAnswers


class AnswerRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    onnx: bytes
    signature: Signature
    rows: PackedRows


class ReferenceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit_bytes: int
    signature: Signature
    rows: PackedRows


def encode(content: Any) -> bytes:
    return msgspec.msgpack.encode(content)


def pack_rows(rows: Rows) -> PackedRows:
    return PackedRows(len(rows), rows.numbers.astype("<f8").tobytes(), [str(cell) for cell in rows.strings.ravel()])


def unpack_rows(packed: PackedRows, signature: Signature) -> Rows:
    """Rows with the widths of the signature. Raises ValueError if the sizes do not fit."""
    string_columns = sum(column.kind == "string" for column in signature.columns)
    number_columns = sum(column.is_number for column in signature.columns)
    numbers = np.frombuffer(packed.numbers, dtype="<f8").reshape(packed.rows, number_columns).copy()
    strings = np.empty(packed.rows * string_columns, dtype=object)
    strings[:] = packed.strings
    return Rows(numbers, strings.reshape(packed.rows, string_columns))


def pack_answers(answers: Answers) -> PackedAnswers:
    return PackedAnswers(
        answers.labels.astype("<i8").tobytes(),
        answers.scores.astype("<f8").tobytes(),
        answers.margins.astype("<f8").tobytes(),
        answers.is_answered.tobytes(),
    )


def unpack_answers(packed: PackedAnswers, signature: Signature, rows: int) -> Answers:
    """Answers with the widths of the signature. Raises ValueError if the sizes do not fit."""
    return Answers(
        np.frombuffer(packed.labels, dtype="<i8").reshape(rows, signature.label_width),
        np.frombuffer(packed.scores, dtype="<f8").reshape(rows, signature.score_width),
        np.frombuffer(packed.margins, dtype="<f8").reshape(rows, signature.label_width),
        np.frombuffer(packed.answered, dtype=np.bool_).reshape(rows),
    )
