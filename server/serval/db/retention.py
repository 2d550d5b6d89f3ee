"""Deletes old rows in batches, so that no transaction holds its locks for long."""

from typing import Any, cast

from sqlalchemy import CursorResult, delete, inspect, select
from sqlalchemy.orm import InstrumentedAttribute

from serval.db.engine import Database

BATCH_ROWS = 1000
"""Rows deleted in one transaction."""


async def delete_below(database: Database, column: InstrumentedAttribute[Any], bound: object) -> int:
    """Delete the rows whose `column` is below a bound, lowest first; return how many. Raises DatabaseUnavailable."""
    table = column.class_
    (key,) = inspect(table).primary_key
    lowest = select(key).where(column < bound).order_by(column).limit(BATCH_ROWS)
    deleted_rows, is_full = 0, True
    while is_full:
        async with database.write() as session:
            deleted = cast(CursorResult[Any], await session.execute(delete(table).where(key.in_(lowest))))
        deleted_rows += deleted.rowcount
        is_full = deleted.rowcount == BATCH_ROWS
    return deleted_rows
