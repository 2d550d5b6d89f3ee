"""Lists that a server returns in pages, and the times that limit them."""

import re
from collections.abc import Mapping
from typing import Any

import rich_click as click

from serval.commands.remote import Remote

PAGE_ITEMS = 500
"""The most that a server returns at once."""
DATE = re.compile(r"\d{4}-\d\d-\d\d")


def all_items(
    server: Remote, path: str, query: Mapping[str, str] | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """The items of all pages, or the first `limit` of them."""
    items: list[dict[str, Any]] = []
    asked = dict(query or {})
    while limit is None or len(items) < limit:
        asked["limit"] = str(PAGE_ITEMS if limit is None else min(PAGE_ITEMS, limit - len(items)))
        page = server.api.get(path, asked)
        items += page["items"]
        if page["next"] is None:
            break
        asked["cursor"] = page["next"]
    return items


def moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """A time as the API takes it: a date is its beginning in UTC. The server refuses what is none."""
    return f"{value}T00:00:00Z" if value and DATE.fullmatch(value) else value
