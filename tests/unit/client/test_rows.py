"""Tables, arrays, lists and dicts as rows of JSON."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from serval_client.rows import rows_of


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ({"a": 1.5, "b": "x"}, [{"a": 1.5, "b": "x"}]),
        ([1.5, "x"], [[1.5, "x"]]),
        ((1.5, 2), [[1.5, 2]]),
        ([[1.5], [2.5]], [[1.5], [2.5]]),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
        (np.array([1.5, 2.5]), [[1.5, 2.5]]),
        (np.array([[1.5], [2.5]]), [[1.5], [2.5]]),
        ([np.array([1.5]), np.array([2.5])], [[1.5], [2.5]]),
        (scipy.sparse.csr_matrix([[0.0, 2.0]]), [[0.0, 2.0]]),
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        (pd.DataFrame([[1.5, 2.5]]), [[1.5, 2.5]]),
        (pd.Series({"a": 1, "b": "x"}), [{"a": 1, "b": "x"}]),
        (pd.Series([1.5, 2.5]), [[1.5, 2.5]]),
    ],
    ids=[
        "dict",
        "values",
        "tuple",
        "lists",
        "dicts",
        "array-1d",
        "array-2d",
        "list-of-arrays",
        "sparse",
        "frame",
        "frame-without-names",
        "series",
        "series-without-names",
    ],
)
def test_rows_of_every_kind_of_data(data: Any, rows: list[Any]) -> None:
    assert rows_of(data) == rows


CEST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (0.1, 0.1),
        (np.float32(0.1), 0.10000000149011612),
        (np.longdouble(0.5), 0.5),
        (-0.0, -0.0),
        (Decimal("0.25"), 0.25),
        (2**53 + 1, 2**53 + 1),
        (np.int64(7), 7),
        (True, True),
        (np.bool_(False), False),
        (np.str_("x"), "x"),
        (None, None),
        (float("nan"), None),
        (np.float32("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (np.datetime64("NaT"), None),
        (date(2024, 5, 5), "2024-05-05"),
        (datetime.fromisoformat("2024-05-05T10:00"), "2024-05-05T10:00:00"),
        (datetime(2024, 5, 5, 10, tzinfo=CEST), "2024-05-05T08:00:00+00:00"),
        (pd.Timestamp("2024-05-05 10:00:00.000123"), "2024-05-05T10:00:00.000123"),
        (pd.Timestamp("2024-05-05 10:00", tz="Europe/Berlin"), "2024-05-05T08:00:00+00:00"),
        (np.datetime64("2024-05-05T10:00:00.5", "ns"), "2024-05-05T10:00:00.500000"),
        (np.datetime64("2024-05-05T10", "h"), "2024-05-05T10:00:00"),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_a_value_keeps_its_meaning(value: object, plain: object) -> None:
    [[found]] = rows_of([[value]])
    assert repr(found) == repr(plain)


def test_columns_of_a_frame_keep_their_values() -> None:
    frame = pd.DataFrame(
        {
            "plan": pd.Categorical(["a", None]),
            "active": pd.array([True, None], dtype="boolean"),
            "count": pd.array([3, None], dtype="Int64"),
            "since": pd.to_datetime(["2024-05-05 10:00", None]),
        }
    )
    assert rows_of(frame) == [
        {"plan": "a", "active": True, "count": 3, "since": "2024-05-05T10:00:00"},
        dict.fromkeys(frame.columns),
    ]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([[1.0], [float("inf")]], "row 2, column 1: JSON has no infinity"),
        ({"a": b"x"}, "row 1, `a`: a bytes is no number, text, boolean or moment"),
        (np.array([[1]], dtype="timedelta64[s]"), "row 1, column 1: a timedelta64 is no number, text"),
        (pd.DataFrame({"a": [pd.Interval(0, 1)]}), "row 1, `a`: a Interval is no number, text"),
        (np.array([[1]], dtype="datetime64[ns]"), "row 1, column 1: .* is finer than microseconds"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns of the same name"),
        ({"a": [1, 2]}, "row 1, `a`: a list is no number"),
        ([], "there are no rows"),
        (np.empty((0, 2)), "there are no rows"),
        ("5.1", "expected rows .* got str"),
        (5.1, "expected rows .* got float"),
    ],
    ids=[
        "infinity",
        "bytes",
        "timedelta",
        "interval",
        "nanoseconds",
        "same-name",
        "lists-by-name",
        "empty-list",
        "empty-array",
        "text",
        "number",
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(data: Any, sentence: str) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence):
        rows_of(data)
