"""Rates as text, and plans: named sets of limits."""

from typing import Annotated

import msgspec

UNLIMITED = "unlimited"
WINDOWS = {"s": 1, "min": 60, "h": 3600, "day": 86_400}

RATE = rf"^([1-9][0-9]{{0,8}}(/(s|min|h|day))?|{UNLIMITED})$"
RateText = Annotated[str, msgspec.Meta(pattern=RATE)]
"""`1000/s`, `100/min`, `5/h`, `10/day`; `1000` is per second; `unlimited`."""


class Rate(msgspec.Struct, frozen=True):
    """A limit of `count` in `seconds`."""

    count: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.count}/{next(unit for unit, seconds in WINDOWS.items() if seconds == self.seconds)}"


def rate_of(text: str | None) -> Rate | None:
    """Parse a valid `RateText`; None: unlimited."""
    if text is None or text == UNLIMITED:
        return None
    count, _, unit = text.partition("/")
    return Rate(int(count), WINDOWS[unit or "s"])


def with_unit(text: str | None) -> str | None:
    """A valid `RateText` with its unit: `1000` → `1000/s`."""
    return text if text in {None, UNLIMITED} else str(rate_of(text))


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the users whose `subscription_tier` names it; omitted ones are those of the settings."""

    api_rate: RateText | None = None
    """Requests of one user other than predictions."""
    predict_rate: RateText | None = None
    """Predictions of one user."""
    monthly_quota: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Predictions of each key of a user in a calendar month (UTC), unless the key has its own quota."""
    max_stored_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Bytes that the files of a user's models may take."""
