"""The one way in which tests wait for something that happens at its own time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

WITHIN_SECONDS = 60.0
"""Generous: a busy machine is no failure. A test that asserts a time names its own."""
FIRST_PAUSE_SECONDS = 0.002
LONGEST_PAUSE_SECONDS = 0.05
"""Pauses grow to this, so that what is waited for has the processor."""


def wait_until(condition: Callable[[], T], *, within_seconds: float = WITHIN_SECONDS) -> T:
    """Ask until `condition` returns something true in time, and return that."""
    deadline = time.monotonic() + within_seconds
    pauses = growing_pauses()
    while True:
        outcome = condition()
        assert time.monotonic() < deadline, missed(condition, outcome, within_seconds)
        if outcome:
            return outcome
        time.sleep(next(pauses))


async def wait_until_async(condition: Callable[[], Awaitable[T]], *, within_seconds: float = WITHIN_SECONDS) -> T:
    """The same for a condition that is awaited; other tasks run meanwhile."""
    deadline = time.monotonic() + within_seconds
    pauses = growing_pauses()
    while True:
        outcome = await condition()
        assert time.monotonic() < deadline, missed(condition, outcome, within_seconds)
        if outcome:
            return outcome
        await asyncio.sleep(next(pauses))


def growing_pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(1.2 * pause, LONGEST_PAUSE_SECONDS)


def missed(condition: Callable[[], object], outcome: object, within_seconds: float) -> str:
    """What did not come, in the words of the test, and what was there instead."""
    return f"not within {within_seconds} s, but {outcome!r}: {inspect.getsource(condition).strip()}"
