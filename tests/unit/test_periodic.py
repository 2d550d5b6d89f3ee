"""A periodic task goes on after faults and outages."""

import asyncio
import json
from pathlib import Path

import pytest

from serval.errors import DatabaseUnavailable
from serval.log import open_log
from serval.periodic import PeriodicTask

pytestmark = pytest.mark.anyio

AWAY, FAULT, GOOD = DatabaseUnavailable("away"), KeyError("a fault"), None


async def events_of(folder: Path, outcomes: list[Exception | None], *, away: str | None = "waits") -> list[str]:
    """What the log tells of rounds that end so; the next one begins when the one before has ended."""
    left, woken, over = iter(outcomes), asyncio.Event(), asyncio.Event()

    async def step() -> None:
        outcome = next(left, over)
        (over if outcome is over else woken).set()
        if isinstance(outcome, Exception):
            raise outcome

    with (folder / "log").open("wb") as file:
        log = open_log(level="info", form="json", descriptor=file.fileno())
        rounds = PeriodicTask(step, 3600, log, name="test", failed="failed", away=away, woken=woken)
        await rounds.start()
        await asyncio.wait_for(over.wait(), 10)
        await rounds.stop()
        log.close()
    return [json.loads(line)["event"] for line in (folder / "log").read_text().splitlines()]


async def test_a_fault_is_logged_each_time_and_the_task_goes_on(tmp_path: Path) -> None:
    assert await events_of(tmp_path, [FAULT, FAULT, GOOD]) == ["failed", "failed"]


async def test_an_outage_of_the_database_is_logged_once_until_it_ends(tmp_path: Path) -> None:
    assert await events_of(tmp_path, [AWAY, AWAY, FAULT, AWAY, GOOD, AWAY]) == ["waits", "failed", "waits"]


async def test_a_step_can_log_an_outage_by_itself(tmp_path: Path) -> None:
    assert await events_of(tmp_path, [AWAY, GOOD, AWAY], away=None) == []


async def test_a_task_that_never_started_stops_at_once() -> None:
    log = open_log(level="error", form="json")
    await PeriodicTask(lambda: asyncio.sleep(0), 1, log, name="test", failed="", away=None).stop()
