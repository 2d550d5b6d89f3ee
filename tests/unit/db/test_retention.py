"""Old rows are deleted in batches."""

import pytest
from sqlalchemy import select

from serval.changes import Change
from serval.db import retention
from serval.db.engine import Database
from serval.db.retention import delete_below

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5])
async def test_all_rows_below_the_bound_are_deleted_and_counted(
    database: Database, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    async with database.write() as session:
        session.add_all(Change(id=number, kind="key", subject="a") for number in (*range(rows), 10, 11))
    assert await delete_below(database, Change.id, 10) == rows
    async with database.read() as session:
        assert list(await session.scalars(select(Change.id).order_by(Change.id))) == [10, 11]
