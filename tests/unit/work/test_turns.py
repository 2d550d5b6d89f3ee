"""Whose turn it is: the order in which turns are given, with nothing that takes time."""

import asyncio

import pytest

from serval.work.turns import Turns

pytestmark = pytest.mark.anyio


class Round:
    """Users at some turns: `begun` is who got one, in order; each holds it until `end`."""

    def __init__(self, parallel: int) -> None:
        self.turns = Turns(parallel)
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, *names: str) -> None:
        """Ask for turns; the first letter of a name is the user."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._take(name))
        await settle()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await self._tasks[name]
            await settle()

    async def cancel(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        await asyncio.gather(*(self._tasks[name] for name in names), return_exceptions=True)
        await settle()

    async def _take(self, name: str) -> None:
        async with self.turns.turn(name[0]):
            self.begun.append(name)
            await self._ends[name].wait()


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_free_turn_is_given_at_once() -> None:
    turns = Round(2)
    await turns.ask("a1", "a2", "a3")
    assert turns.begun == ["a1", "a2"]


async def test_who_comes_later_waits_for_one_turn_of_who_was_first() -> None:
    turns = Round(1)
    await turns.ask("a1", "a2", "a3", "b1")
    await turns.end("a1", "b1", "a2")
    assert turns.begun == ["a1", "b1", "a2", "a3"]


async def test_who_always_has_more_does_not_pass_who_waits() -> None:
    turns = Round(1)
    await turns.ask("a1", "b1", "b2")
    await turns.end("a1")
    await turns.ask("a2")
    await turns.end("b1")
    await turns.ask("a3", "c1")
    await turns.end("a2", "b2")
    assert turns.begun == ["a1", "b1", "a2", "b2", "c1"]


async def test_a_turn_goes_to_the_user_with_fewest_of_them() -> None:
    turns = Round(2)
    await turns.ask("a1", "a2", "a3", "b1", "b2")
    await turns.end("a1")
    assert turns.begun == ["a1", "a2", "b1"]
    await turns.end("a2")
    assert turns.begun == ["a1", "a2", "b1", "a3"]


async def test_a_turn_that_nobody_waits_for_any_more_goes_to_the_next() -> None:
    turns = Round(1)
    await turns.ask("a1", "b1", "b2", "c1")
    await turns.cancel("b1")
    await turns.end("a1")
    assert turns.begun == ["a1", "b2"]
    await turns.cancel("b2")
    assert turns.begun == ["a1", "b2", "c1"]


async def test_turns_given_to_those_who_are_being_cancelled_are_not_lost() -> None:
    turns = Round(1)
    await turns.ask("a1", "b1", "c1")
    turns._ends["a1"].set()
    await asyncio.sleep(0)  # `a1` has ended, and given its turn to `b1`, which has not gone on yet
    await turns.cancel("b1", "c1")
    await turns.ask("d1")
    assert turns.begun[-1] == "d1"
