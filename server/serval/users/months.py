"""Calendar months in UTC, in which predictions are counted."""

from datetime import UTC, datetime


def month_of(at: datetime) -> str:
    """Return the month of a moment, as `2026-11`."""
    return f"{at.astimezone(UTC):%Y-%m}"


def end_of_month(at: datetime) -> datetime:
    """Return the first moment of the next month."""
    at = at.astimezone(UTC)
    return datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
