"""Parameters and results of every list that is read in pages."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol, TypeVar

from litestar.params import QueryParameter

Since = Annotated[
    datetime | None,
    QueryParameter(name="since", required=False, description="Inclusive start, to the millisecond"),
]
Until = Annotated[
    datetime | None, QueryParameter(name="until", required=False, description="Exclusive end, to the millisecond")
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=500, required=False, description="Most items of one page")]


class HasId(Protocol):
    """An item of a list."""

    id: str


Row = TypeVar("Row")
Item = TypeVar("Item", bound=HasId)


def cursor_of(prefix: str) -> Any:
    """Return the parameter that takes the id of the last item of a page. `prefix`: of such ids."""
    return QueryParameter(
        name="cursor",
        pattern=f"^{prefix}_[0-9A-Z]{{26}}$",
        required=False,
        description="`next` of the page before this one",
    )


def page(rows: Sequence[Row], limit: int, view: Callable[[Row], Item]) -> tuple[list[Item], str | None]:
    """Return the items of a page and the cursor of the next one.

    `rows`: one more than `limit` where another page follows. `view`: makes an item of a row.
    """
    items = [view(row) for row in rows[:limit]]
    return items, items[-1].id if len(rows) > limit else None
