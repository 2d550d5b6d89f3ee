"""Rows of tables, arrays, lists and dicts, as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timezone
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, Union

Value = Union[None, bool, int, float, str]
Row = Union[dict[str, Value], list[Value]]


def rows_of(data: Any) -> list[Row]:
    """The rows of a pandas frame, an array or sparse matrix `[rows, columns]`, or a list of rows; one row of a dict, a
    pandas series, an array `[columns]` or a list of values.

    Raises TypeError for other data, ValueError for values that JSON cannot hold.
    """
    if is_frame(data):
        return frame_rows(data)
    if hasattr(data, "index") and hasattr(data, "to_dict"):
        data = data.to_dict() if has_names(data.index) else data.tolist()
    if hasattr(data, "toarray"):
        data = data.toarray()
    if not isinstance(data, Mapping) and (isinstance(data, (str, bytes)) or not isinstance(data, Iterable)):
        raise TypeError(f"expected rows (a frame, an array, a list or a dict), got {type(data).__name__}")
    many = [data] if isinstance(data, Mapping) else list(data)
    if not many:
        raise ValueError("there are no rows")
    if not is_row(many[0]):
        many = [many]
    return [row_of(row, number) for number, row in enumerate(many, 1)]


def is_frame(data: Any) -> bool:
    return hasattr(data, "columns") and hasattr(data, "iloc")


def is_row(item: Any) -> bool:
    """Whether an item of a list is a row, and not a value."""
    return isinstance(item, (Mapping, list, tuple)) or getattr(item, "ndim", 0) == 1


def has_names(labels: Iterable[Any]) -> bool:
    return all(isinstance(label, str) for label in labels)


def row_of(row: Any, number: int) -> Row:
    if isinstance(row, Mapping):
        return {str(name): value_of(value, number, f"`{name}`") for name, value in row.items()}
    return [value_of(value, number, f"column {position}") for position, value in enumerate(row, 1)]


def frame_rows(frame: Any) -> list[Row]:
    """By name if the frame's columns have names, as for scikit-learn, else by position."""
    if not has_names(frame.columns):
        return [list(row) for row in zip(*columns_of(frame))]
    if not frame.columns.is_unique:
        raise ValueError("the frame has two columns of the same name")
    return [dict(zip(frame.columns, row)) for row in zip(*columns_of(frame))]


def columns_of(frame: Any) -> list[list[Value]]:
    return [
        [value_of(value, number, f"`{name}`") for number, value in enumerate(frame.iloc[:, position].tolist(), 1)]
        for position, name in enumerate(frame.columns)
    ]


def value_of(value: Any, number: int, column: str) -> Value:
    """A value as JSON has it, exactly: NaN, NaT and NA are null, a moment is RFC 3339.

    Raises TypeError, ValueError with the row and the column.
    """
    try:
        return plain(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"row {number}, {column}: {error}") from None


def plain(value: Any) -> Value:
    if isinstance(value, float):  # most values are
        return finite(float(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    kind = type(value).__name__
    if isinstance(value, Integral) and kind != "timedelta64":  # which NumPy takes for an integer
        return int(value)
    if isinstance(value, (Real, Decimal)) and not isinstance(value, Integral):
        return finite(float(value))
    if kind in {"bool_", "bool"}:
        return bool(value)
    if kind in {"NAType", "NaTType"}:
        return None
    if kind == "datetime64":
        value = moment_of(value)
    if value is None:
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(timezone.utc)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a {kind} is no number, text, boolean or moment")


def finite(number: float) -> float | None:
    if math.isinf(number):
        raise ValueError("JSON has no infinity")
    return None if math.isnan(number) else number


def moment_of(value: Any) -> datetime | None:
    """A NumPy `datetime64` as Python has it. Raises ValueError for nanoseconds, and years beyond 9999."""
    moment: Any = value.astype("datetime64[us]")
    if moment != value and str(value) != "NaT":
        raise ValueError(f"{value} is finer than microseconds")
    found = moment.item()
    if found is not None and not isinstance(found, datetime):
        raise ValueError(f"{value} is beyond the year 9999")
    return found
