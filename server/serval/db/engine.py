"""Opens the database: SQLite in the data folder, or PostgreSQL."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from serval.errors import BadRequest, CannotStart, DatabaseUnavailable

SQLITE_BUSY_MILLISECONDS = 10_000
CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 20.0
"""A query of PostgreSQL that takes longer is given up: the server hangs, for each of ours takes milliseconds."""

_AWAY = ("08", "28", "3D", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE by which PostgreSQL says that it can not serve us now: no connection, no access, no database,
conflict of
transactions, no resources, not in this state, operator intervention, system error."""
_SQLITE_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)  # fmt: skip
_NO_CHARACTER = ("22021", "22P05")
"""PostgreSQL keeps no U+0000."""


def database_url(configured: str | None, data_dir: Path) -> URL:
    """Return the URL with the asynchronous driver that Serval uses for it. Raises CannotStart."""
    if configured is None:
        return URL.create("sqlite+aiosqlite", database=str(data_dir / "serval.sqlite"))
    try:
        url = make_url(configured)
    except ArgumentError:
        raise CannotStart(
            "SERVAL_DATABASE_URL: not a database URL; write postgresql://user:password@host/database"
        ) from None
    drivers = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
    backend = url.drivername.partition("+")[0]
    if backend not in drivers:
        raise CannotStart(f"SERVAL_DATABASE_URL: `{backend}` is not supported; use postgresql:// or sqlite://")
    return url.set(drivername=drivers[backend])


def open_engine(url: URL) -> AsyncEngine:
    """Return an engine; nothing connects before its first use."""
    if url.get_backend_name() != "sqlite":
        connect = partial(_connect_postgres, url.set(drivername="postgresql").render_as_string(hide_password=False))
        return create_async_engine(
            url, async_creator=connect, pool_size=10, max_overflow=10, pool_timeout=10, pool_pre_ping=True
        )
    engine = create_async_engine(url, connect_args={"timeout": SQLITE_BUSY_MILLISECONDS / 1000})
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


async def _connect_postgres(url: str) -> Any:
    """Connect by the URL as libpq reads it: sockets, several hosts, `sslmode`, certificates, which SQLAlchemy would not
    pass on."""
    import asyncpg

    return await asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    # synchronous=FULL: an upload that was accepted and a key that was revoked are so after a power failure too.
    for pragma in (
        f"busy_timeout={SQLITE_BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    """Take the write lock at the start: a read that turns into a write would fail at once instead of waiting its
    turn."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes", True) else "BEGIN")


class Database:
    """Sessions on one engine: `read` takes no lock, `write` is one transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._readers = async_sessionmaker(engine.execution_options(writes=False), expire_on_commit=False)
        self.writers = sessionmaker()
        """What makes the sessions of `write`, to listen to their events."""
        self._writers = async_sessionmaker(engine, expire_on_commit=False, sync_session_class=self.writers)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Yield a session for queries. Raises DatabaseUnavailable."""
        with _explained():
            async with self._readers() as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Yield a session that is committed at the end, or rolled back when an exception leaves the block. Raises
        DatabaseUnavailable."""
        with _explained():
            async with self._writers.begin() as session:
                yield session

    async def close(self) -> None:
        await self.engine.dispose()


@contextmanager
def _explained() -> Iterator[None]:
    """Tell a database that can not be asked from a fault of ours."""
    try:
        yield
    except (DBAPIError, NoConnectionFree, OSError) as error:
        if _is_away(error):
            raise DatabaseUnavailable("The database is out of reach: try again in a moment.") from error
        if isinstance(error, DBAPIError) and _state(error) in _NO_CHARACTER:
            raise BadRequest("A text holds the character U+0000, which the database can not keep.") from error
        raise


def _is_away(error: DBAPIError | NoConnectionFree | OSError) -> bool:
    if not isinstance(error, DBAPIError):
        return True  # the pool, or the network
    if isinstance(error.orig, sqlite3.Error):
        return (getattr(error.orig, "sqlite_errorcode", 0) & 0xFF) in _SQLITE_AWAY
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return True
    return not isinstance(error, IntegrityError) and _state(error).startswith(_AWAY)


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")
