"""What one process records and another puts in force."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import func, select

from serval.changes import KEPT, Change, Changes
from serval.db.base import now
from serval.db.engine import Database, database_url, open_engine
from serval.db.migrate import migrate
from serval.errors import NotFound
from serval.log import open_log
from serval.metrics import Metrics


class Process(NamedTuple):
    """A process as far as changes go, and what it was told."""

    changes: Changes
    told: "asyncio.Queue[str]"

    async def hear(self) -> str:
        self.changes.woken.set()
        return await asyncio.wait_for(self.told.get(), 10)


def process(database: Database) -> Process:
    changes, told = Changes(database, Metrics().changes, open_log(level="error", form="json")), asyncio.Queue[str]()
    changes.on("key", told.put_nowait, reset=lambda: told.put_nowait("reset"))
    return Process(changes, told)


@asynccontextmanager
async def two_processes(folder: Path) -> AsyncIterator[tuple[Database, Process, Process]]:
    url = database_url(None, folder)
    await migrate(url)
    database = Database(open_engine(url))
    both = process(database), process(database)
    for each in both:
        await each.changes.start()
    try:
        yield database, *both
    finally:
        for each in both:
            await each.changes.stop()
        await database.close()


def with_two(folder: Path, check: Callable[[Database, Process, Process], Awaitable[None]]) -> None:
    async def run() -> None:
        async with two_processes(folder) as (database, one, other):
            await check(database, one, other)

    asyncio.run(run())


async def record(database: Database, process: Process, subject: str) -> None:
    async with database.write() as session:
        process.changes.record(session, "key", subject)


def test_what_one_records_the_other_is_told_once_and_the_first_is_not(tmp_path: Path) -> None:
    async def check(database: Database, one: Process, other: Process) -> None:
        for subject in ("a", "b"):
            await record(database, one, subject)
            assert one.changes.committed.is_set()
            assert await other.hear() == subject
        await record(database, other, "c")
        assert await one.hear() == "c"
        assert other.told.empty()

    with_two(tmp_path, check)


def test_what_is_rolled_back_is_told_to_nobody(tmp_path: Path) -> None:
    async def check(database: Database, one: Process, other: Process) -> None:
        with suppress(NotFound):
            async with database.write() as session:
                one.changes.record(session, "key", "a")
                await session.flush()
                raise NotFound("it was not there after all")
        assert not one.changes.committed.is_set()
        await record(database, one, "b")
        assert await other.hear() == "b"

    with_two(tmp_path, check)


def test_a_change_that_commits_after_later_ones_is_told_too(tmp_path: Path) -> None:
    async def check(database: Database, _: Process, other: Process) -> None:
        for number in (7, 3):
            async with database.write() as session:
                session.add(Change(id=number, kind="key", subject=f"number {number}"))
            assert await other.hear() == f"number {number}"

    with_two(tmp_path, check)


def test_a_change_of_a_kind_that_is_not_known_puts_everything_in_doubt(tmp_path: Path) -> None:
    async def check(database: Database, _: Process, other: Process) -> None:
        async with database.write() as session:
            session.add(Change(kind="of a newer server", subject="x"))
        assert await other.hear() == "reset"

    with_two(tmp_path, check)


def test_who_has_not_read_for_long_doubts_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(_: Database, __: Process, other: Process) -> None:
        monkeypatch.setattr("serval.changes.BLIND_SECONDS", 0.0)
        assert await other.hear() == "reset"

    with_two(tmp_path, check)


def test_old_changes_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(database: Database, one: Process, other: Process) -> None:
        async with database.write() as session:
            session.add(Change(kind="key", subject="old", at=now() - KEPT - timedelta(minutes=2)))
        monkeypatch.setattr("serval.changes.SWEEP_SECONDS", 0.0)
        await record(database, one, "new")
        assert await other.hear() == "new"
        await record(database, one, "newer")
        assert await other.hear() == "newer"  # the next poll comes after the sweep of the one before
        async with database.read() as session:
            assert list(await session.scalars(select(Change.subject).order_by(Change.id))) == ["new", "newer"]
            assert await session.scalar(select(func.count()).select_from(Change)) == 2

    with_two(tmp_path, check)
