"""What every list takes that is read in pages, newest first."""

from datetime import UTC, datetime
from typing import Annotated, Any

from litestar.params import QueryParameter

Since = Annotated[
    datetime | None,
    QueryParameter(name="since", required=False, description="Not before this moment, to the millisecond"),
]
Until = Annotated[
    datetime | None, QueryParameter(name="until", required=False, description="Before this moment, to the millisecond")
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=500, required=False, description="Most items of one page")]


def cursor_of(prefix: str) -> Any:
    """The parameter that takes the id of the last thing of a page; `prefix`: of such ids."""
    return QueryParameter(
        name="cursor",
        pattern=f"^{prefix}_[0-9A-Z]{{26}}$",
        required=False,
        description="`next` of the page before this one",
    )


def in_utc(at: datetime) -> datetime:
    """The moment that a request names: without an offset it is in UTC."""
    return at if at.tzinfo else at.replace(tzinfo=UTC)
