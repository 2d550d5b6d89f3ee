"""Checks a SQLite database page by page."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Literal

from sqlalchemy.engine import URL

from serval.db.disk_full import sqlite_code
from serval.errors import CannotStart

START_SECONDS = 10.0
"""What the check of a start may take."""
_STEPS = 10_000
"""Of SQLite's virtual machine between two looks at the clock."""


async def check_at_start(url: URL) -> None:
    """Raises CannotStart where the file of a SQLite database is damaged. Another database is not looked at."""
    if url.get_backend_name() != "sqlite" or not url.database or not (file := Path(url.database)).is_file():
        return
    problem = await asyncio.to_thread(find_problem, file, "quick_check", START_SECONDS)
    if problem is not None:
        raise CannotStart(
            f"the database `{file}` is damaged ({problem}): restore it from a backup, with its files `-wal` and `-shm` "
            "moved away, or recover what it holds with `sqlite3`; docs/operate.md says how"
        )


def find_problem(
    file: Path, check: Literal["quick_check", "integrity_check"], limit_seconds: float | None = None
) -> str | None:
    """Return the first problem of a SQLite file; None where there is none, or none was found in time.

    `quick_check` looks at every page, `integrity_check` also compares each index with its table.
    """
    deadline = None if limit_seconds is None else time.monotonic() + limit_seconds
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=5.0)) as database:
            if deadline is not None:
                database.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            (first,) = database.execute(f"PRAGMA {check}(1)").fetchone()
    except sqlite3.Error as error:
        code = sqlite_code(error)
        if code in {sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY}:
            return None
        if deadline is not None and code not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return None  # a full disk, for example, which a start names by itself
        return str(error)
    return None if first == "ok" else " ".join(str(first).split())
