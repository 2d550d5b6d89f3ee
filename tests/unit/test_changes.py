"""Changes that one process records and another applies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select

from serval.changes import RETENTION, Change, ChangeNotifier, Changes
from serval.db.engine import Database, database_url, now, open_engine
from serval.db.migrate import migrate
from serval.errors import NotFound
from serval.log import open_log
from serval.metrics import Metrics
from support.backends import valkey

pytestmark = pytest.mark.anyio


class Process(NamedTuple):
    """The changes of a serving process, and the subjects that it has applied."""

    changes: Changes
    applied: "asyncio.Queue[str]"

    async def next_applied(self) -> str:
        self.changes.wake.set()
        return await asyncio.wait_for(self.applied.get(), 10)


class Replicas(NamedTuple):
    """Two processes on one database."""

    database: Database
    first: Process
    second: Process


def process(database: Database) -> Process:
    changes, applied = Changes(database, Metrics().changes, open_log(level="error", form="json")), asyncio.Queue[str]()
    changes.on("key", applied.put_nowait, reset=lambda: applied.put_nowait("reset"))
    return Process(changes, applied)


@pytest.fixture
async def replicas(tmp_path: Path) -> AsyncIterator[Replicas]:
    url = database_url(None, tmp_path)
    await migrate(url)
    database = Database(open_engine(url))
    both = process(database), process(database)
    for each in both:
        await each.changes.start()
    yield Replicas(database, *both)
    for each in both:
        await each.changes.stop()
    await database.close()


async def record(database: Database, process: Process, subject: str) -> None:
    async with database.write() as session:
        process.changes.record(session, "key", subject)


async def test_a_change_is_applied_once_by_the_other_process_and_not_by_its_own(replicas: Replicas) -> None:
    database, first, second = replicas
    for subject in ("a", "b"):
        await record(database, first, subject)
        assert first.changes.committed.is_set()
        assert await second.next_applied() == subject
    await record(database, second, "c")
    assert await first.next_applied() == "c"
    assert second.applied.empty()


async def test_a_change_that_is_rolled_back_is_applied_by_no_process(replicas: Replicas) -> None:
    database, first, second = replicas
    with suppress(NotFound):
        async with database.write() as session:
            first.changes.record(session, "key", "a")
            await session.flush()
            raise NotFound("it was not there after all")
    assert not first.changes.committed.is_set()
    await record(database, first, "b")
    assert await second.next_applied() == "b"


async def test_a_change_that_commits_after_later_ones_is_applied(replicas: Replicas) -> None:
    database, _, second = replicas
    for number in (7, 3):
        async with database.write() as session:
            session.add(Change(id=number, kind="key", subject=f"number {number}"))
        assert await second.next_applied() == f"number {number}"


async def test_a_change_of_an_unknown_kind_resets_everything(replicas: Replicas) -> None:
    database, _, second = replicas
    async with database.write() as session:
        session.add(Change(kind="of a newer server", subject="x"))
    assert await second.next_applied() == "reset"


async def test_a_process_that_has_not_polled_for_long_resets_everything(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serval.changes.BLIND_SECONDS", 0.0)
    assert await replicas.second.next_applied() == "reset"


async def test_old_changes_are_deleted(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    database, first, second = replicas
    async with database.write() as session:
        session.add(Change(kind="key", subject="old", at=now() - RETENTION - timedelta(minutes=2)))
    monkeypatch.setattr("serval.changes.SWEEP_SECONDS", 0.0)
    await record(database, first, "new")
    assert await second.next_applied() == "new"
    await record(database, first, "newer")
    assert await second.next_applied() == "newer"  # the next poll comes after the sweep of the one before
    async with database.read() as session:
        assert list(await session.scalars(select(Change.subject).order_by(Change.id))) == ["new", "newer"]
        assert await session.scalar(select(func.count()).select_from(Change)) == 2


class Faulty(Redis):
    """A client of Redis with a fault of its own in the first calls."""

    faults = 2

    def _fail_at_first(self) -> None:
        if self.faults:
            self.faults -= 1
            raise ValueError("Nobody has thought of this.")

    def pubsub(self, **options: Any) -> Any:
        self._fail_at_first()
        return super().pubsub(**options)

    def publish(self, *arguments: Any, **options: Any) -> Any:
        self._fail_at_first()
        return super().publish(*arguments, **options)


async def test_notifications_go_on_after_a_fault_that_nobody_expected(
    replicas: Replicas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("serval.changes.RETRY_SECONDS", 0.001)
    metrics = Metrics()
    with valkey(tmp_path) as server:
        redis = Faulty.from_url(server.url)
        notifier = ChangeNotifier(
            redis, replicas.first.changes, metrics.redis_failures, open_log(level="info", form="json")
        )
        replicas.first.changes.committed.set()
        await notifier.start()
        try:
            # The listener may be late for the first notification, so there are more until one is heard.
            replicas.first.changes.wake.clear()
            async with asyncio.timeout(20):
                while redis.faults or notifier._is_unavailable or not replicas.first.changes.wake.is_set():
                    replicas.first.changes.committed.set()
                    await asyncio.sleep(0.01)
        finally:
            await notifier.stop()
            await redis.aclose()
    assert capfd.readouterr().out.count('"change_notifications_failed"') == 2
    assert metrics.redis_failures.labels("changes")._value.get() == 2
