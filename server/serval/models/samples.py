"""Rows that come with an upload, and the row that goes out as its example."""

import csv
import io
import math
from typing import Any

import msgspec
import numpy as np

from serval.conversion.freeze import FreezeRequest
from serval.conversion.signature import MISSING_STRING, Column, Signature
from serval.errors import BadRequest

ANSWER = "prediction"
"""The column of a sample that holds the answers expected."""

Cell = bool | int | float | str | None
JsonRow = dict[str, Cell | list[Cell | list[float] | dict[str, float]] | dict[str, float]] | list[Cell]


PROBABILITIES = "probabilities"
"""Beside it, of a JSON row: the probabilities expected, by label or in the order of the model's classes; of several
targets a list of these."""


def freeze_request(
    columns: list[str] | None, sample: str | None, limit_bytes: int, expected_with: str | None = None
) -> FreezeRequest:
    """Return what a conversion is asked, from the fields of an upload: `sample` is CSV with a header, or JSON rows;
    `expected_with` is the scikit-learn that computed the answers in it. Raises BadRequest."""
    if sample is None or not sample.strip():
        if expected_with is not None:
            raise BadRequest(f"`expected_with`: there is no sample with a column `{ANSWER}` of expected answers.")
        return FreezeRequest(columns=columns, limit_bytes=limit_bytes)
    is_json = sample.lstrip().startswith("[")
    rows = _json_rows(sample) if is_json else _csv_rows(sample)
    if not rows:
        raise BadRequest("`sample`: has no rows. Send a few real ones, or leave it out.")
    answers = _popped(rows, ANSWER)
    probabilities = _popped(rows, PROBABILITIES) if answers and is_json else []
    if expected_with is not None and not answers:
        raise BadRequest(f"`expected_with`: the sample has no column `{ANSWER}` of expected answers.")
    fields = {
        "columns": columns,
        "sample": rows,
        "is_text": not is_json,
        "expected": {"answers": answers, "probabilities": probabilities or None, "scikit_learn": expected_with}
        if answers
        else None,
        "limit_bytes": limit_bytes,
    }
    try:
        request = msgspec.convert(fields, FreezeRequest)
    except msgspec.ValidationError as error:
        raise BadRequest(f"`sample`: {error}.") from None
    _check_cells(request)
    return request


def _popped(rows: list[JsonRow], name: str) -> list[Any]:
    """This member of all rows, taken out of them; empty if none has it. Raises BadRequest if only some have."""
    values = [row.pop(name) for row in rows if isinstance(row, dict) and name in row]
    if values and len(values) != len(rows):
        raise BadRequest(
            f"`sample`: {len(values)} of {len(rows)} rows have `{name}`: give what is expected for each row, or for"
            " none."
        )
    return values


def _check_cells(request: FreezeRequest) -> None:
    """Refuse what no request may hold either, and integers that fit no column. Raises BadRequest."""
    for number, row in enumerate(request.sample, 1):
        for cell in row.values() if isinstance(row, dict) else row:
            if isinstance(cell, str) and ("\0" in cell or MISSING_STRING in cell):
                raise BadRequest(f"`sample`: row {number} has a string with U+0000 or U+001A in it.")
            if isinstance(cell, int) and abs(cell) > 2**53:
                raise BadRequest(
                    f"`sample`: row {number} has the integer {str(cell)[:40]}, beyond the 2^53 that float64 holds "
                    "exactly."
                )


def _json_rows(text: str) -> list[JsonRow]:
    try:
        return msgspec.json.decode(text, type=list[JsonRow])
    except msgspec.DecodeError as error:
        raise BadRequest(f"`sample`: not a JSON list of rows: {error}.") from None


def _csv_rows(text: str) -> list[JsonRow]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        records = [record for record in reader if record]
    except csv.Error as error:
        raise BadRequest(f"`sample`: not CSV, line {reader.line_num}: {error}.") from None
    header, rows = records[0], records[1:]
    ragged = next((number for number, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if ragged is not None or len(set(header)) != len(header):
        raise BadRequest(f"`sample`: row {ragged or 1} does not fit the header {','.join(header)[:200]}.")
    return [dict(zip(header, row, strict=True)) for row in rows]


def example_body(signature: Signature, numbers: bytes, strings: list[str]) -> dict[str, Any]:
    """Return the first probe row as the body of a prediction. `numbers`: float64 `[rows, n]`, `strings`: `rows * m`."""
    number_cells = iter(np.frombuffer(numbers, dtype=np.float64).tolist())
    string_cells = iter(strings)
    cells = [
        None
        if column.kind == "unused"
        else _cell(next(string_cells if column.kind == "string" else number_cells), column)
        for column in signature.columns
    ]
    return {"input": signature.request_row(cells)}


def _cell(value: Any, column: Column) -> Cell:
    if column.kind == "string":
        return None if value == MISSING_STRING else str(value)
    if not math.isfinite(value):  # NaN stands for a missing number, and JSON has no infinity
        return None
    if column.kind == "boolean":
        return bool(value)
    if column.kind == "timestamp":
        return column.moment_text(value)
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(value)
