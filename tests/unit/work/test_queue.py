"""Work that outlives the process: rows in a real database, and a queue that does what they stand for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import MetaData, String
from sqlalchemy.orm import Mapped, mapped_column

from serval.db.engine import Database, database_url, open_engine
from serval.errors import DatabaseUnavailable
from serval.log import open_log
from serval.work.queue import MAX_ATTEMPTS, MAX_WAITING, TooManyAttempts, WorkQueue, WorkStates, WorkTable

pytestmark = pytest.mark.anyio

USER = "usr_1"
Status = Literal["waiting", "running", "done", "failed"]
STATES = WorkStates(waiting="waiting", running="running", unfinished=frozenset({"waiting", "running"}))


class Errand(WorkTable):
    """A row of work that these tests have to themselves."""

    __tablename__ = "errands"
    metadata = MetaData()

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    status: Mapped[Status] = mapped_column(String(12))
    attempts: Mapped[int]


class Errands:
    """A server that runs errands: each ends when it is let go."""

    def __init__(self, database: Database, *, parallel: int = 2) -> None:
        self.database = database
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.error: Exception | None = None
        self.under_way: list[str] = []
        self.most_at_once = 0
        self.ends: list[tuple[Exception | None, float]] = []
        self.queue = WorkQueue(
            database,
            Errand,
            STATES,
            perform=self.perform,
            fail=self.fail,
            on_end=lambda error, seconds: self.ends.append((error, seconds)),
            parallel=parallel,
            name="errand",
            log=open_log(level="warning", form="json"),
        )

    async def perform(self, errand: Errand) -> None:
        assert errand.status == "running"
        self.under_way.append(errand.id)
        self.most_at_once = max(self.most_at_once, len(self.under_way))
        try:
            await self.let_go.wait()
            if self.error is not None:
                raise self.error
            await self.queue.record(lambda: self.end(errand.id, "done"))
        finally:
            self.under_way.remove(errand.id)

    async def fail(self, errand_id: str, _: Exception) -> None:
        await self.end(errand_id, "failed")

    async def end(self, errand_id: str, status: Status) -> None:
        async with self.database.write() as session:
            errand = await session.get_one(Errand, errand_id)
            errand.status, errand.attempts = status, 0

    async def add(self, errand_id: str, status: Status = "waiting", attempts: int = 0) -> None:
        async with self.database.write() as session:
            session.add(Errand(id=errand_id, status=status, attempts=attempts))

    async def state(self, errand_id: str) -> tuple[str, int]:
        """The status and the attempts of an errand."""
        async with self.database.read() as session:
            errand = await session.get_one(Errand, errand_id)
        return errand.status, errand.attempts

    async def until_under_way(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.under_way) < count:  # noqa: ASYNC110 the queue notifies nobody
                await asyncio.sleep(0.001)


@pytest.fixture
async def errands(tmp_path: Path) -> AsyncIterator[Errands]:
    database = Database(open_engine(database_url(None, tmp_path)))
    async with database.engine.begin() as connection:
        await connection.run_sync(Errand.metadata.create_all)
    opened = Errands(database)
    yield opened
    await opened.queue.stop()
    await database.close()


async def test_enqueued_work_is_done(errands: Errands) -> None:
    await errands.add("a")
    errands.queue.enqueue("a")
    await errands.queue.wait("a", 20, USER)
    assert await errands.state("a") == ("done", 0)
    [(error, seconds)] = errands.ends
    assert (error, seconds >= 0) == (None, True)


async def test_work_under_way_has_an_attempt_counted(errands: Errands) -> None:
    errands.let_go.clear()
    await errands.add("a")
    errands.queue.enqueue("a")
    await errands.until_under_way(1)
    assert await errands.state("a") == ("running", 1)


async def test_no_more_work_is_done_at_once_than_there_are_turns(errands: Errands) -> None:
    names = ["a", "b", "c", "d"]
    errands.let_go.clear()
    for name in names:
        await errands.add(name)
        errands.queue.enqueue(name)
    await errands.until_under_way(2)
    errands.let_go.set()
    for name in names:
        await errands.queue.wait(name, 20, USER)
    assert [await errands.state(name) for name in names] == [("done", 0)] * 4
    assert errands.most_at_once == 2


async def test_a_turn_taken_for_work_without_a_row_counts(errands: Errands) -> None:
    await errands.add("a")
    async with errands.queue.turn(), errands.queue.turn():
        errands.queue.enqueue("a")
        await errands.queue.wait("a", 0.05, USER)
        assert await errands.state("a") == ("waiting", 0)
    await errands.queue.wait("a", 20, USER)
    assert await errands.state("a") == ("done", 0)


async def test_a_wait_ends_at_its_deadline_and_the_work_goes_on(errands: Errands) -> None:
    errands.let_go.clear()
    await errands.add("a")
    errands.queue.enqueue("a")
    await errands.queue.wait("a", 0.01, USER)
    assert errands.ends == []
    errands.let_go.set()
    await errands.queue.wait("a", 20, USER)
    assert await errands.state("a") == ("done", 0)


async def test_a_wait_for_work_that_has_ended_returns_at_once(errands: Errands) -> None:
    async with asyncio.timeout(5):
        await errands.queue.wait("ended long ago", 600, USER)


async def test_a_start_takes_up_waiting_and_interrupted_work_and_no_other(errands: Errands) -> None:
    for name, status in (("a", "waiting"), ("b", "running"), ("c", "done"), ("d", "failed")):
        await errands.add(name, status, attempts=1)
    await errands.queue.start()
    for name in "abcd":
        await errands.queue.wait(name, 20, USER)
    assert [await errands.state(name) for name in "abcd"] == [("done", 0), ("done", 0), ("done", 1), ("failed", 1)]


async def test_an_orderly_stop_puts_work_back_without_counting_the_attempt(errands: Errands) -> None:
    errands.let_go.clear()
    await errands.add("a")
    errands.queue.enqueue("a")
    await errands.until_under_way(1)
    await errands.queue.stop()
    assert await errands.state("a") == ("waiting", 0)
    assert errands.ends == []


async def test_work_that_has_ended_is_not_put_back_by_a_stop(errands: Errands) -> None:
    errands.let_go.clear()
    await errands.add("a")
    errands.queue.enqueue("a")
    await errands.until_under_way(1)
    await errands.end("a", "done")
    await errands.queue.stop()
    assert await errands.state("a") == ("done", 0)


async def test_work_past_its_attempts_fails_and_is_not_tried(errands: Errands) -> None:
    await errands.add("a", "running", MAX_ATTEMPTS)
    await errands.add("b", "running", MAX_ATTEMPTS - 1)
    await errands.queue.start()
    for name in "ab":
        await errands.queue.wait(name, 20, USER)
    assert [await errands.state(name) for name in "ab"] == [("failed", 0), ("done", 0)]
    [error] = [error for error, _ in errands.ends if error is not None]
    assert isinstance(error, TooManyAttempts)
    assert error.attempts == MAX_ATTEMPTS


async def test_work_that_raises_fails_with_its_error(errands: Errands) -> None:
    errands.error = ValueError("no such street")
    await errands.add("a")
    errands.queue.enqueue("a")
    await errands.queue.wait("a", 20, USER)
    assert await errands.state("a") == ("failed", 0)
    assert [error for error, _ in errands.ends] == [errands.error]


async def test_a_record_waits_until_the_database_is_available(
    errands: Errands, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("serval.work.queue.RETRY_SECONDS", 0.001)
    tries = []

    async def write() -> str:
        tries.append(len(tries))
        if len(tries) < 3:
            raise DatabaseUnavailable("The database is out of reach.")
        return "written"

    assert await errands.queue.record(write) == "written"
    assert len(tries) == 3
    log = ""
    async with asyncio.timeout(20):
        while log.count("errand_waiting_for_database") < 2:
            await asyncio.sleep(0.001)
            log += capfd.readouterr().out


async def test_many_requests_of_one_user_do_not_wait(errands: Errands) -> None:
    errands.let_go.clear()
    await errands.add("a")
    errands.queue.enqueue("a")
    waiting = [asyncio.create_task(errands.queue.wait("a", 600, USER)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    assert await errands.queue.wait("a", 600, USER) == 0.0
    others = asyncio.create_task(errands.queue.wait("a", 600, "usr_2"))
    await asyncio.sleep(0)
    assert not others.done()
    errands.let_go.set()
    assert all(seconds > 0 for seconds in await asyncio.gather(others, *waiting))
    errands.let_go.clear()
    await errands.add("b")
    errands.queue.enqueue("b")
    assert await errands.queue.wait("b", 0.01, USER) > 0
