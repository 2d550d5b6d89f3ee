"""Conditions on ids, whose order is that of the time at which they were made."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

from serval.ids import first_id


def id_range(
    column: InstrumentedAttribute[Any],
    prefix: str,
    *,
    since: datetime | None,
    until: datetime | None,
    before: str | None,
) -> list[ColumnElement[bool]]:
    """Return the conditions for ids made from `since` on, earlier than `until`, and lower than the id `before`.

    A moment without an offset is in UTC. None: no such condition.
    """
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(column >= first_id(prefix, _in_utc(since)))
    if until is not None:
        conditions.append(column < first_id(prefix, _in_utc(until)))
    if before is not None:
        conditions.append(column < before)
    return conditions


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
