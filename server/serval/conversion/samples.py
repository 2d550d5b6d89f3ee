"""Rows that came with an upload, as rows of plain values by position."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serval.conversion import timestamps
from serval.conversion.plain_text import plain
from serval.conversion.refusals import of_outcomes
from serval.conversion.refusals.kind import Kind
from serval.conversion.rows import Rows
from serval.conversion.signature import MISSING_STRING, Column, Label, Signature
from serval.errors import ServalError

Cell = Label | None
Row = list[Cell] | dict[str, Cell]
Sample = Sequence[Row]
BOOLEANS = {"true": True, "false": False, "True": True, "False": False}


def by_position(sample: Sample, names: Sequence[str], optional: Collection[str] = ()) -> list[list[Cell]]:
    """Rows in the order of the columns; an optional column that a row leaves out is None.

    Raises InvalidFeatures for a row that lacks another column or has one that is none of these.
    """
    return [_row(row, names, optional, index) for index, row in enumerate(sample)]


def _row(row: Row, names: Sequence[str], optional: Collection[str], index: int) -> list[Cell]:
    if isinstance(row, dict):
        absent = [name for name in names if name not in row and name not in optional]
        unknown = [name for name in row if name not in set(names)]
        if absent or unknown:
            kind = of_outcomes.SAMPLE_LACKS_COLUMN if absent else of_outcomes.SAMPLE_UNKNOWN_COLUMN
            raise _misfit(kind, index, column=plain((absent or unknown)[0], 100))
        return [row.get(name) for name in names]
    if len(row) != len(names):
        raise _misfit(of_outcomes.SAMPLE_WIDTH, index, given=len(row), count=len(names))
    return list(row)


def _misfit(kind: Kind, index: int, **values: object) -> ServalError:
    error = kind(row=index + 1, **values)
    error.errors = [(f"sample[{index}]", error.message)]
    return error


def guess_types(rows: list[list[Cell]]) -> list[list[Cell]]:
    """Cells of text read as what their whole column looks like: booleans, numbers, else text; an empty cell is
    missing."""
    columns = (
        [
            _guess_column(["" if row[index] is None else str(row[index]) for row in rows])
            for index in range(len(rows[0]))
        ]
        if rows
        else []
    )
    return [[column[row] for column in columns] for row in range(len(rows))]


def _guess_column(cells: list[str]) -> list[Cell]:
    present = [cell for cell in cells if cell]
    if present and all(cell in BOOLEANS for cell in present):
        return [BOOLEANS[cell] if cell else None for cell in cells]
    if all(_is_number(cell) for cell in present):
        return [float(cell) if cell else None for cell in cells]
    return [cell or None for cell in cells]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def fitting(sample: Sample, columns: Sequence[Column], *, is_text: bool) -> list[list[Cell]]:
    """The sample by position, each cell as its column takes it. Raises InvalidFeatures."""
    optional = {column.name for column in columns if column.kind == "unused"}
    rows = by_position(sample, [column.name for column in columns], optional)
    return [
        [_fitting_cell(cell, column, index, is_text) for cell, column in zip(row, columns, strict=True)]
        for index, row in enumerate(rows)
    ]


def _fitting_cell(cell: Cell, column: Column, index: int, is_text: bool) -> Cell:
    if cell is None or (is_text and cell == "") or column.kind == "unused":
        return None
    if column.kind == "string":
        if isinstance(cell, str):
            return cell
        raise _unfit(column, index, "expected a string")
    if column.kind == "timestamp":
        return _fitting_timestamp(cell, column, index)
    if is_text and isinstance(cell, str):
        if cell in BOOLEANS:
            return BOOLEANS[cell]
        if _is_number(cell):
            return float(cell)
    if isinstance(cell, str):
        raise _unfit(column, index, "expected a number" if column.kind == "number" else "expected true or false")
    return cell


def _fitting_timestamp(cell: Cell, column: Column, index: int) -> float:
    if not isinstance(cell, str):
        raise _unfit(column, index, timestamps.expected(column.dtype))
    try:
        return column.moment(cell)
    except timestamps.NotATimestampError as error:
        raise _unfit(column, index, str(error)) from None


def timestamps_of(column: Column, cells: Sequence[Any]) -> NDArray[np.float64]:
    """Cells of text as microseconds, `[rows]`; what pandas takes for missing is NaN. Raises InvalidFeatures."""
    is_missing = [cell is None or cell != cell for cell in cells]  # noqa: PLR0124 NaN and NaT differ from themselves
    return np.array(
        [
            np.nan if missing else _fitting_timestamp(cell, column, index)
            for index, (cell, missing) in enumerate(zip(cells, is_missing, strict=True))
        ],
        dtype=np.float64,
    )


def _unfit(column: Column, index: int, problem: str) -> ServalError:
    error = of_outcomes.SAMPLE_VALUE(row=index + 1, column=plain(column.name, 100), problem=problem)
    error.errors = [(f"sample[{index}].{column.name}", problem)]
    return error


def rows_of(signature: Signature, cells: Sequence[Sequence[Any]]) -> Rows:
    """Rows of plain values as a graph takes them; None is missing, a timestamp RFC 3339 or microseconds."""
    text_columns = [index for index, column in enumerate(signature.columns) if column.kind == "string"]
    number_columns = [(index, column) for index, column in enumerate(signature.columns) if column.is_number]
    numbers = np.array(
        [[_number(column, row[index]) for index, column in number_columns] for row in cells], dtype=np.float64
    )
    strings = np.empty((len(cells), len(text_columns)), dtype=object)
    for position, row in enumerate(cells):
        strings[position] = [MISSING_STRING if row[index] is None else str(row[index]) for index in text_columns]
    return Rows(numbers.reshape(len(cells), len(number_columns)), strings)


def _number(column: Column, cell: Any) -> float:
    if cell is None:
        return float(np.nan)
    is_text = column.kind == "timestamp" and isinstance(cell, str)
    return column.moment(cell) if is_text else float(cell)
