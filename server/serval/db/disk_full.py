"""Tells whether a database failed because its disk is full, which it does not always say itself."""

import shutil
import sqlite3
from pathlib import Path

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from serval.errors import DatabaseDiskFull

FULL_BELOW_BYTES = 256 << 10
"""Where less is free, SQLite cannot make the files that it opens a database with, and calls that an I/O error."""
_POSTGRES_FULL = "53100"
_SQLITE_VAGUE = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})


def is_disk_full(url: URL, error: BaseException) -> bool:
    """Whether an error of a database's driver comes of a full disk."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        code = sqlite_code(original)
        return code == sqlite3.SQLITE_FULL or (code in _SQLITE_VAGUE and _has_no_space(url))
    return getattr(original, "sqlstate", None) == _POSTGRES_FULL


def sqlite_code(error: sqlite3.Error) -> int:
    """The primary result code of an error, as `sqlite3.SQLITE_FULL`; 0 where it has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def disk_full(url: URL) -> DatabaseDiskFull:
    """The error that callers get."""
    where = "the data folder" if url.get_backend_name() == "sqlite" else "the database server"
    return DatabaseDiskFull(
        f"The disk of {where} is full, so nothing can be recorded; predictions go on. Delete models with "
        "`?purge=true`, or ask the operator to make room."
    )


def _has_no_space(url: URL) -> bool:
    folder = Path(url.database or "").parent
    return folder.is_dir() and shutil.disk_usage(folder).free < FULL_BELOW_BYTES
