"""Writes the report of a conversion: its accuracy, its worst row, and whether it must wait for its owner."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from serval.conversion.messages import SAMPLE_ROWS, Conversion, Inspection
from serval.conversion.plain_text import plain
from serval.conversion.report import FormTried, Parity, Report, WorstRow
from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import MISSING_STRING, Label, Signature
from serval.conversion.verify.verify import TOLERANCE, compare
from serval.errors import NotVerified

MAX_SHOWN_VALUES = 100


def verified_report(
    conversion: Conversion,
    rows: Rows,
    original: Answers,
    converted: Answers,
    expected: Sequence[Label | list[Label]] | None,
    started: float,
    is_beside_jump: npt.NDArray[np.bool_] | None = None,
) -> Report:
    """Compare the answers, and return the report of the conversion. Raises NotVerified with the report in `extra`.

    `started`: `time.monotonic()` when the conversion began. `is_beside_jump`, `[rows]`: rows where the original gives
    the converted answer within four float64 steps.
    """
    parity = compare(conversion.signature, original, converted, is_beside_jump=is_beside_jump)
    report = _report(conversion, parity, rows, original, converted, expected, time.monotonic() - started)
    if parity.reason is not None:
        raise NotVerified(_not_verified(conversion, parity), extra={"report": msgspec.to_builtins(report)})
    return report


def _report(
    conversion: Conversion,
    parity: Parity,
    rows: Rows,
    original: Answers,
    converted: Answers,
    expected: Sequence[Label | list[Label]] | None,
    seconds: float,
) -> Report:
    """The report of a conversion; texts from a confined process are made plain."""
    saved_with = conversion.scikit_learn_saved_with and plain(conversion.scikit_learn_saved_with, 40)
    verified_with = plain(conversion.scikit_learn_verified_with, 40)
    expected_rows, agreement = expected_agreement(conversion.signature, converted, expected)
    notes = [plain(note, 300) for note in conversion.notes]
    if parity.refused:
        notes.append(f"The original refuses {parity.refused} of the rows that were tried; the service answers them.")
    worst = None
    if parity.worst is not None:
        worst = worst_row(conversion.signature, rows, original, converted, parity.worst)
    return Report(
        form=plain(conversion.form, 40),
        forms_tried=[
            FormTried(plain(form.name, 40), form.reason and plain(form.reason, 500)) for form in conversion.tried
        ],
        rows=parity.rows,
        rows_refused_by_original=parity.refused,
        ties=parity.ties,
        agreement=parity.agreement,
        largest_difference=parity.largest_difference,
        mean_difference=parity.mean_difference,
        worst_row=worst,
        estimator=plain(conversion.estimator, 100),
        scikit_learn_saved_with=saved_with,
        scikit_learn_verified_with=verified_with,
        expected_rows=expected_rows,
        expected_agreement=agreement,
        hold_reason=hold_reason(
            saved_with, verified_with, agreement, is_evaluated_as_saved=conversion.is_evaluated_as_saved
        ),
        notes=notes,
        seconds=round(seconds, 3),
        rows_beside_jumps=parity.jumps,
    )


def hold_reason(
    saved_with: str | None, verified_with: str, agreement: float | None, *, is_evaluated_as_saved: bool
) -> str | None:
    """Why a version must wait for its owner: parity with an object that another scikit-learn version loaded proves
    nothing about the saved one, unless that version is known to evaluate it so."""
    if saved_with is None or _minor(saved_with) == _minor(verified_with) or agreement == 1.0:
        return None
    if agreement is None and is_evaluated_as_saved:
        return None
    versions = f"Saved with scikit-learn {saved_with}, loaded with {verified_with}"
    if agreement is not None:
        return f"{versions}: only {agreement:.1%} of the expected answers match. Fit it again."
    return (
        f"{versions}: nothing shows that it still answers as before. Send expected answers with the sample"
        f" (`serval model push` does), fit it again with {verified_with}, or promote it yourself."
    )


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def expected_agreement(
    signature: Signature, converted: Answers, expected: Sequence[Label | list[Label]] | None
) -> tuple[int, float | None]:
    """(rows, share that matches) of the expected answers for the first rows, which are the sample's."""
    if not expected:
        return 0, None
    count = min(len(expected), len(converted.is_answered), SAMPLE_ROWS)
    matches = [_is_match(signature, converted, index, expected[index]) for index in range(count)]
    return count, sum(matches) / count


def _is_match(signature: Signature, converted: Answers, index: int, expected: Label | list[Label]) -> bool:
    targets = expected if isinstance(expected, list) else [expected]
    if len(targets) != signature.targets:
        return False
    if signature.kind == "classifier":
        predicted = [
            labels[code]
            for labels, code in zip(signature.labels, converted.labels[index].tolist(), strict=True)
            if 0 <= code < len(labels)
        ]
        return len(predicted) == len(targets) and all(
            _is_same(label, target) for label, target in zip(predicted, targets, strict=True)
        )
    if not all(isinstance(target, int | float) for target in targets):
        return False
    values = np.asarray(targets, dtype=np.float64)
    return bool(np.allclose(converted.scores[index], values, rtol=TOLERANCE, atol=0.0, equal_nan=True))


def _is_same(label: Label, expected: Label) -> bool:
    """Equal labels; from CSV every label may be text."""
    if isinstance(expected, str) and not isinstance(label, str):
        return str(label).lower() == expected.lower() or (
            isinstance(label, int | float) and _as_number(expected) == float(label)
        )
    return isinstance(label, str) == isinstance(expected, str) and label == expected


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def worst_row(signature: Signature, rows: Rows, original: Answers, converted: Answers, index: int) -> WorstRow:
    left, right = _values(original, index), _values(converted, index)
    differences = [abs(a - b) for a, b in zip(left, right, strict=True) if a is not None and b is not None]
    return WorstRow(row_cells(signature, rows, index), left, right, float(max(differences, default=0.0)))


def _values(answers: Answers, index: int) -> list[float | None]:
    values = [*answers.labels[index].tolist(), *answers.scores[index].tolist()][:MAX_SHOWN_VALUES]
    return [float(value) if np.isfinite(value) else None for value in values]


def row_cells(signature: Signature, rows: Rows, index: int) -> list[Any]:
    """A row by column; None is a missing value."""
    numbers, strings = iter(rows.numbers[index].tolist()), iter(rows.strings[index].tolist())
    cells: list[Any] = []
    for column in signature.columns:
        if column.kind == "string":
            text = next(strings)
            cells.append(None if text == MISSING_STRING else text)
        elif column.kind == "unused":
            cells.append(None)
        else:
            value = next(numbers)
            cells.append(None if not np.isfinite(value) else bool(value) if column.kind == "boolean" else value)
    return cells


def plain_inspection(inspection: Inspection) -> Inspection:
    """An inspection whose texts, which a confined process wrote, are made plain but for columns and labels: those are
    data, and whoever prints them escapes them."""
    return msgspec.structs.replace(
        inspection,
        format=plain(inspection.format, 20),
        compression=inspection.compression and plain(inspection.compression, 20),
        estimator=plain(inspection.estimator, 100),
        steps=[plain(step, 100) for step in inspection.steps],
        scikit_learn_saved_with=inspection.scikit_learn_saved_with and plain(inspection.scikit_learn_saved_with, 40),
        scikit_learn_verified_with=plain(inspection.scikit_learn_verified_with, 40),
        notes=[plain(note, 300) for note in inspection.notes],
        problem=inspection.problem and plain(inspection.problem, 1000),
    )


def _not_verified(conversion: Conversion, parity: Parity) -> str:
    """Why a conversion is refused whose graph answers differently."""
    return (
        f"`{plain(conversion.estimator, 100)}` was converted, but the graph does not answer like the original:"
        f" {parity.reason}. Nothing was made live; the report shows the worst row."
    )
