"""Work that outlives the process: rows in a real database, and a queue that does what they stand for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import URL, MetaData, String, select
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
    owner_id: Mapped[str] = mapped_column(String(40))
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
        self.begun: list[str] = []
        self.most_at_once = 0
        self.ends: list[tuple[Exception | None, float]] = []
        self.queue = WorkQueue(
            database,
            Errand,
            STATES,
            select(Errand.id, Errand.owner_id),
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
        self.begun.append(errand.id)
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

    async def add(self, errand_id: str, status: Status = "waiting", attempts: int = 0, owner_id: str = USER) -> None:
        async with self.database.write() as session:
            session.add(Errand(id=errand_id, owner_id=owner_id, status=status, attempts=attempts))

    async def ask(self, *errand_ids: str) -> None:
        """Add and enqueue errands of the users that their first letters stand for."""
        for errand_id in errand_ids:
            await self.add(errand_id, owner_id=errand_id[0])
            self.queue.enqueue(errand_id, errand_id[0])

    async def state(self, errand_id: str) -> tuple[str, int]:
        """The status and the attempts of an errand."""
        async with self.database.read() as session:
            errand = await session.get_one(Errand, errand_id)
        return errand.status, errand.attempts

    async def until_under_way(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.under_way) < count:  # noqa: ASYNC110 the queue notifies nobody
                await asyncio.sleep(0.001)


@asynccontextmanager
async def open_errands(url: URL, *, parallel: int) -> AsyncIterator[Errands]:
    database = Database(open_engine(url))
    async with database.engine.begin() as connection:
        await connection.run_sync(Errand.metadata.drop_all)
        await connection.run_sync(Errand.metadata.create_all)
    opened = Errands(database, parallel=parallel)
    yield opened
    await opened.queue.stop()
    await database.close()


@pytest.fixture
async def errands(tmp_path: Path) -> AsyncIterator[Errands]:
    async with open_errands(database_url(None, tmp_path), parallel=2) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
async def one_by_one(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Errands]:
    """Errands on each database, one at a time, the first of which waits to be let go."""
    url = None if request.param == "sqlite" else request.getfixturevalue("shared_postgres").url("errands")
    if url is not None:
        request.getfixturevalue("shared_postgres").ask("CREATE DATABASE errands;")
    async with open_errands(database_url(url, tmp_path), parallel=1) as opened:
        opened.let_go.clear()
        yield opened
    if url is not None:
        request.getfixturevalue("shared_postgres").ask("DROP DATABASE errands;")


async def test_enqueued_work_is_done(errands: Errands) -> None:
    await errands.add("a")
    errands.queue.enqueue("a", USER)
    await errands.queue.wait("a", 20, USER)
    assert await errands.state("a") == ("done", 0)
    [(error, seconds)] = errands.ends
    assert (error, seconds >= 0) == (None, True)


async def test_work_under_way_has_an_attempt_counted(errands: Errands) -> None:
    errands.let_go.clear()
    await errands.add("a")
    errands.queue.enqueue("a", USER)
    await errands.until_under_way(1)
    assert await errands.state("a") == ("running", 1)


async def test_no_more_work_is_done_at_once_than_there_are_turns(errands: Errands) -> None:
    names = ["a", "b", "c", "d"]
    errands.let_go.clear()
    for name in names:
        await errands.add(name)
        errands.queue.enqueue(name, USER)
    await errands.until_under_way(2)
    errands.let_go.set()
    for name in names:
        await errands.queue.wait(name, 20, USER)
    assert [await errands.state(name) for name in names] == [("done", 0)] * 4
    assert errands.most_at_once == 2


async def test_a_turn_taken_for_work_without_a_row_counts(errands: Errands) -> None:
    await errands.add("a")
    async with errands.queue.turn(USER), errands.queue.turn(USER):
        errands.queue.enqueue("a", USER)
        await errands.queue.wait("a", 0.05, USER)
        assert await errands.state("a") == ("waiting", 0)
    await errands.queue.wait("a", 20, USER)
    assert await errands.state("a") == ("done", 0)


async def test_a_wait_ends_at_its_deadline_and_the_work_goes_on(errands: Errands) -> None:
    errands.let_go.clear()
    await errands.add("a")
    errands.queue.enqueue("a", USER)
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
    errands.queue.enqueue("a", USER)
    await errands.until_under_way(1)
    await errands.queue.stop()
    assert await errands.state("a") == ("waiting", 0)
    assert errands.ends == []


async def test_work_that_has_ended_is_not_put_back_by_a_stop(errands: Errands) -> None:
    errands.let_go.clear()
    await errands.add("a")
    errands.queue.enqueue("a", USER)
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
    errands.queue.enqueue("a", USER)
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
    errands.queue.enqueue("a", USER)
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
    errands.queue.enqueue("b", USER)
    assert await errands.queue.wait("b", 0.01, USER) > 0


async def order_of_all(errands: Errands) -> list[str]:
    """Let all errands go; return the order in which they were begun."""
    errands.let_go.set()
    async with errands.database.read() as session:
        errand_ids = list(await session.scalars(select(Errand.id)))
    for errand_id in errand_ids:
        await errands.queue.wait(errand_id, 20, USER)
    return errands.begun


async def test_users_take_turns_and_keep_their_own_order(one_by_one: Errands) -> None:
    await one_by_one.ask("a1", "a2", "a3", "a4")
    await one_by_one.until_under_way(1)
    await one_by_one.ask("b1", "b2", "c1")
    assert await order_of_all(one_by_one) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_users_take_turns_at_what_a_start_takes_up(one_by_one: Errands) -> None:
    for errand_id, owner_id in (("1", "a"), ("2", "a"), ("3", "a"), ("4", "b"), ("5", "b"), ("6", "c")):
        await one_by_one.add(errand_id, owner_id=owner_id)
    await one_by_one.queue.start()
    assert await order_of_all(one_by_one) == ["1", "4", "6", "2", "5", "3"]


async def test_work_without_a_row_takes_its_users_turns(one_by_one: Errands) -> None:
    async with one_by_one.queue.turn("a"):
        await one_by_one.ask("a1", "b1")
        await asyncio.sleep(0)
    assert await order_of_all(one_by_one) == ["b1", "a1"]
