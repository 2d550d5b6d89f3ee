"""Changes that one process records take effect in another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
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

pytestmark = pytest.mark.anyio


class Process(NamedTuple):
    """A process as far as changes go, and what it was told."""

    changes: Changes
    told: "asyncio.Queue[str]"

    async def hear(self) -> str:
        self.changes.woken.set()
        return await asyncio.wait_for(self.told.get(), 10)


class Processes(NamedTuple):
    database: Database
    one: Process
    other: Process


def process(database: Database) -> Process:
    changes, told = Changes(database, Metrics().changes, open_log(level="error", form="json")), asyncio.Queue[str]()
    changes.on("key", told.put_nowait, reset=lambda: told.put_nowait("reset"))
    return Process(changes, told)


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    """Two processes on one database."""
    url = database_url(None, tmp_path)
    await migrate(url)
    database = Database(open_engine(url))
    both = process(database), process(database)
    for each in both:
        await each.changes.start()
    try:
        yield Processes(database, *both)
    finally:
        for each in both:
            await each.changes.stop()
        await database.close()


async def record(database: Database, process: Process, subject: str) -> None:
    async with database.write() as session:
        process.changes.record(session, "key", subject)


async def test_a_recorded_change_is_delivered_once_to_the_other_process_only(processes: Processes) -> None:
    database, one, other = processes
    for subject in ("a", "b"):
        await record(database, one, subject)
        assert one.changes.committed.is_set()
        assert await other.hear() == subject
    await record(database, other, "c")
    assert await one.hear() == "c"
    assert other.told.empty()


async def test_a_change_that_is_rolled_back_is_not_delivered(processes: Processes) -> None:
    database, one, other = processes
    with suppress(NotFound):
        async with database.write() as session:
            one.changes.record(session, "key", "a")
            await session.flush()
            raise NotFound("it was not there after all")
    assert not one.changes.committed.is_set()
    await record(database, one, "b")
    assert await other.hear() == "b"


async def test_a_change_that_commits_after_later_ones_is_delivered(processes: Processes) -> None:
    database, _, other = processes
    for number in (7, 3):
        async with database.write() as session:
            session.add(Change(id=number, kind="key", subject=f"number {number}"))
        assert await other.hear() == f"number {number}"


async def test_a_change_of_an_unknown_kind_resets_everything(processes: Processes) -> None:
    database, _, other = processes
    async with database.write() as session:
        session.add(Change(kind="of a newer server", subject="x"))
    assert await other.hear() == "reset"


async def test_a_process_that_has_not_polled_for_long_resets_everything(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serval.changes.BLIND_SECONDS", 0.0)
    assert await processes.other.hear() == "reset"


async def test_old_changes_are_deleted(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    database, one, other = processes
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
