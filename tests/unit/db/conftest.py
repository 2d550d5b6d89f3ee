"""A database for tests of this folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serval.db.engine import Database, database_url, open_engine
from serval.db.migrate import migrate


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An SQLite database with its tables and nothing in them."""
    url = database_url(None, tmp_path)
    await migrate(url)
    database = Database(open_engine(url))
    yield database
    await database.close()
