"""Pages of lists and their cursors."""

from typing import NamedTuple

import pytest

from serval.http.pagination import page


class Item(NamedTuple):
    id: str


@pytest.mark.parametrize(
    ("rows", "ids", "cursor"), [("", [], None), ("ab", ["a", "b"], None), ("abc", ["a", "b"], "b")]
)
def test_a_page_has_a_cursor_where_another_page_follows(rows: str, ids: list[str], cursor: str | None) -> None:
    items, next_cursor = page(rows, 2, Item)
    assert ([item.id for item in items], next_cursor) == (ids, cursor)
