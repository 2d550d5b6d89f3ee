"""Opens the database, SQLite in the data folder or PostgreSQL, and tells the time that its rows carry."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from serval.db.disk_full import disk_full, is_disk_full
from serval.errors import BadRequest, CannotStart, DatabaseUnavailable

SQLITE_BUSY_MILLISECONDS = 10_000
CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 20.0
"""Timeout of a PostgreSQL query. Every query takes milliseconds, so a longer one means that the server hangs."""

_UNAVAILABLE = ("08", "28", "3D", "40", "53", "55", "57", "58")
"""SQLSTATE classes of an unavailable PostgreSQL: no connection, no access, no database, conflict of transactions, no
resources, not in this state, operator intervention, system error."""
_SQLITE_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)  # fmt: skip
_UNSUPPORTED_CHARACTER = ("22021", "22P05")
"""PostgreSQL cannot store U+0000."""


def now() -> datetime:
    """Return the present moment, in UTC."""
    return datetime.now(UTC)


def database_url(configured: str | None, data_dir: Path) -> URL:
    """Return the URL with its asynchronous driver. Raises CannotStart."""
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
    """Connect by the URL as libpq reads it, with sockets, several hosts, `sslmode` and certificates, which SQLAlchemy
    would drop."""
    import asyncpg

    return await asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    # synchronous=FULL: accepted uploads and revoked keys survive a power failure.
    for pragma in (
        f"busy_timeout={SQLITE_BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    """Take the write lock at the start: a transaction that reads before it writes would fail instead of waiting."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes", True) else "BEGIN")


class Database:
    """Sessions on one engine: `read` takes no lock, `write` is one transaction."""

    def __init__(self, engine: AsyncEngine, make_room: Callable[[], None] | None = None) -> None:
        """`make_room`: makes some for a write on a full disk that must not fail."""
        self.engine = engine
        self._make_room = make_room
        self._readers = async_sessionmaker(engine.execution_options(writes=False), expire_on_commit=False)
        self.writers = sessionmaker()
        """The factory of the sessions of `write`, for event listeners."""
        self._writers = async_sessionmaker(engine, expire_on_commit=False, sync_session_class=self.writers)

    @property
    def description(self) -> str:
        """The kind and the place of the database, without user and password."""
        url = self.engine.url
        place = url.database if url.host is None else f"{url.host}/{url.database}"
        return f"{url.get_backend_name()} `{place}`"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Yield a session for queries. Raises DatabaseUnavailable."""
        with _translated_errors(self.engine.url):
            async with self._readers() as session:
                yield session

    @asynccontextmanager
    async def write(self, *, spends_reserve: bool = False) -> AsyncIterator[AsyncSession]:
        """Yield a session that is committed at the end, or rolled back on an exception.

        `spends_reserve`: it frees space, or ends what somebody may do, and works on a full disk too. Raises
        DatabaseUnavailable, of which DatabaseDiskFull is one.
        """
        with _translated_errors(self.engine.url):
            if spends_reserve and self._make_room is not None:
                self._make_room()
            async with self._writers.begin() as session:
                yield session

    async def close(self) -> None:
        await self.engine.dispose()


@contextmanager
def _translated_errors(url: URL) -> Iterator[None]:
    """Turn the errors of an unavailable database into DatabaseUnavailable, and those of a full disk into
    DatabaseDiskFull."""
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError) as error:
        if is_disk_full(url, error):
            raise disk_full(url) from error
        if _is_unavailable(error):
            raise DatabaseUnavailable("The database is unreachable: try again in a moment.") from error
        if isinstance(error, DBAPIError) and _state(error) in _UNSUPPORTED_CHARACTER:
            raise BadRequest("A text holds the character U+0000, which the database cannot store.") from error
        raise


def _is_unavailable(error: DBAPIError | PoolTimeout | OSError) -> bool:
    if not isinstance(error, DBAPIError):
        return True  # the pool, or the network
    if isinstance(error.orig, sqlite3.Error):
        return (getattr(error.orig, "sqlite_errorcode", 0) & 0xFF) in _SQLITE_UNAVAILABLE
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return True
    return not isinstance(error, IntegrityError) and _state(error).startswith(_UNAVAILABLE)


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")
