"""Turns: who gets the next place, and who is refused one."""

import asyncio

import pytest

from serval.auth.turns import Turns
from serval.errors import Unavailable

pytestmark = pytest.mark.anyio


class Queue:
    """Turns, and the subjects that had a place, in their order."""

    def __init__(self, places: int = 1, each: int = 100, in_all: int = 1000) -> None:
        self.turns = Turns(places, each, in_all, "too many")
        self.had: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, subject: str, times: int = 1) -> None:
        for _ in range(times):
            self.tasks.append(asyncio.create_task(self._take(subject)))
            await asyncio.sleep(0)

    async def _take(self, subject: str) -> None:
        await self.turns.take(subject)
        self.had.append(subject)

    async def serve(self, times: int) -> None:
        for _ in range(times):
            self.turns.release()
            await asyncio.sleep(0)

    def refused(self) -> int:
        return sum(task.done() and isinstance(task.exception(), Unavailable) for task in self.tasks)


async def test_a_newcomer_comes_before_those_that_have_had_a_turn() -> None:
    queue = Queue()
    for number in range(12):
        await queue.ask(f"many-{number}", 8)
    await queue.serve(12)
    assert len(set(queue.had)) == 12
    await queue.ask("one")
    await queue.serve(1)
    assert queue.had[-1] == "one"
    await queue.serve(12 * 8 - 13)
    assert len(queue.had) == 12 * 8 + 1


async def test_subjects_alternate_whatever_they_ask_for() -> None:
    queue = Queue()
    await queue.ask("many", 9)
    await queue.ask("few", 3)
    await queue.serve(6)
    assert queue.had == ["many", "few", "many", "few", "many", "few", "many"]


async def test_one_subject_may_have_so_many_waiting() -> None:
    queue = Queue(each=4)
    await queue.ask("many", 20)
    await queue.ask("one")
    assert queue.refused() == 15
    await queue.serve(2)
    assert queue.had == ["many", "one", "many"]


async def test_a_full_queue_makes_room_for_a_newcomer() -> None:
    queue = Queue(each=8, in_all=16)
    await queue.ask("first", 9)
    await queue.ask("second", 8)
    await queue.ask("one")
    await asyncio.sleep(0)
    assert queue.refused() == 1
    await queue.serve(3)
    assert queue.had == ["first", "second", "one", "first"]
    only = Queue(each=8, in_all=2)
    for subject in ("first", "second", "third", "one"):
        await only.ask(subject)
    assert only.refused() == 1
    assert isinstance(only.tasks[-1].exception(), Unavailable)


async def test_a_place_comes_back_from_one_that_has_gone() -> None:
    queue = Queue()
    await queue.ask("holder")
    await queue.ask("gone", 2)
    await queue.ask("one")
    queue.tasks[1].cancel()
    await asyncio.sleep(0)
    queue.turns.release()
    queue.tasks[2].cancel()  # it has been given the place and does not know yet
    for _ in range(3):
        await asyncio.sleep(0)
    assert queue.had == ["holder", "one"]
    await queue.serve(1)
    await queue.ask("later")
    assert queue.had == ["holder", "one", "later"]


async def test_closing_refuses_what_waits() -> None:
    queue = Queue()
    await queue.ask("holder")
    await queue.ask("one", 3)
    queue.turns.close()
    await asyncio.sleep(0)
    assert queue.refused() == 3
