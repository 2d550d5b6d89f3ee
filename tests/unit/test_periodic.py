"""What is done in the background is done again, whatever becomes of it."""

import asyncio
import json
from pathlib import Path

from serval.errors import DatabaseUnavailable
from serval.log import open_log
from serval.periodic import PeriodicTask

AWAY, FAULT, GOOD = DatabaseUnavailable("away"), KeyError("a fault"), None


def events_of(folder: Path, outcomes: list[Exception | None], *, away: str | None = "waits") -> list[str]:
    """What the log tells of rounds that end so; the next one begins when the one before has ended."""
    left, woken, over = iter(outcomes), asyncio.Event(), asyncio.Event()

    async def step() -> None:
        outcome = next(left, over)
        (over if outcome is over else woken).set()
        if isinstance(outcome, Exception):
            raise outcome

    async def run() -> None:
        with (folder / "log").open("wb") as file:
            log = open_log(level="info", form="json", descriptor=file.fileno())
            rounds = PeriodicTask(step, 3600, log, name="test", failed="failed", away=away, woken=woken)
            await rounds.start()
            await asyncio.wait_for(over.wait(), 10)
            await rounds.stop()
            log.close()

    asyncio.run(run())
    return [json.loads(line)["event"] for line in (folder / "log").read_text().splitlines()]


def test_a_fault_is_told_each_time_and_ends_nothing(tmp_path: Path) -> None:
    assert events_of(tmp_path, [FAULT, FAULT, GOOD]) == ["failed", "failed"]


def test_a_database_that_is_away_is_told_of_once_until_it_is_back(tmp_path: Path) -> None:
    assert events_of(tmp_path, [AWAY, AWAY, FAULT, AWAY, GOOD, AWAY]) == ["waits", "failed", "waits"]


def test_a_step_may_tell_of_the_database_itself(tmp_path: Path) -> None:
    assert events_of(tmp_path, [AWAY, GOOD, AWAY], away=None) == []


def test_rounds_that_never_began_stop_at_once() -> None:
    asyncio.run(
        PeriodicTask(
            lambda: asyncio.sleep(0), 1, open_log(level="error", form="json"), name="test", failed="", away=None
        ).stop()
    )
