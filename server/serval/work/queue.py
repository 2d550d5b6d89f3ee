"""A durable queue: rows that stand for work, done a few at a time, and taken up again after a restart."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import Mapped

from serval.db.base import Table
from serval.db.engine import Database
from serval.errors import DatabaseUnavailable
from serval.log import Log
from serval.work.turns import Turns

MAX_ATTEMPTS = 3
"""Work that has taken the process down so often is not tried again."""

MAX_WAITING = 16
"""Requests of one user that wait for the end of work, each in one of the places for requests."""
RETRY_SECONDS = 0.5
"""Between two tries to record something while the database is unavailable."""


class WorkTable(Table):
    """A table whose rows stand for work."""

    __abstract__ = True

    id: Mapped[str]
    status: Mapped[str]
    attempts: Mapped[int]
    """How often the work was begun and not ended."""


Row = TypeVar("Row", bound=WorkTable)
T = TypeVar("T")


class WorkStates(NamedTuple):
    """The values of the column `status`."""

    waiting: str
    running: str
    unfinished: frozenset[str]
    """Waiting, running, and all states between these and the end."""


class TooManyAttempts(Exception):
    """The process has died too often while it did this work."""

    def __init__(self, attempts: int) -> None:
        super().__init__(f"begun {attempts} times and never ended")
        self.attempts = attempts


class WorkQueue(Generic[Row]):
    """Does the work of a table's rows in the background.

    Who creates a row, in the status of waiting work, enqueues it afterwards. Users take turns, and the work of each is
    done in order. Work that an orderly stop or a crash interrupts is done again at the next start, with its attempts
    counted.
    """

    def __init__(
        self,
        database: Database,
        table: type[Row],
        states: WorkStates,
        owners: Select[str, str],
        *,
        perform: Callable[[Row], Awaitable[None]],
        fail: Callable[[str, Exception], Awaitable[None]],
        on_end: Callable[[Exception | None, float], None],
        parallel: int,
        name: str,
        log: Log,
    ) -> None:
        """`owners`: the id of each row and of the user whose turn it takes.

        `perform`: does the work of a row and records its end.

        `fail`: records that the row of an id has failed; by what `perform` has raised, or TooManyAttempts.
        `on_end`: called after either, with the error and the seconds since its turn came. `parallel`: how many turns
        there are at once. `name`: of the work, for the log.
        """
        self._database = database
        self._table = table
        self._states = states
        self._owners = owners
        self._perform = perform
        self._fail = fail
        self._on_end = on_end
        self._turns = Turns(parallel)
        self._name = name
        self._log = log
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waiting: Counter[str] = Counter()
        """By user: calls of `wait` that have not ended."""

    async def start(self) -> None:
        """Take up all work that has not ended, oldest first. Raises DatabaseUnavailable."""
        unfinished = self._owners.where(self._table.status.in_(self._states.unfinished)).order_by(self._table.id)
        async with self._database.read() as session:
            rows = list(await session.execute(unfinished))
        for row_id, owner_id in rows:
            self.enqueue(row_id, owner_id)

    async def stop(self) -> None:
        """Interrupt the work under way and put it back; the next start takes it up again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def enqueue(self, row_id: str, owner_id: str) -> None:
        """Do the work of a row when the turn of its user comes."""
        task = asyncio.create_task(self._take_turn(row_id, owner_id), name=f"{self._name} {row_id}")
        self._tasks[row_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(row_id, None))

    async def wait(self, row_id: str, seconds: float, user_id: str) -> float:
        """Return when the work of a row has ended, or after some seconds: at once where many requests of the user wait.
        Returns the seconds waited."""
        task = self._tasks.get(row_id)
        if task is None or self._waiting[user_id] >= MAX_WAITING:
            return 0.0
        started = time.monotonic()
        self._waiting[user_id] += 1
        try:
            await asyncio.wait([task], timeout=seconds)
        finally:
            self._waiting -= Counter({user_id: 1})
        return time.monotonic() - started

    def turn(self, owner_id: str) -> AbstractAsyncContextManager[None]:
        """Take one of a user's turns for work that has no row."""
        return self._turns.turn(owner_id)

    async def record(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write to the database as soon as it is available: accepted work does not fail because it is not."""
        while True:
            try:
                return await write()
            except DatabaseUnavailable:
                self._log.warning(f"{self._name}_waiting_for_database")
                await asyncio.sleep(RETRY_SECONDS)

    async def _take_turn(self, row_id: str, owner_id: str) -> None:
        async with self.turn(owner_id):
            started = time.monotonic()
            error = await self._outcome(row_id)
            self._on_end(error, time.monotonic() - started)

    async def _outcome(self, row_id: str) -> Exception | None:
        """Do the work, or record why not."""
        try:
            await self._work(row_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, no row may stay unfinished for ever
            await self._fail(row_id, error)
            return error
        return None

    async def _work(self, row_id: str) -> None:
        row = await self.record(lambda: self._begin(row_id))
        try:
            await self._perform(row)
        except asyncio.CancelledError:
            # Without the database the row stays as it is, and the next start takes it up with one attempt more.
            with suppress(DatabaseUnavailable):
                await self._put_back(row_id)
            raise

    async def _begin(self, row_id: str) -> Row:
        async with self._database.write() as session:
            row = await session.get_one(self._table, row_id)
            if row.attempts >= MAX_ATTEMPTS:
                raise TooManyAttempts(row.attempts)
            row.attempts += 1
            row.status = self._states.running
            return row

    async def _put_back(self, row_id: str) -> None:
        """Leave the row as it was before: an orderly stop is not its fault."""
        async with self._database.write() as session:
            row = await session.get_one(self._table, row_id)
            if row.status in self._states.unfinished:
                row.status = self._states.waiting
                row.attempts -= 1
