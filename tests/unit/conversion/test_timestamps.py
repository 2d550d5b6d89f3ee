"""Timestamps as requests write them."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serval.conversion.timestamps import DTYPES, NotATimestampError, limits, read, written

NAIVE, AWARE = "datetime64[us]", "datetime64[us, UTC]"
TEN = 1_714_903_200_000_000.0
"""2024-05-05T10:00:00Z."""


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-05T10:00:00Z",
        "2024-05-05t10:00:00z",
        "2024-05-05 10:00:00",
        "2024-05-05T10:00:00",
        "2024-05-05T12:00:00+02:00",
        "2024-05-05T05:30:00.000-04:30",
        "2024-05-05T10:00:00.000000000Z",
    ],
)
def test_one_moment_in_many_notations(text: str) -> None:
    assert read(text, NAIVE) == TEN


def test_a_date_is_its_midnight_in_utc() -> None:
    assert read("2024-05-05", NAIVE) == read("2024-05-05T00:00:00Z", NAIVE) == TEN - 36e9


REFUSED = {
    "05.05.2024": (NAIVE, 'expected a timestamp (RFC 3339) such as "2024-05-05T10:00:00Z"'),
    "2024-5-5": (NAIVE, "expected a timestamp"),
    "2024-05-05T10:00Z": (NAIVE, "expected a timestamp"),
    "2024-05-05T10:00:00+0200": (NAIVE, "expected a timestamp"),
    "2024-05-05T10:00:00.Z": (NAIVE, "expected a timestamp"),
    "\N{FULLWIDTH DIGIT TWO}024-05-05": (NAIVE, "expected a timestamp"),
    "": (NAIVE, "expected a timestamp"),
    "2024-05-05\n": (NAIVE, "expected a timestamp"),
    "2024-02-30": (NAIVE, "there is no such day"),
    "2024-05-05T10:00:60Z": (NAIVE, "there is no such day, time or offset"),
    "2024-05-05T10:00:00+25:00": (NAIVE, "there is no such day, time or offset"),
    "2024-05-05T10:00:00+02:60": (NAIVE, "there is no such day, time or offset"),
    "0000-05-05": (NAIVE, "there is no such day"),
    "0001-01-01T00:00:00+01:00": (NAIVE, "from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z"),
    "2024-05-05T10:00:00.1234567Z": (NAIVE, "at most six digits"),
    "2400-01-01T00:00:00.000001Z": (NAIVE, "after the year 2255"),
    "2300-01-01": ("datetime64[ns]", "from 1677-09-21T00:12:44Z to 2262-04-11T23:47:16Z"),
    "2024-05-05T10:00:00.5Z": ("datetime64[s]", "expected whole seconds in UTC"),
    "2024-05-05T10:00:00": (AWARE, "expected a time with an offset"),
    "2024-05-06": (AWARE, "expected a time with an offset"),
    "2024-05-05T10:00:00Z": ("date", "expected whole days in UTC"),
    "today": ("date", 'expected a date such as "2024-05-05"'),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_and_why(text: str) -> None:
    dtype, reason = REFUSED[text]
    with pytest.raises(NotATimestampError, match=re.escape(reason)):
        read(text, dtype)


@given(
    st.sampled_from(sorted(DTYPES)),
    st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001  of no time zone until it is given one
    st.integers(-23 * 60, 23 * 60),
)
def test_what_is_written_is_read_as_the_same(dtype: str, moment: datetime, minutes: int) -> None:
    microseconds = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    whole = microseconds // DTYPES[dtype] * DTYPES[dtype]
    text = written(whole, dtype)
    if len(text) > 10:
        ahead = timedelta(minutes=minutes)
        shifted = (datetime.fromisoformat(text) + ahead).replace(tzinfo=None).isoformat()
        sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
        text = f"{shifted}{sign}{hours:02}:{rest:02}"
    assert read(text, dtype) == whole


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_the_first_and_the_last_moment_are_whole(dtype: str) -> None:
    assert [limit % DTYPES[dtype] for limit in limits(dtype)] == [0, 0]
