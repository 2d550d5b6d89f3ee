"""Writes the report of a conversion: its accuracy, its worst row, and whether it must wait for its owner."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from serval.conversion.expected import Comparison, Expected, as_text, compared, minor
from serval.conversion.messages import Conversion, Inspection
from serval.conversion.plain_text import plain
from serval.conversion.refusals import of_outcomes
from serval.conversion.report import FormTried, Parity, Report, WorstRow
from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import MISSING_STRING, Column, Signature
from serval.conversion.verify.verify import compare
from serval.errors import ServalError

MAX_SHOWN_VALUES = 100


def verified_report(
    conversion: Conversion,
    rows: Rows,
    original: Answers,
    converted: Answers,
    expected: Expected | None,
    started: float,
    is_beside_jump: npt.NDArray[np.bool_] | None = None,
) -> Report:
    """Compare the answers, and return the report of the conversion. Raises NotVerified with the report in `extra`, also
    where the converted answers are not those expected, unless a version computed these that proves nothing.

    `started`: `time.monotonic()` when the conversion began. `is_beside_jump`, `[rows]`: rows where the original gives
    the converted answer within four float64 steps.
    """
    parity = compare(conversion.signature, original, converted, is_beside_jump=is_beside_jump)
    comparison = None
    if expected is not None:
        comparison = compared(conversion.signature, original, converted, expected, is_beside_jump)
    report = _report(conversion, parity, rows, original, converted, expected, comparison, time.monotonic() - started)
    if parity.reason is not None:
        raise _with_report(_not_verified(conversion, parity), report)
    if comparison is not None and comparison.first is not None and _counts(expected, conversion):
        difference = _difference(conversion.signature, rows, comparison, comparison.first)
        raise _with_report(_not_expected(comparison, difference), report)
    return report


def _with_report(error: ServalError, report: Report) -> ServalError:
    error.extra = {"report": msgspec.to_builtins(report)}
    return error


def _counts(expected: Expected | None, conversion: Conversion) -> bool:
    """Whether expected answers that differ show a fault: those of the version that saved the file do, and those of
    which nobody says another."""
    saved_with = conversion.scikit_learn_saved_with or conversion.scikit_learn_verified_with
    return expected is not None and (expected.scikit_learn is None or _is_of(expected, saved_with))


def _difference(signature: Signature, rows: Rows, comparison: Comparison, index: int) -> str:
    """The row that does not agree, and how."""
    cells = row_cells(signature, rows, index)
    names = [column.name for column in signature.columns]
    shown = as_text(dict(zip(names, cells, strict=True)) if signature.has_names else cells)
    return f"row {index + 1} ({shown}): {comparison.problem}"


def _not_expected(comparison: Comparison, difference: str) -> ServalError:
    differing = comparison.rows - comparison.agreeing
    return of_outcomes.NOT_AS_EXPECTED(differing=differing, rows=comparison.rows, first=difference)


def _report(
    conversion: Conversion,
    parity: Parity,
    rows: Rows,
    original: Answers,
    converted: Answers,
    expected: Expected | None,
    comparison: Comparison | None,
    seconds: float,
) -> Report:
    """The report of a conversion; texts from a confined process are made plain."""
    saved_with = conversion.scikit_learn_saved_with and plain(conversion.scikit_learn_saved_with, 40)
    verified_with = plain(conversion.scikit_learn_verified_with, 40)
    notes = [plain(note, 300) for note in conversion.notes]
    if parity.refused:
        notes.append(f"The original refuses {parity.refused} of the rows that were tried; the service answers them.")
    if comparison is not None and comparison.first is not None and not _counts(expected, conversion):
        difference = _difference(conversion.signature, rows, comparison, comparison.first)
        notes.append(plain(f"Not counted, for another scikit-learn computed it: {difference}", 300))
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
        expected_rows=comparison.rows if comparison else 0,
        expected_agreement=comparison.agreement if comparison else None,
        hold_reason=hold_reason(conversion, expected, comparison),
        notes=notes,
        seconds=round(seconds, 3),
        rows_beside_jumps=parity.jumps,
    )


def hold_reason(conversion: Conversion, expected: Expected | None, comparison: Comparison | None) -> str | None:
    """Why a version must wait for its owner: parity with an object that another scikit-learn version loaded proves
    nothing about the saved one, unless that version is known to evaluate it so, or its own answers show it."""
    saved_with = conversion.scikit_learn_saved_with and plain(conversion.scikit_learn_saved_with, 40)
    verified_with = plain(conversion.scikit_learn_verified_with, 40)
    if saved_with is None or minor(saved_with) == minor(verified_with) or conversion.is_evaluated_as_saved:
        return None
    if expected is not None and comparison is not None:
        if comparison.is_complete and _is_of(expected, saved_with):
            return None
        found = f" The {comparison.rows} expected answers do not show it: {_weakness(expected, saved_with)}."
    else:
        found = ""
    return of_outcomes.HELD_VERSION.text(version=saved_with, present=verified_with, found=found)


def _is_of(expected: Expected, version: str) -> bool:
    return expected.scikit_learn is not None and minor(expected.scikit_learn) == minor(version)


def _weakness(expected: Expected, saved_with: str) -> str:
    if expected.scikit_learn is None:
        return "they do not say which scikit-learn computed them (`expected_with`)"
    if not _is_of(expected, saved_with):
        return f"scikit-learn {plain(expected.scikit_learn, 40)} computed them"
    return "they hold no `probabilities`"


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
            cells.append(_number(column, next(numbers)))
    return cells


def row_by_name(signature: Signature, rows: Rows, index: int) -> dict[str, Any]:
    """One row by column name, as JSON has it, without the columns that nothing reads."""
    return signature.by_name(row_cells(signature, rows, index))


def _number(column: Column, value: float) -> bool | float | str | None:
    if not np.isfinite(value):
        return None
    if column.kind == "timestamp":
        return column.moment_text(value)
    return bool(value) if column.kind == "boolean" else value


def plain_inspection(inspection: Inspection) -> Inspection:
    """An inspection whose texts, which a confined process wrote, are made plain, except names of columns and labels:
    these stay as they are, and the command line escapes them where it prints them."""
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


def _not_verified(conversion: Conversion, parity: Parity) -> ServalError:
    """Why a conversion is refused whose graph answers differently."""
    name = plain(conversion.estimator, 100)
    if not parity.rows:
        return of_outcomes.ONLY_REFUSALS(type=name)
    return of_outcomes.NOT_VERIFIED(type=name, reason=parity.reason)
