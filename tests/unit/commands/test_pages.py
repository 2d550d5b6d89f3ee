"""Lists that come in pages."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from serval.commands.pages import PAGE_ITEMS, all_items
from serval.commands.remote import Remote


class Pages:
    """Serves `count` numbered items, and keeps how many were asked for."""

    as_json = False

    def __init__(self, count: int) -> None:
        self.count = count
        self.limits: list[int] = []

    @property
    def api(self) -> "Pages":
        return self

    def get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        assert path == "/items"
        assert query["kind"] == "odd"
        first, limit = int(query.get("cursor", 0)), int(query["limit"])
        self.limits.append(limit)
        end = min(first + limit, self.count)
        return {
            "items": [{"id": number} for number in range(first, end)],
            "next": str(end) if end < self.count else None,
        }


@pytest.mark.parametrize(
    ("count", "limit", "limits"),
    [
        (0, None, [500]),
        (1200, None, [500, 500, 500]),
        (1200, 700, [500, 200]),
        (1200, 500, [500]),
        (3, 100, [100]),
    ],
)
def test_all_pages_are_read_up_to_the_limit(count: int, limit: int | None, limits: list[int]) -> None:
    pages = Pages(count)
    items = all_items(cast("Remote", pages), "/items", {"kind": "odd"}, limit)
    assert [item["id"] for item in items] == list(range(min(count, limit or count)))
    assert pages.limits == limits
    assert max(limits) <= PAGE_ITEMS
