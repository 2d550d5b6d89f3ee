"""URLs of databases, and errors of databases that cannot be queried."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from serval.db import engine
from serval.db.engine import Database, database_url, open_engine
from serval.errors import CannotStart, DatabaseDiskFull, DatabaseUnavailable
from support.backends import Postgres


@pytest.mark.parametrize(
    ("configured", "driver"),
    [
        ("postgresql://u:p@h/d", "postgresql+asyncpg"),
        ("postgres://u@h/d", "postgresql+asyncpg"),
        ("sqlite:////x", "sqlite+aiosqlite"),
    ],
)
def test_a_database_url_gets_the_asynchronous_driver(configured: str, driver: str) -> None:
    assert database_url(configured, Path("/data")).drivername == driver


def test_without_a_url_the_database_is_sqlite_in_the_data_folder() -> None:
    assert database_url(None, Path("/data")).database == "/data/serval.sqlite"


@pytest.mark.parametrize("configured", ["mysql://u@h/d", "no url"])
def test_an_unsupported_database_url_is_refused_without_being_shown(configured: str) -> None:
    with pytest.raises(CannotStart, match="SERVAL_DATABASE_URL"):
        database_url(configured, Path("/data"))


@pytest.mark.parametrize(
    "url", ["postgresql://u@127.0.0.1:1/x", "postgresql://u@/x?host=/nowhere", "postgresql://u@h/x?sslmode=odd"]
)
@pytest.mark.anyio
async def test_an_unreachable_database_is_unavailable(url: str) -> None:
    assert await raised_by(Database(open_engine(database_url(url, Path()))), "SELECT 1") is DatabaseUnavailable


@pytest.mark.anyio
async def test_a_wrong_query_is_a_fault(tmp_path: Path) -> None:
    assert issubclass(
        await raised_by(Database(open_engine(database_url(None, tmp_path))), "INSERT INTO nothing VALUES (1)"),
        DBAPIError,
    )


@pytest.mark.anyio
async def test_a_database_that_stays_locked_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SQLITE_BUSY_MILLISECONDS", 50)
    database = Database(open_engine(database_url(None, tmp_path)))
    assert await raised_by(database, "CREATE TABLE things (id INTEGER)") is None
    with closing(sqlite3.connect(tmp_path / "serval.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await raised_by(database, "INSERT INTO things VALUES (1)") is DatabaseUnavailable


FULL_POSTGRES = "DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"


@pytest.mark.anyio
async def test_a_postgres_whose_disk_is_full_says_so(shared_postgres: Postgres) -> None:
    database = Database(open_engine(database_url(shared_postgres.url(), Path())))
    assert await raised_by(database, FULL_POSTGRES) is DatabaseDiskFull


@pytest.mark.anyio
async def test_a_sqlite_that_may_not_grow_says_that_its_disk_is_full(tmp_path: Path) -> None:
    database = Database(open_engine(database_url(None, tmp_path)))
    async with database.write() as session:
        await session.execute(text("CREATE TABLE things (content BLOB)"))
        await session.execute(text("PRAGMA max_page_count = 4"))
    assert await raised_by(database, "INSERT INTO things VALUES (zeroblob(100000))") is DatabaseDiskFull


@pytest.mark.anyio
async def test_only_what_spends_the_reserve_makes_room_for_itself(tmp_path: Path) -> None:
    made: list[str] = []
    database = Database(open_engine(database_url(None, tmp_path)), lambda: made.append("room"))
    for spends_reserve, expected in ((False, []), (True, ["room"])):
        async with database.write(spends_reserve=spends_reserve) as session:
            await session.execute(text("SELECT 1"))
        assert made == expected
    await database.close()


async def raised_by(database: Database, query: str) -> type[Exception] | None:
    """The type of the error of a query."""
    try:
        async with database.write() as session:
            await session.execute(text(query))
    except Exception as error:  # noqa: BLE001 its type is returned
        return type(error)
    else:
        return None
    finally:
        await database.close()
