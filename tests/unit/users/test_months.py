"""Calendar months in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serval.users.months import end_of_month, month_of


@pytest.mark.parametrize(
    ("at", "month", "end"),
    [
        (datetime(2026, 11, 21, 12, tzinfo=UTC), "2026-11", datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "2026-12", datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2027, 1, 1, tzinfo=UTC), "2027-01", datetime(2027, 2, 1, tzinfo=UTC)),
        (datetime(2028, 2, 29, tzinfo=UTC), "2028-02", datetime(2028, 3, 1, tzinfo=UTC)),
        (datetime(2027, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2026-12", datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_month_is_in_utc_and_ends_when_the_next_begins(at: datetime, month: str, end: datetime) -> None:
    assert month_of(at) == month
    assert end_of_month(at) == end


@given(st.datetimes(datetime(1000, 1, 1), datetime(9990, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 what the strategy takes
def test_the_end_of_a_month_is_the_first_moment_of_the_next(at: datetime) -> None:
    end = end_of_month(at)
    assert at < end
    assert month_of(end - timedelta(microseconds=1)) == month_of(at) < month_of(end)
