"""Damaged files of SQLite are found."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from serval.db.engine import database_url
from serval.db.integrity import check_at_start, find_problem
from serval.errors import CannotStart

PAGE_BYTES = 4096


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "serval.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        made.execute("CREATE INDEX i ON t (name)")
        made.executemany("INSERT INTO t (name) VALUES (?)", [(f"{n:0100}",) for n in range(2000)])
        made.commit()
    return path


def test_a_sound_database_has_no_problem(database: Path) -> None:
    assert find_problem(database, "quick_check") is None
    assert find_problem(database, "integrity_check") is None


def test_a_damaged_page_is_found_wherever_it_is(database: Path) -> None:
    content = database.read_bytes()
    for page in range(len(content) // PAGE_BYTES):
        at = page * PAGE_BYTES
        database.write_bytes(content[:at] + b"\xff" * PAGE_BYTES + content[at + PAGE_BYTES :])
        assert find_problem(database, "quick_check") is not None, page


def test_a_file_that_is_cut_off_or_no_database_is_found(database: Path) -> None:
    content = database.read_bytes()
    for damaged in (content[: len(content) // 2], b"no database" * 1000):
        database.write_bytes(damaged)
        assert find_problem(database, "quick_check") is not None


def test_a_check_that_would_take_too_long_finds_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serval.db.integrity._STEPS", 1)
    content = database.read_bytes()
    database.write_bytes(content[:-PAGE_BYTES] + b"\xff" * PAGE_BYTES)
    assert find_problem(database, "quick_check", limit_seconds=-1.0) is None


def test_a_start_names_the_damaged_file_and_the_way_out(database: Path) -> None:
    url = database_url(None, database.parent)
    asyncio.run(check_at_start(url))
    database.write_bytes(b"no database" * 1000)
    with pytest.raises(CannotStart, match=r"serval\.sqlite` is damaged .*restore it from a backup"):
        asyncio.run(check_at_start(url))
    database.unlink()
    asyncio.run(check_at_start(url))
    assert not database.exists()
