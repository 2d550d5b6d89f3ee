"""Dates and timestamps: text in requests, and numbers in graphs, microseconds since 1970 in UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone

DAY = 86_400_000_000
RESOLUTIONS = {"D": DAY, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}
"""The microseconds that each unit of NumPy counts, or a part of one."""
AWARE = ", UTC"
DTYPES = {
    "date": DAY,
    **dict.fromkeys(("datetime", f"datetime{AWARE}", "Timestamp"), 1),
    **{f"datetime64[{unit}]": microseconds for unit, microseconds in RESOLUTIONS.items()},
    **{f"datetime64[{unit}{AWARE}]": RESOLUTIONS[unit] for unit in ("s", "ms", "us", "ns")},
}
"""The dtypes of columns of timestamps, each with the microseconds that a value of it is a multiple of: those of NumPy
and pandas, and `object` by what it holds (`date`, `datetime`, pandas' `Timestamp`). `UTC`: instants with a time
zone."""
EXAMPLE = '"2024-05-05T10:00:00Z"'

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999."""
_NANOSECONDS = 9_223_372_036_000_000
"""About what 64 bits of nanoseconds hold, the years 1678 to 2261."""
_TEXT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))?)?"
)
_UNITS = {
    DAY: "whole days",
    RESOLUTIONS["h"]: "whole hours",
    RESOLUTIONS["m"]: "whole minutes",
    RESOLUTIONS["s"]: "whole seconds",
    RESOLUTIONS["ms"]: "whole milliseconds",
}


class NotATimestampError(ValueError):
    """Text that is no timestamp of its column; the message says what would be."""


def expected(dtype: str) -> str:
    """What a column of this dtype takes, for a message."""
    if DTYPES[dtype] == DAY:
        return 'expected a date such as "2024-05-05"'
    return f"expected a timestamp (RFC 3339) such as {EXAMPLE}"


def read(text: str, dtype: str) -> float:
    """Microseconds since 1970 in UTC of an RFC 3339 timestamp or date. Without an offset it is taken as UTC.

    Raises NotATimestampError: also for one that is finer than the dtype, beyond what it holds, or without the offset
    that a column of instants needs.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise NotATimestampError(expected(dtype))
    if AWARE in dtype:
        _check_offset(match)
    microseconds = _microseconds(match, dtype)
    low, high = limits(dtype)
    if not low <= microseconds <= high:
        raise NotATimestampError(f"expected a timestamp from {written(low, dtype)} to {written(high, dtype)}")
    resolution = DTYPES[dtype]
    if microseconds % resolution:
        raise NotATimestampError(f"expected {_UNITS[resolution]} in UTC, as the model was fitted on")
    if float(microseconds) != microseconds:
        raise NotATimestampError("after the year 2255 float64 holds no single microseconds; expected whole seconds")
    return float(microseconds)


def _check_offset(match: re.Match[str]) -> None:
    if match[8] is None and match[9] is None:
        raise NotATimestampError(
            f'expected a time with an offset such as {EXAMPLE} or "2024-05-05T10:00:00+02:00", because the model was '
            "fitted on instants with a time zone"
        )


def _microseconds(match: re.Match[str], dtype: str) -> int:
    year, month, day, hour, minute, second = (int(match[group] or 0) for group in range(1, 7))
    digits = (match[7] or "").rstrip("0")
    if len(digits) > 6:
        raise NotATimestampError("expected at most six digits after the second")
    ahead = timedelta(hours=int(match[10] or 0), minutes=int(match[11] or 0))
    try:
        if int(match[11] or 0) > 59:
            raise ValueError
        zone = timezone(-ahead if match[9] == "-" else ahead)
        moment = datetime(year, month, day, hour, minute, second, int(digits.ljust(6, "0")), zone)
    except ValueError:
        raise NotATimestampError(f"{expected(dtype)}; there is no such day, time or offset") from None
    return (moment - _EPOCH) // timedelta(microseconds=1)


def written(microseconds: float, dtype: str) -> str:
    """RFC 3339 in UTC, of a date alone where the dtype holds no more."""
    moment = _EPOCH + timedelta(microseconds=int(min(max(microseconds, _FIRST), _LAST)))
    text = moment.replace(tzinfo=None).isoformat()
    return text[:10] if DTYPES[dtype] == DAY else f"{text}Z"


def limits(dtype: str) -> tuple[int, int]:
    """The first and the last microsecond that the dtype holds, of the years 1 to 9999."""
    if dtype.startswith("datetime64[ns"):
        return -_NANOSECONDS, _NANOSECONDS
    resolution = DTYPES[dtype]
    return _FIRST, _LAST // resolution * resolution
