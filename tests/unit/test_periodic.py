"""Periodic tasks repeat their step, whatever becomes of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serval.errors import DatabaseUnavailable
from serval.log import open_log
from serval.periodic import PeriodicTask

pytestmark = pytest.mark.anyio

UNAVAILABLE, FAULT, SUCCESS = DatabaseUnavailable("away"), KeyError("a fault"), None


async def logged_lines(
    folder: Path, outcomes: list[Exception | None], *, unavailable_event: str | None = "waiting", **options: Any
) -> list[dict[str, Any]]:
    """The log lines of rounds with these outcomes; each starts when the one before has ended."""
    remaining, wake, ended = iter(outcomes), asyncio.Event(), asyncio.Event()

    async def step() -> None:
        outcome = next(remaining, ended)
        (ended if outcome is ended else wake).set()
        if isinstance(outcome, Exception):
            raise outcome

    with (folder / "log").open("wb") as file:
        log = open_log(level="info", form="json", descriptor=file.fileno())
        events = {"failure_event": "failed", "unavailable_event": unavailable_event}
        task = PeriodicTask(step, 3600, log, name="test", wake=wake, **events, **options)
        await task.start()
        await asyncio.wait_for(ended.wait(), 10)
        await task.stop()
        log.close()
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


async def logged_events(folder: Path, outcomes: list[Exception | None], **options: Any) -> list[str]:
    return [line["event"] for line in await logged_lines(folder, outcomes, **options)]


def quiet_task(step: Callable[[], Awaitable[None]], *, finish_seconds: float = 0.0) -> PeriodicTask:
    return PeriodicTask(
        step,
        3600,
        open_log(level="error", form="json"),
        name="test",
        failure_event="",
        unavailable_event=None,
        finish_seconds=finish_seconds,
    )


async def test_each_failure_is_logged_and_the_task_continues(tmp_path: Path) -> None:
    assert await logged_events(tmp_path, [FAULT, FAULT, SUCCESS]) == ["failed", "failed"]


async def test_an_unavailable_database_is_logged_once_until_it_is_back(tmp_path: Path) -> None:
    outcomes = [UNAVAILABLE, UNAVAILABLE, FAULT, UNAVAILABLE, SUCCESS, UNAVAILABLE]
    assert await logged_events(tmp_path, outcomes) == ["waiting", "failed", "waiting"]


async def test_the_line_of_an_unavailable_database_carries_the_details(tmp_path: Path) -> None:
    [line] = await logged_lines(tmp_path, [UNAVAILABLE], details=lambda: {"rows": 3})
    assert (line["event"], line["rows"]) == ("waiting", 3)


async def test_a_step_may_log_the_unavailable_database_itself(tmp_path: Path) -> None:
    assert await logged_events(tmp_path, [UNAVAILABLE, SUCCESS, UNAVAILABLE], unavailable_event=None) == []


async def test_a_task_that_never_started_stops_at_once() -> None:
    await quiet_task(lambda: asyncio.sleep(0)).stop()


async def test_stopping_cancels_a_round_under_way() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def step() -> None:
        began.set()
        await asyncio.sleep(3600)
        ended.set()

    task = quiet_task(step)
    await task.start()
    await asyncio.wait_for(began.wait(), 10)
    await task.stop()
    assert not ended.is_set()


async def test_a_task_that_finishes_ends_its_round_and_runs_a_last_one() -> None:
    began, release, rounds = asyncio.Event(), asyncio.Event(), []

    async def step() -> None:
        began.set()
        await release.wait()
        rounds.append("ended")

    task = quiet_task(step, finish_seconds=10)
    await task.start()
    await asyncio.wait_for(began.wait(), 10)
    stopping = asyncio.create_task(task.stop())
    await asyncio.sleep(0)
    release.set()
    await stopping
    assert rounds == ["ended", "ended"]


async def test_a_task_that_finishes_is_cancelled_when_its_time_is_up() -> None:
    began = asyncio.Event()

    async def step() -> None:
        began.set()
        await asyncio.sleep(3600)

    task = quiet_task(step, finish_seconds=0.01)
    await task.start()
    await asyncio.wait_for(began.wait(), 10)
    await asyncio.wait_for(task.stop(), 10)
