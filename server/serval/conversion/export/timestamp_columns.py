"""Columns of timestamps: what encoders hold of them, how the graph reads them, and the cells the original takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from serval.conversion.export.origins import Origin
from serval.conversion.export.tensor import Tensor
from serval.conversion.signature import Column
from serval.conversion.timestamps import AWARE, DAY, DTYPES, limits

Numbers = npt.NDArray[np.float64]
Marker = Literal["nan", "none", "nat"]

NOT_A_TIME = -(2.0**63)
"""What scikit-learn's numeric steps make of NaT: NumPy casts it to this number."""
PER_MICROSECOND = {"s": 1e-6, "ms": 1e-3, "us": 1.0, "ns": 1e3}
"""How many of a unit are a microsecond: numeric steps read a datetime column as a count of its unit."""
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  columns without a time zone hold such


@dataclass(frozen=True)
class Moments:
    """Categories that are dates or timestamps.

    `dtype`: one of `timestamps.DTYPES`. `keys`: microseconds since 1970 in UTC, None for a missing value. `marker`:
    what stands for a missing value. `finds_missing`: whether an encoder finds it among the categories; NumPy's NaT
    equals nothing.
    """

    dtype: str
    keys: list[float | None]
    marker: Marker
    finds_missing: bool

    @property
    def present(self) -> list[float]:
        return [key for key in self.keys if key is not None]


def moments(categories: npt.NDArray[Any]) -> Moments | None:
    """Categories as moments; None where they are something else, differ in type, or are not whole microseconds of the
    years 1 to 9999 that float64 holds."""
    found = _of_numpy(categories) if categories.dtype.kind == "M" else _of_objects(categories)
    if found is None:
        return None
    dtype, whole, marker = found
    low, high = limits(dtype)
    if not all(key is None or (low <= key <= high and int(float(key)) == key) for key in whole):
        return None
    keys = [None if key is None else float(key) for key in whole]
    return Moments(dtype, keys, marker, categories.dtype.kind == "O") if any(key is not None for key in keys) else None


Found = tuple[str, list[int | None], Marker]


def _of_numpy(categories: npt.NDArray[Any]) -> Found | None:
    unit, count = np.datetime_data(categories.dtype)
    dtype = f"datetime64[{unit}]"
    whole = categories.astype("datetime64[us]")
    is_present = ~np.isnat(categories)
    if count != 1 or dtype not in DTYPES or (whole.astype(categories.dtype) != categories)[is_present].any():
        return None
    microseconds = whole.astype(np.int64).tolist()
    return (
        dtype,
        [key if present else None for key, present in zip(microseconds, is_present.tolist(), strict=True)],
        "nat",
    )


def _of_objects(categories: npt.NDArray[Any]) -> Found | None:
    values = categories.tolist()
    markers = [_marker(value) for value in values]
    dtypes = {_dtype(value) for value, marker in zip(values, markers, strict=True) if marker is None}
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    if dtype is None:
        return None
    known = [marker for marker in markers if marker]
    whole = [_microseconds(value) if marker is None else None for value, marker in zip(values, markers, strict=True)]
    return dtype, whole, known[-1] if known else "nat"


def _marker(value: Any) -> Marker | None:
    if value is None:
        return "none"
    if type(value).__name__ == "NaTType":
        return "nat"
    return "nan" if isinstance(value, float) and value != value else None  # noqa: PLR0124 NaN alone differs from itself


def _dtype(value: Any) -> str | None:
    """Of one date or timestamp; None for anything else, and for one that is finer than microseconds."""
    if type(value) is date:
        return "date"
    if not isinstance(value, datetime) or getattr(value, "nanosecond", None):
        return None
    unit = getattr(value, "unit", None)
    if value.tzinfo is None:
        return "datetime" if unit is None else "Timestamp"
    return f"datetime{AWARE}" if unit is None else f"datetime64[{unit}{AWARE}]"


def _microseconds(value: date) -> int:
    if not isinstance(value, datetime):
        return (value - EPOCH.date()) // timedelta(microseconds=1)
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return int((value - EPOCH) // timedelta(microseconds=1))


def scale(dtype: str) -> float:
    """How many of the unit that numeric steps count, of a column of this dtype, are a microsecond."""
    unit = dtype.removeprefix("datetime64[").removesuffix("]").removesuffix(AWARE)
    return PER_MICROSECOND.get(unit, 1.0)


def graph_numbers(microseconds: Any, dtype: str) -> Numbers:
    """Microseconds as the graph has them after `entered`."""
    numbers = np.asarray(microseconds, dtype=np.float64)
    factor = scale(dtype)
    return np.asarray(numbers * factor if factor >= 1 else numbers / round(1 / factor))


def whole_moments(counts: Iterable[float], dtype: str) -> list[float]:
    """Counts of the unit of a dtype as microseconds, rounded to what the dtype holds."""
    resolution = DTYPES[dtype]
    return [round(count / scale(dtype) / resolution) * float(resolution) for count in counts if np.isfinite(count)]


def entered(numbers: Tensor, columns: list[tuple[int, Column]]) -> Tensor:
    """The graph's input `numbers` as the steps read it: timestamps in the unit of their dtype, NaT where they are
    missing. `columns`: those of the input, each with its index in the model."""
    is_moment = [column.kind == "timestamp" for _, column in columns]
    if not any(is_moment):
        return numbers
    factors = [scale(column.dtype) if column.kind == "timestamp" else 1.0 for _, column in columns]
    read = numbers
    if any(factor > 1 for factor in factors):
        read = read * np.array([max(factor, 1.0) for factor in factors])
    if any(factor < 1 for factor in factors):
        read = read / np.array([round(1 / min(factor, 1.0)) for factor in factors], dtype=np.float64)
    is_missing = read.is_nan() & numbers.constant(np.array([is_moment]))
    origins = [Origin(index, factor) for (index, _), factor in zip(columns, factors, strict=True)]
    return is_missing.choose(NOT_A_TIME, read).with_origins(tuple(origins))


def is_in_frame(column: Column) -> bool:
    """Whether it is a column of timestamps that only a frame, or an array of timestamps alone, can have."""
    return column.kind == "timestamp" and column.dtype.startswith("datetime64[")


def cells(column: Column, microseconds: Numbers) -> Any:
    """A pandas series of a column as the original was fitted on it. `microseconds`: float64 `[rows]`, NaN is missing;
    rounded to what the dtype holds."""
    import pandas as pd

    resolution = DTYPES[column.dtype]
    is_missing = np.isnan(microseconds)
    whole = np.rint(np.where(is_missing, 0.0, microseconds) / resolution).astype(np.int64) * resolution
    stamps = whole.astype("datetime64[us]")
    if is_in_frame(column):
        stamps[is_missing] = np.datetime64("NaT")
        series = pd.Series(stamps)
        series = series.dt.tz_localize("UTC") if AWARE in column.dtype else series
        return series.astype(_pandas_dtype(column.dtype))
    marker = {"none": None, "nan": np.nan}.get(column.missing or "nat", pd.NaT)
    made = [
        marker if missing else _object(column.dtype, moment)
        for moment, missing in zip(stamps.tolist(), is_missing.tolist(), strict=True)
    ]
    out = np.empty(len(made), dtype=object)
    out[:] = made
    return pd.Series(out, dtype=object)


def probe_cells(found: Moments, count: int) -> Any:
    """A series of `count` cells: the categories, the first present one again and again, and last one that is none.

    A missing value that an encoder does not find is replaced by the first present category, too.
    """
    known = found.present
    filled = [known[0] if key is None and not found.finds_missing else key for key in found.keys]
    keys = [*filled, *[known[0]] * (count - 1 - len(filled)), unknown_moment(found.dtype, known)]
    column = Column("", "timestamp", found.dtype, missing=found.marker)
    return cells(column, np.array([np.nan if key is None else key for key in keys]))


def unknown_moment(dtype: str, known: list[float]) -> float:
    """A moment that is none of these, in microseconds."""
    later = max(known) + DAY
    return later if later <= limits(dtype)[1] else min(known) - DAY


def _pandas_dtype(dtype: str) -> str:
    """pandas holds no days, hours or minutes, but seconds."""
    return "datetime64[s]" if dtype in {"datetime64[D]", "datetime64[h]", "datetime64[m]"} else dtype


def _object(dtype: str, moment: datetime) -> Any:
    import pandas as pd

    if dtype == "date":
        return moment.date()
    if dtype == "Timestamp":
        return pd.Timestamp(moment)
    return moment.replace(tzinfo=UTC) if AWARE in dtype else moment
