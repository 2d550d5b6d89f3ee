"""Values as a caller sent them become columns of the model's tensors, or are refused with the place and the reason."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from serval.conversion import timestamps
from serval.conversion.signature import MISSING_STRING, Column, Signature
from serval.errors import InvalidFeatures
from serval.predictions.exact_json import LARGEST_EXACT_INTEGER, InexactInteger, shown

MAX_ERRORS = 10
"""How many wrong values one answer names."""

_NOT_IN_STRINGS = re.compile(f"[{MISSING_STRING}\0]")
"""The marker of a missing string, and the end of a string for ONNX Runtime."""


_LARGEST = float(np.finfo(np.float64).max)

Read = TypeVar("Read", float, str)


class _Skipped(Enum):
    SKIPPED = "skipped"


SKIPPED: Final = _Skipped.SKIPPED
"""Stands where the body held no value to judge, because the row is wrong in a way that is already reported."""


class Decoded(msgspec.Struct, frozen=True):
    """Rows of a request, ready for the graph."""

    is_list: bool
    """The body said `inputs` or was CSV, so the answer is a list."""
    rows: int
    numbers: bytes
    """float64 `[rows, n]`, row-major; NaN = missing, booleans as 0 and 1, timestamps in microseconds since 1970."""
    strings: list[str]
    """`rows * m`, row-major; MISSING_STRING = missing."""
    model_name: str | None = None


class Wrong(NamedTuple):
    """One wrong part of a request; sorts by where it is."""

    row: int
    column: int
    path: str
    message: str


class _UnfitError(ValueError):
    """A value that does not fit its column; the message says what would."""


def tensors(
    signature: Signature, rows: Sequence[Sequence[object]], path: Callable[[int, int], str], wrong: Iterable[Wrong] = ()
) -> tuple[bytes, list[str]]:
    """The graph's inputs (`numbers`, `strings`: see Decoded) for rows whose cells are in column order.

    `path(row, column)` names a cell; `wrong` is what the caller found already. Raises InvalidFeatures with the first
    ten problems.
    """
    numbers: list[NDArray[np.float64]] = []
    strings: list[Sequence[str]] = []
    problems = list(wrong)
    for index, (column, cells) in enumerate(zip(signature.columns, zip(*rows, strict=True), strict=True)):
        unfit: list[tuple[int, str]] = []
        if column.kind == "unused":
            continue
        if column.kind == "string":
            strings.append(_strings(column, cells, unfit))
        else:
            numbers.append(_numbers(column, cells, unfit))
        problems += [Wrong(row, index, path(row, index), message) for row, message in unfit]
    if problems:
        raise invalid_features(problems)
    flat = np.stack(numbers, axis=1).tobytes() if numbers else b""
    return flat, [text for row in zip(*strings, strict=True) for text in row]


def invalid_features(problems: Iterable[Wrong]) -> InvalidFeatures:
    """One error for all problems: the first in its sentence, up to ten in its list."""
    named = sorted(problems)[:MAX_ERRORS]
    first = f"{named[0].path}: {named[0].message}"
    more = f" (and {len(named) - 1} more, see `errors`)" if len(named) > 1 else ""
    return InvalidFeatures(first + more, errors=[(problem.path, problem.message) for problem in named])


def _numbers(column: Column, cells: Sequence[object], unfit: list[tuple[int, str]]) -> NDArray[np.float64]:
    plain = _plain_numbers(column, cells)
    if plain is not None:
        return plain
    return np.array(_each(column, cells, _READERS[column.kind], math.nan, unfit), dtype=np.float64)


def _plain_numbers(column: Column, cells: Sequence[object]) -> NDArray[np.float64] | None:
    """The column at once where nothing in it needs a closer look; None where something does."""
    allowed = {float, type(None)} if column.missing else {float}
    if column.kind != "number" or column.categories is not None or not allowed.issuperset(map(type, cells)):
        return None
    array = np.array(cells, dtype=np.float64)
    low, high = _range(column)
    return array if not ((array < low) | (array > high)).any() else None


def _strings(column: Column, cells: Sequence[object], unfit: list[tuple[int, str]]) -> list[str]:
    return _each(column, cells, _string, MISSING_STRING, unfit)


def _each(
    column: Column,
    cells: Sequence[object],
    read: Callable[[Column, object], Read],
    missing: Read,
    unfit: list[tuple[int, str]],
) -> list[Read]:
    """Every cell through `read`, `missing` for null; collects into `unfit` and stops at the tenth problem."""
    values: list[Read] = []
    for row, cell in enumerate(cells):
        try:
            values.append(missing if _is_missing(column, cell) else read(column, cell))
        except _UnfitError as error:
            unfit.append((row, str(error)))
            if len(unfit) == MAX_ERRORS:
                break
    return values


def _is_missing(column: Column, cell: object) -> bool:
    if cell is None and column.missing is None:
        raise _UnfitError("is missing, and the model takes no missing values in this column")
    return cell is None or cell is SKIPPED


def _number(column: Column, cell: object) -> float:
    if isinstance(cell, bool):
        cell = float(cell)
    if isinstance(cell, InexactInteger):
        raise _UnfitError(f"integers beyond ±2**53 ({LARGEST_EXACT_INTEGER}) lose digits as float64, got {shown(cell)}")
    if type(cell) is not float:
        raise _UnfitError(f"expected a number, got {shown(cell)}")
    low, high = _range(column)
    if math.isinf(cell):
        raise _UnfitError("expected a number that float64 can hold, got one beyond ±1.8e308")
    if not low <= cell <= high:
        raise _UnfitError(f"expected a number from {low!r} to {high!r}, got {shown(cell)}")
    return _known(column, cell, cell)


def _boolean(column: Column, cell: object) -> float:
    if isinstance(cell, bool):
        return _known(column, cell, float(cell))
    if type(cell) is float and cell in {0.0, 1.0}:
        return _known(column, bool(cell), abs(cell))
    raise _UnfitError(f"expected true, false, 0 or 1, got {shown(cell)}")


def _timestamp(column: Column, cell: object) -> float:
    if type(cell) is not str:
        raise _UnfitError(f"{timestamps.expected(column.dtype)}, got {shown(cell)}")
    try:
        value = column.moment(cell)
    except timestamps.NotATimestampError as error:
        raise _UnfitError(f"{error}, got {shown(cell)}") from None
    return _known(column, column.moment_text(value), value)


_READERS: Mapping[str, Callable[[Column, object], float]] = {
    "number": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
}


def _string(column: Column, cell: object) -> str:
    if type(cell) is not str:
        raise _UnfitError(f"expected a string, got {shown(cell)}")
    if _NOT_IN_STRINGS.search(cell):
        raise _UnfitError(f"a string may not contain U+0000 or U+{ord(MISSING_STRING):04X}, got {shown(cell)}")
    return _known(column, cell, cell)


def _known(column: Column, category: object, value: Read) -> Read:
    """`value`, where the model knows its category; scikit-learn's `handle_unknown="error"` refuses any other."""
    if column.categories is None or category in column.category_set:
        return value
    known = ", ".join(shown(category) for category in column.categories[:5])
    more = ", ..." if len(column.categories) > 5 else ""
    raise _UnfitError(f"the model was never shown {shown(category)}; it knows {known}{more}")


def _range(column: Column) -> tuple[float, float]:
    low = -_LARGEST if column.minimum is None else column.minimum
    high = _LARGEST if column.maximum is None else column.maximum
    return low, high
